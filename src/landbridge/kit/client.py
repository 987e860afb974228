"""The API of a product on behalf of one connection: what passes by itself is tried again here."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, TypeVar, Unpack

from multidict import CIMultiDict
from pydantic import JsonValue

from landbridge.errors import (
    ActionRefused,
    CallerMistake,
    LandbridgeError,
    ProviderBusy,
    ProviderFailed,
    ProviderUnreachable,
    TokenRenewed,
    TooLarge,
)
from landbridge.kit.forms import Result, Wait
from landbridge.kit.steps import Context
from landbridge.outbound import Answer, Stream, retry_after
from landbridge.proxy import Outgoing

LONGEST_SLEEP: Final = timedelta(seconds=5)
"""How long an action may sleep in all; what takes longer is a `Wait`, or an error that says when to come back."""

LONGEST_STANDSTILL: Final = timedelta(days=1)
"""How long a step comes back to something that does not get on."""

LARGEST_ANSWER: Final = 32 << 20
"""Bytes of an answer that are read whole; contents are streamed, whatever their size."""

_LARGEST_ERROR = 256 << 10
_TRIES = 3
_PAUSE = timedelta(milliseconds=200)
_NOTHING_DONE = frozenset({423, 429})
_PASSING = frozenset({500, 502, 503, 504, 509})
_REFUSED = (ActionRefused, CallerMistake, ProviderBusy)
"""Errors of an API that has done nothing."""

_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REPEATABLE_METHODS = _READING_METHODS | {"PUT", "DELETE"}

Body = bytes | Callable[[], AsyncIterator[bytes]] | None
"""What a call sends: bytes, or what gives them anew for each try."""


class Sending(TypedDict, total=False):
    """What a call sends, and whether it may be sent again."""

    headers: Mapping[str, str]
    json: object
    """The body, to be written as JSON. None is no body."""

    body: Body
    repeatable: bool
    """Whether twice is the same as once. If it is not said, the method tells."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a step wrote down before it did, for the first time, what must not be done twice."""

    at: datetime
    """When that was, in whole seconds."""

    noted: Any  # Any: JSON, as it was noted
    """What was there already, which no try of the step has made."""


_ResultT = TypeVar("_ResultT", bound=Result)


async def _nothing() -> JsonValue:
    return None


