"""Whatever a function tries, it is bounded and reported, the caller lives, and the next call works."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from landbridge.errors import FunctionFailed, ProviderUnreachable
from landbridge.workflows.jail import LARGEST_LOGS, LARGEST_VALUE, MOST_FETCHES, Fetch, FunctionResult, Jail, Limits

DOUBLE = "def run(parameters):\n    return parameters['number'] * 2"
SHORT = Limits(seconds=0.3, memory_mb=32)
ROOMY = Limits(seconds=20, memory_mb=32)
GRACE = 10.0
"""Seconds beyond its limit that a call may take on a busy machine: 1 s until it is killed, and a new process."""


@pytest.fixture
async def jail() -> AsyncIterator[Jail]:
    async with Jail(processes=2) as jail:
        yield jail


async def fails(
    jail: Jail, code: str, parameters: JsonValue = None, fetch: Fetch | None = None, limits: Limits = ROOMY
) -> FunctionFailed:
    """Return how the function fails, having seen that it did so in time and that the next call works."""
    started = time.monotonic()
    with pytest.raises(FunctionFailed) as caught:
        await jail.run(code, parameters, limits, fetch)
    assert time.monotonic() - started < limits.seconds + GRACE
    assert (await jail.run(DOUBLE, {"number": 21})).result == 42
    return caught.value


async def test_a_function_gets_parameters_and_gives_its_result_and_what_it_printed(jail: Jail) -> None:
    code = "import re\ndef run(p):\n    print('look', 1)\n    return [re.sub('a', 'b', p['text']), None, 1.5]"
    assert await jail.run(code, {"text": "a☃"}) == FunctionResult(["b☃", None, 1.5], "look 1\n")


async def test_a_function_may_be_async(jail: Jail) -> None:
    code = (
        "import asyncio\nasync def one(n):\n    await asyncio.sleep(1000)\n    return n\n"
        "async def run(parameters):\n    return await asyncio.gather(one(1), one(2))"
    )
    assert (await jail.run(code, None)).result == [1, 2]


@pytest.mark.parametrize(
    ("code", "line", "message"),
    [
        ("def run(parameters):\n\n    return 1 / 0", 3, "Line 3: ZeroDivisionError: division by zero"),
        ("def other():\n    raise ValueError('no')\ndef run(p):\n    return other()", 2, "Line 2: ValueError: no"),
        ("x = 1\ndef run(p):\n  return (1 +)", 3, "Line 3: SyntaxError: Expected an expression"),
        ("def run(p):\n    raise TimeoutError('mine')", 2, "Line 2: TimeoutError: mine"),
        ("def run(p):\n    return {1, 2}", None, "TypeError: Object of type set is not JSON serializable"),
        ("def run(p):\n    return float('nan')", None, "ValueError: Out of range float values are not JSON compliant"),
        ("def go(p):\n    return 1", None, "NameError: name 'run' is not defined"),
        ("def run(p):\n    return (1", 2, "Line 2: SyntaxError: the code ends in the midst"),
        ("def run(p):\n    return 1\nif True:", 3, "Line 3: SyntaxError: the code ends in the midst"),
        ('def run(p):\n    return """1', 2, "SyntaxError"),
    ],
)
async def test_what_a_function_raises_comes_with_its_line(
    jail: Jail, code: str, line: int | None, message: str
) -> None:
    error = await fails(jail, code)
    assert error.code == "function_failed"
    assert message in error.message
    assert error.meta["line"] == line


async def test_what_was_printed_before_an_error_comes_with_it(jail: Jail) -> None:
    error = await fails(jail, "def run(p):\n    print('got here')\n    return p['missing']", {})
    assert error.meta["logs"] == "got here\n"


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("def run(p):\n    while True: pass", "limits.seconds"),
        (
            "def run(p):\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass",
            "limits.seconds",
        ),
        ("def run(p):\n    return sum(range(10**15))", "limits.seconds"),
        ("def run(p):\n    x = 10**10\n    for i in range(40): x = x * x\n    return 1", "limits.seconds"),
        ("while True: pass", "limits.seconds"),
        ("def run(p):\n    return len('a' * 10**9)", "limits.memoryMb"),
        ("def run(p):\n    x = []\n    while True: x.append('abc' * 1000)", "limits.memoryMb"),
        (
            "def run(p):\n    x = []\n    try:\n        while True: x.append('abc' * 1000)\n    except: return 1",
            "limits.",
        ),
        ("def run(p):\n    return 2 ** 2 ** 40", "limits.memoryMb"),
        ("def run(p):\n    return f'{1:>1000000000}'", "limits.memoryMb"),
        ("def run(p):\n    return 'x' * (20 << 20)", "limits.memoryMb"),
        ("def run(p):\n    return run(p)", "calls itself"),
        ("def run(p):\n    x = []\n    for i in range(100000): x = [x]\n    return x", "nests its data"),
        ("def run(p):\n    return 'x' * (9 << 20)", "result is larger than 8 MiB"),
    ],
)
async def test_a_function_that_wants_too_much_is_stopped_and_told_which_limit_it_reached(
    jail: Jail, code: str, limit: str
) -> None:
    error = await fails(jail, code, limits=SHORT if limit == "limits.seconds" else ROOMY)
    assert error.code == "function_limit"
    assert limit in error.message


