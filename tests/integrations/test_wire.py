"""What crosses the wire through the proxy, to the byte: headers both ways, odd answers, and who hangs up on whom."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict
from tests.integrations.landbridge import Place, eventually, place, settings_for
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, Peer, Script, peer
from tests.integrations.person import APP, Answer, Person

MIB = 1 << 20
RAW = {"X-Paragon-Use-Raw-Response": "1"}
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For families of answers, of which one on each kind of database would tell no more."""


@pytest.fixture
async def graph() -> AsyncIterator[Peer]:
    """A provider's API that answers as the test says."""
    async with peer() as running:
        yield running


@pytest.fixture
async def store() -> AsyncIterator[Peer]:
    """A host of another origin, such as contents are fetched from."""
    async with peer() as running:
        yield running


@pytest.fixture
async def landbridge(
    graph: Peer, http: aiohttp.ClientSession, microsoft: Microsoft, database_url: str, tmp_path: Path
) -> AsyncIterator[Place]:
    """A Landbridge whose users sign in at the sandbox and call that provider."""
    settings = settings_for(microsoft.facts, tmp_path, database_url=database_url, microsoft_graph_url=graph.url)
    async with place(settings, http, microsoft) as ours:
        yield ours


@pytest.fixture
async def person(landbridge: Place, graph: Peer) -> Person:
    """A user who has connected."""
    found, _ = await landbridge.connected()
    graph.asked.clear()
    return found


def answering(status: int = 200, body: bytes = b"{}", **headers: str) -> Script:
    """Return a script that reads a request and answers so."""

    async def script(asked: Asked) -> None:
        await asked.read()
        await asked.answer(status, body, **headers)

    return script


# Headers


async def test_the_provider_sees_the_callers_headers_but_none_of_ours_a_browsers_or_the_connections(
    person: Person, graph: Peer
) -> None:
    private = {
        "Cookie": "session=1",
        "Origin": APP,
        "Referer": f"{APP}/page",
        "X-Paragon-Credential": "",
        "X-Paragon-Anything": "1",
        "X-Forwarded-For": "10.1.2.3",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=10.1.2.3",
        "Via": "1.1 inner",
        "X-Real-IP": "10.1.2.3",
        "Connection": "keep-alive, X-Secret-Hop",
        "X-Secret-Hop": "1",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eDp5",
        "Sec-Fetch-Site": "cross-site",
        "Expect": "",
    }
    public = {"If-Match": '"etag"', "Prefer": "respond-async", "ConsistencyLevel": "eventual", "client-request-id": "7"}

    answer = await person.call("/me/drive", headers={**private, **public, "User-Agent": "Browser/1.0"})

    assert answer.status == 200
    seen = {name.lower(): value for name, value in graph.last.headers}
    assert not {name.lower() for name in private} & seen.keys() - {"connection"}
    assert "x-secret-hop" not in seen.get("connection", "").lower()
    assert {name: seen[name.lower()] for name in public} == public
    assert seen["user-agent"].startswith("ISV|")
    assert seen["host"] == graph.url.removeprefix("http://")
    assert seen["authorization"].startswith("Bearer ")
    assert person.token not in seen["authorization"]
    assert len([name for name, _ in graph.last.headers if name.lower() == "authorization"]) == 1


async def test_the_caller_sees_the_providers_headers_but_no_cookies_policies_or_the_connections(
    person: Person, graph: Peer
) -> None:
    graph.script = answering(
        Set_Cookie="theirs=1",
        Strict_Transport_Security="max-age=1",
        Content_Security_Policy="default-src *",
        Access_Control_Allow_Origin="https://elsewhere.example",
        Access_Control_Allow_Credentials="true",
        Clear_Site_Data='"*"',
        Keep_Alive="timeout=5",
        Server="IIS",
        ETag='"1"',
        request_id="abc",
        Retry_After="0",
    )

    answer = await person.call("/me/drive", headers={"Origin": APP})

    assert answer.status == 200
    kept = {"ETag": '"1"', "request-id": "abc", "Retry-After": "0", "X-Content-Type-Options": "nosniff"}
    assert {name: answer.headers.get(name) for name in kept} == kept
    assert answer.headers.getall("Access-Control-Allow-Origin") == [APP]
    for name in ("Set-Cookie", "Strict-Transport-Security", "Content-Security-Policy", "Clear-Site-Data", "Keep-Alive"):
        assert name not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "IIS" not in answer.headers.getall("Server", [])


