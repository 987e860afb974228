"""Runs that are run again, ended early, or followed from what caused them to whom they called."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.integrations.peer import Asked, Peer, peer
from tests.integrations.workflows.crew import Crew

from landbridge.errors import Conflict, NotFound
from landbridge.store import runs as store
from landbridge.store.runs import CANCELLED, FAILED, RUNNING, SUCCEEDED, WAITING
from landbridge.workflows.retention import Retention

COPY = """
name: Save what was fetched
trigger: {type: request}
steps:
  - id: fetch
    type: action
    action: get_file
    input: {fileId: "{{ trigger.request.body.id }}"}
  - id: count
    type: function
    code: "def run(parameters): return 100 // parameters['by']"
    parameters: {by: "{{ trigger.request.body.by }}"}
  - id: save
    type: action
    action: save_file
    input: {name: "copy %s.txt", file: "{{ steps.fetch.result.content }}"}
"""

WAITS = "{name: Wait, trigger: {type: request}, steps: [{id: wait, type: delay, value: 1, unit: HOURS}]}"

EACH_WAITS = """
name: Wait for each
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: [1, 2, 3]
    concurrency: 1
    steps: [{id: wait, type: delay, value: 1, unit: HOURS}]
"""


async def _given(crew: Crew, by: int) -> Any:  # Any: JSON
    item = (await crew.person.upload("a.txt", b"what it holds")).json["output"]
    return {"request": {"body": {"id": item["id"], "by": by}}}


async def test_a_replay_from_a_step_takes_over_what_those_before_it_gave_files_too(crew: Crew) -> None:
    deployed = await crew.deploy(COPY % "one")
    first = await crew.ended((await crew.start(deployed, await _given(crew, 5))).id)
    assert (first.state, first.error) == (SUCCEEDED, None)
    await crew.person.call("/me/drive/root:/a.txt:", "DELETE")
    await crew.person.call("/me/drive/root:/copy one.txt:".replace(" ", "%20"), "DELETE")

    again = await crew.place.house.runs.replay(crew.project, first.id, step="save")
    ended = await crew.ended(again.id)

    assert (ended.state, ended.error, ended.replay_of, ended.trace_id) == (SUCCEEDED, None, first.id, first.trace_id)
    assert list(await crew.steps(again.id)) == ["save"]
    assert (await crew.person.download("copy%20one.txt")).body == b"what it holds"


async def test_a_run_that_failed_is_mended_and_goes_on_in_the_deployed_version(crew: Crew) -> None:
    deployed = await crew.deploy(COPY % "one")
    failed = await crew.ended((await crew.start(deployed, await _given(crew, 0))).id)
    assert (failed.state, (failed.error or {})["step"]) == (FAILED, "count")
    same = await crew.place.house.runs.replay(crew.project, failed.id, step="count")
    assert (await crew.ended(same.id)).state == FAILED

    deployments = crew.place.house.deployments
    mended = (COPY % "one").replace("parameters['by']", "7")
    await deployments.save(crew.project, deployed.workflow.id, deployed.plan.workflow.from_yaml(mended))
    await deployments.deploy(crew.project, deployed.workflow.id)
    again = await crew.place.house.runs.replay(crew.project, failed.id, version="deployed", step="count")

    assert (await crew.ended(again.id)).state == SUCCEEDED
    assert list(await crew.steps(again.id)) == ["count", "save"]


async def test_what_cannot_be_replayed_says_why(crew: Crew) -> None:
    replay = crew.place.house.runs.replay
    run = await crew.start(await crew.deploy(EACH_WAITS))
    await crew.until(lambda: _is(crew, f"{run.id}:each:0", WAITING))
    with pytest.raises(Conflict, match="the run that it belongs to"):
        await replay(crew.project, f"{run.id}:each:0")
    with pytest.raises(Conflict, match="fan-out “each”"):
        await replay(crew.project, run.id, step="wait")
    with pytest.raises(NotFound, match=r"no step “nothing”.*each, wait"):
        await replay(crew.project, run.id, step="nothing")
    await crew.place.house.deployments.undeploy(crew.project, run.workflow_id)
    with pytest.raises(NotFound):
        await replay(crew.project, run.id, version="deployed")
    await crew.place.house.deployments.delete(crew.project, run.workflow_id)
    await crew.place.house.runs.cancel(crew.project, run.id)


async def test_a_run_whose_files_are_no_longer_kept_cannot_be_replayed_after_them(crew: Crew) -> None:
    run = await crew.ended((await crew.start(await crew.deploy(COPY % "one"), await _given(crew, 5))).id)
    crew.place.clock.jump(timedelta(hours=25))
    house = crew.place.house
    await Retention(house.database, house.workbench, house.large_values, house.clock, timedelta(days=90)).clear()

    with pytest.raises(Conflict, match="no longer kept"):
        await house.runs.replay(crew.project, run.id, step="save")
    again = await house.runs.replay(crew.project, run.id)
    assert (await crew.ended(again.id)).state in {SUCCEEDED, FAILED}


async def test_a_run_that_waits_ends_at_once_when_it_is_cancelled_and_only_once(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(WAITS))
    await crew.until(lambda: _is(crew, run.id, WAITING))
    answer = await crew.operate("POST", f"/runs/{run.id}/cancel")
    assert (answer.status, answer.json["state"], answer.json["due_at"]) == (200, CANCELLED, None)
    again = await crew.operate("POST", f"/runs/{run.id}/cancel")
    assert (again.status, again.code) == (409, "conflict")


async def test_cancelling_a_run_ends_the_entries_of_its_fan_out(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(EACH_WAITS))
    await crew.until(lambda: _is(crew, f"{run.id}:each:0", WAITING))
    await crew.operate("POST", f"/runs/{run.id}/cancel")
    entries = (await crew.shown(f"/runs/{run.id}/entries"))["runs"]
    assert [entry["state"] for entry in entries] == [CANCELLED] * 3
    crew.place.clock.jump(crew.hour * 2)
    assert (await crew.row(run.id)).state == CANCELLED


async def test_a_run_that_is_under_way_ends_before_its_next_step(crew: Crew) -> None:
    may_answer = asyncio.Event()

    async def hold(asked: Asked) -> None:
        await may_answer.wait()
        await asked.answer(200, b"{}")

    async with peer() as slow:
        slow.script = hold
        deployed = await crew.deploy(
            f"""