@pytest.mark.parametrize(
    "pattern", [r"re.match('(a+)+$', text)", r"re.match('(?=(a+)+b)c', text)", r"re.match(r'(a|a)*b(?=c)\1', text)"]
)
async def test_a_catastrophic_pattern_ends_in_time(jail: Jail, pattern: str) -> None:
    code = f"import re\ndef run(text):\n    {pattern}\n    return 'ended'"
    started = time.monotonic()
    (outcome,) = await asyncio.gather(jail.run(code, "a" * 5000 + "c", SHORT), return_exceptions=True)
    assert "ended" in str(outcome) or "backtracking" in str(outcome)
    assert time.monotonic() - started < SHORT.seconds + GRACE


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd').read()",
        "open('/tmp/x', 'w').write('x')",
        "__import__('os').system('id')",
        "__builtins__",
        "run.__globals__",
        "run.__code__",
        "().__class__.__bases__[0].__subclasses__()",
        "[x for x in (1).__class__.__mro__]",
        "type(run).__init__.__globals__",
        "fetch('http://localhost')",
        "input()",
        "breakpoint()",
        "compile('1', '', 'eval').co_code",
        "getattr(run, '__glo' + 'bals__')",
    ],
)
async def test_a_function_reaches_nothing_by_name(jail: Jail, attempt: str) -> None:
    error = await fails(jail, f"def run(p):\n    return str({attempt})")
    assert error.meta["line"] == 2


@pytest.mark.parametrize(
    ("module", "attempt"),
    [
        *((module, "1") for module in ("subprocess", "socket", "ctypes", "urllib.request", "http.client", "shutil")),
        *((module, "1") for module in ("importlib", "threading", "multiprocessing", "signal", "resource", "pickle")),
        ("os", "os.environ['PATH']"),
        ("os", "os.getenv('PATH')"),
        ("os", "os.system('id')"),
        ("os", "os.fork()"),
        ("os", "os.listdir('/')"),
        ("os", "os.execv('/bin/sh', [])"),
        ("pathlib", "pathlib.Path('/etc/passwd').read_text()"),
        ("pathlib", "list(pathlib.Path('/').iterdir())"),
        ("sys", "sys.modules['os'].system('id')"),
        ("sys", "sys._getframe().f_back"),
    ],
)
async def test_a_function_reaches_nothing_by_import(jail: Jail, module: str, attempt: str) -> None:
    await fails(jail, f"import {module}\ndef run(p):\n    return str({attempt})")


async def test_what_is_printed_is_kept_up_to_a_bound(jail: Jail) -> None:
    done = await jail.run("def run(p):\n    for i in range(2000): print('x' * 99)\n    return 'done'", None)
    assert done.result == "done"
    assert done.logs.startswith("x" * 99 + "\n")
    assert done.logs.endswith(f"… and {2000 * 100 - LARGEST_LOGS} characters more")
    error = await fails(jail, "def run(p):\n    while True: print('x' * 1000)", limits=SHORT)
    assert len(error.meta["logs"]) < LARGEST_LOGS + 100


async def test_large_parameters_and_results_pass_up_to_the_limit(jail: Jail) -> None:
    text = "x" * (LARGEST_VALUE - 2)
    assert (await jail.run("def run(p):\n    return p", text, Limits(seconds=30, memory_mb=128))).result == text
    error = await fails(jail, DOUBLE, text + "x")
    assert (error.code, "parameters are larger" in error.message) == ("function_limit", True)


