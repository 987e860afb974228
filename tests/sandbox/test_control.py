"""The control API: the ledger, faults, the clock and switches."""

from __future__ import annotations

import asyncio
import email.utils
import time

import aiohttp
import pytest
from tests.sandbox.caller import Caller


async def test_the_ledger_counts_refreshes(caller: Caller) -> None:
    for _ in range(3):
        await caller.token_call(grant_type="refresh_token", refresh_token=caller.user["refresh_token"])
    found = await caller.control("GET", "/ledger?operation=token&grant_type=refresh_token&user=ada@contoso.example")
    assert found["count"] == 3
    assert found["entries"][0]["client_id"] == caller.facts["client_id"]
    assert caller.user["refresh_token"] not in str(found)
    await caller.control("DELETE", "/ledger")
    await caller.graph("GET", "/me/drive")
    entries = (await caller.control("GET", "/ledger"))["entries"]
    assert [(entry["service"], entry["operation"], entry["status"]) for entry in entries] == [
        ("graph", "drive.get", 200)
    ]
    assert (await caller.control("GET", f"/ledger?after={entries[0]['number']}"))["count"] == 0


async def test_a_planted_fault_strikes_as_often_as_asked(caller: Caller) -> None:
    fault = {"service": "graph", "operation": "drive.get", "status": 429, "retry_after": 7, "count": 2, "skip": 1}
    planted = await caller.control("POST", "/faults", json=fault)
    for status in (200, 429, 429, 200):
        answer = await caller.graph("GET", "/me/drive", status)
    assert answer["driveType"] == "business"
    assert (await caller.control("GET", "/faults"))["faults"][0]["struck"] == 2
    await caller.control("DELETE", f"/faults/{planted['id']}")
    await caller.control("DELETE", f"/faults/{planted['id']}", 404)


async def test_retry_after_comes_in_both_forms_or_not_at_all(caller: Caller) -> None:
    url, headers = caller.facts["graph_url"] + "/v1.0/me/drive", {"Authorization": f"Bearer {caller.token}"}
    await caller.control("POST", "/faults", json={"status": 503, "retry_after": 30, "retry_after_form": "date"})
    async with caller.session.get(url, headers=headers) as response:
        at = email.utils.parsedate_to_datetime(response.headers["Retry-After"]).timestamp()
        assert 20 < at - time.time() < 40
        assert (await response.json())["error"]["code"] == "serviceNotAvailable"
    await caller.control("POST", "/faults", json={"status": 429})
    async with caller.session.get(url, headers=headers) as response:
        assert "Retry-After" not in response.headers


async def test_the_token_endpoint_can_fail_with_any_code(caller: Caller) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    await caller.control("POST", "/faults", json={"operation": "token", "status": 503, "retry_after": 1})
    assert (await caller.token_call(503, **form))["error"] == "temporarily_unavailable"
    await caller.control("POST", "/faults", json={"operation": "token", "code": "50076", "user": "ada@contoso.example"})
    answer = await caller.token_call(400, **form)
    assert (answer["error"], answer["suberror"]) == ("invalid_grant", "basic_action")
    await caller.token_call(**form)


@pytest.mark.parametrize("effect", ["reset", "truncate"])
async def test_connections_can_be_broken(caller: Caller, effect: str) -> None:
    await caller.control("POST", "/faults", json={"service": "graph", "effect": effect, "count": 2})
    with pytest.raises(aiohttp.ClientError):
        await caller.graph("GET", "/me/drive/root/children")
    await caller.control("DELETE", "/faults")
    await caller.graph("GET", "/me/drive/root/children")


@pytest.mark.parametrize(("effect", "is_done"), [("hang", False), ("withhold", True), ("lose", True)])
async def test_an_answer_can_never_come_whether_it_was_done_or_not(caller: Caller, effect: str, is_done: bool) -> None:
    caller = await caller.as_new_user("contoso.example")
    await caller.control("DELETE", "/ledger")
    await caller.control("POST", "/faults", json={"operation": "children.create", "effect": effect})
    asking = asyncio.create_task(caller.graph("POST", "/me/drive/root/children", json={"name": "Box", "folder": {}}))
    while not (await caller.control("GET", "/ledger?operation=children.create"))["entries"]:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])

    listed = await caller.graph("GET", "/me/drive/root/children")
    assert ("Box" in [item["name"] for item in listed["value"]]) == is_done


