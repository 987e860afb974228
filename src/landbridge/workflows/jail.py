"""Runs what authors write in Function steps: Python, in processes that can do nothing but compute.

The interpreter is not CPython but pydantic-monty: a language without files, network, environment, processes or
introspection, where a function sees nothing that it was not given. It counts time, memory and recursion itself; what
it cannot interrupt (one operation on huge numbers) ends with its process, which is replaced. See `cell` for what the
process itself may do.
"""

import asyncio
import contextlib
import json
import os
import signal
import sysconfig
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import JsonValue

from landbridge.errors import FunctionFailed, FunctionLimit, LandbridgeError, Misconfigured

if TYPE_CHECKING:
    from pydantic_monty import Monty, MontyError, MontyRuntimeError, MontySyntaxError, ResourceLimits

LARGEST_VALUE: Final = 8 << 20
"""Bytes of JSON that a function may be given, and may return."""

LARGEST_LOGS: Final = 64 << 10
"""Characters that are kept of what a function prints; the rest is dropped."""

MOST_FETCHES: Final = 20
"""How often one run of a function may call `fetch`."""

MOST_SECONDS: Final = 30
MOST_MEMORY_MB: Final = 256

_FETCH_SECONDS = 60
_RECURSION = 400
_GRACE_SECONDS = 1.0
_LONGEST_MESSAGE = 2000
_SCRIPT = "<python-input-0>"  # what the interpreter calls the first thing that a session is fed
_CALL = """

import json as _json
try:
    _given = _json.loads(_parameters)
except ValueError:
    raise RecursionError("the parameters are nested too deeply")
_result = run(_given)
if type(_result).__name__ == "coroutine":
    _result = await _result
_json.dumps(_result, allow_nan=False)
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of a function may use: seconds of computing (not of waiting for `fetch`) and megabytes of memory."""

    seconds: float = 5
    memory_mb: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MOST_SECONDS or not 0 < self.memory_mb <= MOST_MEMORY_MB:
            raise ValueError(f"a function has up to {MOST_SECONDS} s and {MOST_MEMORY_MB} MB")


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """What a function returned, and what it printed."""

    result: JsonValue
    logs: str


Fetch = Callable[[str, str, Mapping[str, str], JsonValue], Awaitable[JsonValue]]
"""Makes one HTTP request for a function: URL, method, headers and body in, the answer as JSON out."""


class Jail:
    """The processes that functions run in. Nothing is started, or imported, before the first function runs.

    Any number of calls may be made at a time, from any event loop; `processes` of them run, the others wait. Those that
    may `fetch` have processes of their own, and more of them: they wait for others as long as those please, and whoever
    only computes is not to wait for that.
    """

    def __init__(self, processes: int = 2, *, fetching: int = 8) -> None:
        self._computing, self._fetching = _Cells(processes), _Cells(fetching)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._computing.close)
        await asyncio.to_thread(self._fetching.close)

    async def run(
        self, code: str, parameters: JsonValue, limits: Limits | None = None, fetch: Fetch | None = None
    ) -> FunctionResult:
        """Return what the `run(parameters)` that `code` defines returns.

        Raises `FunctionFailed` with the line and message of what it raised, `FunctionLimit` if it reached a limit, and
        `Misconfigured` if the interpreter is not installed. Whoever cancels this ends the function's process.
        """
        call = _Call(code, parameters, limits or Limits(), fetch and _Fetching(fetch, asyncio.get_running_loop()))
        try:
            return await (self._fetching if fetch else self._computing).run(call)
        except asyncio.CancelledError:
            call.stop()
            raise


class _Cells:
    """Some processes of one kind, started when there is first something to run."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="jail")
        self._starting = threading.Lock()
        self._pool: Monty | None = None

    async def run(self, call: "_Call") -> FunctionResult:
        """Return what a call comes to, once a process is free."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call.run(self._started()))

    def _started(self) -> "Monty":
        with self._starting:
            if self._pool is None:
                self._pool = _new_pool(self._number).__enter__()
            return self._pool

    def close(self) -> None:
        """End the processes; calls that have not begun are cancelled."""
        self._threads.shutdown(cancel_futures=True)
        if self._pool is not None:
            self._pool.__exit__(None, None, None)