@ONE_DATABASE
@pytest.mark.parametrize(
    ("given", "body", "expected"),
    [
        ("auto", b'{"name": "x"}', "application/json"),
        ("auto", b"", None),
        ("auto, text/plain", b"words", "text/plain"),
        ("text/plain", b"words", "text/plain"),
        ("application/json", b"{}", "application/json"),
        ("multipart/related; boundary=b", b"--b--", "multipart/related; boundary=b"),
    ],
)
async def test_the_sdks_automatic_content_type_becomes_a_real_one(
    person: Person, graph: Peer, given: str, body: bytes, expected: str | None
) -> None:
    assert (await person.call("/me/drive/root/children", "POST", data=body, headers={"Content-Type": given})).status
    assert graph.last.header("Content-Type") == expected
    assert graph.last.body == body


async def test_paths_and_queries_arrive_as_they_were_encoded(person: Person, graph: Peer) -> None:
    path = "/me/drive/root:/100%25%20%23%2B%C3%A4%2Fb.txt:/content?$select=id,name&x=%26%2B+&y="

    assert (await person.call(path)).status == 200
    assert graph.last.target == f"/v1.0{path}"

    await person.call("", headers={"X-Paragon-Proxy-Url": "/me/drive/root?$expand=children"})
    assert graph.last.target == "/v1.0/me/drive/root?$expand=children"
    await person.call("", headers={"X-Paragon-Proxy-Url": "https://graph.microsoft.com/beta/me"})
    assert graph.last.target == "/beta/me"


# Odd but right answers


@ONE_DATABASE
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_no_content_is_no_content(person: Person, graph: Peer, method: str) -> None:
    async def nothing(asked: Asked) -> None:
        await asked.read()
        await asked.head(204, {"Content-Type": "application/json"})

    graph.script = nothing
    answer = await person.call("/me/drive", method)
    assert (answer.status, answer.body) == (204, b"")


