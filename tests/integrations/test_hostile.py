"""Whatever comes in, what goes out is a clear error of ours: no failure, nothing leaked, and nobody called."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integrations.landbridge import Place, place, settings_for
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, peer
from tests.integrations.person import APP, Answer, Person
from tests.integrations.test_strangers import OPERATORS, USERS, Case, cases, workflow_of

from landbridge.catalog import Catalog
from landbridge.errors import InvalidRequest
from landbridge.proxy import target

Make = Callable[[dict[str, Any], "Keys"], str]  # Any: claims


NO_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what never comes as far as the database, whichever it is."""


def is_clear(answer: Answer) -> str:
    """Return the code of an error that says what, which and what to do; fail if it is anything else."""
    assert 400 <= answer.status < 500, answer
    assert answer.headers["Content-Type"].startswith("application/json")
    for word in ("Traceback", "sqlalchemy", "site-packages", "SELECT "):
        assert word not in answer.body.decode()
    if answer.json.keys() == {"jsonrpc", "id", "error"}:  # of the agents' protocol, which has a shape of its own
        assert answer.json["error"]["message"]
        return str(answer.json["error"]["code"])
    assert answer.json["meta"]["remedy"]
    return answer.code


def is_no_request(answer: Answer) -> bool:
    """Whether it was refused as what nobody could read, before anybody asked what it means."""
    is_refused = answer.status == 400 and is_clear(answer) == "invalid_request"
    return is_refused and answer.json["message"] == "This is no HTTP request."


# Tokens


@dataclass(frozen=True)
class Keys:
    """What an attacker may hold: keys of their own project, and the public half of the victim's."""

    id: str
    private: str
    public: str
    theirs_id: str
    theirs: str


def unsigned(claims: dict[str, Any], keys: Keys) -> str:
    return jwt.encode(claims, "", algorithm="none", headers={"kid": keys.id})