def _new_pool(processes: int) -> "Monty":
    from pydantic_monty import Monty  # noqa: PLC0415 - 20 MB, and nothing to installations without functions

    program = Path(sysconfig.get_path("scripts"), "landbridge-jail")
    if not program.exists():
        raise Misconfigured(f"Functions cannot run: {program} is missing. Install Landbridge with its commands.")
    return Monty(
        binary_path=program,
        max_processes=processes,
        request_timeout=MOST_SECONDS + 2 * _GRACE_SECONDS,
        feed_duration_limit_grace=_GRACE_SECONDS,
    )


class _Logs:
    """What a function prints, as far as it is kept."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = LARGEST_LOGS
        self._dropped = 0

    def __call__(self, _stream: str, text: str) -> None:
        if self._room:
            self._parts.append(text[: self._room])
        self._dropped += max(len(text) - self._room, 0)
        self._room = max(self._room - len(text), 0)

    @property
    def text(self) -> str:
        """Return what was printed, and how much more there was."""
        more = f"\n… and {self._dropped} characters more" if self._dropped else ""
        return "".join(self._parts) + more


class _Fetching:
    """The `fetch` that a function sees: called in a thread of the jail's, carried out on the event loop."""

    def __init__(self, fetch: Fetch, loop: asyncio.AbstractEventLoop) -> None:
        self._fetch = fetch
        self._loop = loop
        self._left = MOST_FETCHES
        self._under_way: Future[JsonValue] | None = None
        self.is_exhausted = False

    def __call__(
        self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: Any = None
    ) -> JsonValue:  # Any: whatever a function's author passes
        _check(url, method, headers or {}, body)
        if not self._left:
            self.is_exhausted = True
            raise RuntimeError("fetch was called too often")
        self._left -= 1
        self._under_way = asyncio.run_coroutine_threadsafe(self._fetched(url, method, headers or {}, body), self._loop)
        try:
            return self._under_way.result(2 * _FETCH_SECONDS)
        except LandbridgeError as error:
            raise OSError(error.message) from None

    async def _fetched(self, url: str, method: str, headers: Mapping[str, str], body: JsonValue) -> JsonValue:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                return await self._fetch(url, method, headers, body)
        except TimeoutError:
            raise OSError(f"{method} {url} took longer than {_FETCH_SECONDS} s") from None

    def cancel(self) -> None:
        """Break off the request that is under way."""
        if self._under_way:
            self._under_way.cancel()


def _check(url: object, method: object, headers: object, body: object) -> None:
    """Raise `TypeError`, which is then the function's own, unless these are what `fetch` takes."""
    if not isinstance(url, str) or not isinstance(method, str):
        raise TypeError("fetch takes a URL and a method as strings")
    if not isinstance(headers, Mapping) or not all(isinstance(part, str) for pair in headers.items() for part in pair):
        raise TypeError("fetch takes headers as a dict of strings")
    json.dumps(body)