@ONE_DATABASE
@pytest.mark.parametrize("headers", [{}, RAW], ids=["enveloped", "raw"])
async def test_not_modified_may_say_how_long_it_would_have_been(
    person: Person, graph: Peer, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    async def unchanged(asked: Asked) -> None:
        await asked.head(304, {"ETag": '"1"', "Content-Type": "application/json", "Content-Length": "1234"})

    graph.script = unchanged
    gc.collect()  # what tests before this one left says so now
    caplog.clear()
    for _ in range(2):
        answer = await person.call("/me/drive", headers={"If-None-Match": '"1"', **headers})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", '"1"')
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@ONE_DATABASE
@pytest.mark.parametrize("status", [200, 404])
async def test_head_tells_the_length_and_sends_no_body(person: Person, graph: Peer, status: int) -> None:
    async def head(asked: Asked) -> None:
        await asked.head(status, {"Content-Type": "application/octet-stream", "Content-Length": "1234"})

    graph.script = head
    for _ in range(2):
        answer = await person.call("/me/drive/items/1/content", "HEAD")
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (status, b"", "1234")


@ONE_DATABASE
@pytest.mark.parametrize("body", [b"[1, 2]", b'{"a": "\xc3\xa4"}', b"null", b"1e400"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
async def test_an_envelope_adds_nothing_and_loses_nothing(
    person: Person, graph: Peer, body: bytes, is_chunked: bool
) -> None:
    async def chunked(asked: Asked) -> None:
        await asked.head(200, {"Content-Type": "application/json;odata=x", "Transfer-Encoding": "chunked"})
        for byte in body:
            await asked.send(b"1\r\n%c\r\n" % byte)
        await asked.send(b"0\r\n\r\n")

    graph.script = chunked if is_chunked else answering(body=body)
    answer = await person.call("/me/drive")
    assert answer.body == b'{"output":' + body + b"}"


async def test_what_is_not_json_is_no_error_of_ours(person: Person, graph: Peer) -> None:
    graph.script = answering(502, b"<html>Bad gateway \xff</html>", Content_Type="text/html")
    answer = await person.call("/me/drive")
    assert (answer.status, answer.code) == (502, "provider_error")
    assert "Bad gateway" in answer.json["output"]


async def test_a_request_in_chunks_arrives_whole(person: Person, graph: Peer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 5000

    answer = await person.call("/upload", "PUT", data=pieces())

    assert answer.status == 200
    assert graph.last.is_whole
    assert graph.last.body == b"x" * 250_000


# Redirects


async def test_the_bearer_stays_with_the_api_through_every_redirect(person: Person, graph: Peer, store: Peer) -> None:
    async def there(asked: Asked) -> None:
        await asked.answer(302, b"", Location=f"{store.url}/blob?sig=1")

    async def and_back(asked: Asked) -> None:
        await asked.answer(307, b"", Location=f"{graph.url}/v1.0/me/after")

    graph.script, store.script = there, and_back
    hops = await person.call("/me/drive/items/1/content", headers={"Range": "bytes=0-1", "Prefer": "x"})

    assert (hops.status, hops.code) == (502, "provider_failed"), "a circle ends"
    assert all(asked.header("Authorization") is None for asked in store.asked)
    assert [bool(asked.header("Authorization")) for asked in graph.asked] == [True] + [False] * (len(graph.asked) - 1)
    assert {asked.header("Range") for asked in store.asked} == {"bytes=0-1"}
    assert {asked.header("Prefer") for asked in store.asked} == {None}


async def test_a_redirect_within_the_api_keeps_the_bearer(person: Person, graph: Peer) -> None:
    async def moved(asked: Asked) -> None:
        if asked.target.endswith("/old"):
            await asked.answer(302, b"", Location="/v1.0/new")
        else:
            await asked.answer()

    graph.script = moved
    assert (await person.call("/old")).status == 200
    assert [asked.target for asked in graph.asked] == ["/v1.0/old", "/v1.0/new"]
    assert all(asked.header("Authorization") for asked in graph.asked)


@ONE_DATABASE
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 2"])
async def test_a_redirect_within_the_api_is_followed_without_the_body(
    person: Person, graph: Peer, framing: str
) -> None:
    async def moved(asked: Asked) -> None:
        await asked.read()
        if asked.target.endswith("/old"):
            await asked.answer(302, b"", Location="/v1.0/new")
        else:
            await asked.answer()

    graph.script = moved
    reader, writer = await raw_request(person, f"GET\n/old\n{framing}\nContent-Type: text/plain")
    writer.write(b"2\r\n{}\r\n0\r\n\r\n" if "chunked" in framing else b"{}")
    answered = await reader.readuntil(b"\r\n\r\n")
    await hang_up(writer)

    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert [(asked.target, asked.body) for asked in graph.asked] == [("/v1.0/old", b"{}"), ("/v1.0/new", b"")]
    assert not [name for name, _ in graph.last.headers if name.lower().startswith(("content-", "transfer-"))]


@ONE_DATABASE
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_redirected_write_is_the_callers_to_decide(
    person: Person, graph: Peer, store: Peer, method: str
) -> None:
    graph.script = answering(302, b"", Location=f"{store.url}/elsewhere")
    answer = await person.call("/me/drive", method, data=b"x", headers=RAW)
    assert answer.status == 302
    assert not store.asked


@ONE_DATABASE
@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.1/x", "http://[::1]/x", "http://169.254.169.254/latest", "file:///etc/passwd", "http://", "//", ""],
)
async def test_a_redirect_to_a_private_address_or_to_nonsense_is_not_followed(
    person: Person, graph: Peer, location: str
) -> None:
    graph.script = answering(302, b"", Location=location)
    answer = await person.call("/me/drive/items/1/content")
    assert answer.status in {302, 400, 502}
    assert len(graph.asked) <= 6


# Who hangs up


async def raw_request(person: Person, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection of the test's own and send a request's head."""
    host, port = person.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
    method, path, *headers = head.split("\n")
    lines = [
        f"{method} /projects/{person.project}/sdk/proxy/onedrive{path} HTTP/1.1",
        "Host: landbridge",
        f"Authorization: Bearer {person.token}",
        *headers,
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    return reader, writer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@ONE_DATABASE
@pytest.mark.parametrize("is_stalled", [False, True], ids=["flowing", "stalled"])
async def test_a_caller_who_hangs_up_mid_download_ends_the_providers_connection(
    person: Person, graph: Peer, is_stalled: bool
) -> None:
    async def endless(asked: Asked) -> None:
        await asked.head(200, {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"})
        await asked.send(b"a\r\n0123456789\r\n")
        if is_stalled:
            await asked.until_closed()
        while not asked.is_closed:
            await asked.send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    graph.script = endless
    reader, writer = await raw_request(person, "GET\n/me/drive/items/1/content")
    await reader.readuntil(b"0123456789")
    await hang_up(writer)

    await eventually(lambda: graph.last.is_closed)


@ONE_DATABASE
@pytest.mark.parametrize("framing", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
async def test_a_caller_who_hangs_up_mid_upload_never_leaves_a_part_that_looks_whole(
    person: Person, graph: Peer, framing: str
) -> None:
    _, writer = await raw_request(person, f"PUT\n/me/drive/root:/x:/content\n{framing}")
    writer.write(b"100000\r\n" + bytes(MIB) + b"\r\n" if "chunked" in framing else bytes(MIB))
    await writer.drain()
    await eventually(lambda: bool(graph.asked) and graph.last.taken > 1000)
    await hang_up(writer)

    await eventually(lambda: graph.last.writer.is_closing() or graph.last.reader.at_eof())
    assert not graph.last.is_whole
    await eventually(lambda: counted(person, "499"))


async def counted(person: Person, status: str) -> bool:
    async with person.http.get(f"{person.url}/metrics") as answer:
        return f'landbridge_proxy_requests_total{{status="{status}"}} 1.0' in await answer.text()


@ONE_DATABASE
@pytest.mark.parametrize("headers", [{}, RAW], ids=["enveloped", "raw"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("size", [1000, MIB])
async def test_a_provider_who_breaks_off_is_never_taken_for_one_who_finished(
    person: Person, graph: Peer, headers: dict[str, str], is_chunked: bool, size: int
) -> None:
    async def breaks_off(asked: Asked) -> None:
        length = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": str(size)}
        await asked.head(200, {"Content-Type": "application/json", **length})
        half = b"1" * (size // 2)
        await asked.send(b"%x\r\n%s\r\n" % (len(half), half) if is_chunked else half)
        asked.writer.close()

    graph.script = breaks_off
    with pytest.raises(aiohttp.ClientPayloadError):
        await person.call("/me/drive/items/1/content", headers=headers)


async def test_a_provider_who_hangs_up_without_an_answer_is_a_bad_gateway(person: Person, graph: Peer) -> None:
    async def slams(asked: Asked) -> None:
        asked.writer.close()

    graph.script = slams
    answer = await person.call("/me/drive", "POST", json={})
    assert (answer.status, answer.code) == (502, "provider_unreachable")


# Slow ones


async def test_a_slow_reader_slows_the_provider_down(person: Person, graph: Peer) -> None:
    async def generous(asked: Asked) -> None:
        await asked.head(200, {"Content-Type": "application/octet-stream", "Content-Length": str(200 * MIB)})
        for _ in range(800):
            await asked.send(bytes(MIB // 4))

    graph.script = generous
    reader, writer = await raw_request(person, "GET\n/me/drive/items/1/content")
    await reader.readuntil(b"\r\n\r\n")

    assert await settled(lambda: graph.last.sent) < 32 * MIB  # the kernel's buffers on the way hold some
    await hang_up(writer)


async def test_a_slow_provider_slows_the_writer_down(person: Person, graph: Peer) -> None:
    release = asyncio.Event()

    async def reluctant(asked: Asked) -> None:
        await release.wait()
        await asked.until_closed()

    graph.script = reluctant
    _, writer = await raw_request(person, f"PUT\n/me/drive/root:/x:/content\nContent-Length: {200 * MIB}")
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(800):
            writer.write(bytes(MIB // 4))
            await writer.drain()
            written += MIB // 4

    writing = asyncio.create_task(write())
    assert await settled(lambda: written) < 32 * MIB
    writing.cancel()
    release.set()
    await hang_up(writer)


async def settled(count: Callable[[], int]) -> int:
    """Return a count that has begun to grow, once it has stopped."""
    await eventually(lambda: count() > 0)
    last, same = count(), 0
    while same < 20:
        await asyncio.sleep(0.02)
        same = same + 1 if count() == last else 0
        last = count()
    return last


# A provider that refuses tokens


async def test_a_small_body_is_repeated_to_the_byte_after_a_401(landbridge: Place, person: Person, graph: Peer) -> None:
    landbridge.clock.jump(timedelta(minutes=5))
    tokens: list[str | None] = []

    async def once_401(asked: Asked) -> None:
        await asked.read()
        tokens.append(asked.header("Authorization"))
        await asked.answer(401 if len(tokens) == 1 else 200, json.dumps({"n": len(tokens)}).encode())

    graph.script = once_401
    data = os.urandom(60_000)
    answer: Answer = await person.call("/x", "POST", data=data, headers={"Content-Type": "application/x"})

    assert answer.json == {"output": {"n": 2}}
    assert [asked.body for asked in graph.asked] == [data, data]
    assert len(set(tokens)) == 2


@ONE_DATABASE
async def test_a_kept_connection_goes_on_with_the_renewed_token(landbridge: Place, person: Person, graph: Peer) -> None:
    revoked: list[str | None] = []

    async def refuse_revoked(asked: Asked) -> None:
        await asked.read()
        await asked.answer(401 if asked.header("Authorization") in revoked else 200)

    async def put(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bytes:
        writer.write(head + data)
        answered = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(answered.lower().partition(b"content-length: ")[2].split()[0]))
        return answered.split()[1]

    graph.script = refuse_revoked
    landbridge.clock.jump(timedelta(minutes=5))
    data = os.urandom(100_000)
    address = f"PUT /projects/{person.project}/sdk/proxy/onedrive/x HTTP/1.1\r\nHost: x"
    head = f"{address}\r\nAuthorization: Bearer {person.token}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    kept = [await asyncio.open_connection("127.0.0.1", landbridge.settings.port) for _ in range(2)]
    before = [await put(writer, reader) for reader, writer in kept]
    revoked.append(graph.last.header("Authorization"))

    after = [await put(writer, reader) for reader, writer in kept + kept]

    for _, writer in kept:
        writer.close()
    assert before == [b"200", b"200"]
    assert after == [b"503", b"200", b"200", b"200"]


async def test_what_a_renewed_token_is_redirected_to_sees_the_renewed_token(
    landbridge: Place, person: Person, graph: Peer
) -> None:
    landbridge.clock.jump(timedelta(minutes=5))

    async def refused_then_moved(asked: Asked) -> None:
        if len(graph.asked) == 1:
            await asked.answer(401, b"{}")
        elif asked.target.endswith("/old"):
            await asked.answer(302, b"", Location="/v1.0/new")
        else:
            await asked.answer()

    graph.script = refused_then_moved

    assert (await person.call("/old")).status == 200
    old, renewed, followed = [asked.header("Authorization") for asked in graph.asked]
    assert old != renewed == followed


async def test_every_connection_header_names_what_stays_behind(person: Person, graph: Peer) -> None:
    headers = CIMultiDict([("Connection", "X-One"), ("Connection", "X-Two"), ("X-One", "1"), ("X-Two", "2")])

    assert (await person.call("/me/drive", headers=headers)).status == 200
    assert {graph.last.header(name) for name in ("X-One", "X-Two")} == {None}
