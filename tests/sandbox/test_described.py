"""Schemathesis tries every operation that the sandbox's own descriptions name: bad input is never a failure of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from msgraph_sandbox.client import Client
from msgraph_sandbox.control.app import described
from msgraph_sandbox.server import Sandbox

ADA = "ada@contoso.example"
SERVICES = ("control", "graph", "login")
SCHEMAS = {name: schemathesis.openapi.from_dict(described(name, "http://sandbox.example")) for name in SERVICES}
OPERATIONS: dict[str, list[Any]] = {
    name: [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for name, schema in SCHEMAS.items()
}
EXAMPLES = settings(max_examples=10, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all that is tried."""
    with Sandbox() as running:
        yield running


def _each(service: str) -> pytest.MarkDecorator:
    operations = OPERATIONS[service]
    return pytest.mark.parametrize("operation", operations, ids=[one.label for one in operations])


def _try(operation: Any, base_url: str, known: dict[str, str], **headers: str) -> None:  # Any: Schemathesis's own
    """Send whatever fits the description, and once more about things that there are."""

    @EXAMPLES
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        _tame(case.body)
        for names in ({}, known):
            for part in (case.path_parameters, case.query, case.body):
                if isinstance(part, dict):
                    part |= {name: names[name] for name in names.keys() & part.keys()}
            answer = case.call(base_url=base_url, headers=headers, allow_redirects=False, timeout=30)
            assert answer.status_code < 500 or answer.status_code == 507, (case.formatted_path, case.body, answer.text)

    send()


def _tame(body: Any) -> None:
    """Keep what is allowed, but would only take long, small."""
    if isinstance(body, dict):
        for name, limit in (("count", 20), ("size", 1000)):
            if isinstance(body.get(name), int | float):  # 7.0 is an integer to JSON Schema
                body[name] %= limit


@_each("control")
def test_the_control_api_holds(operation: Any, sandbox: Sandbox) -> None:
    known = {"name": ADA, "path": "Documents/Welcome.txt", "user": ADA}
    _try(operation, str(sandbox.announcement["control_url"]), known)


@_each("login")
def test_sign_in_holds(operation: Any, sandbox: Sandbox) -> None:
    facts = sandbox.announcement
    Client(str(facts["control_url"])).reset()  # takes away the faults that were planted while the control API was tried
    known = {"tenant": "common", "client_id": facts["client_id"], "redirect_uri": "http://localhost:1/x"}
    _try(operation, str(facts["login_url"]), known | {"client_secret": facts["client_secret"]})


@_each("graph")
def test_graph_holds(operation: Any, sandbox: Sandbox) -> None:
    facts = sandbox.announcement
    control = Client(str(facts["control_url"]))
    control.reset()
    drive = next(one["id"] for one in control.state()["drives"] if one["owner"] == ADA)
    known = {"path": "Documents/Welcome.txt", "drive": drive, "item": "root", "user": ADA, "site": "root"}
    token = control.tokens(ADA)["access_token"]
    _try(operation, f"{facts['graph_url']}/v1.0", known, Authorization=f"Bearer {token}")


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_is_tried(service: str) -> None:
    paths = described(service, "x")["paths"]
    assert len(OPERATIONS[service]) == sum(map(len, paths.values())) > 10


@pytest.mark.parametrize("service", SERVICES)
def test_the_descriptions_are_served_where_they_say(sandbox: Sandbox, service: str) -> None:
    with urlopen(f"{sandbox.announcement['control_url']}/openapi/{service}") as answer:
        found = json.load(answer)
    assert found["servers"][0]["url"].startswith(str(sandbox.announcement[f"{service}_url"]))
    assert found["paths"] == described(service, "x")["paths"]
