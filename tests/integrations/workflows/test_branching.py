"""Runs that other runs start: entries of a fan-out, and other workflows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from tests.integrations.workflows.crew import Crew

from landbridge.store import runs
from landbridge.store.runs import CANCELLED, FAILED, SUCCEEDED, WAITING
from landbridge.workflows.branching import MOST_DEEP

EACH = """
name: Double each
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: "{{ trigger.request.body.numbers }}"
    concurrency: 3
    onItemError: %s
    steps:
      - id: double
        type: function
        code: "def run(parameters): return 100 // parameters['n']"
        parameters: {n: "{{ item }}"}
    result: "{{ steps.double.result }}"
  - id: count
    type: function
    code: "def run(parameters): return len(parameters['all'])"
    parameters: {all: "{{ steps.each.results }}"}
"""

NESTED = """
name: Rows and columns
trigger: {type: request}
steps:
  - id: before
    type: function
    code: "def run(parameters): return 'kept'"
  - id: rows
    type: fanOut
    over: "{{ trigger.request.body.rows }}"
    steps:
      - id: columns
        type: fanOut
        over: "{{ item }}"
        steps:
          - id: cell
            type: function
            code: "def run(parameters): return parameters['text']"
            parameters: {text: "{{ steps.before.result }} {{ fanOut.rows.index }}.{{ index }}={{ item }}"}
        result: "{{ steps.cell.result }}"
    result: "{{ steps.columns.results }}"
"""


SPOILT = """
name: Fail while another entry waits
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: [1, 2]
    steps:
      - id: second
        type: conditional
        if: [[{left: "{{ item }}", operator: $numberEquals, right: 2}]]
        then:
          - {id: pause, type: delay, value: 10, unit: MINUTES}
          - {id: fail, type: stop, outcome: failed}
      - id: inner
        type: fanOut
        over: [1, 2]
        concurrency: 1
        steps: [{id: wait, type: delay, value: 1, unit: HOURS}]
"""


async def test_a_fan_out_gathers_what_each_entry_gave_in_the_order_of_the_list(crew: Crew) -> None:
    deployed = await crew.deploy(EACH % "fail")
    run = await crew.start(deployed, {"request": {"body": {"numbers": list(range(1, 21))}}})
    ended = await crew.ended(run.id)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    assert (await crew.output(run.id))["result"] == 20
    async with crew.place.house.database.read() as tx:
        entries = await runs.children(tx, run.id, "each")
    assert [entry.id for entry in entries] == [f"{run.id}:each:{index}" for index in range(20)]
    assert {entry.state for entry in entries} == {SUCCEEDED}


async def test_a_fan_out_over_nothing_gives_nothing(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(EACH % "fail"), {"request": {"body": {"numbers": []}}})
    assert (await crew.ended(run.id)).state == SUCCEEDED
    assert (await crew.output(run.id))["result"] == 0


async def test_entries_that_fail_leave_their_error_in_their_place_if_the_author_wants_so(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(EACH % "collect"), {"request": {"body": {"numbers": [1, 0, 2]}}})
    assert (await crew.ended(run.id)).state == SUCCEEDED
    assert (await crew.output(run.id))["result"] == 3
    steps = await crew.steps(run.id)
    assert steps["each"].output == {"results": 3}


async def test_else_the_first_entry_that_fails_ends_the_run_and_no_more_entries_begin(crew: Crew) -> None:
    numbers = [0, *range(1, 50)]
    run = await crew.start(await crew.deploy(EACH % "fail"), {"request": {"body": {"numbers": numbers}}})
    ended = await crew.ended(run.id)
    assert ended.state == FAILED
    assert ended.error
    assert (ended.error["fanOut"], ended.error["item"]) == ("each", 0)
    assert (ended.error["step"], ended.error["code"]) == ("double", "function_failed")
    assert (await _states(crew, run.id, "each"))[-1] == CANCELLED


async def test_what_entries_wait_for_ends_with_the_run_that_one_of_them_fails(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(SPOILT))

    async def waits() -> bool:
        inner = await _states(crew, f"{run.id}:each:0", "inner")
        return (inner, await _states(crew, run.id, "each")) == ([WAITING, "held"], [WAITING, WAITING])

    await crew.until(waits)
    crew.place.clock.jump(crew.hour / 6)
    assert (await crew.ended(run.id)).state == FAILED
    assert await _states(crew, run.id, "each") == [CANCELLED, FAILED]
    assert await _states(crew, f"{run.id}:each:0", "inner") == [CANCELLED, CANCELLED]


async def test_fan_outs_within_each_other_see_what_lies_around_them(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(NESTED), {"request": {"body": {"rows": [["a", "b"], ["c"]]}}})
    ended = await crew.ended(run.id)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    assert await crew.output(run.id) == {"results": [["kept 0.0=a", "kept 0.1=b"], ["kept 1.0=c"]]}


async def test_never_more_entries_are_under_way_than_the_author_allows(crew: Crew) -> None:
    slow = """
