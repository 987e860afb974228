"""A worker's share of the runs: what is not begun holds nobody up, and no newcomer is taken for dead."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from tests.clock import START
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.clock import SystemClock
from landbridge.store import runs
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow
from landbridge.store.runs import Limits, RunRow, WorkerRow
from landbridge.workflows.agenda import Agenda


class Engine:
    """Begins nothing; the first runs that it is given it cannot even take."""

    def __init__(self, *, broken: int) -> None:
        self._broken = broken
        self.begun: list[str] = []
        self.has_begun = asyncio.Event()

    async def start(self, run_id: str, _leg: int) -> None:
        if self._broken:
            self._broken -= 1
            raise RuntimeError("The journal cannot be written.")
        self.begun.append(run_id)
        self.has_begun.set()

    async def take_up(self, run_id: str, _leg: int) -> str:
        self.begun.append(run_id)
        return "resumed"

    async def unfinished(self, _before: Any) -> list[Any]:
        return []

    async def forget(self, _before: Any, _legs: Any) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


class SlowEngine(Engine):
    """Begins to begin, and comes to no end of it."""

    async def start(self, run_id: str, leg: int) -> None:
        await super().start(run_id, leg)
        await asyncio.Event().wait()


class Legs:
    """Nothing is walked here."""

    async def show(self) -> None:
        """Nothing is under way."""


def agenda(database: Database, engine: Engine, *, at_once: int = 1) -> Agenda:
    async def opened(*_given: Any) -> Any:
        return engine

    limits = Limits(per_project=10, per_connection=10)
    legs: Any = Legs()
    return Agenda(database, SystemClock(), legs, opened, cancelling=set(), at_once=at_once, limits=limits)


async def put(database: Database, *many: RunRow) -> None:
    async with database.begin() as tx:
        await runs.insert_runs(tx, many)


async def test_a_run_that_cannot_be_begun_leaves_its_place_to_the_next(
    database: Database, project: ProjectRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landbridge.workflows.agenda.DRAINED_WITHIN", timedelta(0))
    await put(database, rows.run(project), rows.run(project))
    engine = Engine(broken=1)

    working = asyncio.create_task(agenda(database, engine).run())
    async with asyncio.timeout(20):
        await engine.has_begun.wait()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def test_a_worker_that_ends_does_not_wait_for_what_it_has_not_begun(
    database: Database, project: ProjectRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landbridge.workflows.agenda.DRAINED_WITHIN", timedelta(days=1))
    await put(database, rows.run(project))
    engine = SlowEngine(broken=0)

    working = asyncio.create_task(agenda(database, engine).run())
    async with asyncio.timeout(20):
        await engine.has_begun.wait()
    working.cancel()
    ended, _ = await asyncio.wait({working}, timeout=20)

    assert ended


async def test_a_worker_that_comes_and_claims_between_two_looks_is_not_taken_for_dead(
    opened: Opener, database: Database, project: ProjectRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, engine = rows.run(project), Engine(broken=0)
    await put(database, run)
    looks = 0

    def between(look: Any) -> Any:
        async def looked(tx: Any) -> Any:
            nonlocal looks
            looks += 1
            seen = await look(tx)
            if looks == 1:
                async with opened().begin() as theirs:
                    await runs.insert_worker(theirs, WorkerRow("newcomer", "host", 0, START))
                    await runs.claim(theirs, "newcomer", START, most=1, limits=Limits(10, 10))
            return seen

        return looked

    for look in (runs.workers_with_runs, runs.all_workers):
        monkeypatch.setattr(runs, look.__name__, between(look))

    await agenda(database, engine)._look_after_others()

    async with database.read() as tx:
        now = await runs.run(tx, run.id)
    assert now
    assert (looks, now.worker_id, engine.begun) == (2, "newcomer", [])
