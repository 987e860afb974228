"""Keeps a child process running: started again when it ends, more slowly each time, and stopped with its parent."""

import asyncio
import contextlib
from datetime import timedelta

import structlog

from landbridge.clock import Clock

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=500), timedelta(seconds=30)
_SETTLED = timedelta(minutes=1)
_GRACE_SECONDS = 20


class Supervisor:
    """Runs one command for as long as `run` does."""

    def __init__(self, command: list[str], clock: Clock) -> None:
        self._command = command
        self._clock = clock

    async def run(self) -> None:
        """Keep the child running until cancelled, then let it finish."""
        failures = 0
        while True:
            started_at = self._clock.now()
            code = await self._once()
            failures = 0 if self._clock.now() - started_at > _SETTLED else failures + 1
            pause = min(_FIRST_PAUSE * 2 ** min(failures, 10), _LONGEST_PAUSE)
            log.warning("the worker ended and is started again", exit_code=code, in_seconds=pause.total_seconds())
            await self._clock.sleep(pause)

    async def _once(self) -> int:
        """Run the child to its end. It reads our end of its standard input to know that we are still there."""
        child = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                await _stop(child)


async def _stop(child: asyncio.subprocess.Process) -> None:
    child.terminate()
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
