"""From a draft to a workflow that is on for some: whom the portal shows what, and for whom it runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from tests.integrations.landbridge import Place
from tests.integrations.workflows.crew import Crew

from landbridge.errors import InvalidRequest
from landbridge.store.runs import SUCCEEDED
from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed

NAMED = "{name: %s, trigger: {type: request}, steps: [{id: end, type: stop}]}"

WHOSE = """
name: Say whose
trigger: {type: request}
settings: [{id: name, title: Name, required: false}]
steps:
  - {id: answer, type: response, body: ["{{ user.account.email }}", "{{ settings.name }}"]}
"""

NEEDS = """
name: Needs a folder
trigger: %s
settings: [{id: folder, title: Folder}, {id: note, title: Note, required: false}, {id: size, title: Size, default: 1}]
steps:
  - {id: end, type: stop, message: "{{ settings.folder }}"}
"""

TRIGGERS = ("{type: request}", "{type: appEvent, event: E}", "{type: scheduler, cron: '0 9 * * *'}")


async def _shown(crew: Crew) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Return what the portal is told: ids and names of workflows, and their forms."""
    (integration,) = (await crew.person.sdk("GET", "/integrations")).json
    forms: dict[str, Any] = integration["configs"][0]["values"]["workflowMeta"]
    return [(one["id"], one["description"]) for one in integration["workflows"]], forms


async def _begun(crew: Crew, deployed: Deployed) -> int:
    """Have everything happen that may start a workflow, and return how many runs begin."""
    person = await crew.anew()
    await person.sdk("POST", f"/triggers/{deployed.workflow.id}", json={})
    await person.sdk("POST", "/events/trigger", json={"name": "E"})
    await crew.place.house.appointments.arrange()
    crew.place.clock.jump(timedelta(days=1))
    await crew.place.house.appointments.keep()
    return len(await crew.runs())


async def _fill_in(crew: Crew, settings: dict[str, Any]) -> None:
    person, config = await crew.anew(), {"workflowSettings": settings}
    assert (await person.sdk("PATCH", f"/credentials/{crew.connection_id}", json={"config": config})).status == 200


@pytest.fixture
async def alone(landbridge: Place) -> Crew:
    """A connected user, and no worker: the test does what one would."""
    return Crew(landbridge, *await landbridge.connected())


async def test_users_see_the_name_of_what_is_deployed_and_operators_that_of_the_draft(crew: Crew) -> None:
    deployed = await crew.deploy(NAMED % "First")
    id_ = deployed.workflow.id
    await crew.place.house.deployments.save(crew.project, id_, Workflow.from_yaml(NAMED % "Second"))
    listed, forms = await _shown(crew)
    assert (listed, forms[id_]["description"]) == ([(id_, "First")], "First")
    assert (await crew.shown(f"/workflows/{id_}"))["name"] == "Second"

    restored = (await crew.operate("POST", f"/workflows/{id_}/versions/1/restore")).json
    assert (restored["name"], restored["draft"]["name"]) == ("First", "First")


async def test_the_portal_is_told_what_to_hide_and_nothing_of_what_nobody_switches_on(crew: Crew) -> None:
    hidden, plain = await crew.deploy(NAMED % "Hidden"), await crew.deploy(NAMED % "Plain")
    await crew.deploy("{name: Welcome, trigger: {type: integrationEnabled}, steps: [{id: end, type: stop}]}")
    gone = await crew.deploy(NAMED % "Gone")
    await crew.place.house.deployments.undeploy(crew.project, gone.workflow.id)
    await crew.operate("PATCH", f"/workflows/{hidden.workflow.id}", json={"is_hidden": True})

    listed, forms = await _shown(crew)

    ids = [hidden.workflow.id, plain.workflow.id]
    assert listed == list(zip(ids, ("Hidden", "Plain"), strict=True))
    assert [forms[id_]["hidden"] for id_ in ids] == [True, False]
    assert forms.keys() == set(ids)
    for id_ in ids:
        assert (await crew.person.sdk("POST", f"/triggers/{id_}", json={})).status == 202


async def test_a_caller_chooses_among_connections_and_configurations_and_each_is_on_for_itself(crew: Crew) -> None:
    id_ = (await crew.deploy(WHOSE)).workflow.id
    await crew.operate("PATCH", f"/workflows/{id_}", json={"is_default_enabled": False})
    other = replace(crew.person, email="grace@contoso.example")
    grace = await other.connect(externalId="home", allowMultipleCredentials=True)
    await crew.person.sdk("POST", f"/credentials/{grace}/configurations", json={"externalId": "second"})
    for configuration, name in (("", "first"), ("second", "other")):
        config = {"workflowSettings": {}, "sharedSettings": {"name": name}}
        headers = {"X-Paragon-Configuration-Id": configuration}
        await crew.person.sdk("PATCH", f"/credentials/{grace}", json={"config": config}, headers=headers)

    async def asked(method: str = "POST", path: str = "triggers", **which: str) -> Any:
        names = {"connection": "X-Paragon-Credential", "configuration": "X-Paragon-Configuration-Id"}
        headers = {names[kind]: value for kind, value in which.items()}
        return await crew.person.sdk(method, f"/{path}/{id_}", json={}, headers=headers)

    assert (await asked()).status == 409
    assert (await asked(path="workflows", connection="home", configuration="second")).status == 200
    assert (await asked()).json == ["grace@contoso.example", "other"]
    assert (await asked(connection="home", configuration="second")).json == ["grace@contoso.example", "other"]
    assert (await asked(connection=grace)).json == ["grace@contoso.example", "other"]
    for which in ({"connection": crew.connection_id}, {"connection": "nobody"}, {"configuration": "third"}):
        assert (await asked(**which)).status == 409
    assert (await asked(path="workflows", connection=crew.connection_id)).status == 200
    assert (await asked()).json == ["ada@contoso.example", None]
    assert (await asked(connection="home")).json == ["grace@contoso.example", "other"]
    assert (await asked("DELETE", "workflows", connection="home", configuration="second")).status == 200
    assert (await asked(connection="home")).status == 409
    assert (await asked()).status == 200


