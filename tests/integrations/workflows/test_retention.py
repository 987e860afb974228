"""What is kept of runs that are over, and for how long; days go by in a jump."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select
from tests.integrations.workflows.crew import Crew

from landbridge.app import worker_of
from landbridge.errors import NotFound
from landbridge.store.runs import SUCCEEDED, WAITING
from landbridge.store.tables import run_steps, runs
from landbridge.workflows.jail import Jail
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
    return Retention(house.database, house.workbench, house.large_values, house.clock, timedelta(days=days))


def kept_files(crew: Crew) -> int:
    return sum(file.is_file() for file in (crew.place.settings.data_dir / "files").rglob("*"))


async def clean(crew: Crew) -> None:
    """Do what a worker does now and then about what is no longer needed."""
    async with Jail() as jail:
        await worker_of(crew.place.house, jail).clean()
    await retention(crew).clear()


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


async def test_large_values_are_deleted_with_their_run_and_what_no_row_refers_to_before(crew: Crew) -> None:
    definition = "{name: Long, trigger: {type: request}, steps: [{id: long, type: function, code: %r}]}"
    deployed = await crew.deploy(definition % "def run(parameters): return 'so long ' * 3000")
    run, lost = [await crew.ended((await crew.start(deployed)).id) for _ in range(2)]
    house = crew.place.house
    assert kept_files(crew) == 2
    await house.files.of_history(crew.project, lost.id).clear()
    with pytest.raises(NotFound, match="is gone"):
        await house.large_values.whole(lost, "long", "output")
    await house.files.of_history(crew.project, run.id).save(
        "x", "text/plain", b"by one who died before the row was written"
    )
    await house.files.of_history(crew.project, str(uuid4())).save("x", "text/plain", b"of a run that is gone")
    assert kept_files(crew) == 3

    await retention(crew, 60).clear()
    assert kept_files(crew) == 2  # whoever wrote it may be about to write the row
    crew.place.clock.jump(DAY)
    await retention(crew, 60).clear()
    assert kept_files(crew) == 1
    crew.place.clock.jump(58 * DAY)
    await house.files.sweep(house.clock.now() - timedelta(days=30))
    await retention(crew, 60).clear()
    assert json.loads(await house.large_values.whole(run, "long", "output")) == {"result": "so long " * 3000}
    crew.place.clock.jump(DAY)
    await retention(crew, 60).clear()
    assert (kept_files(crew), await number_of(crew, runs)) == (0, 0)


LATER = """
name: Save a file after a while
trigger: {type: request}
steps:
  - {id: wait, type: delay, value: "{{ trigger.request.body.days }}", unit: DAYS}
  - id: save
    type: action
    action: save_file
    input: {name: late.txt, file: "{{ trigger.request.body.file }}"}
"""

TELL = """
name: Have a file saved, without waiting for it
trigger: {type: request}
steps:
  - {id: fetch, type: action, action: get_file, input: {fileId: "{{ trigger.request.body.id }}"}}
  - {id: tell, type: runWorkflow, wait: false, workflow: OTHER,
     input: {file: "{{ steps.fetch.result.content }}", days: 100}}
"""


async def test_files_of_a_run_that_waits_stay_however_long_that_takes(crew: Crew) -> None:
    item = (await crew.person.upload("a.txt", b"kept")).json["output"]
    fetch_and_wait = FETCH_AND_SAVE + "  - {id: wait, type: delay, value: 300, unit: DAYS}"
    deployed = await crew.deploy(fetch_and_wait)
    run = await crew.start(deployed, {"request": {"body": {"id": item["id"]}}})
    await crew.until(lambda: _waits(crew, run.id, "delay"))

    crew.place.clock.jump(200 * DAY)
    await clean(crew)
    assert kept_files(crew) == 1

    crew.place.clock.jump(101 * DAY)
    await crew.ended(run.id)
    await clean(crew)
    assert kept_files(crew) == 1  # for a day, as those of any run that is over

    crew.place.clock.jump(DAY)
    await clean(crew)
    assert kept_files(crew) == 0


async def test_what_a_run_started_and_does_not_wait_for_keeps_its_files_and_its_history(crew: Crew) -> None:
    item = (await crew.person.upload("a.txt", b"kept")).json["output"]
    other = await crew.deploy(LATER)
    deployed = await crew.deploy(TELL.replace("OTHER", other.workflow.id))
    run = await crew.ended((await crew.start(deployed, {"request": {"body": {"id": item["id"]}}})).id)
    told = f"{run.id}:tell:0"
    await crew.until(lambda: _waits(crew, told, "delay"))

    crew.place.clock.jump(99 * DAY)
    await clean(crew)
    assert kept_files(crew) == 1
    assert (await crew.row(run.id)).state == SUCCEEDED

    crew.place.clock.jump(2 * DAY)
    ended = await crew.ended(told)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    await clean(crew)
    assert kept_files(crew) == 1

    crew.place.clock.jump(DAY)
    await clean(crew)
    assert kept_files(crew) == 0
    assert (await crew.row(told)).state == SUCCEEDED

    crew.place.clock.jump(89 * DAY)
    await clean(crew)
    assert await number_of(crew, runs) == 0


async def _waits(crew: Crew, run_id: str, why: str) -> bool:
    row = await crew.row(run_id)
    return row.state == WAITING and row.waits_for == why


async def test_what_is_not_over_is_kept_however_long_it_takes(crew: Crew) -> None:
    run = await crew.start(
        await crew.deploy(
            "{name: Wait, trigger: {type: request}, steps: [{id: wait, type: delay, value: 300, unit: DAYS}]}"
        )
    )
    await crew.until(lambda: _waits(crew, run.id, "delay"))
    crew.place.clock.jump(200 * DAY)
    await retention(crew, 7).clear()
    assert (await crew.row(run.id)).waits_for == "delay"
