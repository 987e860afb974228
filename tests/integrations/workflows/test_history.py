"""What operators are shown of runs: the management API's way, and Paragon's."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlsplit

import pytest
from tests.integrations.peer import Asked, peer
from tests.integrations.workflows.crew import Crew

from landbridge.store import runs as store
from landbridge.store.runs import RUNNING, SUCCEEDED, WAITING
from landbridge.store.tables import runs as runs_table

NOTHING = "{name: Nothing, trigger: {type: request}, steps: []}"

MANY_KINDS = """
name: Some of each kind
trigger: {type: request}
steps:
  - id: choose
    type: conditional
    if: [[{left: "{{ trigger.request.body.day }}", operator: $stringExactlyMatches, right: Monday}]]
    then:
      - id: make
        type: action
        action: create_folder
        input: {name: "{{ trigger.request.body.day }}"}
  - id: each
    type: fanOut
    over: [1, 2, 3]
    concurrency: 2
    steps:
      - id: double
        type: function
        code: "def run(parameters): return parameters['n'] * 2"
        parameters: {n: "{{ item }}"}
  - {id: sleep, type: delay, value: 1, unit: HOURS}
  - id: end
    type: function
    code: "def run(parameters): return 1 // parameters['by']"
    parameters: {by: "{{ trigger.request.body.by }}"}
"""

LARGE = """
name: Values of many sizes
trigger: {type: request}
steps:
  - id: repeat
    type: function
    code: |
      def run(parameters):
          return parameters['text'].replace('word', 'word ' + parameters['key']) + ('t' * 64 + ' ') * 3
    parameters: {text: "{{ trigger.request.body }}", key: "{{ secrets.KEY }}"}
  - id: huge
    type: function
    code: "def run(parameters): return [1234567] * 600_000"
