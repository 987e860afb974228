"""Request steps against servers that answer well, oddly, slowly, without end, or ask to be called elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from multidict import CIMultiDict
from pydantic import BaseModel, JsonValue
from tests.clock import FakeClock
from tests.integrations.peer import Asked, Peer, Script, peer

from landbridge.errors import (
    FileUnknown,
    InvalidRequest,
    LandbridgeError,
    OutboundRefused,
    ProviderBusy,
    ProviderTimedOut,
    ProviderUnreachable,
    RequestFailed,
    RequestRefused,
    TooLarge,
)
from landbridge.files import File, Files, RunFiles
from landbridge.outbound import Outbound, Stream
from landbridge.settings import Settings
from landbridge.vault import KeyRing, KeySetting, Vault
from landbridge.workflows import definition
from landbridge.workflows.bodies import LARGEST_TEXT
from landbridge.workflows.jail import Jail
from landbridge.workflows.requests import LARGEST_ERROR, Requests, ResolvedRequest

SECONDS = timedelta(seconds=100)


@pytest.fixture
async def service() -> AsyncIterator[Peer]:
    async with peer() as running:
        yield running


@pytest.fixture
async def elsewhere() -> AsyncIterator[Peer]:
    async with peer() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return Files.from_settings(Settings(data_dir=tmp_path), Vault(KeySetting(KeyRing.generate().text()))).of("p", "r")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def requests(clock: FakeClock) -> AsyncIterator[Requests]:
    async with Outbound(Settings(outbound_allow=("127.0.0.1",))) as outbound:
        yield Requests(outbound, clock, "landbridge/test")


def a(method: str, url: str, **resolved: JsonValue) -> ResolvedRequest:
    return ResolvedRequest.of(method, {"url": url, **resolved}, SECONDS)


class Step:
    """Sends, as the step `find` of the run `run`."""

    def __init__(self, requests: Requests, files: RunFiles) -> None:
        self._requests = requests
        self._files = files

    async def __call__(self, method: str, url: str, **resolved: JsonValue) -> Any:  # Any: JSON
        sent = await self._requests.send(a(method, url, **resolved), self._files, key="run:find")
        return sent["response"]


@pytest.fixture
def step(requests: Requests, files: RunFiles) -> Step:
    return Step(requests, files)


def saying(status: int, body: bytes = b"{}", **headers: str) -> Script:
    async def script(asked: Asked) -> None:
        await asked.read()
        await asked.answer(status, body, **headers)

    return script


async def contents(files: RunFiles, file: JsonValue) -> bytes:
    return b"".join([chunk async for chunk in files.open(File.model_validate(file)).chunks()])


async def test_a_get_gives_status_headers_and_json(step: Step, service: Peer) -> None:
    service.script = saying(201, b'{"a":[1]}', X_Thing="1", x_thing="2")

    response = await step(
        "GET", f"{service.url}/a b/ü?x=%2F", params={"q": "1 & 2", "n": 3, "l": ["a", "b"], "no": None}
    )

    assert (response["statusCode"], response["body"]) == (201, {"a": [1]})
    assert response["headers"]["x-thing"] == "1, 2"
    assert service.last.target == "/a%20b/%C3%BC?x=%2F&q=1%20%26%202&n=3&l=a&l=b"
    assert service.last.header("User-Agent") == "landbridge/test"


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ({"type": "json", "value": {"a": "ü", "b": None}}, "application/json", '{"a":"ü","b":null}'),
        ({"type": "json", "value": "text"}, "application/json", '"text"'),
        ({"type": "xml", "text": "<a>ü</a>"}, "application/xml; charset=utf-8", "<a>ü</a>"),
        ({"type": "raw", "value": "ü"}, "text/plain; charset=utf-8", "ü"),
        ({"type": "raw", "value": "a,b", "contentType": "text/csv"}, "text/csv; charset=utf-8", "a,b"),
        ({"type": "raw", "value": 5, "contentType": "application/x"}, "application/x", "5"),
        ({"type": "graphql", "query": "{ a }"}, "application/json", '{"query":"{ a }","variables":{}}'),
        (
            {"type": "graphql", "query": "query($n: Int) { a }", "variables": {"n": 1}},
            "application/json",
            '{"query":"query($n: Int) { a }","variables":{"n":1}}',
        ),
        (
            {"type": "form", "values": {"a": "1 & ü", "b": [1, True], "c": None, "d": {"x": 1}}},
            "application/x-www-form-urlencoded",
            "a=1+%26+%C3%BC&b=1&b=true&d=%7B%22x%22%3A1%7D",
        ),
        ({"type": "none"}, None, ""),
    ],
)
async def test_each_kind_of_body_is_sent_as_its_kind(
    step: Step, service: Peer, body: dict[str, JsonValue], content_type: str | None, sent: str
) -> None:
    await step("POST", service.url, body=body)

    assert (service.last.header("Content-Type"), service.last.body.decode()) == (content_type, sent)
    assert service.last.is_whole


async def test_an_author_s_content_type_goes_before_ours(step: Step, service: Peer) -> None:
    await step(
        "POST",
        service.url,
        body={"type": "json", "value": []},
        headers={"content-type": "application/vnd.api+json"},
    )
    assert [value for name, value in service.last.headers if name.lower() == "content-type"] == [
        "application/vnd.api+json"
    ]


@pytest.mark.parametrize(("encoding", "text"), [("hex", "00fF10"), ("HEX", "00 ff 10"), ("base64", "AP8Q")])
async def test_raw_text_may_hold_bytes_in_hexadecimal(step: Step, service: Peer, encoding: str, text: str) -> None:
    await step(
        "PUT", service.url, body={"type": "raw", "value": text}, headers={"X-Paragon-Encoding": encoding, "X": 1}
    )
    assert service.last.body == b"\x00\xff\x10"
    assert service.last.header("Content-Type") == "application/octet-stream"
    assert (service.last.header("X-Paragon-Encoding"), service.last.header("X")) == (None, "1")


@pytest.mark.parametrize(("encoding", "text"), [("hex", "0g"), ("base64", "?"), ("utf-7", "a")])
async def test_text_that_is_not_in_its_encoding_is_refused(step: Step, service: Peer, encoding: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"hex|base64"):
        await step("PUT", service.url, body={"type": "raw", "value": text}, headers={"x-paragon-encoding": encoding})
    assert service.asked == []


async def test_a_file_is_sent_raw_with_its_own_type(step: Step, service: Peer, files: RunFiles) -> None:
    file = await files.save("a.png", "image/png", b"\x89PNG" * 1000)

    await step("PUT", service.url, body={"type": "raw", "value": file.model_dump(by_alias=True)})

    assert service.last.body == b"\x89PNG" * 1000
    assert (service.last.header("Content-Type"), service.last.header("Content-Length")) == ("image/png", "4000")


@pytest.mark.parametrize("size", [0, 10, 300_000])
async def test_a_multipart_body_holds_texts_and_files(step: Step, service: Peer, files: RunFiles, size: int) -> None:
    file = await files.save('ü"1.pdf', "application/pdf", b"x" * size)
    given: JsonValue = file.model_dump(by_alias=True)
    inline: JsonValue = {"name": "b.txt", "data": "6869", "mimeType": "text/plain"}

    await step(
        "POST",
        service.url,
        headers={"Content-Type": "multipart/form-data"},
        body={"type": "multipart", "values": {"text": "ü", "n": 5, "o": {"a": 1}, "f": [given, inline], "none": None}},
    )

    head = f"Content-Type: {service.last.header('Content-Type')}\r\n\r\n".encode()
    parts: list[Any] = message_from_bytes(head + service.last.body).get_payload()  # type: ignore[assignment]
    found = [
        (part.get_param("name", header="content-disposition"), part.get_content_type(), part.get_payload(decode=True))
        for part in parts
    ]
    assert found == [
        ("text", "text/plain", "ü".encode()),
        ("n", "text/plain", b"5"),
        ("o", "text/plain", b'{"a":1}'),
        ("f", "application/pdf", b"x" * size),
        ("f", "text/plain", b"hi"),
    ]
    assert 'filename="ü%221.pdf"'.encode() in service.last.body
    assert int(service.last.header("Content-Length") or 0) == len(service.last.body)


@pytest.mark.parametrize("kind", ["raw", "multipart"])
async def test_a_file_of_another_run_is_not_sent(
    step: Step, service: Peer, files: RunFiles, tmp_path: Path, kind: str
) -> None:
    other = Files.from_settings(Settings(data_dir=tmp_path), Vault(KeySetting(KeyRing.generate().text()))).of("p", "x")
    file: JsonValue = (await other.save("a", "text/plain", b"secret")).model_dump(by_alias=True)
    with pytest.raises(FileUnknown):
        await step("POST", service.url, body={"type": kind, "value": file, "values": {"f": file}})
    assert service.asked == []


@pytest.mark.parametrize(
    ("resolved", "named"),
    [
        ({"url": {"a": 1}}, "url"),
        ({"params": []}, "params"),
        ({"params": {"f": {"id": "1", "sha256": "2"}}}, "params.f"),
        ({"headers": {"X": [1]}}, "headers.X"),
        ({"headers": {"X": "1\r\nY: 2"}}, "headers.X"),
        ({"headers": {"X Y": "1"}}, "headers.X Y"),
        ({"headers": {"Content-Length": "1"}}, "headers.Content-Length"),
        ({"headers": {"host": "evil"}}, "headers.host"),
        ({"body": {"type": "xml", "text": {"a": 1}}}, "body.text"),
        ({"body": {"type": "raw", "value": ["a"]}}, "body.value"),
        ({"body": {"type": "form", "values": {"f": {"data": "00", "name": "n"}}}}, "body.values.f"),
        ({"auth": {"type": "bearer", "token": {"a": 1}}}, "auth.token"),
        ({"auth": {"type": "bearer", "token": "a\nb"}}, "headers.Authorization"),
        ({"auth": {"type": "basic", "username": "a:b"}}, "auth.username"),
        ({"auth": {"type": "header", "name": "Transfer-Encoding", "value": "x"}}, "headers.Transfer-Encoding"),
        ({"auth": {"type": "connection"}}, "auth"),
        ({"body": {"type": "json", "value": "\ud800"}}, "surrogate"),
    ],
)
async def test_a_field_that_cannot_be_sent_is_named(
    step: Step, service: Peer, resolved: dict[str, JsonValue], named: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await step("POST", **{"url": service.url, **resolved})  # type: ignore[arg-type]
    assert named in caught.value.message
    assert service.asked == []


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"type": "none"}, None),
        ({"type": "bearer", "token": "abc"}, "Bearer abc"),
        ({"type": "basic", "username": "ü", "password": "p:w"}, "Basic " + base64.b64encode("ü:p:w".encode()).decode()),
        ({"type": "basic", "username": "key"}, "Basic " + base64.b64encode(b"key:").decode()),
        ({"type": "header", "name": "Authorization", "value": "Token 1"}, "Token 1"),
    ],
)
async def test_proofs_go_into_the_header(
    step: Step, service: Peer, auth: dict[str, JsonValue], header: str | None
) -> None:
    await step("GET", service.url, auth=auth)
    assert service.last.header("Authorization") == header


async def test_proofs_go_into_a_header_or_the_query_that_the_author_names(step: Step, service: Peer) -> None:
    await step("GET", service.url, auth={"type": "header", "name": "X-Key", "value": 123})
    assert service.last.header("X-Key") == "123"
    await step("GET", f"{service.url}?a=1", auth={"type": "query", "name": "key", "value": "a&b"}, params={"c": 2})
    assert service.last.target == "/?a=1&c=2&key=a%26b"


def token_endpoint(*tokens: str, lasts: JsonValue = 3600) -> Script:
    left = list(tokens)

    async def script(asked: Asked) -> None:
        await asked.read()
        if asked.target == "/token":
            said = {"access_token": left.pop(0), "expires_in": lasts}
            await asked.answer(200, json.dumps({k: v for k, v in said.items() if v is not None}).encode())
        elif asked.header("Authorization") == "Bearer revoked":
            await asked.answer(401)
        else:
            await asked.answer(200)

    return script


def client(service: Peer, **more: JsonValue) -> dict[str, JsonValue]:
    return {
        "type": "clientCredentials",
        "tokenUrl": f"{service.url}/token",
        "clientId": "me & you",
        "clientSecret": "s:ü",
        **more,
    }


def targets(service: Peer) -> list[tuple[str, str | None]]:
    return [(asked.target, asked.header("Authorization")) for asked in service.asked]


async def test_a_token_is_fetched_once_and_again_when_it_expires(step: Step, service: Peer, clock: FakeClock) -> None:
    service.script = token_endpoint("one", "two")
    auth = client(service, scope="a b")

    await step("GET", f"{service.url}/1", auth=auth)
    clock.advance(timedelta(minutes=58))
    await step("GET", f"{service.url}/2", auth=auth)
    clock.advance(timedelta(minutes=2))
    await step("GET", f"{service.url}/3", auth=auth)

    asked_for = service.asked[0]
    assert parse_qs(asked_for.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}
    proof = base64.b64decode((asked_for.header("Authorization") or "").removeprefix("Basic ")).decode()
    assert proof == "me+%26+you:s%3A%C3%BC"
    assert [target for target, _ in targets(service)] == ["/token", "/1", "/2", "/token", "/3"]
    assert targets(service)[2] == ("/2", "Bearer one")
    assert targets(service)[4] == ("/3", "Bearer two")


async def test_client_and_secret_may_go_into_the_body(step: Step, service: Peer) -> None:
    service.script = token_endpoint("one", lasts=None)
    await step("GET", f"{service.url}/1", auth=client(service, clientAuthentication="body"))
    assert service.asked[0].header("Authorization") is None
    assert dict(parse_qsl(service.asked[0].body.decode())) == {
        "grant_type": "client_credentials",
        "client_id": "me & you",
        "client_secret": "s:ü",
    }


async def test_many_steps_at_once_ask_for_one_token(step: Step, service: Peer) -> None:
    service.script = token_endpoint("one")
    await asyncio.gather(*(step("GET", f"{service.url}/x", auth=client(service)) for _ in range(20)))
    assert [target for target, _ in targets(service)].count("/token") == 1


async def test_another_secret_or_scope_gets_a_token_of_its_own(step: Step, service: Peer) -> None:
    service.script = token_endpoint("one", "two", "three")
    for auth in (client(service), client(service, clientSecret="other"), client(service, scope="more")):
        await step("GET", f"{service.url}/x", auth=auth)
    assert [proof for target, proof in targets(service) if target == "/x"] == [
        "Bearer one",
        "Bearer two",
        "Bearer three",
    ]


async def test_a_kept_token_that_is_refused_is_replaced_once(step: Step, service: Peer) -> None:
    service.script = token_endpoint("good", "new", "revoked", "revoked")
    auth = client(service)
    await step("POST", f"{service.url}/1", auth=auth, body={"type": "json", "value": 1})
    service.script = token_endpoint("revoked", "new")

    async def refuse(asked: Asked) -> None:
        service.script = token_endpoint("new")
        await asked.read()
        await asked.answer(401)

    service.script = refuse
    await step("POST", f"{service.url}/2", auth=auth, body={"type": "json", "value": 2})
    assert targets(service)[2:] == [
        ("/2", "Bearer good"),
        ("/token", service.asked[0].header("Authorization")),
        ("/2", "Bearer new"),
    ]
    assert service.last.body == b"2"


async def test_a_new_token_that_is_refused_fails_the_step(step: Step, service: Peer) -> None:
    service.script = token_endpoint("revoked", "revoked")
    with pytest.raises(RequestRefused):
        await step("GET", f"{service.url}/1", auth=client(service))
    assert [target for target, _ in targets(service)] == ["/token", "/1"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b'{"error":"invalid_client","error_description":"no"}', RequestRefused),
        (200, b"<html>", RequestRefused),
        (200, b'{"access_token":5}', RequestRefused),
        (302, b"", RequestRefused),
        (503, b"", RequestFailed),
    ],
)
async def test_a_token_endpoint_that_gives_no_token_fails_the_step(
    step: Step, service: Peer, status: int, body: bytes, kind: type[RequestFailed]
) -> None:
    service.script = saying(status, body, Location=f"{service.url}/elsewhere")
    with pytest.raises(kind, match=f"token endpoint answered {status}") as caught:
        await step("GET", f"{service.url}/1", auth=client(service))
    assert type(caught.value) is kind
    assert len(service.asked) == 1
    assert "s:ü" not in str(caught.value.body())


async def test_a_request_that_is_not_repeatable_carries_a_key(step: Step, service: Peer) -> None:
    for method in ("GET", "PUT", "DELETE", "POST", "PATCH"):
        await step(method, service.url)
    assert [asked.header("Idempotency-Key") for asked in service.asked] == [None, None, None, "run:find", "run:find"]
    await step("POST", service.url, headers={"idempotency-key": "mine"})
    assert service.last.header("Idempotency-Key") == "mine"
    assert [a(method, "").is_repeatable for method in ("GET", "PUT", "DELETE", "POST", "PATCH")] == [True] * 3 + [
        False
    ] * 2


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1.5]", [1.5]),
        ("application/json", b"null", None),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"NaN", "NaN"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("text/html; charset=iso-8859-1", b"\xfc", "ü"),
        ("text/csv", "ü,1".encode(), "ü,1"),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("application/json", b"", None),
        ("image/png", b"", None),
    ],
)
async def test_an_answer_s_body_is_json_text_or_null(
    step: Step, service: Peer, content_type: str, body: bytes, expected: JsonValue
) -> None:
    service.script = saying(200, body, Content_Type=content_type)
    assert (await step("GET", service.url))["body"] == expected


@pytest.mark.parametrize(
    ("headers", "body", "name", "mime_type"),
    [
        ({"Content-Type": "image/png"}, b"\x89PNG", "pic.png", "image/png"),
        ({"Content-Type": "application/octet-stream"}, b"text", "pic.png", "application/octet-stream"),
        ({"Content-Type": "text/plain"}, b"\xff\xfe", "pic.png", "text/plain"),
        ({"Content-Type": "text/plain; charset=klingon"}, b"a", "pic.png", "text/plain"),
        ({}, b"a\0b", "pic.png", "application/octet-stream"),
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, b"\x1f\x8b", "pic.png", "text/plain"),
        (
            {"Content-Type": "application/pdf", "Content-Disposition": 'attachment; filename="../a b.pdf"'},
            b"%PDF",
            "a b.pdf",
            "application/pdf",
        ),
    ],
)
async def test_a_binary_body_becomes_a_file_of_the_run(
    step: Step, service: Peer, files: RunFiles, headers: dict[str, str], body: bytes, name: str, mime_type: str
) -> None:
    async def script(asked: Asked) -> None:
        await asked.read()
        await asked.head(200, {"Content-Length": str(len(body)), **headers})
        await asked.send(body)

    service.script = script
    file = (await step("GET", f"{service.url}/a/pic.png?x=1"))["body"]
    assert (file["name"], file["mimeType"], file["size"]) == (name, mime_type, len(body))
    assert await contents(files, file) == body


@pytest.mark.parametrize("size", [LARGEST_TEXT, LARGEST_TEXT + 1])
async def test_text_over_the_limit_becomes_a_file(step: Step, service: Peer, files: RunFiles, size: int) -> None:
    service.script = saying(200, b"x" * size, Content_Type="text/plain")
    body = (await step("GET", service.url))["body"]
    assert isinstance(body, str) == (size == LARGEST_TEXT)
    assert (body.encode() if isinstance(body, str) else await contents(files, body)) == b"x" * size


async def test_a_large_answer_passes_through_in_constant_memory(step: Step, service: Peer) -> None:
    size = 96 << 20

    async def script(asked: Asked) -> None:
        await asked.read()
        await asked.head(200, {"Content-Type": "application/zip", "Content-Length": str(size)})
        for _ in range(size >> 20):
            await asked.send(bytes(1 << 20))

    service.script = script
    tracemalloc.start()
    try:
        file = (await step("GET", f"{service.url}/big.zip"))["body"]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file["size"] == size
    assert most < 32 << 20


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retryable"),
    [
        (400, {}, RequestRefused, False),
        (404, {}, RequestRefused, False),
        (408, {}, RequestFailed, True),
        (429, {}, RequestFailed, True),
        (500, {}, RequestFailed, True),
        (503, {}, RequestFailed, True),
        (429, {"Retry-After": "7"}, ProviderBusy, True),
        (503, {"Retry-After": "7"}, ProviderBusy, True),
        (500, {"Retry-After": "7"}, RequestFailed, True),
    ],
)
async def test_a_status_of_400_and_above_is_an_error_that_says_what_it_was(
    step: Step, service: Peer, status: int, headers: dict[str, str], kind: type[LandbridgeError], retryable: bool
) -> None:
    service.script = saying(status, b'{"why": "so"}', **{name.replace("-", "_"): v for name, v in headers.items()})

    with pytest.raises(LandbridgeError) as caught:
        await step("POST", f"{service.url}/secret?token=abc")

    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert caught.value.meta == {"statusCode": status, "body": {"why": "so"}}
    assert getattr(caught.value, "retry_after", None) == (timedelta(seconds=7) if headers else None)
    assert "secret" not in caught.value.message
    assert "abc" not in caught.value.message


async def test_an_error_s_body_is_kept_up_to_a_bound(step: Step, service: Peer) -> None:
    service.script = saying(400, b"\xff" * (1 << 20), Content_Type="text/plain")
    with pytest.raises(RequestRefused) as caught:
        await step("GET", service.url)
    assert len(caught.value.meta["body"]) == LARGEST_ERROR


async def test_a_redirect_on_the_same_origin_keeps_the_proof(step: Step, service: Peer) -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(*((302, b"") if asked.target == "/1" else (200, b"1")), Location="/2?x=ü")

    service.script = script
    response = await step("GET", f"{service.url}/1", auth={"type": "bearer", "token": "t"})
    assert response["body"] == 1
    assert targets(service) == [("/1", "Bearer t"), ("/2?x=%C3%BC", "Bearer t")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "token": "t0psecret"},
        {"type": "basic", "username": "t0psecret"},
        {"type": "header", "name": "X-Key", "value": "t0psecret"},
        {"type": "query", "name": "key", "value": "t0psecret"},
    ],
    ids=lambda auth: str(auth["type"]),
)
async def test_a_redirect_to_another_origin_leaves_everything_secret_behind(
    step: Step, service: Peer, elsewhere: Peer, auth: dict[str, JsonValue], status: int
) -> None:
    service.script = saying(status, b"", Location=f"{elsewhere.url}/there")
    elsewhere.script = saying(200, b"2")

    response = await step(
        "GET",
        f"{service.url}/1",
        auth=auth,
        headers={"Cookie": "t0psecret", "X-Api-Key": "t0psecret", "Accept": "application/json"},
        body={"type": "json", "value": "t0psecret"},
    )

    assert response["body"] == 2
    assert "t0psecret" not in str(elsewhere.last.headers) + elsewhere.last.target + str(elsewhere.last.body)
    assert elsewhere.last.header("Accept") == "application/json"


async def test_a_secret_stays_behind_for_good_when_a_redirect_comes_back(
    step: Step, service: Peer, elsewhere: Peer
) -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(*((302, b"") if asked.target == "/1" else (200, b"1")), Location=f"{elsewhere.url}/x")

    service.script = script
    elsewhere.script = saying(302, b"", Location=f"{service.url}/2")
    await step("GET", f"{service.url}/1", auth={"type": "bearer", "token": "t"})
    assert targets(service) == [("/1", "Bearer t"), ("/2", None)]


async def test_a_redirected_post_is_not_sent_elsewhere(step: Step, service: Peer, elsewhere: Peer) -> None:
    service.script = saying(307, b"", Location=elsewhere.url)
    response = await step("POST", service.url, body={"type": "json", "value": 1})
    assert (response["statusCode"], response["headers"]["location"]) == (307, elsewhere.url)
    assert elsewhere.asked == []


async def test_redirects_in_a_circle_come_to_an_end(step: Step, service: Peer) -> None:
    service.script = saying(302, b"", Location="/again")
    with pytest.raises(RequestRefused, match="redirects more than 5 times"):
        await step("GET", service.url)
    assert len(service.asked) == 6


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "http://[::1]/", "ftp://x/", "file:///etc/passwd"])
async def test_a_redirect_to_where_we_never_call_is_refused(step: Step, service: Peer, location: str) -> None:
    service.script = saying(302, b"", Location=location)
    with pytest.raises(OutboundRefused):
        await step("GET", service.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[::1]:80/",
        "http://192.168.0.1/",
        "http://user:password@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "/relative",
        "",
        "http://",
    ],
)
async def test_only_public_addresses_are_called(step: Step, url: str) -> None:
    with pytest.raises(OutboundRefused):
        await step("GET", url)
    with pytest.raises(OutboundRefused):
        await step("GET", "http://127.0.0.1:9", auth=client(Peer(url=url)))


async def test_a_service_that_says_nothing_fails_the_step_in_time(
    requests: Requests, files: RunFiles, service: Peer
) -> None:
    service.script = Asked.until_closed
    request = ResolvedRequest("GET", service.url, timeout=timedelta(seconds=0.1))
    with pytest.raises(ProviderTimedOut, match=r"longer than the step's 0\.1 s"):
        await requests.send(request, files, key="k")


async def test_an_answer_that_drips_without_end_fails_the_step_in_time(
    requests: Requests, files: RunFiles, service: Peer
) -> None:
    async def script(asked: Asked) -> None:
        await asked.head(200, {"Content-Type": "application/zip", "Content-Length": str(1 << 40)})
        while True:
            await asked.send(bytes(1 << 16))

    service.script = script
    request = ResolvedRequest("GET", service.url, timeout=timedelta(seconds=0.3))
    with pytest.raises(ProviderTimedOut):
        await requests.send(request, files, key="k")


async def test_an_answer_that_breaks_off_is_an_error(step: Step, service: Peer) -> None:
    async def script(asked: Asked) -> None:
        await asked.head(200, {"Content-Type": "text/plain", "Content-Length": "10"})
        await asked.send(b"abc")
        asked.writer.close()

    service.script = script
    with pytest.raises(ProviderUnreachable):
        await step("GET", service.url)


async def test_the_connection_s_own_access_goes_through_the_proxy(
    requests: Requests, files: RunFiles, service: Peer
) -> None:
    service.script = saying(200, b'{"value": []}')
    asked = []

    async with Outbound(Settings(outbound_allow=("127.0.0.1",))) as outbound:

        async def through(method: str, path: str, headers: CIMultiDict[str], body: Any) -> Stream:
            asked.append((method, path))
            return await outbound.open(method, service.url + path, headers, body)

        request = a(
            "PATCH", "/me/drive/a b", params={"$top": 5}, auth={"type": "connection"}, body={"type": "json", "value": 1}
        )
        sent = await requests.send(request, files, key="k", through=through)

    assert asked == [("PATCH", "/me/drive/a%20b?$top=5")]
    assert sent == {"response": {"statusCode": 200, "headers": sent["response"]["headers"], "body": {"value": []}}}  # type: ignore[index,call-overload]


@pytest.mark.parametrize("body", get_args(get_args(definition.Body)[0]))
@pytest.mark.parametrize("auth", get_args(get_args(definition.Auth)[0]))
async def test_every_body_and_auth_that_a_definition_can_hold_is_understood(
    requests: Requests, files: RunFiles, service: Peer, body: type[BaseModel], auth: type[BaseModel]
) -> None:
    service.script = token_endpoint("one")
    fields = {
        "values": {"a": "b"},
        "value": "text",
        "text": "<a/>",
        "query": "{ a }",
        "tokenUrl": f"{service.url}/token",
    }
    fields |= dict.fromkeys(("token", "username", "name", "clientId", "clientSecret"), "Known")

    def least(kind: type[BaseModel]) -> dict[str, JsonValue]:
        needed = {of.alias or name for name, of in kind.model_fields.items() if of.is_required()}
        return {"type": kind.model_fields["type"].default, **{name: fields[name] for name in needed}}

    step = definition.RequestStep.model_validate(
        {"id": "a", "type": "request", "method": "POST", "url": service.url, "body": least(body), "auth": least(auth)}
    )
    request = ResolvedRequest.of(step.method, step.templates(), timedelta(seconds=step.timeout))

    async with Outbound(Settings(outbound_allow=("127.0.0.1",))) as outbound:
        await requests.send(request, files, key="k", through=outbound.open)

    sent = service.last
    assert bool(sent.body) == (body is not definition.NoBody)
    proven = sent.header("Authorization") or sent.header("Known") or parse_qs(urlsplit(sent.target).query).get("Known")
    assert bool(proven) == (auth not in {definition.NoAuth, definition.ConnectionAuth})


async def test_a_function_fetches_within_the_same_bounds(requests: Requests, service: Peer) -> None:
    service.script = saying(404, b'{"a": 1}')
    code = (
        "def run(p):\n"
        "    answer = fetch(p['url'], 'post', {'X-Key': '1'}, {'b': [2]})\n"
        "    try: fetch('http://10.0.0.1/')\n"
        "    except OSError as error: refused = str(error)\n"
        "    return [answer['statusCode'], answer['body'], answer['headers']['content-type'], refused]"
    )
    async with Jail(1) as jail:
        done = await jail.run(code, {"url": service.url}, fetch=requests.fetch)
    assert isinstance(done.result, list)
    assert done.result[:3] == [404, {"a": 1}, "application/json"]
    assert "private address" in str(done.result[3])
    assert (service.last.method, service.last.header("X-Key"), service.last.body) == ("POST", "1", b'{"b": [2]}')


async def test_a_fetch_takes_no_more_than_a_bounded_text(requests: Requests, service: Peer) -> None:
    service.script = saying(200, b"x" * (LARGEST_TEXT + 1), Content_Type="text/plain")
    with pytest.raises(TooLarge):
        await requests.fetch(service.url, "GET", {}, "text")
    assert (service.last.body, urlsplit(service.last.target).path) == (b"text", "/")
    service.script = saying(200, b"\xff", Content_Type="image/png")
    with pytest.raises(InvalidRequest, match="no text"):
        await requests.fetch(service.url, "GET", {}, None)
