"""What few clients ask for, and what happens at the limits."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from tests.sandbox.caller import Caller, exact
from tests.sandbox.receiver import Receiver

NOTES = "/me/drive/root:/Notes.md"


@pytest.mark.parametrize("version", ["v1.0", "beta", "v2.0", "V1.0"])
async def test_a_drive_answers_under_every_version(caller: Caller, version: str) -> None:
    drive = (await caller.graph("GET", "/me/drive"))["id"]
    for path in ("/me/drive/root", f"/drives/{drive}/root"):
        assert "root" in await caller.graph("GET", f"{caller.facts['graph_url']}/{version}{path}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Me/Drive/Root:/Notes.md", 200),
        ("GET", "/me/drive/Items/root/Children", 200),
        ("GET", "/ME/DRIVE/ROOT/DELTA", 200),
        ("GET", "/me/drive/root/Children('Documents')/children('Welcome.txt')", 200),
        ("GET", "/me/drive/root/children('@a1')?@a1='Documents'", 200),
        ("POST", "/me/drive/root:/new.bin:/createuploadsession", 200),
        ("GET", "/USERS/ada@contoso.example/drive", 200),
        ("GET", "/me/drive/ITEMS/nothing", 404),
    ],
)
async def test_the_case_of_an_address_does_not_count(caller: Caller, method: str, path: str, status: int) -> None:
    await caller.graph(method, path, status)


async def test_recent_files_come_first(caller: Caller) -> None:
    await caller.control("POST", "/clock", json={"seconds": 1})
    await caller.graph("PUT", "/me/drive/root:/new.txt:/content", 201, data=b"x")
    found = (await caller.graph("GET", "/me/drive/recent?$top=2"))["value"]
    assert (found[0]["name"], len(found)) == ("new.txt", 2)
    assert all("file" in item for item in found)


async def test_a_socket_has_an_address(caller: Caller) -> None:
    told = await caller.graph("GET", "/me/drive/root/subscriptions/socketIo")
    assert told["notificationUrl"].startswith("http")


async def test_a_share_of_requests_can_fail(caller: Caller) -> None:
    fault = {"operation": "drive.get", "rate": 0.3, "count": None, "status": 503}
    planted = await caller.control("POST", "/faults", json=fault)
    url, headers = caller.facts["graph_url"] + "/v1.0/me/drive", {"Authorization": f"Bearer {caller.token}"}
    statuses = []
    for _ in range(100):
        async with caller.session.get(url, headers=headers) as response:
            statuses.append(response.status)
    assert 15 < statuses.count(503) < 45
    assert statuses.count(200) == 100 - statuses.count(503)
    (shown,) = (await caller.control("GET", "/faults"))["faults"]
    assert (shown["id"], shown["seen"], shown["struck"]) == (planted["id"], 100, statuses.count(503))


@pytest.mark.parametrize(("used", "state"), [(800, "normal"), (950, "nearing"), (995, "critical"), (1000, "exceeded")])
async def test_a_quota_tells_how_full_a_drive_is(caller: Caller, used: int, state: str) -> None:
    who = await caller.as_new_user("consumers")
    await caller.control("PATCH", f"/drives/{who.user['email']}", json={"quota": 1000})
    await who.graph("PUT", "/me/drive/root:/x.bin:/content", 201, data=b"x" * used)
    quota = (await who.graph("GET", "/me/drive"))["quota"]
    assert (quota["state"], quota["remaining"]) == (state, 1000 - used)


async def test_forms_is_no_name_at_the_root_of_a_work_drive(caller: Caller, personal: Caller) -> None:
    forms = {"name": "Forms", "folder": {}}
    await caller.graph("POST", "/me/drive/root/children", 400, json=forms)
    await caller.graph("POST", "/me/drive/root:/Documents:/children", 201, json=forms)
    await personal.graph("POST", "/me/drive/root/children", 201, json=forms)


async def test_a_path_has_four_hundred_characters(caller: Caller) -> None:
    folder = "/".join(["d" * 199] * 2)
    await caller.graph("PUT", f"/me/drive/root:/{folder[:397]}/ab:/content", 201, data=b"x")
    answer = await caller.graph("PUT", f"/me/drive/root:/{folder[:397]}/abc:/content", 400, data=b"x")
    assert answer["error"]["innerError"]["code"] == "pathIsTooLong"


async def test_a_part_is_given_only_of_what_the_client_knows(caller: Caller) -> None:
    item = await caller.graph("GET", NOTES)
    url = exact(item["@microsoft.graph.downloadUrl"])
    async with caller.session.get(url) as response:
        tag, date = response.headers["ETag"], response.headers["Last-Modified"]
    for known, status in ((tag, 206), (date, 206), ('"another"', 200)):
        async with caller.session.get(url, headers={"Range": "bytes=0-3", "If-Range": known}) as response:
            assert response.status == status


async def test_the_life_of_download_urls_can_be_set(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"download_url_seconds": 600})
    url = exact((await caller.graph("GET", NOTES))["@microsoft.graph.downloadUrl"])
    for seconds, status in ((540, 200), (60, 403)):
        await caller.control("POST", "/clock", json={"seconds": seconds})
        async with caller.session.get(url) as response:
            assert response.status == status


async def test_a_simple_upload_has_a_largest_size(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"max_simple_upload": 10})

    async def chunks() -> Any:
        yield b"x" * 11

    for body in (b"x" * 11, chunks()):
        answer = await caller.graph("PUT", "/me/drive/root:/big:/content", 413, data=body)
        assert answer["error"]["innerError"]["code"] == "maxFileSizeExceeded"
    await caller.graph("PUT", "/me/drive/root:/big:/content", 201, data=b"x" * 10)


async def test_odd_fragments_are_taken_with_a_warning(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    session = await caller.graph("POST", "/me/drive/root:/odd.bin:/createUploadSession", json={})
    with caplog.at_level(logging.WARNING, "msgraph_sandbox"):
        headers = {"Content-Range": "bytes 0-999/2000"}
        async with caller.session.put(exact(session["uploadUrl"]), data=b"x" * 1000, headers=headers) as response:
            assert response.status == 202
    assert "no multiple of 320 KiB" in caplog.text


async def _subscribe(caller: Caller, url: str, status: int) -> Any:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"changeType": "updated", "notificationUrl": url, "expirationDateTime": expires}
    return await caller.graph("POST", "/subscriptions", status, json=body | {"resource": "/me/drive/root"})


@pytest.mark.parametrize(
    ("switch", "value", "status"), [("subscription_limit", 0, 403), ("https_notifications", True, 400)]
)
async def test_subscriptions_can_be_made_scarce_and_secure(
    caller: Caller, receiver: Receiver, switch: str, value: Any, status: int
) -> None:
    await caller.control("PATCH", "/switches", json={switch: value})
    await _subscribe(caller, receiver.url, status)
    await caller.control("POST", "/reset")
    await caller.sign_in()
    await _subscribe(caller, receiver.url, 201)


async def test_a_receiver_must_echo_in_time(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"slow_answer_seconds": 0.1})
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    receiver.meanwhile = lambda: asyncio.wait_for(never, 5)
    answer = await _subscribe(caller, receiver.url, 400)
    assert answer["error"]["message"] == "Subscription validation request timed out."
    never.set_result(None)


@pytest.mark.parametrize(
    ("method", "what", "status", "field"),
    [
        ("POST", "checkout", 204, None),
        ("POST", "checkin", 204, None),
        ("POST", "follow", 200, "name"),
        ("POST", "unfollow", 204, None),
        ("GET", "listItem", 200, "fields"),
        ("GET", "analytics", 200, "allTime"),
        ("GET", "analytics/lastSevenDays", 200, "access"),
        ("GET", "analytics/never", 404, "error"),
    ],
)
async def test_work_drives_have_more_than_files(
    caller: Caller, personal: Caller, method: str, what: str, status: int, field: str | None
) -> None:
    answer = await caller.graph(method, f"{NOTES}:/{what}", status)
    assert (field in answer) if field else answer is None
    await personal.graph(method, f"{NOTES}:/{what}", 400)


async def test_what_is_followed_is_listed(caller: Caller) -> None:
    for follows, names in (("follow", ["Notes.md"]), ("follow", ["Notes.md"]), ("unfollow", [])):
        await caller.graph("POST", f"{NOTES}:/{follows}", 204 if follows == "unfollow" else 200)
        assert [item["name"] for item in (await caller.graph("GET", "/me/drive/following"))["value"]] == names


async def test_a_file_can_be_previewed_and_has_no_activities(caller: Caller) -> None:
    assert (await caller.graph("POST", f"{NOTES}:/preview"))["getUrl"].startswith("https://")
    assert (await caller.graph("GET", f"{NOTES}:/activities"))["value"] == []
    await caller.graph("POST", "/me/drive/root/preview", 400)
    await caller.graph("POST", f"{quote('/me/drive/root:/Documents')}:/checkout", 400)


async def test_everybody_in_the_organization_is_listed_for_those_who_may(caller: Caller) -> None:
    await caller.graph("GET", "/users", 403)
    await caller.sign_in("User.ReadBasic.All")
    found = (await caller.graph("GET", "/users?$select=displayName,mail"))["value"]
    assert {one["mail"] for one in found} == {"ada@contoso.example", "grace@contoso.example"}
    assert all(one.keys() == {"displayName", "mail"} for one in found)