name: Wait for each
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: [1, 2, 3, 4, 5]
    concurrency: 2
    steps: [{id: wait, type: delay, value: 1, unit: HOURS}]
"""
    run = await crew.start(await crew.deploy(slow))
    states = partial(_states, crew, run.id, "each")

    await crew.until(lambda: _is(states, [WAITING, WAITING, "held", "held", "held"]))
    crew.place.clock.jump(crew.hour)
    await crew.until(lambda: _is(states, [SUCCEEDED, SUCCEEDED, WAITING, WAITING, "held"]))
    crew.place.clock.jump(crew.hour)
    await crew.until(lambda: _is(states, [SUCCEEDED] * 4 + [WAITING]))
    crew.place.clock.jump(crew.hour)
    assert (await crew.ended(run.id)).state == SUCCEEDED


async def test_a_workflow_runs_another_and_gets_what_that_one_gave(crew: Crew) -> None:
    other = await crew.deploy(
        "{name: Add, trigger: {type: request}, steps: [{id: add, type: function, "
        "code: 'def run(parameters): return parameters[\"n\"] + 1', "
        'parameters: {n: "{{ trigger.request.body.n }}"}}]}'
    )
    outer = await crew.deploy(
        "{name: Ask, trigger: {type: request}, steps: [{id: ask, type: runWorkflow, "
        f"workflow: {other.workflow.id}, input: {{n: 41}}}}]}}"
    )
    run = await crew.start(outer)
    ended = await crew.ended(run.id)
    assert (ended.state, ended.error) == (SUCCEEDED, None)
    assert await crew.output(run.id) == {"result": {"result": 42}}


async def test_a_workflow_that_is_not_deployed_cannot_be_run_by_another(crew: Crew) -> None:
    other = await crew.deploy("{name: Gone, trigger: {type: request}, steps: [{id: end, type: stop}]}")
    outer = await crew.deploy(
        "{name: Ask, trigger: {type: request}, steps: [{id: ask, type: runWorkflow, "
        f"workflow: {other.workflow.id}, continueOnError: true}}]}}"
    )
    await crew.place.house.deployments.undeploy(crew.project, other.workflow.id)
    run = await crew.start(outer)
    assert (await crew.ended(run.id)).state == SUCCEEDED
    assert (await crew.output(run.id))["error"]["code"] == "not_found"


async def test_workflows_run_each_other_ten_levels_deep_whatever_their_steps_are_called(crew: Crew) -> None:
    deployed = await crew.deploy("{name: Innermost, trigger: {type: request}, steps: [{id: end, type: stop}]}")
    step = "a_step_with_a_name_that_is_as_long_as_the_author_has_patience"
    for _ in range(MOST_DEEP + 1):
        deployed = await crew.deploy(
            "{name: Around it, trigger: {type: request}, steps: ["
            f"{{id: {step}, type: runWorkflow, workflow: {deployed.workflow.id}}}]}}"
        )
    run = await crew.start(deployed)
    error = (await crew.ended(run.id)).error
    assert error
    assert error["message"] == "Workflows run each other more than 10 levels deep."


async def _states(crew: Crew, parent_id: str, step: str) -> list[str]:
    async with crew.place.house.database.read() as tx:
        return [child.state for child in await runs.children(tx, parent_id, step)]


async def _is(states: Callable[[], Awaitable[list[str]]], expected: list[str]) -> bool:
    return await states() == expected


async def test_the_end_of_a_workflow_that_nobody_waits_for_wakes_no_run_that_waits_for_another(crew: Crew) -> None:
    other = await crew.deploy(
        "{name: Later, trigger: {type: request}, steps: [{id: wait, type: delay, value: 1, unit: HOURS}]}"
    )
    outer = await crew.deploy(
        "{name: Tell, trigger: {type: request}, steps: ["
        f"{{id: tell, type: runWorkflow, wait: false, workflow: {other.workflow.id}, input: {{}}}}, "
        "{id: each, type: fanOut, over: [1], steps: [{id: wait, type: delay, value: 2, unit: HOURS}]}]}"
    )
    run = await crew.start(outer)

    async def states() -> list[str]:
        async with crew.place.house.database.read() as tx:
            found = [await runs.run(tx, f"{run.id}{child}") for child in ("", ":tell:0", ":each:0")]
        return [row.state if row else "" for row in found]

    await crew.until(lambda: _is(states, [WAITING] * 3))
    crew.place.clock.jump(crew.hour)
    await crew.until(lambda: _is(states, [WAITING, SUCCEEDED, WAITING]))
    row = await crew.row(run.id)
    assert (row.open_children, row.due_at) == (1, None)
    crew.place.clock.jump(crew.hour)
    assert (await crew.ended(run.id)).state == SUCCEEDED
