"""What a step may be told to do about trouble, for each kind of step that has effects: they are the same for all."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest
from tests.integrations.workflows.crew import Crew

from landbridge.store import runs as store
from landbridge.store.runs import FAILED, OVER, SUCCEEDED, WAITING

KINDS = ("action", "request", "function", "runWorkflow")

NOWHERE = "http://127.0.0.1:9/"

FLOW = """
name: Have some trouble
trigger: {type: request}
steps:
  - {id: call, %s, %s}
  - {id: after, type: function, code: "def run(parameters): return parameters", parameters: {all: "{{ steps.call }}"}}
"""

INNER = "{name: Inner, trigger: {type: request}, steps: [{id: inner, %s}]}"

FAILS = {
    "action": ("type: action, action: get_file, input: {fileId: nothing}", "item_not_found"),
    "request": (f"type: request, url: '{NOWHERE}'", "provider_unreachable"),
    "function": ("type: function, code: 'def run(parameters): return 1 // 0'", "function_failed"),
}

LEADS_NOWHERE = {
    "action": "type: action, action: get_file, input: {fileId: '{{ trigger.request.body.missing }}'}",
    "request": f"type: request, url: '{NOWHERE}', params: {{a: '{{{{ trigger.request.body.missing }}}}'}}",
    "function": "type: function, code: 'def run(p): return 1', parameters: {a: '{{ trigger.request.body.missing }}'}",
    "runWorkflow": "type: runWorkflow, workflow: %s, input: {a: '{{ trigger.request.body.missing }}'}",
}


async def _failing(crew: Crew, kind: str) -> tuple[str, str]:
    """Return a step of a kind that fails, and the code of its error."""
    if kind != "runWorkflow":
        return FAILS[kind]
    step, code = FAILS["function"]
    return f"type: runWorkflow, workflow: {(await crew.deploy(INNER % step)).workflow.id}", code


async def _slow(crew: Crew, kind: str) -> str:
    """Return a step of a kind that takes longer than a second."""
    match kind:
        case "action":
            await crew.place.microsoft.plant(service="graph", effect="delay", delay=3)
            return "type: action, action: get_file, input: {fileId: nothing}"
        case "request":
            await crew.place.microsoft.plant(service="graph", effect="delay", delay=3)
            return "type: request, url: /me/drive, auth: {type: connection}"
        case "function":
            return r'type: function, code: "def run(parameters):\n while True: pass", limits: {seconds: 3}'
    waits = "type: delay, value: 1, unit: HOURS"
    return f"type: runWorkflow, workflow: {(await crew.deploy(INNER % waits)).workflow.id}"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_that_may_fail_gives_its_error_to_those_after_it(crew: Crew, kind: str) -> None:
    step, code = await _failing(crew, kind)
    run = await crew.ended((await crew.start(await crew.deploy(FLOW % (step, "continueOnError: true")))).id)
    assert (run.state, run.error) == (SUCCEEDED, None)
    assert (await crew.output(run.id))["result"]["all"]["error"]["code"] == code
    assert (await crew.steps(run.id))["call"].state == FAILED


@pytest.mark.parametrize("kind", KINDS)
async def test_the_branch_for_errors_may_wait_and_the_steps_after_it_come_next(crew: Crew, kind: str) -> None:
    step, code = await _failing(crew, kind)
    branch = (
        "onError: [{id: wait, type: delay, value: 1, unit: HOURS}, "
        "{id: note, type: function, code: 'def run(p): return p', parameters: {why: '{{ steps.call.error.code }}'}}]"
    )
    run = await crew.start(await crew.deploy(FLOW % (step, branch)))
    await crew.until(lambda: _waits(crew, run.id, "delay"))
    crew.place.clock.jump(crew.hour)
    assert (await crew.ended(run.id)).state == SUCCEEDED
    steps = await crew.steps(run.id)
    assert [(id_, one.state) for id_, one in steps.items()] == [
        ("call", FAILED),
        ("wait", SUCCEEDED),
        ("note", SUCCEEDED),
        ("after", SUCCEEDED),
    ]
    assert steps["note"].output == {"result": {"why": code}}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_is_tried_six_times_if_it_is_told_to_and_then_fails(crew: Crew, kind: str) -> None:
    step, code = await _failing(crew, kind)
    run = await crew.start(await crew.deploy(FLOW % (step, "autoRetry: true")))
    waits = []
    for _ in range(5):
        await crew.until(lambda: _waits(crew, run.id, "retry"))
        due = (await crew.row(run.id)).due_at
        assert isinstance(due, datetime)
        waits.append((due - crew.place.clock.now()).total_seconds())
        crew.place.clock.jump(timedelta(seconds=waits[-1] + 1))
        await crew.until(partial(_has_gone_on, crew, run.id, due))
    ended = await crew.ended(run.id)
    assert (ended.state, (ended.error or {})["step"], (ended.error or {})["code"]) == (FAILED, "call", code)
    assert (await crew.steps(run.id))["call"].attempts == 6
    for wait, planned in zip(waits, (10, 20, 30, 50, 80), strict=True):
        assert planned * 0.8 - 10 < wait <= planned * 1.2
    async with crew.place.house.database.read() as tx:
        tries = await store.children(tx, run.id, "call")
    assert [one.state for one in tries] == ([FAILED] * 6 if kind == "runWorkflow" else [])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_step_ends_at_its_time_whatever_it_is_about(crew: Crew, kind: str) -> None:
    step, seconds = await _slow(crew, kind), 600 if kind == "runWorkflow" else 1
    options = f"timeout: {seconds}, continueOnError: true"
    started = await crew.start(await crew.deploy(FLOW % (step, options)))
    if kind == "runWorkflow":
        await crew.until(lambda: _waits(crew, f"{started.id}:call:0", "delay"))
        crew.place.clock.jump(timedelta(seconds=seconds))
    run = await crew.ended(started.id)
    assert run.state == SUCCEEDED
    error = (await crew.output(run.id))["result"]["all"]["error"]
    assert error["code"] in {"step_timed_out", "provider_timed_out"}
    async with crew.place.house.database.read() as tx:
        children = await store.children(tx, run.id, "call")
    for child in children:
        waited_in = (await crew.steps((await crew.ended(child.id)).id))["inner"]
        assert (waited_in.state, (waited_in.error or {})["code"]) == (FAILED, "step_timed_out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["continueOnError: true", "onError: [{id: end, type: stop}]", ""])
async def test_a_reference_that_leads_nowhere_fails_the_step_it_is_in(crew: Crew, kind: str, option: str) -> None:
    step = LEADS_NOWHERE[kind]
    if kind == "runWorkflow":
        step %= (await crew.deploy(INNER % FAILS["function"][0])).workflow.id
    run = await crew.ended((await crew.start(await crew.deploy(FLOW % (step, option)))).id)
    failed = (await crew.steps(run.id))["call"]
    assert (failed.state, (failed.error or {})["code"]) == (FAILED, "reference_failed")
    assert run.state == (SUCCEEDED if option else FAILED)
    if not option:
        assert run.error
        assert (run.error["step"], run.error["code"]) == ("call", "reference_failed")


async def test_a_step_that_is_given_too_much_fails_by_its_name_and_may_do_so(crew: Crew) -> None:
    much = """