async def test_an_answer_can_be_late(caller: Caller) -> None:
    await caller.control("POST", "/faults", json={"effect": "delay", "delay": 0.2})
    started = time.monotonic()
    await caller.graph("GET", "/me/drive")
    assert time.monotonic() - started >= 0.2


async def test_the_life_of_tokens_can_be_set_and_outlived(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"access_token_seconds": 100})
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    tokens = await caller.token_call(**form)
    assert tokens["expires_in"] == 99
    caller.token = tokens["access_token"]
    await caller.graph("GET", "/me/drive")
    await caller.control("POST", "/clock", json={"seconds": 101})
    await caller.graph("GET", "/me/drive", 401)
    await caller.control("POST", "/clock", json={"seconds": 91 * 86400})
    assert (await caller.token_call(400, **form))["error_codes"] == [700082]


async def test_strict_rotation_spends_refresh_tokens(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"strict_refresh_rotation": True})
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    await caller.token_call(**form)
    assert (await caller.token_call(400, **form))["error"] == "invalid_grant"


async def test_users_can_be_added_and_hindered(caller: Caller) -> None:
    body = {"email": "new@contoso.example", "files": {"hello.txt": "hello"}}
    user = await caller.control("POST", "/users", json=body)
    await caller.control("POST", "/users", 400, json=body)
    tokens = await caller.control("POST", "/users/new@contoso.example/tokens", json={})
    caller.token = tokens["access_token"]
    assert (await caller.graph("GET", "/me"))["id"] == user["id"]
    await caller.control("PATCH", "/users/new@contoso.example", json={"obstacle": 53003})
    answer = await caller.token_call(400, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert answer["error"] == "interaction_required"


async def test_auto_consent_needs_no_page(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"auto_consent": True})
    assert "code" in await caller.authorize(sandbox_consent="")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/faults", {"path": "("}),
        ("POST", "/faults", {"nonsense": 1}),
        ("POST", "/clock", {"seconds": -1}),
        ("PATCH", "/switches", {"page_size": "many"}),
        ("GET", "/ledger?colour=red", None),
        ("GET", "/nothing", None),
        ("POST", "/users/nobody/revoke", {}),
        ("POST", "/users", {"email": "x@y.example", "tenant": "nowhere"}),
        ("POST", "/users", {"email": "huge@contoso.example", "files": {"a": 1 << 60}}),
        ("POST", "/users", {"email": "less@contoso.example", "files": {"a": -1}}),
        ("POST", "/authorize", {"url": "http://[::1"}),
        ("POST", "/authorize", {"url": "/common/oauth2/v2.0/authorize"}),
    ],
)
async def test_the_control_api_explains_what_it_does_not_take(
    caller: Caller, method: str, path: str, body: dict[str, object] | None
) -> None:
    async with caller.session.request(method, caller.facts["control_url"] + path, json=body) as response:
        assert response.status in (400, 404), await response.text()
        assert (await response.json())["error"]


async def test_the_clock_has_an_end(caller: Caller) -> None:
    century = {"seconds": 100 * 365 * 86400}
    for _ in range(10):
        await caller.control("POST", "/clock", json=century)
    await caller.control("POST", "/clock", 400, json=century)
    assert (await caller.sign_in()).token
    await caller.graph("GET", "/me/drive/root/delta")


@pytest.mark.parametrize("code", ["12345", "9" * 30, "9" * 5000])
async def test_a_code_that_sign_in_does_not_have_is_refused_when_it_is_planted(caller: Caller, code: str) -> None:
    await caller.control("POST", "/faults", 400, json={"operation": "token", "code": code})
    assert (await caller.control("GET", "/faults"))["faults"] == []


@pytest.mark.parametrize("code", [12345, -1])
async def test_an_obstacle_that_sign_in_does_not_have_is_refused(caller: Caller, code: int) -> None:
    path = f"/users/{caller.user['email']}"
    await caller.control("PATCH", path, json={"obstacle": 50076})
    await caller.control("PATCH", path, 400, json={"obstacle": code})
    assert (await caller.control("PATCH", path, json={"obstacle": 0}))["obstacle"] is None