name: Call twice
trigger: {{type: request}}
steps:
  - {{id: first, type: request, method: GET, url: "{slow.url}/first"}}
  - {{id: second, type: request, method: GET, url: "{slow.url}/second"}}
"""
        )
        run = await crew.start(deployed)
        await crew.until(lambda: _is_asked(slow))
        answer = await crew.operate("POST", f"/runs/{run.id}/cancel")
        assert answer.json["state"] == RUNNING
        beats = await _beats(crew)
        await crew.until(lambda: _has_beaten(crew, beats + 2))
        may_answer.set()
        assert (await crew.ended(run.id)).state == CANCELLED
        assert [one.target for one in slow.asked] == ["/first"]


async def test_a_trace_leads_from_the_caller_to_whom_a_step_calls(crew: Crew) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with peer() as other:
        definition = """
name: Call somebody
trigger: {type: request}
steps:
  - {id: call, type: request, method: POST, url: "%s/x", body: {type: none}}
  - {id: answer, type: response, body: {ok: true}}
"""
        deployed = await crew.deploy(definition % other.url)
        answer = await crew.person.sdk(
            "POST",
            f"/triggers/{deployed.workflow.id}",
            json={},
            headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
        )
        assert (answer.status, answer.headers["X-Landbridge-Trace"]) == (200, trace)
        (asked,) = other.asked
        version, told, span, flags = (asked.header("traceparent") or "").split("-")
        assert (version, told, flags) == ("00", trace, "01")
        assert (len(span), span != "00f067aa0ba902b7") == (16, True)
    found = (await crew.shown(f"/runs?trace_id={trace}"))["runs"]
    assert [run["id"] for run in found] == [answer.headers["X-Landbridge-Run"]]


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
async def test_a_cause_without_a_trace_begins_one(crew: Crew, given: str) -> None:
    deployed = await crew.deploy(WAITS)
    answer = await crew.person.sdk("POST", f"/triggers/{deployed.workflow.id}", json={}, headers={"traceparent": given})
    assert answer.status == 202
    run = await crew.row(answer.headers["X-Landbridge-Run"])
    assert run.trace_id == answer.headers["X-Landbridge-Trace"]
    assert (len(run.trace_id), run.trace_id != "0" * 32) == (32, True)


async def _is(crew: Crew, run_id: str, state: str) -> bool:
    return await crew.state(run_id) == state


async def _is_asked(slow: Peer) -> bool:
    return bool(slow.asked)


async def _beats(crew: Crew) -> int:
    async with crew.place.house.database.read() as tx:
        (worker,) = await store.all_workers(tx)
    return worker.beats


async def _has_beaten(crew: Crew, times: int) -> bool:
    return await _beats(crew) >= times
