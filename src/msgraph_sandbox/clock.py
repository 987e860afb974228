"""The sandbox's time, which a test may move forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

FARTHEST = timedelta(days=366_000)


class Alarm:
    """Something that is to be done at a time of the sandbox."""

    def __init__(self, due: datetime, do: Callable[[], None]) -> None:
        self.due = due
        self.do = do
        self.timer: asyncio.TimerHandle | None = None


class Clock:
    """Tells the time in UTC: the machine's, plus what a test has added to it. It never goes back."""

    def __init__(self) -> None:
        # What was added to the machine's time.
        self.ahead = timedelta()
        self._alarms: set[Alarm] = set()

    def now(self) -> datetime:
        """Return the sandbox's present."""
        return datetime.now(UTC) + self.ahead

    def timestamp(self) -> float:
        """Return the sandbox's present in seconds since 1970."""
        return self.now().timestamp()

    def advance(self, by: timedelta) -> datetime:
        """Move the present forward and return it. It cannot go back: tokens and change logs rely on order."""
        if by < timedelta():
            raise ValueError("The sandbox's clock only moves forward.")
        if self.ahead + by > FARTHEST:
            raise ValueError("The sandbox's clock goes a thousand years ahead and no farther.")
        self.ahead += by
        for alarm in sorted(self._alarms, key=lambda alarm: alarm.due):
            self._wind(alarm)
        return self.now()

    def later(self, seconds: float, do: Callable[[], None]) -> Alarm:
        """Do something once that much of the sandbox's time has passed, be it that a test moves it forward."""
        alarm = Alarm(self.now() + timedelta(seconds=seconds), do)
        self._alarms.add(alarm)
        self._wind(alarm)
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Do not do it after all."""
        self._alarms.discard(alarm)
        if alarm.timer is not None:
            alarm.timer.cancel()

    async def wait(self, seconds: float) -> None:
        """Return once that much of the sandbox's time has passed."""
        reached = asyncio.Event()
        alarm = self.later(seconds, reached.set)
        try:
            await reached.wait()
        finally:
            self.cancel(alarm)

    def _wind(self, alarm: Alarm) -> None:
        if alarm not in self._alarms:
            return
        if alarm.timer is not None:
            alarm.timer.cancel()
        left = (alarm.due - self.now()).total_seconds()
        if left > 0:
            alarm.timer = asyncio.get_running_loop().call_later(left, self._wind, alarm)
            return
        self._alarms.discard(alarm)
        alarm.do()


def zulu(moment: datetime) -> str:
    """Return `2026-01-31T05:56:19Z`, the form that Graph writes with whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