@pytest.mark.parametrize("levels", [300, 100_000])
async def test_parameters_nested_without_end_are_refused(jail: Jail, levels: int) -> None:
    nested: JsonValue = []
    for _ in range(levels):
        nested = [nested]
    assert (await fails(jail, DOUBLE, nested)).code == "function_limit"


async def test_calls_on_fewer_processes_keep_their_results_apart(jail: Jail) -> None:
    code = "state = []\ndef run(n):\n    state.append(n)\n    print(n)\n    return [state, sum(range(20000))]"
    results = await asyncio.gather(*(jail.run(code, n) for n in range(8)))
    assert results == [FunctionResult([[n], 199990000], f"{n}\n") for n in range(8)]


async def test_a_call_leaves_nothing_behind_for_the_next_one(jail: Jail) -> None:
    for code in ("secret = 1\ndef run(p):\n    return 1", "import json\njson.secret = 1\ndef run(p):\n    return 1"):
        with pytest.raises(FunctionFailed):
            await jail.run(code + "\nraise ValueError", None)
    for _ in range(4):
        assert "NameError" in (await fails(jail, "def run(p):\n    return secret")).message


class Peers:
    """The jail's processes, as the machine sees them."""

    @staticmethod
    def of(parent: int) -> list[int]:
        return [
            int(place.parent.name)
            for place in Path("/proc").glob("[0-9]*/stat")
            if (fields := _fields(place)) and fields[0] == "monty" and int(fields[2]) == parent
        ]


def _fields(place: Path) -> list[str]:
    try:
        text = place.read_text()
    except OSError:  # it ended meanwhile
        return []
    return [text.partition("(")[2].rpartition(")")[0], *text.rpartition(")")[2].split()]


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


@needs_proc
async def test_a_process_that_is_killed_in_the_midst_of_a_call_is_replaced() -> None:
    async with Jail(fetching=1) as jail:
        began: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def fetch(*_: object) -> JsonValue:
            began.set_result(None)
            return {}

        code = "def run(p):\n    fetch('http://example.com')\n    while True: pass"
        call = asyncio.create_task(jail.run(code, None, Limits(seconds=20), fetch))
        await began
        (process,) = Peers.of(os.getpid())
        os.kill(process, 9)
        with pytest.raises(FunctionFailed, match="ended from outside"):
            await call
        assert (await jail.run(DOUBLE, {"number": 21}, fetch=fetch)).result == 42
        assert Peers.of(os.getpid()) != [process]


@needs_proc
async def test_a_call_that_nobody_waits_for_any_more_ends_with_its_process() -> None:
    async with Jail(fetching=1) as jail:
        began: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def fetch(*_: object) -> JsonValue:
            began.set_result(None)
            return {}

        code = "def run(p):\n    fetch('http://example.com')\n    while True: pass"
        call = asyncio.create_task(jail.run(code, None, Limits(seconds=30), fetch))
        await began
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        started = time.monotonic()
        assert (await jail.run(DOUBLE, {"number": 21}, fetch=fetch)).result == 42
        assert time.monotonic() - started < SHORT.seconds + GRACE


@needs_proc
async def test_a_function_s_process_has_given_up_what_it_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_VAULT_KEYS", "secret")
    ours = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(ours, True)
    async with Jail(processes=1) as jail:
        await jail.run(DOUBLE, {"number": 1})
        (process,) = Peers.of(os.getpid())
        proc = Path(f"/proc/{process}")
        assert proc.joinpath("environ").read_bytes() == b""
        assert {int(fd.name) for fd in proc.joinpath("fd").iterdir()} == {0, 1, 2}
        limits = {line[:25].strip(): line[26:].split()[0] for line in proc.joinpath("limits").read_text().splitlines()}
        assert limits["Max address space"] == str(1 << 30)
        assert (limits["Max file size"], limits["Max core file size"]) == ("0", "0")
        status = dict(line.split(":\t", 1) for line in proc.joinpath("status").read_text().splitlines())
        assert status["NoNewPrivs"] == "1"
        if os.geteuid() == 0:
            assert status["Uid"].split() == ["65534"] * 4
            assert status["Groups"].strip() == ""
    os.close(ours)
    assert Peers.of(os.getpid()) == []