def by_the_public_key(claims: dict[str, Any], keys: Keys) -> str:
    """Sign with the public key as if it were a shared secret, which a library lets nobody do by accident."""

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': keys.id})}.{part(claims)}"
    digest = hmac.new(keys.public.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def signed(key: str | None = None, kid: str | None = None, **changes: Any) -> Make:
    """Return what signs claims, changed so, by default with the right key. A claim of None is left out."""

    def make(claims: dict[str, Any], keys: Keys) -> str:
        said = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(said, key or keys.private, algorithm="ES256", headers={"kid": kid or keys.id})

    return make


def edited(claims: dict[str, Any], keys: Keys) -> str:
    head, _, signature = jwt.encode(claims, keys.private, algorithm="ES256", headers={"kid": keys.id}).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


STRANGE_TOKENS: dict[str, Make] = {
    "empty": lambda claims, keys: "",
    "a word": lambda claims, keys: "token",
    "dots": lambda claims, keys: "..",
    "no JSON": lambda claims, keys: "YQ.YQ.YQ",
    "a list": lambda claims, keys: "W10.W10.W10",
    "deep": lambda claims, keys: base64.urlsafe_b64encode(b"[" * 9000).decode() + ".YQ.YQ",
    "long": lambda claims, keys: "e" * 20_000,
    "unsigned": unsigned,
    "signed by the public key": by_the_public_key,
    "edited": edited,
    "expired": signed(exp=1),
    "without end": signed(exp=None),
    "ends in a text": signed(exp="tomorrow"),
    "ends never": signed(exp=1e300),
    "of nobody": signed(sub=None),
    "of an empty user": signed(sub=""),
    "of a number": signed(sub=7),
    "of a novel": signed(sub="x" * 256),
    "of the future": signed(nbf=4e9),
    "for another project": signed(aud=f"useparagon.com/{uuid4()}"),
    "for a strange project": signed(aud=[{"x": 1}]),
    "by another project": lambda claims, keys: signed(keys.theirs, keys.theirs_id)(claims, keys),
    "by another project under our key's id": lambda claims, keys: signed(keys.theirs)(claims, keys),
    "by a key nobody knows": lambda claims, keys: signed(kid="../../etc/passwd")(claims, keys)[:-4] + "AAAA",
}


@pytest.fixture
async def keys(landbridge: Place) -> tuple[str, Keys]:
    """A project and what an attacker holds."""
    projects = landbridge.house.projects
    ours, other = await landbridge.project(), await landbridge.project()
    row, private = await projects.create_signing_key(ours, "ES256")
    theirs, theirs_private = await projects.create_signing_key(other, "ES256")
    assert isinstance(load_pem_public_key(row.public_key.encode()), ec.EllipticCurvePublicKey)
    return ours, Keys(row.id, private, row.public_key, theirs.id, theirs_private)


async def test_a_strange_token_is_refused_everywhere(
    landbridge: Place, microsoft: Microsoft, keys: tuple[str, Keys]
) -> None:
    project, held = keys
    claims = {"sub": "ann", "exp": int((landbridge.clock.now() + timedelta(hours=1)).timestamp())}
    person = replace(await landbridge.person(project), token=signed()(claims, held))
    assert (await person.sdk("GET", "/me")).status == 200, "the right token is good"

    for name, make in STRANGE_TOKENS.items():
        token = make(claims, held)
        stranger = replace(person, token=token)
        for answer in (
            await stranger.sdk("GET", "/me"),
            await stranger.call("/me/drive"),
            await stranger.send("GET", "/api/v1/projects"),
        ):
            assert (answer.status, is_clear(answer)) == (401, "unauthenticated"), name
            assert len(token) < 10 or token not in answer.body.decode()
    assert not await microsoft.calls()


@NO_DATABASE
@pytest.mark.parametrize("header", ["Basic eDp5", "Bearer", "Bearer  ", "bearer\t", "Token x", "", "Bearer \xff\xfe"])
async def test_a_strange_authorization_header_is_refused(landbridge: Place, header: str) -> None:
    project = await landbridge.project()
    for path in (f"/projects/{project}/sdk/me", f"/projects/{project}/sdk/proxy/onedrive/me", "/api/v1/projects"):
        lines = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\nConnection: close\r\n\r\n"
        answer = await raw(landbridge, lines.encode("latin-1"))
        assert (answer.status, is_clear(answer)) == (401, "unauthenticated")


# Names of things


@pytest.mark.parametrize(
    "strange",
    ["unknown", "5d3f2c1b-8a76-4e59-b0c4-d21e6f7a8b90", "%00", "%ff", "x" * 64, "a'--", "%2e%2e", "*", "%F0%9F%92%A9"],
)
async def test_what_does_not_exist_is_not_found(landbridge: Place, microsoft: Microsoft, strange: str) -> None:
    person, _ = await landbridge.connected()
    await microsoft.forget()
    _, key = await landbridge.house.projects.create_api_key("Ours")
    operator = replace(person, token=key)
    api = f"/api/v1/projects/{person.project}"

    answers = {
        "project": await person.send("GET", f"/projects/{strange}/sdk/me"),
        "project in the proxy": await person.send("GET", f"/projects/{strange}/sdk/proxy/onedrive/me"),
        "integration": await person.sdk("GET", f"/proxy/{strange}/me"),
        "connection": await person.sdk("GET", f"/credentials/{strange}"),
        "connection in the proxy": await person.call("/me", headers={"X-Paragon-Credential": strange}),
        "configuration": await person.sdk("PATCH", f"/credentials/{strange}/configurations", json={"meta": {}}),
        "to disconnect": await person.sdk("DELETE", f"/integrations/{strange}"),
        "managed project": await operator.send("GET", f"/api/v1/projects/{strange}"),
        "managed integration": await operator.send("GET", f"{api}/integrations/{strange}"),
        "managed connection": await operator.send("DELETE", f"{api}/connections/{strange}"),
        "signing key": await operator.send("DELETE", f"{api}/signing-keys/{strange}"),
        "API key": await operator.send("DELETE", f"/api/v1/api-keys/{strange}"),
    }

    for what, answer in answers.items():
        assert answer.status in {400, 404}, (what, answer)
        assert is_clear(answer) in {"not_found", "invalid_request"}, (what, answer)
    assert not await microsoft.calls(service="graph")


# Where to

ELSEWHERE = [
    "https://evil.example/x",
    "https://graph.microsoft.com.evil.example/v1.0/me",
    "https://graph.microsoft.com@evil.example/v1.0/me",
    "https://evil.example#https://graph.microsoft.com/",
    "https://graph.microsoft.com:444/v1.0/me",
    "https://user:secret@graph.microsoft.com/v1.0/me",
    "http://graph.microsoft.com/v1.0/me",
    "ftp://graph.microsoft.com/x",
    "file:///etc/passwd",
    "javascript:/x",
    "//evil.example/x",
    "/\\evil.example/x",
    "https:\\\\evil.example/x",
    "https:/evil.example/x",
    "https:///evil.example",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "http://127.0.0.1:{port}/x",
    "http://127.1:{port}/x",
    "http://2130706433:{port}/x",
    "http://0177.0.0.1:{port}/x",
    "http://0x7f.1:{port}/x",
    "http://localhost:{port}/x",
    "http://127.0.0.1.nip.io:{port}/x",
    "/me/../../beta/x",
    "/me/..",
    "/./me",
    "/me/%2e%2e/x",
    "/me/%2E./x",
    "/me/.%2e/.%2e/.%2e/x",
    "/me//drive",
    "/me\\..\\x",
    "/me/\x00",
    "/me/ x",
    "/me/{{x}}",
    "/me/\x7f",
    "/me?x=\x01",
    "/me#fragment",
    "/" + "x" * 9000,
    "/me?" + "x" * 9000,
]


async def test_no_path_and_no_url_leads_anywhere_but_to_the_api(landbridge: Place, microsoft: Microsoft) -> None:
    person, _ = await landbridge.connected()
    await microsoft.forget()
    async with peer() as inner:
        port = inner.url.rsplit(":", 1)[1]
        for target in ELSEWHERE:
            path = target.replace("{port}", port)
            by_header = await raw_call(person, "/x", [f"X-Paragon-Proxy-Url: {path}"])
            assert is_no_request(by_header) or is_clear(by_header) == "invalid_request", (target, by_header)
        assert not await microsoft.calls(service="graph")
        for target in ELSEWHERE:
            by_path = await raw_call(person, f"/{target.replace('{port}', port)}")
            assert by_path.status < 500, (target, by_path)
        assert not inner.asked
    assert all(call["target"].startswith("/v1.0/") for call in await microsoft.calls(service="graph"))


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(["/", ".", "%2e", "%2F", "\\", ":", "@", "//", "me", "https", "127.0.0.1", "?", "[", "x"]))
)
def test_no_mixture_of_such_pieces_leaves_the_api(pieces: list[str]) -> None:
    manifest = Catalog.read(files("landbridge.integrations")).get("onedrive")
    try:
        url = target(manifest, "https://graph.microsoft.com", "".join(pieces))
    except InvalidRequest:
        return
    assert url.startswith("https://graph.microsoft.com/")
    assert ".." not in url.partition("?")[0].replace("%2e", ".").split("/")


LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "0x7f000001",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]
LOOPBACK += ["0.0.0.0", "rebound.example.", "user@127.0.0.1"]


async def test_a_redirect_leads_to_no_private_address_however_it_is_written(
    http: aiohttp.ClientSession, microsoft: Microsoft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graph itself is trusted, what it redirects to is not: the checked address is the one that is connected to."""
    async with peer() as graph, peer() as inner:
        allowed = [url.removeprefix("http://") for url in (graph.url, microsoft.facts["login_url"])]
        configured = settings_for(
            microsoft.facts, tmp_path, microsoft_graph_url=graph.url, outbound_allow=tuple(allowed)
        )
        port = inner.url.rsplit(":", 1)[1]
        resolve = socket.getaddrinfo
        asked_for: list[str] = []

        def rebinding(host: Any, *rest: Any, **named: Any) -> Any:
            if host != "rebound.example":
                return resolve(host, *rest, **named)
            asked_for.append(host)
            return resolve("93.184.216.34" if len(asked_for) == 1 else "127.0.0.1", *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        async with place(configured, http, microsoft) as landbridge:
            person, _ = await landbridge.connected()
            for host in LOOPBACK:

                async def moved(asked: Asked, host: str = host) -> None:
                    await asked.answer(302, b"", Location=f"http://{host}:{port}/secret")

                graph.script = moved
                answer = await person.call("/me/drive/items/1/content")
                assert answer.status in {400, 502, 504}, (host, answer)
                assert not inner.asked, host


# Bytes


async def raw(landbridge: Place | Person, data: bytes) -> Answer:
    """Send bytes as they are, and read what comes until the connection closes."""
    host, port = landbridge.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines[1:])
    headers = {name.title(): value for name, _, value in pairs}
    return Answer(int(lines[0].split(" ")[1]), headers, body)


async def raw_call(person: Person, path: str, headers: list[str] | None = None, method: str = "GET") -> Answer:
    lines = [
        f"{method} /projects/{person.project}/sdk/proxy/onedrive{path} HTTP/1.1",
        "Host: landbridge",
        f"Authorization: Bearer {person.token}",
        "Connection: close",
        *(headers or []),
        "",
        "",
    ]
    return await raw(person, "\r\n".join(lines).encode("latin-1"))


@NO_DATABASE
@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /projects/\xff/sdk/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /projects/%ff/sdk/proxy/onedrive/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /projects/%00/sdk/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /projects/x/sdk/me?a=%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /projects/x/sdk/me HTTP/1.1\r\nHost: x\r\nOrigin: \xff\x01\r\nConnection: close\r\n\r\n",
        b"GET /oauth?state=%00&code=%ff HTTP/1.1\r\nHost: x\r\nCookie: \xff=\x01\r\nConnection: close\r\n\r\n",
        b"GET /ui/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /integrations/..%2f..%2fx.svg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"TRACE /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X%d: y\r\n" % n for n in range(9000))
        + b"Connection: close\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_request_are_refused(landbridge: Place, data: bytes) -> None:
    answer = await raw(landbridge, data)
    assert 200 <= answer.status < 500, answer
    assert b"Traceback" not in answer.body
    assert (await (await landbridge.http.get(f"{landbridge.url}/healthz")).text()) == "ok"


@NO_DATABASE
async def test_headers_that_are_too_long_say_so(landbridge: Place, microsoft: Microsoft) -> None:
    person, _ = await landbridge.connected()
    await microsoft.forget()
    answer = await raw_call(person, "/me/drive", [f"Prefer: {'x' * 40_000}"])
    assert (answer.status, is_clear(answer)) == (413, "too_large")
    assert not await microsoft.calls(service="graph")


# Bodies

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


def with_bodies() -> list[Case]:
    """Return every route that takes a body, but for the proxy, whose bodies are not ours to judge."""
    return [case for case in cases(USERS) + cases(OPERATORS) if case.method in {"POST", "PATCH", "PUT"}]


@dataclass(frozen=True)
class Everything:
    """A user and an operator with a connection and keys, for bodies to be thrown at."""

    user: Person
    operator: Person
    ids: dict[str, str]

    async def send(self, case: Case, **options: Any) -> Answer:
        who = self.operator if case.path.startswith("/api/") else self.user
        return await who.send(case.method, case.path.format_map(self.ids), **options)


@pytest.fixture
async def everything(landbridge: Place) -> Everything:
    person, connection = await landbridge.connected()
    _, key = await landbridge.house.projects.create_api_key("All")
    ids = {"project_id": person.project, "type": "onedrive", "selector": connection, "user_id": "ann"}
    return Everything(person, replace(person, token=key), ids | await workflow_of(landbridge, person.project))


BODIES: dict[str, bytes] = {
    "words": b"not json",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "half a pair": b'{"name": "\\ud800", "meta": {"a": "\\ud800"}, "externalId": "\\ud800"}',
    "NUL": b'{"name": "\\u0000", "meta": {"a": "\\u0000"}, "externalId": "\\u0000", "code": "\\u0000"}',
    "deep": b'{"meta": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge": b'{"meta": {"x": "' + b"x" * (2 << 20) + b'"}}',
    "endless number": b'{"name": 1e999, "meta": {"a": 1e999}, "lifetime_seconds": 1e999}',
    "long number": b'{"meta": {"a": ' + b"9" * 6000 + b"}}",
    "NaN": b'{"meta": {"a": NaN}, "config": {"sharedSettings": {"a": NaN}}}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_strange_body_is_refused_or_kept_and_never_a_failure(everything: Everything, name: str) -> None:
    for case in with_bodies():
        answer = await everything.send(
            case, data=io.BytesIO(BODIES[name]), headers={"Content-Type": "application/json"}
        )
        assert answer.status < 500, (case.name, answer)
        if answer.status >= 400:
            is_clear(answer)
    for answer in (await everything.user.sdk("GET", "/me"), await everything.operator.send("GET", "/api/v1/projects")):
        assert answer.status == 200, answer


STRANGE: list[Any] = [None, True, -1, 1e308, "", "x" * 300, "\x00", [], [None], {"a": {}}]  # Any: JSON


async def test_wrong_types_everywhere_are_refused_or_kept_and_never_a_failure(everything: Everything) -> None:
    for case in with_bodies():
        for value in STRANGE:
            answer = await everything.send(case, json=dict.fromkeys(case.body or {}, value))
            assert answer.status < 500, (case.name, value, answer)
            if answer.status >= 400:
                is_clear(answer)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(with_bodies()), body=st.dictionaries(st.text(), JSON, max_size=4), name=st.text())
async def test_no_json_at_all_is_a_failure(everything: Everything, case: Case, body: Any, name: str) -> None:
    fields = dict.fromkeys(case.body or {"meta": None}, body)
    for said in (
        body,
        {**(case.body or {}), **body},
        fields,
        {"meta": {name: body}, "config": {"sharedSettings": body}},
    ):
        answer = await everything.send(case, data=json.dumps(said).encode())
        assert answer.status < 500, (case.name, said, answer)


# Sign-ins


async def test_a_hostile_state_or_code_connects_nobody(landbridge: Place, microsoft: Microsoft) -> None:
    person = await landbridge.person()
    await person.visit_nonce_page()
    await person.authorize_url("key")
    await microsoft.forget()

    for state in ("", "x", "%00", "%ff", "x" * 5000, "../..", "[]", str(uuid4())):
        async with person.http.get(f"{person.url}/oauth?state={state}&code=x") as page:
            assert page.status < 500
            assert "x" * 100 not in await page.text()
    assert not await microsoft.calls()
    assert (await person.sdk("GET", "/actions/session-id/key")).json == {}


@pytest.mark.parametrize(
    "query",
    ["", "action=onedrive", "action=onedrive&oauthMetaKeyId=%00", f"action=onedrive&oauthMetaKeyId={'x' * 200}",
     "action=onedrive&oauthMetaKeyId=k&installOptions=[]", "action=onedrive&oauthMetaKeyId=k&installOptions={",
     "action=onedrive&oauthMetaKeyId=k&installOptions={\"externalId\":{}}",
     "action=onedrive&oauthMetaKeyId=k&installOptions=" + "[" * 6000,
     "action=%00&oauthMetaKeyId=k", f"action={'x' * 3000}&oauthMetaKeyId=k",
     "action=onedrive&oauthMetaKeyId=k&redirectUrl=https://evil.example/",
     "action=onedrive&oauthMetaKeyId=k&redirectUrl=javascript:x"],
)  # fmt: skip
async def test_a_strange_wish_for_a_sign_in_is_refused_or_told_as_its_outcome(landbridge: Place, query: str) -> None:
    person = await landbridge.person()
    answer = await person.send("GET", f"/v2/projects/{person.project}/sdk/actions/build-oauth?{query}")
    if answer.status == 200:
        assert answer.json["redirectUrl"].startswith(f"{person.url}/oauth?")
        failed = (await person.sdk("GET", "/actions/session-id/k")).json["connectCredentialId"]
        answer = await person.sdk("GET", f"/credentials/{failed}")
        assert answer.json["message"]
    assert 400 <= answer.status < 500
    assert "evil.example" not in answer.body.decode()


async def test_a_page_of_a_strange_origin_is_told_so_and_reaches_nothing(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, _ = await landbridge.connected()
    await microsoft.forget()
    for origin in ("https://evil.example", "null", f"{APP}.evil.example", APP.upper() + "/", "file://", "\x01"):
        answer = await raw_call(person, "/me/drive", [f"Origin: {origin}"])
        assert answer.status < 500
        assert is_no_request(answer) or is_clear(answer) == "origin_not_allowed", origin
    assert not await microsoft.calls(service="graph")


@NO_DATABASE
@pytest.mark.parametrize("referer", ["http://[", "http://[::1", "//", "\x01", "x" * 5000, f"{APP}@evil.example/"])
async def test_a_nonce_page_gives_no_cookie_to_who_comes_from_nowhere(landbridge: Place, referer: str) -> None:
    person = await landbridge.person()
    query = f"action=onedrive&originForPostMessage={APP}&userToken={person.token}"
    lines = f"GET /projects/{person.project}/sdk/actions/oauth-nonce?{query} HTTP/1.1\r\nHost: x\r\nReferer: {referer}"

    answer = await raw(landbridge, f"{lines}\r\nConnection: close\r\n\r\n".encode())

    assert is_no_request(answer) or answer.status == 200
    assert "Set-Cookie" not in answer.headers or "Max-Age=0" in answer.headers["Set-Cookie"]


@NO_DATABASE
async def test_what_nobody_expected_is_told_in_the_documented_shape_and_not_how_it_happened(
    landbridge: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await landbridge.person()

    async def stumbles(*_: object) -> None:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(landbridge.house.accounts, "user", stumbles)
    answer = await person.sdk("GET", "/me")

    assert (answer.status, answer.code) == (500, "internal_error")
    assert answer.json["meta"]["requestId"]
    assert "swordfish" not in answer.body.decode()
