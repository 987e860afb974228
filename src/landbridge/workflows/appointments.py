"""Workflows that start by themselves: at the hours of a schedule, and once when an account is connected.

Who has such a workflow on has an appointment: a row that says when it runs next. Rows are made by looking for whom
there is none yet, so that nothing is lost when a process ends between a sign-in, or a deployment, and what should
follow from it. Starting a run and moving its appointment is one transaction: of any number of workers, one starts it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import structlog
from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.errors import LandbridgeError, StoreFailed
from landbridge.store import appointments as store
from landbridge.store import runs as runs_store
from landbridge.store.appointments import AppointmentRow, Party
from landbridge.store.connections import UserRow
from landbridge.store.database import Database
from landbridge.store.runs import RunRow
from landbridge.workflows.definition import IntegrationEnabledTrigger, SchedulerTrigger
from landbridge.workflows.deployments import Deployed, Deployments, missing_settings
from landbridge.workflows.expressions import resolve
from landbridge.workflows.runs import Cause, Runs, Whose, run_id_of
from landbridge.workflows.schedule import Cron

log = structlog.get_logger(__name__)

LOOK_AGAIN: Final = timedelta(minutes=1)
"""After what time an appointment that could not be kept is tried again: its user lacked something, or we did."""

_AT_ONCE = 200
_LOOKED_FOR = 10_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """What comes of an appointment: perhaps a run, and when it is next; gone if nobody wants it any more."""

    row: AppointmentRow
    version_id: str = ""
    run: RunRow | None = None
    due_at: datetime | None = None
    is_gone: bool = False


class Appointments:
    """Makes appointments and keeps them. Any number of workers may do so at the same time."""

    def __init__(self, database: Database, deployments: Deployments, runs: Runs, clock: Clock) -> None:
        self._database = database
        self._deployments = deployments
        self._runs = runs
        self._clock = clock

    async def arrange(self) -> None:
        """Make the appointments that are missing, or that another version of the workflow made."""
        async with self._database.read() as tx:
            projects = await store.projects_with(tx, ("scheduler", "integrationEnabled"))
        for project_id in projects:
            try:
                await self._arrange_project(project_id)
            except StoreFailed:
                raise
            except Exception:  # the others' go on
                log.exception("a project's appointments cannot be made", project=project_id)

    async def keep(self) -> int:
        """Start what is due, and return how many runs that were."""
        started = 0
        while found := await self._due(now := self._clock.now()):
            kept = [await self._kept_or_later(row, party, now) for row, party in found]
            async with self._database.begin() as tx:
                runs = []
                for one in kept:
                    if one.is_gone:
                        await store.give_up(tx, one.row)
                    elif await store.move(tx, one.row, one.version_id, one.due_at) and one.run:
                        runs.append(one.run)
                await runs_store.insert_runs(tx, runs)
            started += len(runs)
        return started

    async def _arrange_project(self, project_id: str) -> None:
        for deployed in await self._deployments.deployed(project_id):
            if isinstance(deployed.plan.workflow.trigger, SchedulerTrigger | IntegrationEnabledTrigger):
                while await self._arrange(deployed) == _LOOKED_FOR:
                    pass

    async def _arrange(self, deployed: Deployed) -> int:
        """Make up to `_LOOKED_FOR` appointments, and return how many were missing.

        Some at a time, each of them only if it is still missing then, so that nobody has to wait long to write.
        """
        now = self._clock.now()
        async with self._database.read() as tx:
            missing = await store.unarranged(tx, deployed.workflow, now, most=_LOOKED_FOR)
        for start in range(0, len(missing), _AT_ONCE):
            async with self._database.begin() as tx:
                await store.take_turn(tx)
                some = missing[start : start + _AT_ONCE]
                found = await store.still_unarranged(tx, deployed.workflow, now, some)
                await store.put(tx, [_first(deployed, user, id_, now) for id_, user in found])
        return len(missing)

    async def _due(self, now: datetime) -> list[tuple[AppointmentRow, Party]]:
        async with self._database.read() as tx:
            return await store.due(tx, now, most=_AT_ONCE) if await store.is_any_due(tx, now) else []

    async def _kept_or_later(self, row: AppointmentRow, party: Party, now: datetime) -> _Kept:
        """Return what comes of an appointment; of one that cannot be kept, that it is tried again: others go on."""
        try:
            return await self._kept(row, party, now)
        except StoreFailed:
            raise
        except Exception:
            log.exception("an appointment cannot be kept", workflow=row.workflow_id, user=party.user.user_id)
            return _Kept(row, row.version_id, due_at=now + LOOK_AGAIN)

    async def _kept(self, row: AppointmentRow, party: Party, now: datetime) -> _Kept:
        project_id = party.connection.project_id
        deployed = {one.workflow.id: one for one in await self._deployments.deployed(project_id)}.get(row.workflow_id)
        if deployed is None or not deployed.is_on(party.configuration):
            return _Kept(row, is_gone=True)
        is_ready = (
            party.connection.status == "valid"
            and deployed.is_for(party.user)
            and not missing_settings(deployed, party.configuration)
        )
        match deployed.plan.workflow.trigger:
            case SchedulerTrigger() as trigger:
                cron, due = _cron(trigger, party.user), row.due_at or now
                run = self._at(deployed, party, _latest(cron, due, now)) if is_ready else None
                return _Kept(row, deployed.version.id, run, _next_after(cron, now))
            case IntegrationEnabledTrigger():
                if not is_ready:
                    return _Kept(row, deployed.version.id, due_at=now + LOOK_AGAIN)
                return _Kept(row, deployed.version.id, self._enabled(deployed, party))
            case _:
                return _Kept(row, is_gone=True)

    def _at(self, deployed: Deployed, party: Party, at: datetime) -> RunRow:
        return self._run(deployed, party, "scheduler", {"scheduledAt": at.isoformat()}, f"cron/{at.isoformat()}")

    def _enabled(self, deployed: Deployed, party: Party) -> RunRow:
        return self._run(deployed, party, "integrationEnabled", {}, f"enabled/{party.connection.id}")

    def _run(self, deployed: Deployed, party: Party, trigger: str, output: JsonValue, key: str) -> RunRow:
        whose = Whose(party.user, party.connection, party.configuration)
        trace_id = UUID(run_id_of(deployed, whose, key)).hex
        return self._runs.row(deployed, whose, Cause(trigger, output, trace_id, key))


def _first(deployed: Deployed, user: UserRow, configuration_id: str, now: datetime) -> AppointmentRow:
    trigger = deployed.plan.workflow.trigger
    due = _next_after(_cron(trigger, user), now) if isinstance(trigger, SchedulerTrigger) else now
    return AppointmentRow(deployed.workflow.id, configuration_id, deployed.version.id, due)


def _cron(trigger: SchedulerTrigger, user: UserRow) -> Cron:
    """Return a schedule in the user's time zone; in UTC if their metadata has none that there is."""
    try:
        zone = resolve(trigger.timezone, {"user": {"id": user.user_id, "metadata": user.meta}})
        return _parsed(trigger.cron, str(zone))
    except LandbridgeError as error:
        log.warning("a schedule is kept in UTC", project=user.project_id, user=user.user_id, reason=error.message)
        return _parsed(trigger.cron, "UTC")


# Many are due at the same time, by the same few schedules.
_parsed = lru_cache(1000)(Cron.parse)
_next_after = lru_cache(1000)(Cron.next_after)
_latest = lru_cache(1000)(Cron.latest)