name: Too much
trigger: {type: request}
steps:
  - {id: make, type: function, code: 'def run(parameters): return "x" * 6_000_000'}
  - {id: call, type: function, code: 'def run(p): return 1', parameters: {a: "%s"}%s}
"""
    made = "{{ steps.make.result }}" * 3
    for option, state in ((", continueOnError: true", SUCCEEDED), ("", FAILED)):
        run = await crew.ended((await crew.start(await crew.deploy(much % (made, option)))).id)
        failed = (await crew.steps(run.id))["call"]
        assert (run.state, failed.state, (failed.error or {})["code"]) == (state, FAILED, "too_large")
        assert run.error is None or run.error["step"] == "call"


async def test_what_can_only_end_the_same_way_is_not_tried_again(crew: Crew) -> None:
    beyond = "type: function, code: 'def run(p): return \"x\" * 10_000_000', autoRetry: true"
    inner = await crew.deploy(INNER % 'type: delay, value: "{{ trigger.request.body.days? }}", unit: DAYS')
    wrong = f"type: runWorkflow, workflow: {inner.workflow.id}, autoRetry: true"
    for step, code in ((beyond, "function_limit"), (wrong, "invalid_request")):
        run = await crew.ended((await crew.start(await crew.deploy(FLOW % (step, "title: Once")))).id)
        assert (run.state, (run.error or {})["code"]) == (FAILED, code)
        assert (await crew.steps(run.id))["call"].attempts == 1


async def test_a_workflow_that_is_cancelled_fails_the_step_that_ran_it_and_is_not_run_again(crew: Crew) -> None:
    step = await _slow(crew, "runWorkflow")
    run = await crew.start(await crew.deploy(FLOW % (step, "autoRetry: true")))
    await crew.until(lambda: _waits(crew, f"{run.id}:call:0", "delay"))
    await crew.place.house.runs.cancel(crew.project, f"{run.id}:call:0")
    ended = await crew.ended(run.id)
    assert (ended.state, (ended.error or {})["code"]) == (FAILED, "run_failed")


async def test_what_a_workflow_runs_has_no_more_time_than_itself(crew: Crew) -> None:
    deep = """
