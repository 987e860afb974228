"""Whoever comes without the right token or key gets nothing, sees nothing and changes nothing, on every route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
from starlette.routing import BaseRoute, Route
from structlog.testing import capture_logs
from tests.integrations.landbridge import Place, place
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import APP, Answer, Person
from yarl import URL

from landbridge.server import rooms_of
from landbridge.settings import Settings
from landbridge.web import site
from landbridge.workflows.definition import Workflow

PROXY = "/projects/{project_id}/sdk/proxy/{integration}/me/drive"

USERS = """
GET    /projects/{project_id}/sdk/me
PATCH  /projects/{project_id}/sdk/me                                    {"meta": {"stolen": true}}
GET    /projects/{project_id}/sdk/integrations
GET    /projects/{project_id}/triggers
GET    /projects/{project_id}/actions
POST   /projects/{project_id}/actions                                   {"action": "ONEDRIVE_LIST_FILES"}
POST   /projects/{project_id}/mcp                                       {"jsonrpc": "2.0", "id": 1, "method": "ping"}
GET    /v2/projects/{project_id}/sdk/actions/build-oauth
GET    /projects/{project_id}/sdk/actions/session-id/{session_key}
DELETE /projects/{project_id}/sdk/actions/session-id/{session_key}
POST   /projects/{project_id}/sdk/credentials                           {"integrationId": "onedrive", "code": "c"}
DELETE /projects/{project_id}/sdk/integrations/{integration}
GET    /projects/{project_id}/sdk/credentials
GET    /projects/{project_id}/sdk/credentials/{selector}
PATCH  /projects/{project_id}/sdk/credentials/{selector}                {"config": {"sharedSettings": {"x": 1}}}
POST   /projects/{project_id}/sdk/credentials/{selector}/complete-setup
POST   /projects/{project_id}/sdk/credentials/{selector}/configurations {"externalId": "mine"}
PATCH  /projects/{project_id}/sdk/credentials/{selector}/configurations {"meta": {"x": 1}}
DELETE /projects/{project_id}/sdk/credentials/{selector}/configurations
GET    /projects/{project_id}/sdk/proxy/{integration}/me/drive
POST   /projects/{project_id}/sdk/triggers/{workflow_id}                {"x": 1}
POST   /projects/{project_id}/sdk/events/trigger                        {"name": "Theirs", "payload": {}}
POST   /v2/projects/{project_id}/sdk/events/trigger                     {"name": "Theirs", "payload": {}}
POST   /projects/{project_id}/sdk/workflows/{workflow_id}
DELETE /projects/{project_id}/sdk/workflows/{workflow_id}
"""
"""Routes of a connected user, who proves it by a token."""

OPERATORS = """
GET    /api/v1/projects
POST   /api/v1/projects                                                 {"name": "Theirs"}
GET    /api/v1/projects/{project_id}
PATCH  /api/v1/projects/{project_id}                                    {"name": "Theirs"}
DELETE /api/v1/projects/{project_id}
GET    /api/v1/projects/{project_id}/signing-keys
POST   /api/v1/projects/{project_id}/signing-keys                       {"algorithm": "ES256"}
DELETE /api/v1/projects/{project_id}/signing-keys/{key_id}
GET    /api/v1/api-keys
POST   /api/v1/api-keys                                                 {"name": "Theirs"}
DELETE /api/v1/api-keys/{key_id}
GET    /api/v1/catalog
GET    /api/v1/projects/{project_id}/integrations
GET    /api/v1/projects/{project_id}/integrations/{type}
PATCH  /api/v1/projects/{project_id}/integrations/{type}                {"client_id": "theirs"}
GET    /api/v1/projects/{project_id}/connections
DELETE /api/v1/projects/{project_id}/connections/{connection_id}
POST   /api/v1/projects/{project_id}/users/{user_id}/token              {"lifetime_seconds": 60}
GET    /api/v1/projects/{project_id}/workflows
POST   /api/v1/projects/{project_id}/workflows                          {"name": "T", "trigger": {"type": "request"}}
POST   /api/v1/projects/{project_id}/workflows/check                    {"name": "T", "trigger": {"type": "request"}}
GET    /api/v1/projects/{project_id}/workflows/{workflow_id}
PUT    /api/v1/projects/{project_id}/workflows/{workflow_id}            {"name": "T", "trigger": {"type": "request"}}
PATCH  /api/v1/projects/{project_id}/workflows/{workflow_id}            {"is_hidden": true}
DELETE /api/v1/projects/{project_id}/workflows/{workflow_id}
POST   /api/v1/projects/{project_id}/workflows/{workflow_id}/test       {"user_id": "u"}
POST   /api/v1/projects/{project_id}/workflows/{workflow_id}/deploy
POST   /api/v1/projects/{project_id}/workflows/{workflow_id}/undeploy
GET    /api/v1/projects/{project_id}/workflows/{workflow_id}/versions
POST   /api/v1/projects/{project_id}/workflows/{workflow_id}/versions/{number}/restore
GET    /api/v1/projects/{project_id}/runs
GET    /api/v1/projects/{project_id}/runs/{run_id}
GET    /api/v1/projects/{project_id}/runs/{run_id}/entries
GET    /api/v1/projects/{project_id}/runs/{run_id}/steps/{step}/{part}
POST   /api/v1/projects/{project_id}/runs/{run_id}/cancel
POST   /api/v1/projects/{project_id}/runs/{run_id}/replay                {"version": "same"}
GET    /projects/{project_id}/task-history/workflow-executions
GET    /projects/{project_id}/task-history/workflow-executions/{execution_id}
GET    /projects/{project_id}/task-history/workflow-executions/{execution_id}/step-executions/{step_id}
POST   /projects/{project_id}/task-history/workflow-executions/{execution_id}/replay
GET    /api/v1/projects/{project_id}/events
PUT    /api/v1/projects/{project_id}/events/{event}                     {"example": {"x": 1}}
DELETE /api/v1/projects/{project_id}/events/{event}
GET    /api/v1/projects/{project_id}/secrets
PUT    /api/v1/projects/{project_id}/secrets/{secret}                   {"value": "theirs"}
DELETE /api/v1/projects/{project_id}/secrets/{secret}
"""
"""Routes of an operator, who proves it by an API key."""

EVERYBODY = """
GET /api/openapi.json
GET /ui
GET /ui/{name}
GET /integrations/{name}.svg
GET /healthz
GET /readyz
GET /metrics
GET /oauth
GET /projects/{project_id}/sdk/actions/oauth-nonce
"""
"""Routes that anybody may ask: they show nobody's things, or check in their own way (the sign-in pages)."""

