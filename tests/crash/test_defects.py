"""A run whose leg ends by a defect that is not its own goes on later, with what its steps gave."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.crash.conftest import EVERYWHERE, Forked
from tests.crash.doomed import Doom
from tests.crash.everything import Service
from tests.integrations.workflows.crew import Crew

from landbridge.store.database import engine_url
from landbridge.store.runs import FAILED, SUCCEEDED, RunRow
from landbridge.workflows.agenda import JOURNAL_KEPT

THREE_CALLS = """
name: Tell three times
trigger: {type: request}
steps:
  - {id: before, type: request, method: POST, url: "SERVICE/before/{{ run.id }}"}
  - {id: NAME, type: request, method: POST, url: "SERVICE/NAME/{{ run.id }}"}
  - {id: after, type: request, method: POST, url: "SERVICE/after/{{ run.id }}"}
"""


class Journal:
    """The durable engine's tables, which take nothing that some steps gave."""

    def __init__(self, url: str) -> None:
        self._is_sqlite = url.startswith("sqlite")
        self._engine = create_async_engine(engine_url(url.replace(".db", ".journal.db") if self._is_sqlite else url))

    async def refuse(self, step: str, legs: str = "%") -> None:
        when = f"WHEN (NEW.function_name LIKE '{step}%' AND NEW.workflow_uuid LIKE '{legs}')"
        if self._is_sqlite:
            body = "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            await self._do(f"CREATE TRIGGER no_{step} BEFORE INSERT ON operation_outputs {when} {body}")
            return
        body = "BEGIN RAISE EXCEPTION 'refused'; END"
        await self._do(f"CREATE FUNCTION no_{step}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        table = "dbos.operation_outputs FOR EACH ROW"
        await self._do(f"CREATE TRIGGER no_{step} BEFORE INSERT ON {table} {when} EXECUTE FUNCTION no_{step}()")

    async def _do(self, order: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(order))

    async def legs(self) -> int:
        table = "workflow_status" if self._is_sqlite else "dbos.workflow_status"
        async with self._engine.connect() as connection:
            return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())

    async def close(self) -> None:
        await self._engine.dispose()


@pytest.fixture
async def journal(crew: Crew) -> AsyncIterator[Journal]:
    journal = Journal(crew.place.settings.effective_database_url)
    yield journal
    await journal.close()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"] if EVERYWHERE else ["sqlite"], indirect=True)
async def test_a_run_that_met_a_defect_goes_on_with_what_its_steps_gave_or_fails_if_it_stays(
    crew: Crew, service: Service, journal: Journal, forked: Forked
) -> None:
    definition = THREE_CALLS.replace("SERVICE", service.url)
    forked(crew.place.settings, "unlucky")
    first = await crew.start(await crew.deploy(definition.replace("NAME", "first")))
    await crew.ended(first.id)  # now the journal's tables are there
    await journal.refuse("passing", legs="%/1")
    await journal.refuse("lasting")
    passing, lasting = [
        await crew.start(await crew.deploy(definition.replace("NAME", name))) for name in ("passing", "lasting")
    ]

    ended = await crew.ended(passing.id)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    assert list(await crew.steps(passing.id)) == ["before", "passing", "after"]
    assert _asked(service, passing) == {"before": 1, "passing": 2, "after": 1}
    given_up = await crew.ended(lasting.id)
    assert (given_up.state, "defect" in (given_up.error or {})["message"]) == (FAILED, True)
    assert _asked(service, lasting) == {"before": 1, "lasting": 2}


async def test_what_a_dead_worker_left_of_a_leg_that_is_over_is_not_kept(
    crew: Crew, service: Service, journal: Journal, forked: Forked
) -> None:
    deployed = await crew.deploy(THREE_CALLS.replace("SERVICE", service.url).replace("NAME", "it"))
    dying = forked(crew.place.settings, "dying", Doom("outcome committed", 1))
    run = await crew.start(deployed)
    assert await asyncio.to_thread(dying.ended, 60) == -signal.SIGKILL
    assert (await crew.row(run.id)).state == SUCCEEDED
    next_one = forked(crew.place.settings, "next")
    await crew.ended((await crew.start(deployed)).id)
    assert await journal.legs() == 2
    next_one.jump(JOURNAL_KEPT + timedelta(minutes=1))
    await crew.until(lambda: _is_empty(journal))


async def _is_empty(journal: Journal) -> bool:
    return await journal.legs() == 0


def _asked(service: Service, run: RunRow) -> Counter[str]:
    return Counter(path.split("/")[1] for path, _ in service.asked if path.endswith(run.id))
