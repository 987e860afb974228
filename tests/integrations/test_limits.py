"""What is too long, or what no database can keep, is refused before anything is done for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from tests.integrations.landbridge import Place
from tests.integrations.person import Answer, Person
from yarl import URL

from landbridge.store import connections
from landbridge.web import wire
from landbridge.web.gate import MOST_BODY_BYTES


async def request(landbridge: Place, method: str, path: str, token: str = "", body: object = None) -> Answer:
    """Send a request with its path as it is written."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = URL(landbridge.url + path, encoded=True)
    async with landbridge.http.request(method, url, headers=headers, data=body) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_body_that_would_be_read_whole_is_not_read_past_its_limit(landbridge: Place) -> None:
    person, size = await landbridge.person(), 64 * MOST_BODY_BYTES
    _, key = await landbridge.house.projects.create_api_key("ours", None)
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        while read < size:
            read += 1 << 16
            yield b" " * (1 << 16)

    for path, token in (("/api/v1/projects", key), (f"/projects/{person.project}/sdk/credentials", person.token)):
        answer = await request(landbridge, "POST", path, token, pieces())

        assert (answer.status, answer.code) == (413, "too_large")
        assert read < size / 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "request_line",
    [
        "POST /api/v1/projects",
        "PATCH /api/v1/projects/{0}",
        "PATCH /api/v1/projects/{0}/integrations/onedrive",
        "PATCH /projects/{0}/sdk/me",
        "POST /projects/{0}/actions",
        "POST /projects/{0}/mcp",
    ],
)
async def test_nobody_waits_for_the_body_of_a_stranger(landbridge: Place, request_line: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", landbridge.settings.port)
    head = "{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    writer.write(head.format(request_line.format(await landbridge.project())).encode())

    async with asyncio.timeout(20):
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_address_counts_with_the_headers(landbridge: Place) -> None:
    answer = await request(landbridge, "GET", "/healthz?" + "x" * 40_000)

    assert (answer.status, answer.code) == (413, "too_large")


async def test_a_nul_in_an_address_is_refused_on_every_database(landbridge: Place) -> None:
    person = await landbridge.person()
    sdk = f"/projects/{person.project}/sdk"
    nonce = f"{sdk}/actions/oauth-nonce?userToken={person.token}"
    for path in (
        "/projects/%00/sdk/actions/oauth-nonce",
        f"{nonce}&action=%00",
        f"{sdk}/actions/session-id/%00",
        f"{sdk}/credentials/%00",
        f"/v2{sdk}/actions/build-oauth?action=%00&oauthMetaKeyId=a",
    ):
        answer = await request(landbridge, "GET", path, person.token)

        assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", r'"\ud800"', r'{"\udfff": 1}', r'"\u0000"'])
async def test_json_that_could_not_be_sent_again_is_not_kept(landbridge: Place, value: str) -> None:
    person = await landbridge.person()

    refused = await set_meta(landbridge, person, value)

    assert (refused.status, refused.code) == (400, "invalid_request")
    assert (await person.send("GET", f"/projects/{person.project}/sdk/me")).json["meta"] == {}


async def test_json_of_any_language_is_kept_as_it_is(landbridge: Place) -> None:
    person = await landbridge.person()
    value = ["Grüße 👋🏽", "\t", 1e300, None]

    await set_meta(landbridge, person, json.dumps(value))

    assert (await person.send("GET", f"/projects/{person.project}/sdk/me")).json["meta"] == {"it": value}


async def set_meta(landbridge: Place, person: Person, value: str) -> Answer:
    path = f"/projects/{person.project}/sdk/me"
    return await request(landbridge, "PATCH", path, person.token, f'{{"meta": {{"it": {value}}}}}')


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_a_user_keeps_with_us_does_not_grow_without_end(landbridge: Place) -> None:
    person, id_ = await landbridge.connected()
    path = f"/credentials/{id_}/configurations"

    kept = [await set_meta(landbridge, person, json.dumps("x" * 60_000)) for _ in range(2)]
    grown = await person.sdk("PATCH", "/me", json={"meta": {"more": "x" * 60_000}})
    settings = {"config": {"sharedSettings": {"more": "x" * 70_000}}}
    set_ = await person.sdk("PATCH", f"/credentials/{id_}", json=settings)
    added = [await person.sdk("POST", path, json={"externalId": str(number)}) for number in range(100)]

    assert [answer.status for answer in kept] == [200, 200]
    assert (grown.status, grown.code) == (set_.status, set_.code) == (413, "too_large")
    assert [answer.status for answer in added] == [201] * 99 + [413]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_unexpected_failure_has_the_documented_shape_and_an_id_to_find_it_by(
    landbridge: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await landbridge.person()

    async def broken(*_: object) -> None:
        raise RuntimeError("a defect that quotes a secret")

    monkeypatch.setattr(landbridge.house.accounts, "user", broken)

    answer = await person.send("GET", f"/projects/{person.project}/sdk/me")

    assert (answer.status, answer.code) == (500, "internal_error")
    assert len(answer.json["meta"]["requestId"]) == 16
    assert b"defect" not in answer.body


async def test_a_minute_of_more_connections_than_a_statement_has_room_for_is_noted(landbridge: Place) -> None:
    person, id_ = await landbridge.connected()
    await person.call("/me/drive")
    before = await used_at(landbridge, person, id_)
    landbridge.clock.jump(timedelta(minutes=1))
    landbridge.house.tokens._used.update(str(uuid4()) for _ in range(40_000))

    await landbridge.house.tokens.note_use()

    assert await used_at(landbridge, person, id_) - before >= timedelta(minutes=1)


async def used_at(landbridge: Place, person: Person, id_: str) -> datetime:
    async with landbridge.house.database.read() as tx:
        row = await connections.connection(tx, person.project, id_)
    assert row
    return row.used_at


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_head_without_an_end_is_not_collected(landbridge: Place) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", landbridge.settings.port)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 << 20:
            writer.write(b"x" * (1 << 18))
            await writer.drain()
            sent += 1 << 18

    assert sent < 32 << 20, "it was taken"
    with contextlib.suppress(ConnectionError):
        assert await reader.readline() in {b"HTTP/1.1 400 Bad Request\r\n", b""}
    writer.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    landbridge: Place, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEAD_WITHIN_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", landbridge.settings.port)
    writer.write(begun)

    async with asyncio.timeout(20):
        answers = await reader.read()

    assert (b"HTTP/1.1 400 Bad Request" in answers) == bool(begun)
    assert answers.startswith(b"HTTP/1.1 200 OK") == begun.endswith(b"GET /")
    writer.close()
