"""Time's way in: what is done because its hour has come, and not because anybody asked."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from landbridge.clock import Clock
from landbridge.connections.tokens import Tokens
from landbridge.errors import LandbridgeError
from landbridge.files import Files
from landbridge.store import checkpoints, projects, runs, sign_ins
from landbridge.store.database import Database
from landbridge.workflows.agenda import Agenda
from landbridge.workflows.appointments import Appointments
from landbridge.workflows.retention import Retention

log = structlog.get_logger(__name__)

REFRESH_EVERY = timedelta(seconds=30)
CLEAN_EVERY = timedelta(minutes=10)

ARRANGE_EVERY = timedelta(seconds=2)
KEEP_EVERY = timedelta(seconds=1)
"""How often a worker looks for workflows that start by themselves: whether one is new, and whether one is due."""

LEFTOVERS_KEPT = timedelta(days=30)
"""How long after the last writing a file or a checkpoint is kept that no run needs and none has deleted."""


class Worker:
    """The background work: runs, and workflows that start by themselves; tokens refreshed ahead of their end, idle
    accounts kept alive; expired things deleted.

    Any number may run side by side: a refresh is leased, and deleting twice is deleting once.
    """

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        files: Files,
        agenda: Agenda,
        appointments: Appointments,
        retention: Retention,
        clock: Clock,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._files = files
        self._agenda = agenda
        self._appointments = appointments
        self._retention = retention
        self._clock = clock

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._database.watch())
            tasks.create_task(self._agenda.run())
            tasks.create_task(every(ARRANGE_EVERY, self._appointments.arrange, self._clock))
            tasks.create_task(every(KEEP_EVERY, self._appointments.keep, self._clock))
            tasks.create_task(every(REFRESH_EVERY, self._refresh, self._clock))
            tasks.create_task(every(CLEAN_EVERY, self.clean, self._clock))
            tasks.create_task(every(CLEAN_EVERY, self._retention.clear, self._clock))

    async def _refresh(self) -> None:
        if refreshed := await self._tokens.renew_due():
            log.info("tokens refreshed ahead", count=refreshed)

    async def clean(self) -> None:
        """Delete sign-ins, nonces, short-lived keys and news whose time is over, and what runs left behind."""
        now = self._clock.now()
        async with self._database.begin() as tx:
            await sign_ins.delete_expired(tx, now)
            await projects.delete_expired_signing_keys(tx, now)
            await checkpoints.delete_old_checkpoints(tx, now - LEFTOVERS_KEPT)
        await self._database.drop_old_news()
        async with self._database.read() as tx:
            needed = await runs.begun_and_uncleared(tx, now - LEFTOVERS_KEPT)
        await self._files.sweep(now - LEFTOVERS_KEPT, needed)


async def every(interval: timedelta, job: Callable[[], Awaitable[object]], clock: Clock) -> None:
    """Do a job again and again, a little irregularly, so that many processes do not do it at the same moment.

    A failure is logged and the job tried again at its next time.
    """
    while True:
        await clock.sleep(interval * random.uniform(0.8, 1.2))  # noqa: S311 - spreads work, hides nothing
        try:
            await job()
        except LandbridgeError as error:
            log.warning("background work failed", job=job.__name__, error=error.code, reason=error.message)