HARMLESS = {"GET /api/v1/catalog", "GET /api/v1/projects"}
"""What another project's key may ask: it sees what is everybody's, and its own."""


@dataclass(frozen=True)
class Case:
    """A route with a body that would change something."""

    method: str
    path: str
    body: Any  # Any: JSON

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def cases(table: str) -> list[Case]:
    """Return the routes of a table above."""
    lines = (line.split(maxsplit=2) for line in table.strip().splitlines())
    return [Case(line[0], line[1], json.loads(line[2]) if len(line) > 2 else None) for line in lines]


def routes_of(routes: list[BaseRoute]) -> Iterator[str]:
    """Yield every method and path that the framework answers."""
    for route in routes:
        if isinstance(route, Route) or hasattr(route, "methods"):
            for method in sorted(set(getattr(route, "methods", ())) - {"HEAD", "OPTIONS"}):
                yield f"{method} {getattr(route, 'path', '')}"
        else:
            yield from routes_of(route.original_router.routes)  # type: ignore[attr-defined]  # FastAPI's own


@dataclass(frozen=True)
class Victim:
    """Somebody with everything: what strangers must neither see nor change."""

    person: Person
    ids: dict[str, str]
    key: str

    def secrets(self) -> list[str]:
        return [self.person.email, self.ids["connection_id"], "Ada Lovelace", self.person.token, self.key]

    async def state(self) -> Any:
        """Return all that can be seen of the victim, as the victim and as its operator."""
        headers = {"Authorization": f"Bearer {self.key}"}
        base = f"/api/v1/projects/{self.person.project}"
        seen = [await self.person.send("GET", f"{base}{part}", headers=headers) for part in ("", "/integrations")]
        parts = ("/connections", "/workflows", "/runs", "/runs?is_test=true", "/events", "/secrets")
        seen += [await self.person.send("GET", f"{base}{part}", headers=headers) for part in parts]
        seen += [await self.person.sdk("GET", part) for part in ("/me", f"/credentials/{self.ids['connection_id']}")]
        assert {answer.status for answer in seen} == {200}
        return [answer.json for answer in seen]