name: Deep
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: [1, 2]
    onItemError: collect
    steps: [{id: ask, %s}]
"""
    outer = await crew.deploy(deep % await _slow(crew, "runWorkflow"))
    step = f"type: runWorkflow, workflow: {outer.workflow.id}, timeout: 600"
    run = await crew.start(await crew.deploy(FLOW % (step, "continueOnError: true")))
    entries = [f"{run.id}:call:0:each:{index}" for index in (0, 1)]
    for entry in entries:
        await crew.until(partial(_waits, crew, f"{entry}:ask:0", "delay"))
    crew.place.clock.jump(timedelta(minutes=11))
    assert (await crew.ended(run.id)).state == SUCCEEDED
    assert (await crew.output(run.id))["result"]["all"]["error"]["code"] == "step_timed_out"
    for entry in entries:
        assert (await crew.row(f"{entry}:ask:0")).state == FAILED
    again = await crew.place.house.runs.replay(crew.project, f"{entries[0]}:ask:0")
    await crew.until(lambda: _waits(crew, again.id, "delay"))


async def test_a_workflow_that_an_entry_of_a_fan_out_runs_knows_its_user(crew: Crew) -> None:
    inner = await crew.deploy(INNER % "type: stop, message: '{{ user.id }}'")
    each = f"over: [1], steps: [{{id: ask, type: runWorkflow, workflow: {inner.workflow.id}}}]"
    run = await crew.start(
        await crew.deploy(f"{{name: Each, trigger: {{type: request}}, steps: [{{id: each, type: fanOut, {each}}}]}}")
    )
    assert (await crew.ended(run.id)).state == SUCCEEDED
    assert await crew.output(run.id) == {"results": [{"result": {"message": crew.person.id}}]}


async def _waits(crew: Crew, run_id: str, for_: str) -> bool:
    async with crew.place.house.database.read() as tx:
        row = await store.run(tx, run_id)
    return row is not None and (row.state, row.waits_for) == (WAITING, for_)


async def _has_gone_on(crew: Crew, run_id: str, due: datetime) -> bool:
    row = await crew.row(run_id)
    return row.state in OVER or (row.waits_for == "retry" and row.due_at != due)
