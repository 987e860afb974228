"""Workflows that are for some users only, by conditions on the metadata that the host product keeps of them."""

from __future__ import annotations

from typing import Any

from tests.integrations.person import Person
from tests.integrations.workflows.crew import Crew

from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed

QUIET = "{name: For some, trigger: %s, steps: [{id: end, type: stop}]}"

PAYS: list[list[dict[str, Any]]] = [
    [{"left": "{{ user.metadata.plan }}", "operator": "$stringExactlyMatches", "right": "pro"}],
    [{"left": "{{ user.metadata.team.seats }}", "operator": "$numberGreaterThan", "right": 10}],
]

EVENT = {"name": "Invoice created", "payload": {}}


async def _for_those_who_pay(crew: Crew, trigger: str = "{type: request}") -> Deployed:
    deployments = crew.place.house.deployments
    row = await deployments.create(crew.project, Workflow.from_yaml(QUIET % trigger))
    everything = {"permissions": PAYS, "is_default_enabled": True}
    answer = await crew.operate("PATCH", f"/workflows/{row.id}", json=everything)
    assert answer.status == 200, answer.body
    await deployments.deploy(crew.project, row.id)
    return await deployments.find(crew.project, row.id)


async def _report(crew: Crew) -> list[str]:
    answer = await crew.person.send("POST", f"/v2/projects/{crew.project}/sdk/events/trigger", json=EVENT)
    assert answer.status == 201, answer.body
    ids: list[str] = answer.json["workflowExecutionIds"]
    return ids


async def _is(person: Person, **meta: Any) -> None:
    assert (await person.sdk("PATCH", "/me", json={"meta": meta})).status == 200


async def _told(person: Person) -> tuple[list[str], list[str], list[str]]:
    """Return which workflows the portal is told of: those to show, their forms, and those that are not for the user."""
    answer = await person.sdk("GET", "/integrations")
    assert answer.status == 200, answer.body
    (integration,) = answer.json
    forms = integration["configs"][0]["values"]["workflowMeta"]
    return [one["id"] for one in integration["workflows"]], list(forms), integration["noPermissionWorkflows"]


async def test_a_workflow_does_not_exist_for_those_whom_its_permissions_leave_out(crew: Crew) -> None:
    id_ = (await _for_those_who_pay(crew)).workflow.id
    left_out: tuple[dict[str, Any], ...] = ({}, {"plan": "free"}, {"plan": None, "team": {"seats": 3}}, {"team": "a"})
    for meta in left_out:
        await _is(crew.person, **meta)
        assert await _told(crew.person) == ([], [], [id_])
        assert (await crew.person.sdk("POST", f"/triggers/{id_}", json={})).status == 404
        assert (await crew.person.sdk("POST", f"/workflows/{id_}")).status == 404
    meant: tuple[dict[str, Any], ...] = ({"plan": "pro", "team": {}}, {"plan": "free", "team": {"seats": 11}})
    for meta in meant:
        await _is(crew.person, **meta)
        assert await _told(crew.person) == ([id_], [id_], [])
        assert (await crew.person.sdk("POST", f"/workflows/{id_}")).status == 200
        assert (await crew.person.sdk("POST", f"/triggers/{id_}", json={})).status == 202


async def test_who_no_longer_fulfils_them_loses_the_workflow_although_they_had_switched_it_on(crew: Crew) -> None:
    await crew.place.house.deployments.put_event(crew.project, "Invoice created", {}, None)
    deployed = await _for_those_who_pay(crew, "{type: appEvent, event: Invoice created}")
    await _is(crew.person, plan="pro")
    assert (await crew.person.sdk("POST", f"/workflows/{deployed.workflow.id}")).status == 200
    assert len(await _report(crew)) == 1
    await _is(crew.person, plan="free")
    assert await _report(crew) == []
    none: dict[str, Any] = {"permissions": []}
    assert (await crew.operate("PATCH", f"/workflows/{deployed.workflow.id}", json=none)).status == 200
    assert len(await _report(crew)) == 1


async def test_an_event_starts_what_is_for_the_user_beside_what_is_not(crew: Crew) -> None:
    await crew.place.house.deployments.put_event(crew.project, "Invoice created", {}, None)
    await _for_those_who_pay(crew, "{type: appEvent, event: Invoice created}")
    everybodys = await crew.deploy(QUIET % "{type: appEvent, event: Invoice created}")
    (run,) = await _report(crew)
    assert (await crew.row(run)).workflow_id == everybodys.workflow.id


async def test_schedules_pass_by_those_whom_it_is_not_for_and_nobody_else(crew: Crew) -> None:
    every_second = "{type: scheduler, cron: '* * * * * *'}"
    stranger = Crew(crew.place, *await crew.place.connected(email="grace@contoso.example"))
    theirs = await stranger.deploy(QUIET % every_second)
    mine = await _for_those_who_pay(crew, every_second)
    payer = Crew(crew.place, *await crew.place.connected(crew.project))
    await _is(payer.person, plan="pro")

    async def have_begun() -> bool:
        return {row.user_id for row in await crew.runs()} == {payer.person.id} and len(await stranger.runs()) > 1

    await crew.until(have_begun)
    assert {row.workflow_id for row in await crew.runs()} == {mine.workflow.id}
    assert {row.workflow_id for row in await stranger.runs()} == {theirs.workflow.id}


async def test_conditions_that_ask_for_anything_but_the_user_are_refused_where_they_are_set(crew: Crew) -> None:
    deployed = await crew.deploy(QUIET % "{type: request}")
    for left, said in (
        ("{{ trigger.request.body.plan }}", "permissions[0][0].left: Only the user is known here"),
        ("{{ secrets.PLAN }}", "permissions[0][0].left: Only the user is known here"),
        ("{{ user.account.email }}", "permissions[0][0].left: Only the user is known here"),
        ("{{ user.metadata.plan", "permissions[0][0].left: `{{ user.metadata.plan`"),
    ):
        condition = {"left": left, "operator": "$stringExactlyMatches", "right": "pro"}
        answer = await crew.operate("PATCH", f"/workflows/{deployed.workflow.id}", json={"permissions": [[condition]]})
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert said in answer.json["message"]
        assert answer.json["meta"]["problems"][0]["field"] == "permissions[0][0].left"
    useless: tuple[list[list[Any]], ...] = ([[]], [[PAYS[0][0] | {"right": None}]])
    for permissions in useless:
        answer = await crew.operate("PATCH", f"/workflows/{deployed.workflow.id}", json={"permissions": permissions})
        assert answer.status == 400
