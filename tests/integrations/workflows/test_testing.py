"""Drafts that are tried as a preview user before they are deployed: whole, and one step alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.integrations.peer import Asked, peer
from tests.integrations.person import Answer
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import FAILED, SUCCEEDED, WAITING
from landbridge.store.tables import tested_drafts
from landbridge.workflows.definition import Workflow
from landbridge.workflows.retention import Retention

GREET = """
name: Greet in a folder
trigger:
  type: request
  body: [{key: name, dataType: STRING}]
settings: [{id: parent, title: Where folders go}]
steps:
  - id: folder
    type: action
    action: create_folder_path
    input: {path: "{{ settings.parent }}/{{ trigger.request.body.name }}"}
  - id: words
    type: function
    code: "def run(parameters): return parameters['greeting'] + ' ' + parameters['folder']"
    parameters: {greeting: Hello, folder: "{{ steps.folder.result.name }}"}
  - id: long
    type: function
    code: "def run(parameters): return 'so long ' * 2500"
"""

EACH = """
name: Double what is even
trigger: {type: appEvent, event: Counted}
steps:
  - id: choose
    type: conditional
    if: [[{left: "{{ trigger.event.day }}", operator: $stringExactlyMatches, right: Monday}]]
    then: [{id: never, type: stop, outcome: failed}]
  - id: broken
    type: function
    code: "def run(parameters): return 1 // 0"
    continueOnError: true
  - id: each
    type: fanOut
    over: "{{ trigger.event.numbers }}"
    steps:
      - id: double
        type: function
        code: "def run(parameters): return [parameters['n'] * 2, parameters['choice'], parameters['code']]"
        parameters:
          n: "{{ item }}"
          choice: "{{ steps.choose.selectedChoice }}"
          code: "{{ steps.broken.error.code }}"
      - id: last
        type: function
        code: "def run(parameters): return parameters"
        parameters: {"doubled": "{{ steps.double.result }}", place: "{{ index }}"}
"""


async def drafted(crew: Crew, text: str) -> str:
    row = await crew.place.house.deployments.create(crew.project, Workflow.from_yaml(text))
    return row.id


async def begun(crew: Crew, workflow_id: str, **given: Any) -> Answer:
    return await crew.operate("POST", f"/workflows/{workflow_id}/test", json={"user_id": crew.person.id, **given})


async def outcome(crew: Crew, workflow_id: str, **given: Any) -> Any:  # Any: JSON
    """Return what an operator is shown of a test once it is over."""
    answer = await begun(crew, workflow_id, **given)
    assert answer.status == 202, answer.body
    assert answer.json["is_test"]
    await crew.ended(answer.json["id"])
    return await crew.shown(f"/runs/{answer.json['id']}")


def outputs(run: Any) -> dict[str, Any]:  # Any: JSON
    return {step["step"]: step["output"] for step in run["steps"]}


async def test_a_draft_is_really_run_as_the_preview_user_and_shows_what_each_step_was_given_and_gave(
    crew: Crew,
) -> None:
    workflow = await drafted(crew, GREET)
    trigger = {"request": {"body": {"name": "ada"}}}

    run = await outcome(crew, workflow, trigger=trigger, settings={"parent": "Tests"})

    assert (run["state"], run["user_id"], run["connection_id"]) == (SUCCEEDED, crew.person.id, crew.connection_id)
    assert run["input"] == {"request": {"headers": {}, "params": {}, "body": {"name": "ada"}, "file": None}}
    assert [(step["step"], step["state"], step["error"]) for step in run["steps"]] == [
        ("folder", SUCCEEDED, None),
        ("words", SUCCEEDED, None),
        ("long", SUCCEEDED, None),
    ]
    assert run["steps"][0]["input"] == {"input": {"path": "Tests/ada"}}
    assert outputs(run)["words"] == {"result": "Hello ada"}
    cut = outputs(run)["long"]
    assert (cut["truncated"], cut["size"], len(cut["preview"])) == (True, 20_000 + len('{"result":""}'), 4096)
    assert "Tests" in await crew.names()

    assert (await crew.shown("/runs"))["runs"] == []
    assert (await crew.shown("/task-history/workflow-executions"))["total"] == 0
    assert [one["id"] for one in (await crew.shown("/runs?is_test=true"))["runs"]] == [run["id"]]
    assert (await crew.shown(f"/workflows/{workflow}"))["deployed_version_id"] is None
    assert await crew.shown(f"/workflows/{workflow}/versions") == []
    answer = await crew.operate("POST", f"/runs/{run['id']}/replay", json={})
    assert (answer.status, answer.code) == (409, "conflict")


async def test_one_step_is_run_alone_with_outputs_that_are_given_or_of_an_earlier_run(crew: Crew) -> None:
    workflow = await drafted(crew, GREET)
    first = await outcome(crew, workflow, step="words", outputs={"folder": {"result": {"name": "ada"}}})
    assert (first["state"], outputs(first)) == (SUCCEEDED, {"words": {"result": "Hello ada"}})
    assert "Tests" not in await crew.names()
    changed = Workflow.from_yaml(GREET.replace("greeting: Hello", "greeting: Good day")).as_json()

    run = await outcome(crew, workflow, step="words", run_id=first["id"], definition=changed)
    again = await outcome(crew, workflow, step="words", run_id=run["id"])

    assert outputs(run) == {"words": {"result": "Good day ada"}}
    assert outputs(again) == {"words": {"result": "Hello ada"}}
    assert (await crew.shown(f"/workflows/{workflow}"))["draft"]["steps"][1]["parameters"]["greeting"] == "Hello"


async def test_files_of_the_earlier_run_are_there_for_the_step(crew: Crew) -> None:
    item = (await crew.person.upload("a.txt", b"what it holds")).json["output"]
    definition = """
