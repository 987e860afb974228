"""Upload sessions: fragments in order, and every way to get them wrong."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.caller import Caller, exact

UNIT = 320 * 1024


async def _open(
    caller: Caller, name: str = "up.bin", status: int = 200, conflict: str | None = None, **item: Any
) -> Any:
    if conflict:
        item["@microsoft.graph.conflictBehavior"] = conflict
    path = f"/me/drive/root:/{name}:/createUploadSession"
    return await caller.graph("POST", path, status, json={"item": item} if item else None)


async def _put(caller: Caller, url: str, body: bytes, first: int, total: int, **headers: str) -> tuple[int, Any]:
    sent = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{total}", **headers}
    async with caller.session.put(exact(url), data=body, headers=sent) as response:
        return response.status, await response.json()


async def test_a_file_arrives_in_fragments(caller: Caller) -> None:
    body = os.urandom(2 * UNIT + 77)
    session = await _open(caller, fileSystemInfo={"lastModifiedDateTime": "2001-02-03T04:05:06Z"})
    url = session["uploadUrl"]
    assert session["nextExpectedRanges"] == ["0-"]
    assert not url.startswith(caller.facts["graph_url"])
    status, answer = await _put(caller, url, body[:UNIT], 0, len(body))
    assert (status, answer["nextExpectedRanges"]) == (202, [f"{UNIT}-{len(body) - 1}"])
    async with caller.session.get(exact(url)) as response:
        assert (await response.json())["nextExpectedRanges"] == answer["nextExpectedRanges"]
    await caller.graph("GET", "/me/drive/root:/up.bin", 404)
    status, item = await _put(caller, url, body[UNIT:], UNIT, len(body))
    assert (status, item["size"]) == (201, len(body))
    assert item["fileSystemInfo"]["lastModifiedDateTime"] == "2001-02-03T04:05:06Z"
    async with caller.session.get(exact(item["@microsoft.graph.downloadUrl"])) as response:
        assert await response.read() == body
    assert (await _put(caller, url, body[UNIT:], UNIT, len(body)))[0] == 400


async def test_an_upload_url_refuses_a_token_until_told_to_tolerate_it(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"upload_authorization": "tolerate"})
    url = (await _open(caller, "tolerant.bin"))["uploadUrl"]
    assert (await _put(caller, url, b"x", 0, 1, Authorization=f"Bearer {caller.token}"))[0] == 201
    assert (await caller.control("GET", "/ledger?service=upload"))["entries"][0]["authorized"]
    await caller.control("PATCH", "/switches", json={"upload_authorization": "refuse"})
    url = (await _open(caller))["uploadUrl"]
    status, answer = await _put(caller, url, b"x", 0, 1, Authorization=f"Bearer {caller.token}")
    assert (status, answer["error"]["code"]) == (401, "unauthenticated")
    assert (await _put(caller, url.replace("tempauth=", "tempauth=0"), b"x", 0, 1))[0] == 401


@pytest.mark.parametrize(
    ("content_range", "length", "status", "inner"),
    [
        ("", 10, 400, None),
        ("bytes 0-9", 10, 400, None),
        ("bytes 100-109/1000", 9, 400, "fragmentLengthMismatch"),
        ("bytes 100-99/1000", 1, 400, "fragmentLengthMismatch"),
        ("bytes 100-1000/1000", 901, 400, "fragmentLengthMismatch"),
        ("bytes 100-109/2000", 10, 400, None),
        ("bytes 0-9/1000", 10, 416, "fragmentOverlap"),
        ("bytes 50-149/1000", 100, 416, "fragmentOverlap"),
        ("bytes 200-209/1000", 10, 416, "fragmentOutOfOrder"),
        ("bytes 100-99999999999999999999/1000", 10, 400, None),
    ],
)
async def test_wrong_fragments_are_refused_and_do_no_harm(
    caller: Caller, content_range: str, length: int, status: int, inner: str | None
) -> None:
    url = (await _open(caller))["uploadUrl"]
    await _put(caller, url, b"a" * 100, 0, 1000)
    async with caller.session.put(exact(url), data=b"b" * length, headers={"Content-Range": content_range}) as response:
        answer = await response.json()
        assert (response.status, answer["error"]["innererror"].get("code")) == (status, inner)
    assert (await _put(caller, url, b"a" * 900, 100, 1000))[0] == 201


async def test_chunked_fragments_are_refused(caller: Caller) -> None:
    async def chunks() -> Any:
        yield b"x"

    url = (await _open(caller))["uploadUrl"]
    async with caller.session.put(exact(url), data=chunks(), headers={"Content-Range": "bytes 0-0/1"}) as response:
        assert response.status == 411


async def test_a_fragment_that_breaks_off_is_forgotten(caller: Caller) -> None:
    url = (await _open(caller))["uploadUrl"]
    await _put(caller, url, b"a" * UNIT, 0, 3 * UNIT)

    async def broken() -> Any:
        yield b"b" * 1000
        raise ConnectionError

    headers = {"Content-Range": f"bytes {UNIT}-{2 * UNIT - 1}/{3 * UNIT}", "Content-Length": str(UNIT)}
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await caller.session.put(exact(url), data=broken(), headers=headers)
    async with caller.session.get(exact(url)) as response:
        assert (await response.json())["nextExpectedRanges"] == [f"{UNIT}-{3 * UNIT - 1}"]


async def test_a_session_can_be_cancelled_and_expires(caller: Caller) -> None:
    first, second = (await _open(caller))["uploadUrl"], (await _open(caller))["uploadUrl"]
    async with caller.session.delete(exact(first)) as response:
        assert response.status == 204
    await caller.control("POST", "/clock", json={"seconds": 25 * 3600})
    for url in (first, second):
        status, answer = await _put(caller, url, b"x", 0, 1)
        assert (status, answer["error"]["innererror"]["code"]) == (404, "uploadSessionNotFound")


async def test_conflicts_are_settled_as_asked(caller: Caller) -> None:
    await caller.graph("PUT", "/me/drive/root:/up.bin:/content", 201, data=b"old")
    await _open(caller, status=409, conflict="fail")
    url = (await _open(caller, conflict="rename"))["uploadUrl"]
    assert (await _put(caller, url, b"x", 0, 1))[1]["name"] == "up 1.bin"
    url = (await _open(caller))["uploadUrl"]
    status, item = await _put(caller, url, b"new", 0, 3)
    assert (status, item["name"]) == (200, "up.bin")
    await caller.graph("POST", "/me/drive/root:/a:/createUploadSession", 400, json={"item": {"name": "b"}})


async def test_bytes_survive_a_conflict_at_the_end(caller: Caller) -> None:
    url = (await _open(caller, conflict="fail"))["uploadUrl"]
    await caller.graph("PUT", "/me/drive/root:/up.bin:/content", 201, data=b"first")
    assert (await _put(caller, url, b"second", 0, 6))[0] == 409
    body = {"name": "up.bin", "@microsoft.graph.conflictBehavior": "rename", "@microsoft.graph.sourceUrl": url}
    item = await caller.graph("PUT", "/me/drive/root:/up.bin", 201, json=body)
    assert (item["name"], item["size"]) == ("up 1.bin", 6)


async def test_a_deferred_commit_waits_for_a_post(caller: Caller) -> None:
    session = await caller.graph("POST", "/me/drive/root:/d.bin:/createUploadSession", json={"deferCommit": True})
    assert (await _put(caller, session["uploadUrl"], b"abc", 0, 3))[0] == 202
    await caller.graph("GET", "/me/drive/root:/d.bin", 404)
    async with caller.session.post(exact(session["uploadUrl"])) as response:
        assert response.status == 201


async def test_a_full_drive_says_so_at_once_if_it_knows_the_size(caller: Caller) -> None:
    await caller.control("POST", "/users", json={"email": "full@contoso.example", "quota": 1000})
    caller.token = (await caller.control("POST", "/users/full@contoso.example/tokens", json={}))["access_token"]
    answer = await _open(caller, status=507, fileSize=1001)
    assert answer["error"]["code"] == "quotaLimitReached"
    url = (await _open(caller))["uploadUrl"]
    assert (await _put(caller, url, b"x" * 1001, 0, 1001))[0] == 507
    await caller.graph("PUT", "/me/drive/root:/x:/content", 507, data=b"x" * 1001)
    await caller.graph("PUT", "/me/drive/root:/x:/content", 201, data=b"x" * 1000)


async def test_an_upload_goes_on_once_there_is_room_for_its_last_fragment(caller: Caller) -> None:
    full = await caller.as_new_user("contoso.example")
    quota = f"/drives/{full.user['email']}"
    await caller.control("PATCH", quota, json={"quota": 1500})
    url = (await _open(full))["uploadUrl"]
    assert (await _put(full, url, b"a" * 1000, 0, 2000))[0] == 202
    status, answer = await _put(full, url, b"b" * 1000, 1000, 2000)
    assert (status, answer["error"]["code"]) == (507, "quotaLimitReached")
    async with full.session.get(exact(url)) as response:
        assert (await response.json())["nextExpectedRanges"] == ["1000-1999"]
    await caller.control("PATCH", quota, json={"quota": 2000})
    assert (await _put(full, url, b"b" * 1000, 1000, 2000))[0] == 201
    url = (await _open(full))["uploadUrl"]
    assert (await _put(full, url, b"c" * 2000, 0, 2000))[0] == 200


async def test_switches_make_sessions_strict(caller: Caller) -> None:
    switches = {"strict_fragments": True, "session_conflict": "fail", "replay_last_fragment": True}
    await caller.control("PATCH", "/switches", json=switches)
    url = (await _open(caller))["uploadUrl"]
    assert (await _put(caller, url, b"x" * 1000, 0, 2000))[0] == 400
    assert (await _put(caller, url, b"x" * 2000, 0, 2000))[0] == 201
    assert (await _put(caller, url, b"x" * 2000, 0, 2000))[0] == 200
    await _open(caller, status=409)


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 300_000), max_size=6), last=st.integers(1, 100_000), breaks=st.integers(0, 6))
async def test_any_fragmenting_gives_the_bytes(caller: Caller, cuts: list[int], last: int, breaks: int) -> None:
    sizes = [*cuts, last]
    body = os.urandom(sum(sizes))
    url = (await _open(caller, "any.bin"))["uploadUrl"]
    first, item = 0, None
    for number, size in enumerate(sizes):
        if number == breaks:
            assert (await _put(caller, url, body[:1], first + 5, len(body) + 9))[0] in (400, 416)
        _, item = await _put(caller, url, body[first : first + size], first, len(body))
        first += size
    assert item is not None
    async with caller.session.get(exact(item["@microsoft.graph.downloadUrl"])) as response:
        assert await response.read() == body