@pytest.fixture
async def victim(landbridge: Place) -> Victim:
    person, connection = await landbridge.connected()
    projects = landbridge.house.projects
    row, key = await projects.create_api_key("Ours", person.project)
    signing_key, _ = await projects.create_signing_key(person.project, "ES256")
    session_key = await person.sign_in()
    ids = {
        "project_id": person.project,
        "integration": "onedrive",
        "type": "onedrive",
        "session_key": session_key,
        "selector": connection,
        "connection_id": connection,
        "user_id": person.id,
        "key_id": signing_key.id,
        "name": "onedrive",
        **await workflow_of(landbridge, person.project),
    }
    return Victim(person, {**ids, "api_key_id": row.id}, key)


_RUN = {"run_id": "run", "execution_id": "run", "step_id": "step", "step": "step", "part": "output"}


async def workflow_of(landbridge: Place, project: str) -> dict[str, str]:
    deployments = landbridge.house.deployments
    definition = {"name": "Ours", "trigger": {"type": "appEvent", "event": "Ours"}}
    await deployments.put_event(project, "Ours", {}, None)
    await deployments.put_secret(project, "OURS", "a secret of ours")
    workflow = await deployments.create(project, Workflow.parse(definition))
    await deployments.deploy(project, workflow.id)
    return {"workflow_id": workflow.id, "number": "1", **_RUN, "event": "Ours", "secret": "OURS"}


async def test_every_route_is_in_a_table_above(landbridge: Place) -> None:
    framework = site.build(rooms_of(landbridge.house))._framework
    tables = {case.name for table in (USERS, OPERATORS, EVERYBODY) for case in cases(table)}

    assert {*routes_of(framework.routes), f"GET {PROXY}"} == tables


async def attempt(case: Case, victim: Victim, stranger: Person, **headers: str) -> Answer:
    """Return the answer to a stranger who knows every id of the victim."""
    ids = victim.ids
    if case.path.startswith("/api/v1/api-keys"):
        ids = {**ids, "key_id": ids["api_key_id"]}
    query = {"action": "onedrive", "oauthMetaKeyId": ids["session_key"], "integration": "onedrive"}
    path = f"{case.path.format_map(ids)}?{URL.build(query=query).raw_query_string}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await stranger.send(case.method, path, json=case.body, headers=named)
    shown = answer.body.decode() + str(answer.headers)
    assert not [secret for secret in victim.secrets() if secret in shown], (case.name, answer)
    assert answer.status < 500, (case.name, answer)
    return answer


async def test_nobody_sees_or_changes_anything_without_a_token_of_this_project(
    landbridge: Place, microsoft: Microsoft, victim: Victim
) -> None:
    elsewhere, _ = await landbridge.connected(email="grace@contoso.example")
    same_name = await landbridge.person(elsewhere.project, id_=victim.person.id)
    before = await victim.state()
    await microsoft.forget()

    for case in cases(USERS):
        for token in ("", "nonsense", elsewhere.token, same_name.token, victim.key):
            answer = await attempt(case, victim, replace(elsewhere, token=token))
            assert (answer.status, answer.code) == (401, "unauthenticated"), (case.name, token, answer)
            assert answer.json["meta"]["remedy"]

    assert not await microsoft.calls(service="graph")
    assert await victim.state() == before


