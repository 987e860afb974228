"""Trouble on the way: providers that ask for time, steps that fail, are tried again or go on, and crowds."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.integrations.peer import Asked, peer
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import FAILED, PAUSED, SUCCEEDED, WAITING
from landbridge.workflows.runs import Cause

CALL = """
name: Call somebody
trigger: {type: request}
steps:
  - {id: call, type: request, method: GET, url: "%s/", body: {type: none}, autoRetry: true}
  - {id: after, type: function, code: "def run(parameters): return parameters", parameters: {all: "{{ steps.call }}"}}
"""

FOLDER = """
name: Make a folder
trigger: {type: request}
steps:
  - {id: make, type: action, action: create_folder, input: {name: "{{ trigger.request.body.name }}"}}
"""


async def _refuse(asked: Asked) -> None:
    await asked.answer(500, b"{}")


async def test_a_throttled_run_shows_when_it_goes_on_and_does(crew: Crew) -> None:
    deployed = await crew.deploy(FOLDER)
    await crew.place.microsoft.plant(service="graph", method="POST", status=429, retry_after=90, count=1)
    before = crew.place.clock.now()
    run = await crew.start(deployed, {"request": {"body": {"name": "Later"}}})

    async def is_paused() -> bool:
        return await crew.state(run.id) == PAUSED

    await crew.until(is_paused)
    (shown,) = (await crew.shown("/task-history/workflow-executions?status=PAUSED"))["workflowExecutions"]
    due = (await crew.row(run.id)).due_at
    assert due
    assert timedelta(seconds=85) < due - before < timedelta(seconds=120)
    assert (shown["status"], shown["resumesAt"]) == ("PAUSED", due.isoformat())
    assert (await crew.shown(f"/runs/{run.id}"))["waits_for"] == "rate limit"

    await crew.place.microsoft.advance(120)
    crew.place.clock.jump(timedelta(seconds=120))
    ended = await crew.ended(run.id)
    assert (ended.state, ended.error, ended.tasks) == (SUCCEEDED, None, 1)
    assert "Later" in await crew.names()


async def test_automatic_retries_wait_longer_each_time_and_then_the_run_fails(crew: Crew) -> None:
    async with peer() as broken:
        broken.script = _refuse
        run = await crew.start(await crew.deploy(CALL % broken.url))
        waits = []
        for attempt in range(1, 6):

            async def waits_for_a_retry(attempt: int = attempt) -> bool:
                row = await crew.row(run.id)
                return len(broken.asked) == attempt and (row.state, row.waits_for) == (WAITING, "retry")

            await crew.until(waits_for_a_retry)
            due = (await crew.row(run.id)).due_at
            assert due
            waits.append((due - crew.place.clock.now()).total_seconds())
            crew.place.clock.jump(timedelta(seconds=waits[-1] + 1))
        ended = await crew.ended(run.id)

    assert (ended.state, (ended.error or {})["code"]) == (FAILED, "request_failed")
    assert len(broken.asked) == 6
    for wait, planned in zip(waits, (10, 20, 30, 50, 80), strict=True):
        assert planned * 0.8 - 10 < wait <= planned * 1.2
    steps = await crew.steps(run.id)
    assert (steps["call"].attempts, steps["call"].state) == (6, FAILED)


async def test_a_noisy_project_does_not_keep_another_ones_run_waiting(crew: Crew) -> None:
    noisy = await crew.deploy("{name: Noise, trigger: {type: request}, steps: []}")
    quiet_person, connection = await crew.place.connected(email="grace@contoso.example")
    quiet = Crew(crew.place, quiet_person, connection)
    other = await quiet.deploy("{name: Quiet, trigger: {type: request}, steps: []}")
    whose = await crew.whose()
    causes = [Cause("request", {}, uuid4().hex, str(number)) for number in range(300)]
    noise = await crew.place.house.runs.start([(noisy, whose, cause) for cause in causes])

    ended = await quiet.ended((await quiet.start(other)).id)

    assert ended.state == SUCCEEDED
    assert ended.finished_at
    rows = [await crew.row(run.id) for run in noise]
    later = [row for row in rows if row.finished_at is None or row.finished_at > ended.finished_at]
    assert len(later) > 200
