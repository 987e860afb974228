"""The control API's Python client, and the pytest plugin."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest

from msgraph_sandbox.client import ControlRefused
from msgraph_sandbox.faults import Fault
from msgraph_sandbox.server import Sandbox

ADA = "ada@contoso.example"


def _graph(sandbox: Sandbox, path: str) -> tuple[int, dict[str, object]]:
    token = sandbox.control.tokens(ADA)["access_token"]
    request = Request(sandbox.urls["graph_url"] + "/v1.0" + path, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request) as response:
        return response.status, json.loads(response.read())


def test_files_appear_move_and_go_as_if_their_owner_had_done_it(msgraph_sandbox: Sandbox) -> None:
    control = msgraph_sandbox.control
    control.write(ADA, "New/caf\u00e9 #1.txt", b"hello")
    control.make_folder(ADA, "Empty/inner")
    control.move(ADA, "New/caf\u00e9 #1.txt", "Moved/b.txt")
    assert control.read(ADA, "Moved/b.txt") == b"hello"
    assert {"Moved/", "Moved/b.txt", "Empty/inner/", "New/"} <= control.tree(ADA).keys()
    assert _graph(msgraph_sandbox, "/me/drive/root:/Moved/b.txt")[1]["size"] == 5
    control.delete(ADA, "Moved")
    assert "Moved/b.txt" not in control.tree(ADA)
    assert control.grow(ADA, 50, per_folder=20) > 50


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_finds_the_sandbox_as_at_start(msgraph_sandbox: Sandbox, number: int) -> None:
    control = msgraph_sandbox.control
    assert "mark.txt" not in control.tree(ADA)
    assert control.ledger() == []
    assert control.switch()["page_size"] == 200
    control.write(ADA, "mark.txt", b"x")
    control.switch(page_size=number)
    _graph(msgraph_sandbox, "/me/drive")
    control.plant(Fault(service="graph"))
    control.revoke(ADA)


def test_announced_refresh_tokens_outlive_a_reset(msgraph_sandbox: Sandbox) -> None:
    control, facts = msgraph_sandbox.control, msgraph_sandbox.announcement
    control.revoke(ADA)
    control.reset()
    form = (
        f"grant_type=refresh_token&client_id={facts['client_id']}"
        f"&client_secret={facts['client_secret'].replace('+', '%2B')}"
        f"&refresh_token={facts['users'][0]['refresh_token']}"
    )
    with urlopen(f"{facts['login_url']}/common/oauth2/v2.0/token", data=form.encode()) as response:
        assert response.status == 200
    assert len(control.ledger(operation="token", grant_type="refresh_token", status=200)) == 1


def test_page_faults_are_survivable(msgraph_sandbox: Sandbox) -> None:
    control = msgraph_sandbox.control
    control.plant(Fault(operation="delta", effect="empty_page"))
    _, page = _graph(msgraph_sandbox, "/me/drive/root/delta")
    assert page["value"] == []
    link = str(page["@odata.nextLink"]).partition("/v1.0")[2]
    control.plant(Fault(operation="delta", effect="repeat_page"))
    _, again = _graph(msgraph_sandbox, link)
    assert again["value"]
    assert again["@odata.nextLink"] == page["@odata.nextLink"]
    _, last = _graph(msgraph_sandbox, link)
    assert "@odata.deltaLink" in last


def test_what_it_does_not_take_is_explained(msgraph_sandbox: Sandbox) -> None:
    control = msgraph_sandbox.control
    with pytest.raises(ControlRefused, match="no nothing"):
        control.read(ADA, "nothing")
    with pytest.raises(ControlRefused, match="404"):
        control.tree("nobody")
    with pytest.raises(ControlRefused, match="400"):
        control.write(ADA, "a/CON", b"")
    with pytest.raises(ControlRefused, match="no_such_switch"):
        control.switch(no_such_switch=1)


def test_a_person_may_look_at_the_page(msgraph_sandbox: Sandbox) -> None:
    with urlopen(msgraph_sandbox.urls["control_url"].removesuffix("/_sandbox") + "/") as response:
        page = response.read().decode()
        policy = response.headers["Content-Security-Policy"]
    assert "<h1>msgraph-sandbox</h1>" in page
    assert policy.startswith("default-src 'none'")