@dataclass
class _Call:
    """One run of a function; all but `stop` happens in a thread of the jail's."""

    code: str
    parameters: JsonValue
    limits: Limits
    fetching: _Fetching | None
    logs: _Logs = field(default_factory=_Logs)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: int | None = None
    _stopped: bool = False

    def run(self, pool: "Monty") -> FunctionResult:
        from pydantic_monty import MontyError  # noqa: PLC0415 - it is there by now

        given = self._given()
        try:
            text = self._fed(pool, given)
        except MontyError as error:
            raise self._failure(error) from None
        if self.fetching and self.fetching.is_exhausted:
            raise self._limit_of_fetches()
        return FunctionResult(self._parsed(text), self.logs.text)

    def stop(self) -> None:
        """End the function's process, if it is running: nobody waits for its result any more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process, signal.SIGKILL)
        if self.fetching:
            self.fetching.cancel()

    def _given(self) -> str:
        try:
            given = json.dumps(self.parameters)
        except RecursionError:
            raise FunctionLimit("The function's parameters are nested too deeply.") from None
        if len(given) > LARGEST_VALUE:
            raise FunctionLimit(
                f"The function's parameters are larger than {LARGEST_VALUE >> 20} MiB. Give it the part that it needs."
            )
        return given

    def _fed(self, pool: "Monty", given: str) -> object:
        limits: ResourceLimits = {
            "max_feed_duration_secs": self.limits.seconds,
            "max_memory": self.limits.memory_mb << 20,
            "max_recursion_depth": _RECURSION,
            "max_suspensions": 10 * MOST_FETCHES,
        }
        with pool.checkout(limits=limits, os_policy={"sleep": "zero"}) as session:
            with self._lock:
                if self._stopped:
                    return None
                self._process = session.worker_pid
            try:
                return session.feed_run(
                    self.code + _CALL,
                    inputs={"_parameters": given},
                    external_lookup={"fetch": self.fetching} if self.fetching else None,
                    print_callback=self.logs,
                )
            finally:
                with self._lock:
                    self._process = None

    def _parsed(self, text: object) -> JsonValue:
        if not isinstance(text, str):
            raise self._failed("The function's result is not JSON.")
        if len(text) > LARGEST_VALUE:
            raise self._limited(f"The function's result is larger than {LARGEST_VALUE >> 20} MiB. Return less.")
        try:
            result: JsonValue = json.loads(text)
        except (ValueError, RecursionError):
            raise self._failed("The function's result is not JSON that can be read.") from None
        return result

    def _failure(self, error: "MontyError") -> LandbridgeError:
        """Return what an error of the interpreter means to the function's author."""
        from pydantic_monty import MontyCrashedError, MontyRuntimeError, MontySyntaxError  # noqa: PLC0415

        if self.fetching and self.fetching.is_exhausted:
            return self._limit_of_fetches()
        if isinstance(error, MontyCrashedError):
            if error.timed_out:
                return self._limit_of_seconds()
            return self._failed(
                f"The function's process was ended from outside, or ran out of the machine's memory: {error}."
            )
        if isinstance(error, MontyRuntimeError | MontySyntaxError):
            return self._raised(error)
        return self._failed(f"The function could not be run: {error}.")

    def _raised(self, error: "MontyRuntimeError | MontySyntaxError") -> LandbridgeError:
        raised, frames = error.exception(), error.traceback()
        if isinstance(raised, TimeoutError) and not frames:  # the interpreter's own; a function's has a line
            return self._limit_of_seconds()
        if isinstance(raised, MemoryError):
            return self._limited(
                f"The function needs more than its {self.limits.memory_mb} MB. Raise `limits.memoryMb` "
                f"({MOST_MEMORY_MB} at most), or let it work on less at a time."
            )
        if isinstance(raised, RecursionError):
            return self._limited(
                f"The function calls itself, or nests its data, more than {_RECURSION} levels deep. This limit is "
                "fixed: use a loop."
            )
        written = self.code.count("\n") + 1
        lines = [frame.line for frame in frames if frame.filename == _SCRIPT]
        if isinstance(raised, SyntaxError) and lines and lines[-1] > written:
            return self._failed("SyntaxError: the code ends in the midst of something that it opened", written)
        lines = [line for line in lines if line <= written]
        return self._failed(error.display("type-msg"), lines[-1] if lines else None)

    def _limit_of_seconds(self) -> FunctionLimit:
        return self._limited(
            f"The function ran longer than its {self.limits.seconds:g} s. Raise `limits.seconds` ({MOST_SECONDS} at "
            "most), or let it do less at once."
        )

    def _limit_of_fetches(self) -> FunctionLimit:
        return self._limited(
            f"The function called `fetch` more than {MOST_FETCHES} times. This limit is fixed: let a Fan Out make the "
            "requests."
        )

    def _limited(self, message: str) -> FunctionLimit:
        return FunctionLimit(message, meta={"logs": self.logs.text})

    def _failed(self, message: str, line: int | None = None) -> FunctionFailed:
        where = f"Line {line}: " if line else ""
        return FunctionFailed(where + message[:_LONGEST_MESSAGE], meta={"line": line, "logs": self.logs.text})