"""

EXECUTIONS = "/task-history/workflow-executions"


async def test_each_run_is_on_one_page_however_many_begin_meanwhile(crew: Crew) -> None:
    deployed = await crew.deploy(NOTHING)
    known = [(await crew.start(deployed)).id for _ in range(7)]

    seen: list[str] = []
    cursor = ""
    while True:
        page, _, _ = await asyncio.gather(
            crew.shown(f"/runs?limit=2{cursor}"), crew.start(deployed), crew.start(deployed)
        )
        seen += [run["id"] for run in page["runs"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={quote(page['next_cursor'])}"

    assert len(seen) == len(set(seen))
    assert [id_ for id_ in seen if id_ in known] == known[::-1]


async def test_a_page_goes_on_after_a_run_that_is_gone_by_then(crew: Crew) -> None:
    deployed = await crew.deploy(NOTHING)
    known = [(await crew.start(deployed)).id for _ in range(3)]
    first = await crew.shown("/runs?limit=1")
    await crew.ended(known[2])
    async with crew.place.house.database.begin() as tx:
        await tx.execute(runs_table.delete().where(runs_table.c.id == known[2]))

    rest = await crew.shown(f"/runs?cursor={quote(first['next_cursor'])}")

    assert [run["id"] for run in rest["runs"]] == known[1::-1]


@pytest.mark.parametrize("cursor", ["x", "bm9uc2Vuc2U=", "WyJ5ZXN0ZXJkYXkiLCJ4Il0="])
async def test_a_cursor_that_is_none_of_ours_is_refused(crew: Crew, cursor: str) -> None:
    answer = await crew.operate("GET", f"/runs?cursor={cursor}")
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_runs_are_found_by_what_is_known_of_them(crew: Crew) -> None:
    early, late = await crew.deploy(NOTHING), await crew.deploy(NOTHING)
    first = await crew.ended((await crew.start(early)).id)
    crew.place.clock.jump(crew.hour)
    second = await crew.ended((await crew.start(late)).id)

    async def found(query: str) -> list[str]:
        return [run["id"] for run in (await crew.shown(f"/runs?{query}"))["runs"]]

    between = quote((first.created_at + crew.hour / 2).isoformat())
    assert await found("") == [second.id, first.id]
    assert await found(f"after={between}") == [second.id]
    assert await found(f"before={between}") == [first.id]
    assert await found(f"workflow_id={early.workflow.id}") == [first.id]
    assert await found("integration=onedrive&state=succeeded&state=failed") == [second.id, first.id]
    assert await found("state=failed") == []
    assert await found(f"user_id={crew.person.id}") == [second.id, first.id]
    assert await found("user_id=nobody") == []


async def test_entries_of_a_fan_out_are_shown_with_their_parent_alone_page_by_page(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(MANY_KINDS), {"request": {"body": {"day": "Sunday", "by": 1}}})
    await crew.until(lambda: _is_in(crew, run.id, WAITING, "delay"))

    assert [one["id"] for one in (await crew.shown("/runs"))["runs"]] == [run.id]
    first = await crew.shown(f"/runs/{run.id}/entries?step=each&limit=2")
    rest = await crew.shown(f"/runs/{run.id}/entries?step=each&cursor={quote(first['next_cursor'])}")
    assert [entry["item_index"] for entry in first["runs"] + rest["runs"]] == [0, 1, 2]
    assert rest["next_cursor"] is None
    assert (await crew.shown(f"/runs/{run.id}/entries?step=other"))["runs"] == []

    entry = await crew.shown(f"/runs/{rest['runs'][0]['id']}")
    assert (entry["parent_id"], entry["parent_step"], entry["input"]) == (run.id, "each", 3)
    assert entry["steps"][0]["output"] == {"result": 6}


async def test_the_task_history_tells_executions_as_paragon_does(crew: Crew) -> None:
    deployed = await crew.deploy(MANY_KINDS)
    run = await crew.start(deployed, {"request": {"body": {"day": "Monday", "by": 0}}})
    await crew.until(lambda: _is_in(crew, run.id, WAITING, "delay"))

    (shown,) = (await crew.shown(EXECUTIONS))["workflowExecutions"]
    assert (shown["status"], shown["dateEnded"], shown["runDuration"]) == ("DELAYED", None, None)
    assert shown["resumesAt"] > shown["dateStarted"]
    crew.place.clock.jump(crew.hour)
    await crew.ended(run.id)

    shown = await crew.shown(f"{EXECUTIONS}/{run.id}")
    assert shown.items() >= {"id": run.id, "userId": crew.person.id, "status": "FAILED", "taskCount": 4}.items()
    assert shown["workflowId"] == deployed.workflow.id
    assert shown["runDuration"] >= 3_600_000
    assert [(step["stepId"], step["type"], step["status"]) for step in shown["stepExecutions"]] == [
        ("_trigger", "TRIGGER/ENDPOINT", "SUCCEEDED"),
        ("choose", "IFELSE", "SUCCEEDED"),
        ("make", "ACTION/ACTION", "SUCCEEDED"),
        ("each", "MAP", "SUCCEEDED"),
        ("sleep", "DELAY", "SUCCEEDED"),
        ("end", "ACTION/FUNCTION", "FAILED"),
    ]
    assert [step["prev"] for step in shown["stepExecutions"]] == [None, "_trigger", "choose", "make", "each", "sleep"]
    assert [step["next"] for step in shown["stepExecutions"]][-2:] == [["end"], []]


async def test_the_task_history_tells_what_a_step_was_given_and_gave(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(MANY_KINDS), {"request": {"body": {"day": "Monday", "by": 0}}})
    await crew.until(lambda: _is_in(crew, run.id, WAITING, "delay"))
    crew.place.clock.jump(crew.hour)
    await crew.ended(run.id)
    steps = f"{EXECUTIONS}/{run.id}/step-executions"

    trigger = await crew.shown(f"{steps}/_trigger")
    assert trigger["output"] == {"request": {"body": {"day": "Monday", "by": 0}}}
    made = await crew.shown(f"{steps}/make")
    assert made["input"] == {"input": {"name": "Monday"}}
    assert made["output"]["result"]["name"] == "Monday"
    assert (made["isLargeInput"], made["isLargeOutput"]) == (False, False)
    failed = await crew.shown(f"{steps}/end")
    assert failed["output"]["error"]["code"] == "function_failed"
    assert (await crew.operate("GET", f"{steps}/nothing")).status == 404


async def test_values_that_are_cut_can_be_read_whole_without_secrets_up_to_a_bound(crew: Crew) -> None:
    await crew.place.house.deployments.put_secret(crew.project, "KEY", "very secret")
    run = await crew.ended((await crew.start(await crew.deploy(LARGE), {"request": {"body": "word " * 5000}})).id)
    assert (run.state, run.error) == (SUCCEEDED, None)

    steps = {step["step"]: step for step in (await crew.shown(f"/runs/{run.id}"))["steps"]}
    given = await crew.operate("GET", f"/runs/{run.id}/steps/repeat/input")
    gave = await crew.operate("GET", f"/runs/{run.id}/steps/repeat/output")
    assert given.json == {"parameters": {"text": "word " * 5000, "key": "•••"}}
    assert gave.json == {"result": "word ••• " * 5000 + "[redacted] " * 3}
    assert (len(given.body.decode()), len(gave.body.decode())) == tuple(
        steps["repeat"][part]["size"] for part in ("input", "output")
    )
    assert steps["repeat"]["output"]["preview"] == gave.body.decode()[:4096]
    assert (steps["repeat"]["has_whole_input"], steps["repeat"]["has_whole_output"]) == (True, True)
    assert (await crew.shown(f"/runs/{run.id}/steps/huge/input")) == {}
    assert (steps["huge"]["has_whole_input"], steps["huge"]["has_whole_output"]) == (True, False)
    huge = await crew.operate("GET", f"/runs/{run.id}/steps/huge/output")
    assert (huge.status, "at most 4,194,304 characters" in huge.json["message"]) == (404, True)
    assert (await crew.operate("GET", f"/runs/{run.id}/steps/nothing/output")).status == 404
    assert (await crew.operate("GET", f"/runs/{run.id}/steps/huge/error")).status == 400


async def test_the_task_history_leads_from_page_to_page(crew: Crew) -> None:
    deployed = await crew.deploy(NOTHING)
    started = [(await crew.start(deployed)).id for _ in range(103)]

    first = await crew.shown(f"{EXECUTIONS}?sortBy=ASC&userId={crew.person.id}")
    assert (len(first["workflowExecutions"]), first["total"]) == (100, 103)
    link = urlsplit(first["nextLink"])
    assert first["nextLink"].startswith(crew.place.url)
    second = await crew.shown(f"{EXECUTIONS}?{link.query}")
    assert (len(second["workflowExecutions"]), second["nextLink"]) == (3, None)
    both = first["workflowExecutions"] + second["workflowExecutions"]
    assert [one["id"] for one in both] == started


async def test_the_task_history_finds_executions_by_their_status(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(MANY_KINDS), {"request": {"body": {"day": "Sunday", "by": 1}}})
    await crew.until(lambda: _is_in(crew, run.id, WAITING, "delay"))

    async def found(query: str) -> int:
        page = await crew.shown(f"{EXECUTIONS}?{query}")
        assert len(page["workflowExecutions"]) == page["total"]
        return int(page["total"])

    statuses = ("QUEUED", "EXECUTING", "DELAYED", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED")
    assert [await found(f"status={status}") for status in statuses] == [0, 0, 1, 0, 0, 0, 0]
    assert await found("afterDate=2020-01-01&status=DELAYED&integration=onedrive") == 1
    assert await found("beforeDate=2020-01-01T00:00:00Z") == 0
    assert (await crew.operate("GET", f"{EXECUTIONS}?status=Waiting")).status == 400
    await crew.place.house.runs.cancel(crew.project, run.id)
    assert [await found(f"status={status}") for status in statuses] == [0, 0, 0, 0, 0, 0, 1]


async def test_the_task_history_finds_the_executions_of_a_workflow(crew: Crew) -> None:
    wanted, other = await crew.deploy(NOTHING), await crew.deploy(NOTHING)
    run, _ = await crew.start(wanted), await crew.start(other)

    page = await crew.shown(f"{EXECUTIONS}?workflowId={wanted.workflow.id}")

    assert ([one["id"] for one in page["workflowExecutions"]], page["total"]) == ([run.id], 1)


async def test_tasks_of_whatever_a_run_waits_for_count_among_its_own(crew: Crew) -> None:
    other = await crew.deploy(MANY_KINDS)
    outer = await crew.deploy(
        "{name: Twice, trigger: {type: request}, steps: [{id: twice, type: fanOut, over: [1, 0], onItemError: collect, "
        f"steps: [{{id: ask, type: runWorkflow, workflow: {other.workflow.id}, "
        "input: {day: Sunday, by: '{{ item }}'}}]}]}"
    )
    run = await crew.start(outer)
    await crew.until(lambda: _is_in(crew, f"{run.id}:twice:1:ask:0", WAITING, "delay"))
    await crew.until(lambda: _is_in(crew, f"{run.id}:twice:0:ask:0", WAITING, "delay"))
    crew.place.clock.jump(crew.hour)
    await crew.ended(run.id)

    assert (await crew.shown(f"{EXECUTIONS}/{run.id}"))["taskCount"] == 4 + 3


async def test_the_task_history_replays_an_execution(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(NOTHING))
    await crew.ended(run.id)

    answer = await crew.operate("POST", f"{EXECUTIONS}/{run.id}/replay")

    assert (answer.status, answer.json["status"]) == (201, "QUEUED")
    assert answer.json.keys() == {"id", "userId", "workflowId", "status", "dateStarted"}
    assert (await crew.ended(answer.json["id"])).replay_of == run.id


async def test_a_parent_that_waits_for_its_entries_executes(crew: Crew) -> None:
    run = await crew.start(
        await crew.deploy(
            "{name: Wait, trigger: {type: request}, steps: [{id: each, type: fanOut, over: [1], "
            "steps: [{id: wait, type: delay, value: 1}]}]}"
        )
    )
    await crew.until(lambda: _is_in(crew, f"{run.id}:each:0", WAITING, "delay"))
    (shown,) = (await crew.shown(f"{EXECUTIONS}?status=EXECUTING"))["workflowExecutions"]
    assert (shown["id"], shown["status"]) == (run.id, "EXECUTING")
    assert (await crew.shown(f"{EXECUTIONS}?status=DELAYED"))["total"] == 0


async def test_steps_under_way_and_those_before_them_are_shown_while_the_run_goes_on(crew: Crew) -> None:
    may_answer = asyncio.Event()

    async def hold(asked: Asked) -> None:
        await may_answer.wait()
        await asked.answer(200, b'{"done": true}')

    async with peer() as slow:
        slow.script = hold
        definition = """
name: Call somebody slow
trigger: {type: request}
steps:
  - {id: first, type: function, code: "def run(parameters): return 1"}
  - {id: call, type: request, method: GET, url: "%s/slow"}
"""
        run = await crew.start(await crew.deploy(definition % slow.url))

        async def are_shown() -> bool:
            return len(await crew.steps(run.id)) == 2

        await crew.until(are_shown)
        shown = await crew.shown(f"/runs/{run.id}")
        assert [(step["step"], step["state"]) for step in shown["steps"]] == [("first", SUCCEEDED), ("call", RUNNING)]
        assert shown["steps"][1]["input"]["url"] == f"{slow.url}/slow"
        assert (await crew.shown(f"{EXECUTIONS}/{run.id}"))["stepExecutions"][-1]["status"] == "EXECUTING"
        may_answer.set()
        assert (await crew.ended(run.id)).state == SUCCEEDED
    assert [step.state for step in (await crew.steps(run.id)).values()] == [SUCCEEDED, SUCCEEDED]


async def _is_in(crew: Crew, run_id: str, state: str, waits_for: str | None = None) -> bool:
    async with crew.place.house.database.read() as tx:
        row = await store.run(tx, run_id)
    return row is not None and (row.state, row.waits_for) == (state, waits_for)