name: Copy
trigger: {type: request}
steps:
  - {id: fetch, type: action, action: get_file, input: {fileId: "{{ trigger.request.body }}"}}
  - {id: save, type: action, action: save_file, input: {name: b.txt, file: "{{ steps.fetch.result.content }}"}}
"""
    workflow = await drafted(crew, definition)
    first = await outcome(crew, workflow, step="fetch", trigger={"request": {"body": item["id"]}})
    inline = {"dataType": "FILE", "name": "c.txt", "data": b"given".hex(), "mimeType": "text/plain"}

    assert (await outcome(crew, workflow, step="save", run_id=first["id"]))["state"] == SUCCEEDED
    assert (await crew.person.download("b.txt")).body == b"what it holds"
    given = {"fetch": {"result": {"content": inline}}}
    assert (await outcome(crew, workflow, step="save", outputs=given))["state"] == SUCCEEDED
    assert (await crew.person.download("b.txt")).body == b"given"


async def test_fan_outs_are_tested_whole_and_a_step_in_one_with_an_entry_that_is_given_or_was(crew: Crew) -> None:
    await crew.place.house.deployments.put_event(crew.project, "Counted", {"day": "Sunday", "numbers": [1, 2]}, None)
    workflow = await drafted(crew, EACH)
    whole = await outcome(crew, workflow)
    assert (whole["state"], whole["error"]) == (SUCCEEDED, None)
    entry = f"{whole['id']}:each:1"

    conditional = await outcome(crew, workflow, step="choose", trigger={"event": {"day": "Monday"}})
    fan_out = await outcome(crew, workflow, step="each", run_id=whole["id"])
    given = {"choose": {"selectedChoice": "Maybe"}, "broken": {"error": {"code": "none"}}}
    inner = await outcome(crew, workflow, step="double", items={"each": 21}, outputs=given)
    last = await outcome(crew, workflow, step="last", run_id=entry)
    nothing = await outcome(crew, workflow, step="last", items={"each": None}, outputs={"double": {"result": 1}})
    without = await begun(crew, workflow, step="last")

    assert outputs(conditional) == {"choose": {"selectedChoice": "Yes"}}
    assert (fan_out["state"], outputs(fan_out)) == (SUCCEEDED, {"each": {"results": 2}})
    assert outputs(inner) == {"double": {"result": [42, "Maybe", "none"]}}
    assert outputs(last) == {"last": {"result": {"doubled": [4, "No", "function_failed"], "place": 1}}}
    assert outputs(nothing) == {"last": {"result": {"doubled": 1, "place": 0}}}
    assert (without.status, "the fan-out “each”" in without.json["message"]) == (400, True)


async def test_a_step_that_fails_under_test_says_why_at_once_and_does_what_it_says(crew: Crew) -> None:
    async with peer() as other:

        async def refuse(asked: Asked) -> None:
            await asked.answer(503, b"{}")

        other.script = refuse
        definition = f"""