@needs_proc
def test_functions_end_with_the_process_that_asked_for_them() -> None:
    """Also in an operation that the interpreter cannot interrupt, and so would not see that nobody listens."""
    code = "def run(p):\n    fetch('u')\n    x = 10**10\n    for i in range(60): x = x * x"
    program = (
        "import asyncio\nfrom landbridge.workflows.jail import Jail, Limits\n"
        "async def fetch(*_): print('began', flush=True); return {}\n"
        "async def main():\n  async with Jail(1) as jail:\n"
        f"    await jail.run({code!r}, None, Limits(30, 256), fetch)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"began\n"
        (process,) = Peers.of(caller.pid)
        watched = os.pidfd_open(process)
        caller.kill()
    ended, _, _ = select.select([watched], [], [], 10)
    os.close(watched)
    assert ended


@needs_proc
async def test_an_installation_without_functions_pays_nothing() -> None:
    program = (
        "import asyncio, sys\nfrom landbridge.workflows.jail import Jail\n"
        "async def main():\n  async with Jail(): pass\n"
        "asyncio.run(main())\nprint('pydantic_monty' in sys.modules)"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"


async def test_functions_that_wait_for_others_hold_up_nobody_who_only_computes(jail: Jail) -> None:
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def fetch(*_: object) -> JsonValue:
        asked.release()
        await may_answer.wait()
        return {}

    calls = [
        asyncio.create_task(jail.run("def run(p):\n    return fetch('http://a')", None, fetch=fetch)) for _ in "abc"
    ]
    for _ in calls:
        await asked.acquire()
    assert (await jail.run(DOUBLE, {"number": 21})).result == 42
    may_answer.set()
    assert [done.result for done in await asyncio.gather(*calls)] == [{}] * 3


async def test_fetch_is_there_only_when_it_is_given(jail: Jail) -> None:
    asked: list[object] = []

    async def fetch(url: str, method: str, headers: Mapping[str, str], body: JsonValue) -> JsonValue:
        asked.append((url, method, dict(headers), body))
        return {"statusCode": 200, "headers": {}, "body": "hello"}

    code = (
        "def run(p):\n    fetch('http://a')\n    return fetch('http://b', 'POST', headers={'X': '1'}, body=[1])['body']"
    )
    assert (await jail.run(code, None, fetch=fetch)).result == "hello"
    assert asked == [("http://a", "GET", {}, None), ("http://b", "POST", {"X": "1"}, [1])]
    assert "NameError" in (await fails(jail, code)).message


async def test_a_function_can_catch_that_a_fetch_failed(jail: Jail) -> None:
    async def fetch(*_: object) -> JsonValue:
        raise ProviderUnreachable("Nobody answers.")

    code = "def run(p):\n    try:\n        fetch('http://a')\n    except OSError as error:\n        return str(error)"
    assert (await jail.run(code, None, fetch=fetch)).result == "Nobody answers."
    assert "Line 2: OSError: Nobody answers." in (await fails(jail, "def run(p):\n    fetch('u')", fetch=fetch)).message


@pytest.mark.parametrize("arguments", ["", "1", "'u', 2", "'u', 'GET', 3", "'u', headers={1: 2}", "'u', body={1, 2}"])
async def test_a_fetch_with_odd_arguments_is_the_function_s_mistake(jail: Jail, arguments: str) -> None:
    asked = []

    async def fetch(*given: object) -> JsonValue:
        asked.append(given)
        return {}

    error = await fails(jail, f"def run(p):\n    fetch({arguments})", fetch=fetch)
    assert ("Line 2: TypeError" in error.message, asked) == (True, [])


async def test_fetches_are_counted_also_when_the_function_catches_the_refusal(jail: Jail) -> None:
    count = 0

    async def fetch(*_: object) -> JsonValue:
        nonlocal count
        count += 1
        return {}

    code = "def run(p):\n    for i in range(30):\n        try: fetch('u')\n        except Exception: pass\n    return 1"
    error = await fails(jail, code, fetch=fetch)
    assert (error.code, "`fetch`" in error.message, count) == ("function_limit", True, MOST_FETCHES)


async def test_a_jail_serves_callers_on_several_event_loops(jail: Jail) -> None:
    results = []

    def elsewhere() -> None:
        async def fetch(*_: object) -> JsonValue:
            return threading.current_thread().name

        results.append(asyncio.run(jail.run("def run(p):\n    return fetch('u')", None, fetch=fetch)).result)

    threads = [threading.Thread(target=elsewhere, name=f"loop {n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(map(str, results)) == ["loop 0", "loop 1", "loop 2"]
