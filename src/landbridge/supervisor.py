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
_REMEDY = (
    "Requests are answered meanwhile, but no background work is done. Let this machine start more processes (memory, "
    "`ulimit -u`, the unit's TasksMax), and see that Landbridge is still installed where it was."
)


class Supervisor:
    """Runs one command for as long as `run` does."""

    def __init__(self, command: list[str], clock: Clock) -> None:
        self._command = command
        self._clock = clock
        self._is_leaving = False

    def leave(self) -> None:
        """Start the child no more: this process is about to end, and whoever asked it to may have asked both."""
        self._is_leaving = True

    async def run(self) -> None:
        """Keep the child running until cancelled, then let it finish; or until it ends after `leave`."""
        failures = 0
        while True:
            started_at = self._clock.now()
            ended = await self._once()
            if self._is_leaving:
                return
            failures = 0 if self._clock.now() - started_at > _SETTLED else failures + 1
            pause = min(_FIRST_PAUSE * 2 ** min(failures, 10), _LONGEST_PAUSE)
            _tell(ended, pause)
            await self._clock.sleep(pause)

    async def _once(self) -> int | OSError:
        """Run the child to its end and return its exit code, or why it cannot be started.

        It reads our end of its standard input to know that we are still there.
        """
        try:
            child = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
        except OSError as error:  # a machine that is out of processes or memory now may have some again
            return error
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                await _stop(child)


def _tell(ended: int | OSError, pause: timedelta) -> None:
    seconds = pause.total_seconds()
    if isinstance(ended, OSError):
        log.error("the worker cannot be started", error=str(ended), remedy=_REMEDY, in_seconds=seconds)
    else:
        log.warning("the worker ended and is started again", exit_code=ended, in_seconds=seconds)


async def _stop(child: asyncio.subprocess.Process) -> None:
    child.terminate()
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
