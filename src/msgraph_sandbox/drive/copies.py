"""Copies in the background: each is a job that somebody may ask about.

https://learn.microsoft.com/graph/long-running-actions-overview
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from msgraph_sandbox.clock import Alarm, Clock
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused, not_found


@dataclass(slots=True)
class Job:
    """One copy on its way."""

    started: float
    seconds: float
    result: Item | None = None
    failure: GraphRefused | None = None
    alarm: Alarm | None = None

    def percentage(self, now: float) -> float:
        """Return how much seems done."""
        return min(99.0, round((now - self.started) / self.seconds * 100, 1)) if self.seconds else 99.0


class Copies:
    """All copies by the name of their monitor."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    def start(self, seconds: float, work: Callable[[], Item]) -> str:
        """Start a copy that takes `seconds` and return the name of its monitor."""
        job = Job(self._clock.timestamp(), seconds)
        name = secrets.token_hex(16)
        self._jobs[name] = job

        def finish() -> None:
            try:
                job.result = work()
            except GraphRefused as refused:
                job.failure = refused

        job.alarm = self._clock.later(seconds, finish)
        return name

    def clear(self) -> None:
        """Forget every copy; those on their way are given up."""
        for job in self._jobs.values():
            if job.alarm is not None:
                self._clock.cancel(job.alarm)
        self._jobs.clear()

    def find(self, name: str) -> Job:
        """Return the copy of that name, or refuse with 404."""
        job = self._jobs.get(name)
        if job is None:
            raise not_found("The operation was not found.")
        return job