class Client:
    """The integration's API on behalf of one connection, for one call of an action.

    Each integration derives its own, and says in `refusal` what the API's errors mean. What passes by itself is tried
    again here, for `LONGEST_SLEEP` in all; what takes longer is an error that the engine comes back from.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._patience = LONGEST_SLEEP
        self._has_acted = False  # whether anything but reading was sent since that was last asked

    def refusal(self, answer: Answer, wait: timedelta | None) -> LandbridgeError:
        """Return what an answer that is no success means; `wait` is what its `Retry-After` asks for."""
        return ProviderFailed(f"The provider answered {answer.status}.", retry_after=wait)

    async def call(self, method: str, path: str, **sending: Unpack[Sending]) -> Answer:
        """Return the API's answer, read whole. `path` is percent-encoded, with its query; or a URL of the API.

        Raises what `refusal` makes of an answer that is no success, and what `Proxy.send` raises. A call that the API
        may have carried out before it failed is tried again only if it is repeatable.
        """
        for attempt in range(1, _TRIES + 1):
            async with self.stream(method, path, **sending) as stream:
                try:
                    return await self.whole(stream)
                except ProviderUnreachable:  # the answer broke off
                    is_last = attempt == _TRIES or not _is_repeatable(method, sending)
                    if is_last or not await self.wait_a_little(attempt):
                        raise
        raise AssertionError("the last try returns or raises")

    async def whole(self, stream: Stream, limit: int = LARGEST_ANSWER) -> Answer:
        """Return the rest of an answer. Raises `TooLarge` beyond `limit` bytes."""
        body = await stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"The provider's answer has more than {limit} bytes.")
        return Answer(stream.status, stream.headers, body)

    @contextlib.asynccontextmanager
    async def stream(self, method: str, path: str, **sending: Unpack[Sending]) -> AsyncIterator[Stream]:
        """Give the API's answer while its body is on its way. Otherwise as `call`."""
        with contextlib.closing(await self.open(method, path, **sending)) as stream:
            yield stream

    async def open(self, method: str, path: str, **sending: Unpack[Sending]) -> Stream:
        """Return the API's answer, which the caller closes, while its body is on its way. Otherwise as `call`."""
        headers: CIMultiDict[str] = CIMultiDict(sending.get("headers", {}))
        headers.setdefault("Accept-Encoding", "identity")
        body = sending.get("body")
        if (said := sending.get("json")) is not None:
            headers["Content-Type"], body = "application/json", _dumped(said)

        async def send() -> Stream:
            of, had_acted = self.context, self._has_acted
            outgoing = Outgoing(method, path, headers, body() if callable(body) else body)
            self._has_acted |= method not in _READING_METHODS
            try:
                return await of.proxy.send(of.caller, of.integration, of.selector, outgoing)
            except LandbridgeError as error:
                if error.nothing_done:
                    self._has_acted = had_acted
                raise

        stream = await self._patiently(send, repeatable=_is_repeatable(method, sending))
        if stream.status < 300:
            return stream
        with contextlib.closing(stream):
            raise self.refusal(await self.whole(stream, _LARGEST_ERROR), self.asked_to_wait(stream))

    async def call_signed(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Body = None
    ) -> Answer:
        """Return the answer, whatever its status, of a URL that the API signed: it is called once, without the bearer.

        Raises what `Proxy.send_signed` raises.
        """
        self._has_acted |= method not in _READING_METHODS
        sent = CIMultiDict({"Accept-Encoding": "identity", **(headers or {})})
        outgoing = Outgoing(method, url, sent, body() if callable(body) else body)
        with contextlib.closing(await self.context.proxy.send_signed(self.context.integration, outgoing)) as stream:
            return await self.whole(stream)

    async def once(
        self,
        model: type[_ResultT],
        do: Callable[[Start], Awaitable[_ResultT]],
        find: Callable[[Start], Awaitable[_ResultT | None]],
        note: Callable[[], Awaitable[JsonValue]] = _nothing,
    ) -> _ResultT:
        """Return what came of something that must not be done twice, whichever try and process did it.

        `note` says what is there before the first try; `do` may mark what it makes with the instant of the start;
        `find` looks for what a try made whose answer was lost, and takes nothing for it that was noted. Raises what
        they raise.
        """
        checkpoint = self.context.checkpoint
        state = await checkpoint.read()
        if state and "result" in state:
            return model.model_validate(state["result"])
        if state:
            start = Start(datetime.fromisoformat(state["began"]), state["noted"])
            found = await find(start)
        else:
            start, found = Start(self.context.clock.now().replace(microsecond=0), await note()), None
            await checkpoint.write({"began": start.at.isoformat(), "noted": start.noted})
        result = found or await self._done_or_found(do, find, start, is_first=not state)
        await checkpoint.write({"result": result.as_json()})
        return result

    async def _done_or_found(
        self,
        do: Callable[[Start], Awaitable[_ResultT]],
        find: Callable[[Start], Awaitable[_ResultT | None]],
        start: Start,
        *,
        is_first: bool,
    ) -> _ResultT:
        self._has_acted = False
        try:
            return await do(start)
        except LandbridgeError as error:
            if isinstance(error, _REFUSED) or (is_first and not self._has_acted):
                await self.context.checkpoint.clear()
                raise
            if isinstance(error, ProviderFailed) and (found := await find(start)):
                return found
            raise

    async def wait_a_little(self, attempt: int, asked: timedelta | None = None) -> bool:
        """Sleep before another try, longer each time or as asked; or return False: it is time to come back later."""
        return await self._slept(_PAUSE * 4 ** (attempt - 1) if asked is None else asked)

    def later(self, since: datetime, asked: timedelta) -> Wait | None:
        """Return when to come back to what has not got on since then: the longer ago, the later, no sooner than asked.

        None is that it has stood still for `LONGEST_STANDSTILL`, and that to come back leads nowhere.
        """
        now = self.context.clock.now()
        if now - since >= LONGEST_STANDSTILL:
            return None
        return Wait(now + max(asked, (now - since) / 8), None)

    def asked_to_wait(self, answer: Answer | Stream) -> timedelta | None:
        """Return the wait that an answer asks for."""
        return retry_after(answer.headers.get("Retry-After"), now=self.context.clock.now())

    async def _patiently(self, send: Callable[[], Awaitable[Stream]], *, repeatable: bool) -> Stream:
        """Return the answer to the first try that neither breaks off nor meets a trouble that passes by itself."""
        for attempt in range(1, _TRIES):
            try:
                stream = await send()
            except TokenRenewed:
                continue
            except ProviderBusy as error:  # nothing was sent
                if not await self._slept(error.retry_after):
                    raise
                continue
            except ProviderUnreachable as error:
                may_repeat = repeatable or error.nothing_done
                if not may_repeat or not await self.wait_a_little(attempt):
                    raise
                continue
            if not (stream.status in _NOTHING_DONE or (repeatable and stream.status in _PASSING)):
                return stream
            if not await self.wait_a_little(attempt, self.asked_to_wait(stream)):
                return stream
            stream.close()
        return await send()

    async def _slept(self, wait: timedelta | None) -> bool:
        """Sleep, or return False if that is longer than what is left of the patience."""
        if wait is None or wait > self._patience:
            return False
        self._patience -= wait
        await self.context.clock.sleep(wait)
        return True


def _is_repeatable(method: str, sending: Sending) -> bool:
    return sending.get("repeatable", method in _REPEATABLE_METHODS)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