async def test_another_user_of_the_project_reaches_nothing_of_the_victims(
    landbridge: Place, microsoft: Microsoft, victim: Victim
) -> None:
    stranger = await landbridge.person(victim.person.project, email="grace@contoso.example")
    before = await victim.state()
    session = await stranger.sdk("GET", f"/actions/session-id/{victim.ids['session_key']}")
    await microsoft.forget()

    for case in cases(USERS):
        for selector in (victim.ids["connection_id"], f"ext:{victim.ids['connection_id']}"):
            answer = await attempt(case, victim, stranger, X_Paragon_Credential=selector)
            if "{selector}" in case.path or case.path == PROXY:
                assert (answer.status, answer.code) == (404, "not_found"), (case.name, answer)
    after = await stranger.sdk("GET", f"/actions/session-id/{victim.ids['session_key']}")

    assert session.json == {}
    assert victim.ids["connection_id"] not in after.json.values(), "theirs is a sign-in of their own, which failed"
    assert not await microsoft.calls(service="graph")
    assert await victim.state() == before


async def test_nobody_manages_a_project_without_a_key_for_it(landbridge: Place, victim: Victim) -> None:
    projects = landbridge.house.projects
    _, theirs = await projects.create_api_key("Theirs", await landbridge.project())
    revoked_row, revoked = await projects.create_api_key("Revoked", victim.person.project)
    await projects.revoke_api_key(revoked_row.id)
    before = await victim.state()

    for case in cases(OPERATORS):
        for key in ("", "nonsense", f"lb_key_{'x' * 43}", revoked, victim.person.token):
            answer = await attempt(case, victim, replace(victim.person, token=key))
            assert (answer.status, answer.code) == (401, "unauthenticated"), (case.name, answer)
        answer = await attempt(case, victim, replace(victim.person, token=theirs))
        if case.name not in HARMLESS:
            assert (answer.status, answer.code) == (403, "forbidden"), (case.name, answer)

    assert await victim.state() == before


async def test_a_key_of_one_project_reaches_what_is_its_own_and_no_more(landbridge: Place, victim: Victim) -> None:
    other = await landbridge.project()
    signing_key, _ = await landbridge.house.projects.create_signing_key(other, "ES256")
    ours = replace(victim.person, token=victim.key)

    smuggled = await ours.send("DELETE", f"/api/v1/projects/{victim.person.project}/signing-keys/{signing_key.id}")
    listed = await ours.send("GET", "/api/v1/projects")

    assert (smuggled.status, smuggled.code) == (404, "not_found")
    assert [project["id"] for project in listed.json] == [victim.person.project]


async def test_open_routes_show_nothing_of_anybody(landbridge: Place, victim: Victim) -> None:
    nobody = replace(victim.person, token="")

    for case in cases(EVERYBODY):
        await attempt(case, victim, nobody)


@pytest.mark.parametrize(
    "referer", [None, "https://evil.example/", f"{APP}.evil.example/", "https://one.example/a?b=c"]
)
async def test_the_portal_tells_nobody_whose_pages_may_frame_it(landbridge: Place, referer: str | None) -> None:
    for name in ("one", "two"):
        await landbridge.house.projects.create(name, [f"https://{name}.example"])

    async with landbridge.http.get(f"{landbridge.url}/ui", headers={"Referer": referer} if referer else {}) as page:
        policy = page.headers["Content-Security-Policy"]

    asks = referer == "https://one.example/a?b=c"
    assert policy.partition("frame-ancestors ")[2] == ("https://one.example" if asks else "'none'")
    assert page.headers["Vary"] == "Referer"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("trusted", "named"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.7")])
async def test_the_log_names_who_was_refused_as_a_trusted_proxy_tells(
    settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft, trusted: tuple[str, ...], named: str
) -> None:
    async with place(settings.model_copy(update={"trusted_proxies": trusted}), http, microsoft) as ours:
        stranger = replace(await ours.person(), token="none")
        with capture_logs() as told:
            for path in ("/me", "/proxy/onedrive/me/drive"):
                answer = await stranger.sdk("GET", path, headers={"X-Forwarded-For": "203.0.113.7"})
                assert answer.status == 401

    refused = [line for line in told if line["event"] == "a caller was refused"]
    assert [(line["client"], line["error"]) for line in refused] == [(named, "unauthenticated")] * 2