async def test_an_event_starts_one_run_for_each_configuration_that_is_meant(crew: Crew) -> None:
    await crew.place.house.deployments.put_event(crew.project, "E", {}, None)
    await crew.deploy("{name: Ev, trigger: {type: appEvent, event: E}, steps: [{id: end, type: stop}]}")
    other = replace(crew.person, email="grace@contoso.example")
    grace = await other.connect(externalId="home", allowMultipleCredentials=True)
    await crew.person.sdk("POST", f"/credentials/{grace}/configurations", json={"externalId": "second"})

    async def begun(**headers: str) -> list[bool]:
        answer = await crew.person.sdk("POST", "/events/trigger", json={"name": "E"}, headers=headers)
        rows = [await crew.row(id_) for id_ in answer.json["workflowExecutionIds"]]
        assert len({row.configuration_id for row in rows}) == len(rows)
        return sorted(row.connection_id == grace for row in rows)

    assert await begun() == [False, True, True]
    assert await begun(**{"X-Paragon-Credential": "home"}) == [True, True]
    assert await begun(**{"X-Paragon-Configuration-Id": "second"}) == [True]


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_what_is_on_for_everybody_runs_for_those_who_have_filled_in_what_it_needs(
    alone: Crew, trigger: str
) -> None:
    await alone.place.house.deployments.put_event(alone.project, "E", {}, None)
    deployed = await alone.deploy(NEEDS % trigger)
    id_ = deployed.workflow.id
    assert await _begun(alone, deployed) == 0

    await _fill_in(alone, {id_: {"settings": {"folder": "Ours"}}})
    assert await _begun(alone, deployed) == 1

    assert (await (await alone.anew()).sdk("POST", f"/workflows/{id_}")).status == 200
    for emptied in ({}, {"folder": ""}):
        await _fill_in(alone, {id_: {"enabled": True, "settings": emptied}})
        assert await _begun(alone, deployed) == 1


async def test_who_lacks_a_setting_is_told_which(crew: Crew) -> None:
    id_ = (await crew.deploy(NEEDS % "{type: request}")).workflow.id
    for path, status in ((f"/triggers/{id_}", 409), (f"/workflows/{id_}", 400)):
        answer = await crew.person.sdk("POST", path, json={})
        assert (answer.status, answer.json["message"]) == (status, "Fill in first what the workflow needs: folder.")


@pytest.mark.parametrize("kind", ["STRING", "NUMBER", "BOOLEAN", "DATE", "EMAIL", "ARRAY"])
async def test_a_file_where_a_trigger_wants_something_else_is_refused(crew: Crew, kind: str) -> None:
    deployed = await crew.deploy(
        f"{{name: L, trigger: {{type: request, body: [{{key: x, dataType: {kind}}}]}}, steps: [{{id: e, type: stop}}]}}"
    )
    form = aiohttp.FormData()
    form.add_field("x", b"12", filename="a.txt", content_type="text/plain")
    answer = await crew.person.sdk("POST", f"/triggers/{deployed.workflow.id}", data=form)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "body.x must be" in answer.json["message"]


async def test_workflows_that_would_run_each_other_are_not_deployed_at_the_same_moment(alone: Crew) -> None:
    deployments = alone.place.house.deployments
    ids = [(await alone.deploy(NAMED % name)).workflow.id for name in ("One", "Other")]
    for id_, other in zip(ids, reversed(ids), strict=True):
        steps = f"steps: [{{id: run, type: runWorkflow, workflow: {other}}}]"
        definition = Workflow.from_yaml(f"{{name: Circle, trigger: {{type: request}}, {steps}}}")
        await deployments.save(alone.project, id_, definition)

    outcomes = await asyncio.gather(*(deployments.deploy(alone.project, id_) for id_ in ids), return_exceptions=True)

    (refused,) = [one for one in outcomes if isinstance(one, BaseException)]
    assert isinstance(refused, InvalidRequest)
    assert "run each other for ever" in refused.message


async def test_a_workflow_that_another_one_runs_has_the_settings_that_the_user_filled_in(crew: Crew) -> None:
    inner = await crew.deploy(
        "{name: Inner, trigger: {type: request}, settings: [{id: folder, title: Folder}], steps: "
        '[{id: say, type: function, code: "def run(p): return p", parameters: {folder: "{{ settings.folder }}"}}]}'
    )
    outer = await crew.deploy(
        "{name: Outer, trigger: {type: request}, "
        f"steps: [{{id: call, type: runWorkflow, workflow: {inner.workflow.id}}}]}}"
    )

    error = (await crew.ended((await crew.start(outer)).id)).error
    assert error
    assert error["message"] == "Fill in first what the workflow needs: folder."
    await _fill_in(crew, {inner.workflow.id: {"settings": {"folder": "Ours"}}})
    run = await crew.ended((await crew.start(outer)).id)

    assert (run.state, await crew.output(run.id)) == (SUCCEEDED, {"result": {"result": {"folder": "Ours"}}})