name: Call
trigger: {{type: request}}
steps:
  - id: call
    type: request
    method: GET
    url: "{other.url}/x"
    autoRetry: true
    onError: [{{id: wait, type: delay, value: 1, unit: DAYS}}]
"""
        run = await outcome(crew, await drafted(crew, definition), step="call")
    assert (run["state"], run["error"]["step"], len(run["steps"])) == (FAILED, "call", 1)
    assert (run["steps"][0]["error"]["code"], run["steps"][0]["attempts"]) == ("request_failed", 1)


async def test_what_cannot_be_tested_says_why_and_leaves_nothing_behind(crew: Crew) -> None:
    workflow = await drafted(crew, GREET)
    trigger = {"request": {"body": {"name": "ada"}}}
    broken = Workflow.from_yaml(GREET.replace("steps.folder.", "steps.foldre.")).as_json()

    async def refused(status: int, said: str, **given: Any) -> None:
        answer = await begun(crew, workflow, **given)
        assert (answer.status, said in answer.json["message"]) == (status, True), answer.body

    await refused(400, "no step “foldre”", definition=broken, trigger=trigger)
    await refused(400, "no step “foldre”", definition=broken, step="words")
    await refused(400, "filled in parent", trigger=trigger)
    await refused(400, "body.name is missing", settings={"parent": "x"})
    await refused(400, "`headers`", trigger={"request": {"headers": 1}})
    file = {"dataType": "FILE", "name": "a.txt", "data": b"kept?".hex()}
    with_file = {"request": {"body": {"name": file}}}
    await refused(400, "no step before", step="words", outputs={"long": {}}, trigger=with_file)
    await refused(400, "no fan-out", step="words", items={"each": 1})
    await refused(400, "name it as `step`", outputs={"folder": {}})
    await refused(404, "no step “word”", step="word")
    await refused(404, "no such run", step="words", run_id="nothing")
    await refused(404, "has not connected", user_id="nobody")
    assert (await crew.operate("POST", "/workflows/nothing/test", json={"user_id": "x"})).status == 404
    assert (await crew.shown("/runs?is_test=true"))["runs"] == []
    assert not [one for one in (crew.place.settings.data_dir / "files").rglob("*") if one.is_file()]
    others = await outcome(crew, workflow, definition=broken, step="long")
    assert others["state"] == SUCCEEDED


async def test_a_test_outlives_its_workflow_and_goes_with_all_that_it_had_when_it_is_no_longer_kept(crew: Crew) -> None:
    definition = "{name: Wait, trigger: {type: request}, steps: [{id: wait, type: delay, value: 1, unit: HOURS}]}"
    workflow = await drafted(crew, definition)
    run_id = (await begun(crew, workflow)).json["id"]

    async def waits() -> bool:
        return await crew.state(run_id) == WAITING

    await crew.until(waits)
    await crew.place.house.deployments.delete(crew.project, workflow)
    crew.place.clock.jump(crew.hour)
    assert (await crew.ended(run_id)).state == SUCCEEDED

    crew.place.clock.jump(timedelta(days=8))
    house = crew.place.house
    await Retention(house.database, house.workbench, house.large_values, house.clock, timedelta(days=7)).clear()
    async with house.database.read() as tx:
        assert (await tx.execute(tested_drafts.select())).all() == []
