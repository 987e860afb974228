"""Copies in the background: each is a job that somebody may ask about.

https://learn.microsoft.com/graph/long-running-actions-overview
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused, not_found


@dataclass(slots=True)
class Job:
    """One copy on its way."""

    started: float
    seconds: float
    result: Item | None = None
    failure: GraphRefused | None = None

    def percentage(self, now: float) -> float:
        """Return how much seems done."""
        return min(99.0, round((now - self.started) / self.seconds * 100, 1)) if self.seconds else 99.0


@dataclass(slots=True)
class Copies:
    """All copies by the name of their monitor."""

    jobs: dict[str, Job] = field(default_factory=dict)

    def start(self, seconds: float, work: Callable[[], Item]) -> str:
        """Start a copy that takes `seconds` and return the name of its monitor."""
        loop = asyncio.get_running_loop()
        job = Job(loop.time(), seconds)
        name = secrets.token_hex(16)
        self.jobs[name] = job

        def finish() -> None:
            try:
                job.result = work()
            except GraphRefused as refused:
                job.failure = refused

        if seconds:
            loop.call_later(seconds, finish)
        else:
            finish()
        return name

    def find(self, name: str) -> Job:
        """Return the copy of that name, or refuse with 404."""
        job = self.jobs.get(name)
        if job is None:
            raise not_found("The operation was not found.")
        return job
