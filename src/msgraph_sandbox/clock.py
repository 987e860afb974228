"""The sandbox's time, which a test may move forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FARTHEST = timedelta(days=366_000)


class Clock:
    """Tells the time in UTC: the machine's, plus what a test has added to it. It never goes back."""

    def __init__(self) -> None:
        # What was added to the machine's time.
        self.ahead = timedelta()

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
        return self.now()


def zulu(moment: datetime) -> str:
    """Return `2026-01-31T05:56:19Z`, the form that Graph writes with whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
