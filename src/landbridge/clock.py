"""Now, and waiting for later: real, or a test's."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where every room asks for the time, so that a test can move it."""

    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return once `duration` has passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        """Return once `duration` has passed."""
        await asyncio.sleep(duration.total_seconds())
