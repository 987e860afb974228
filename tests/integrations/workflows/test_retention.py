"""What is kept of runs that are over, and for how long; days go by in a jump."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.integrations.workflows.crew import Crew

from landbridge.errors import NotFound
from landbridge.store.runs import SUCCEEDED
from landbridge.store.tables import run_steps, runs
from landbridge.workflows.retention import Retention

DAY = timedelta(days=1)

FETCH_AND_SAVE = """
name: Take a file, once for each of two
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: [1, 2]
    steps:
      - id: inner
        type: fanOut
        over: [1, 2]
        steps: [{id: nothing, type: function, code: "def run(parameters): return 1"}]
  - id: fetch
    type: action
    action: get_file
    input: {fileId: "{{ trigger.request.body.id }}"}
"""


def retention(crew: Crew, days: int = 90) -> Retention:
    house = crew.place.house
    return Retention(house.database, house.workbench, house.clock, timedelta(days=days))


def kept_files(crew: Crew) -> int:
    return sum(file.is_file() for file in (crew.place.settings.data_dir / "files").rglob("*"))


async def number_of(crew: Crew, table: Any) -> int:  # Any: a table
    async with crew.place.house.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


async def a_run_with_a_file(crew: Crew) -> str:
    item = (await crew.person.upload("a.txt", b"kept for a day")).json["output"]
    run = await crew.start(await crew.deploy(FETCH_AND_SAVE), {"request": {"body": {"id": item["id"]}}})
    ended = await crew.ended(run.id)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    return run.id


async def test_files_of_a_run_are_deleted_a_day_after_it_is_over(crew: Crew) -> None:
    run_id = await a_run_with_a_file(crew)
    assert kept_files(crew) == 1

    crew.place.clock.jump(DAY - timedelta(minutes=5))
    await retention(crew).clear()
    assert kept_files(crew) == 1

    crew.place.clock.jump(timedelta(minutes=6))
    await asyncio.gather(*(retention(crew).clear() for _ in range(4)))
    await retention(crew).clear()
    assert kept_files(crew) == 0
    assert (await crew.row(run_id)).state == SUCCEEDED
    assert await crew.steps(run_id)


async def test_history_is_deleted_after_as_many_days_as_the_operator_wants_with_all_that_belongs_to_it(
    crew: Crew,
) -> None:
    run_id = await a_run_with_a_file(crew)
    assert await number_of(crew, runs) == 7
    assert await number_of(crew, run_steps) > 0

    crew.place.clock.jump(7 * DAY - timedelta(minutes=5))
    await retention(crew, 7).clear()
    assert await number_of(crew, runs) == 7

    crew.place.clock.jump(timedelta(minutes=6))
    await retention(crew, 7).clear()
    assert (await number_of(crew, runs), await number_of(crew, run_steps), kept_files(crew)) == (0, 0, 0)
    with pytest.raises(NotFound):
        await crew.row(run_id)


async def test_what_is_not_over_is_kept_however_long_it_takes(crew: Crew) -> None:
    run = await crew.start(
        await crew.deploy(
            "{name: Wait, trigger: {type: request}, steps: [{id: wait, type: delay, value: 300, unit: DAYS}]}"
        )
    )

    async def waits() -> bool:
        return (await crew.row(run.id)).waits_for == "delay"

    await crew.until(waits)
    crew.place.clock.jump(200 * DAY)
    await retention(crew, 7).clear()
    assert (await crew.row(run.id)).waits_for == "delay"
