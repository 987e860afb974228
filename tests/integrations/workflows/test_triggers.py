"""What a host product sends, and the runs that it starts."""

from __future__ import annotations

from typing import Any

from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import SUCCEEDED

ECHO = """
name: Answer what was asked
trigger:
  type: request
  body: [{key: name, dataType: STRING}]
steps:
  - id: greet
    type: function
    code: "def run(parameters): return 'Hello ' + parameters['name']"
    parameters: {name: "{{ trigger.request.body.name }}"}
  - id: answer
    type: response
    statusCode: 201
    body: {said: "{{ steps.greet.result }}", asked: "{{ trigger.request.params.q? }}"}
"""

QUIET = "{name: Nothing, trigger: {type: request}, steps: [{id: end, type: stop}]}"

ON_EVENT = """
name: On an invoice
trigger: {type: appEvent, event: Invoice created}
steps:
  - id: keep
    type: action
    action: create_folder
    input: {name: "{{ trigger.event.number }}"}
"""


async def _trigger(crew: Crew, workflow_id: str, body: Any = None, query: str = "", **headers: str) -> Any:
    return await crew.person.sdk("POST", f"/triggers/{workflow_id}?{query}", json=body or {}, headers=headers)


async def test_a_workflow_answers_the_request_that_starts_it(crew: Crew) -> None:
    deployed = await crew.deploy(ECHO)
    answer = await _trigger(crew, deployed.workflow.id, {"name": "Ada"}, "q=why")
    assert answer.status == 201
    assert answer.json == {"said": "Hello Ada", "asked": "why"}


async def test_a_workflow_without_an_answer_is_accepted_at_once(crew: Crew) -> None:
    deployed = await crew.deploy(QUIET)
    answer = await _trigger(crew, deployed.workflow.id)
    assert answer.status == 202
    assert (await crew.ended(answer.json["workflowExecutionId"])).state == SUCCEEDED


async def test_a_request_that_lacks_what_the_trigger_asks_for_starts_nothing(crew: Crew) -> None:
    deployed = await crew.deploy(ECHO)
    for body in ({}, {"name": 7}):
        answer = await _trigger(crew, deployed.workflow.id, body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert "body.name" in answer.json["message"]


async def test_a_workflow_that_is_switched_off_is_not_started(crew: Crew) -> None:
    deployed = await crew.deploy(QUIET)
    assert (await crew.person.sdk("DELETE", f"/workflows/{deployed.workflow.id}")).status == 200
    answer = await _trigger(crew, deployed.workflow.id)
    assert (answer.status, answer.code) == (409, "conflict")
    assert (await crew.person.sdk("POST", f"/workflows/{deployed.workflow.id}")).status == 200
    assert (await _trigger(crew, deployed.workflow.id)).status == 202


async def test_an_event_starts_every_workflow_that_waits_for_it_and_no_other(crew: Crew) -> None:
    await crew.place.house.deployments.put_event(crew.project, "Invoice created", {"number": "1"}, None)
    await crew.deploy(ON_EVENT)
    await crew.deploy(QUIET)
    event = {"name": "Invoice created", "payload": {"number": "2026-7"}}
    answer = await crew.person.send("POST", f"/v2/projects/{crew.project}/sdk/events/trigger", json=event)
    assert answer.status == 201
    (run,) = answer.json["workflowExecutionIds"]
    assert (await crew.ended(run)).state == SUCCEEDED
    assert "2026-7" in await crew.names()


async def test_an_event_that_the_project_has_not_is_refused(crew: Crew) -> None:
    answer = await crew.person.send(
        "POST", f"/v2/projects/{crew.project}/sdk/events/trigger", json={"name": "Who knows", "payload": {}}
    )
    assert answer.status == 404


async def test_an_event_that_does_not_fit_its_schema_is_refused_and_starts_nothing(crew: Crew) -> None:
    schema = {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}
    answer = await crew.operate("PUT", "/events/Invoice%20created", json={"json_schema": {"type": "invoice"}})
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert (await crew.operate("PUT", "/events/Invoice%20created", json={"json_schema": schema})).status == 204
    await crew.deploy(ON_EVENT)
    path = f"/v2/projects/{crew.project}/sdk/events/trigger"
    for payload, place in (({}, "payload does not fit"), ({"number": 7}, "payload.number")):
        answer = await crew.person.send("POST", path, json={"name": "Invoice created", "payload": payload})
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert place in answer.json["message"]
    assert await crew.runs() == []
    event = {"name": "Invoice created", "payload": {"number": "2026-7"}}
    assert len((await crew.person.send("POST", path, json=event)).json["workflowExecutionIds"]) == 1


async def test_nobody_starts_another_projects_workflow(crew: Crew) -> None:
    deployed = await crew.deploy(QUIET)
    stranger, _ = await crew.place.connected()
    answer = await stranger.sdk("POST", f"/triggers/{deployed.workflow.id}", json={})
    assert answer.status == 404


async def test_the_portal_is_told_which_workflows_there_are(crew: Crew) -> None:
    deployed = await crew.deploy(QUIET)
    (integration,) = (await crew.person.sdk("GET", "/integrations")).json
    assert [one["id"] for one in integration["workflows"]] == [deployed.workflow.id]
    assert integration["configs"][0]["values"]["workflowMeta"][deployed.workflow.id]["description"] == "Nothing"
