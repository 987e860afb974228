"""Whatever arrives, the answer is a client error in Microsoft's shape and never a failure of ours."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.caller import Caller, exact

from msgraph_sandbox.control.app import ROUTES
from msgraph_sandbox.graph.service import DRIVE_ROUTES, ITEM_ROUTES
from msgraph_sandbox.http import JSON_LIMIT
from msgraph_sandbox.identity.token import TokenEndpoint

NASTY = st.sampled_from(
    [
        "", ".", "..", "root", "Notes.md", "x" * 500, "%", "%zz", "\u0000", "\ud7ff", "\U0001f600", "a:b", "'",
        "''", "(", ")", "('", "')", "(q='", "children('x", "@a", "-1", "0", "1e9", "9" * 30, "NaN", "null",
        "true", "[]", "{}", "<x>", "\r\n", "v1.", "u!", "u!%%%", "b!", "1.0", "2020-01-01T00:00:00Z",
        "latest", ";;;", "bytes=-", "$select=", "é", "../../x",
    ]
)  # fmt: skip
TEXT = NASTY | st.text(max_size=20).filter(lambda text: text.isprintable() or not text.isascii())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "name", "folder", "file", "parentReference", "fileSystemInfo", "item", "deferCommit", "description",
        "type", "scope", "recipients", "roles", "expirationDateTime", "requests", "remoteItem", "resource",
        "changeType", "notificationUrl", "clientState", "@microsoft.graph.conflictBehavior",
        "@microsoft.graph.sourceUrl", "password", "id", "path",
    ]
)  # fmt: skip
BODY = st.dictionaries(FIELDS, JSON, max_size=5)
OPTION = st.sampled_from(
    [
        "$top",
        "top",
        "$skiptoken",
        "$orderby",
        "$select",
        "$expand",
        "$filter",
        "token",
        "q",
        "@microsoft.graph.conflictBehavior",
    ]
)
HEADER = st.sampled_from(
    [
        "If-Match",
        "If-None-Match",
        "Range",
        "If-Range",
        "Content-Range",
        "Prefer",
        "client-request-id",
        "Cookie",
        "Origin",
    ]
)
STARTS = ["/me/drive/root", "/me/drive", "/me/drive/items/{}", "/drives/{}/root", "/shares/{}/driveItem"]
SETTINGS = settings(max_examples=150)


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char.isprintable())


async def _send(caller: Caller, method: str, url: str, *, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    options: dict[str, Any] = {"headers": headers, "data": body, "allow_redirects": False}
    async with caller.session.request(method, exact(url), **options) as response:
        return response.status, await response.read()


@SETTINGS
@given(
    route=st.sampled_from([*ITEM_ROUTES, *DRIVE_ROUTES]),
    start=st.sampled_from(STARTS),
    names=st.lists(TEXT, max_size=3),
    options=st.dictionaries(OPTION, TEXT, max_size=3),
    headers=st.dictionaries(HEADER, TEXT, max_size=2),
    body=BODY | JSON,
)
async def test_graph_is_never_at_a_loss(
    caller: Caller,
    route: tuple[str, tuple[str, ...]],
    start: str,
    names: list[str],
    options: dict[str, str],
    headers: dict[str, str],
    body: Any,
) -> None:
    method, tail = route
    some = [quote(name, safe="") for name in [*names, "root", "1", "2", "3"]]
    path = start.replace("{}", some[0])
    if names:
        path += ":/" + "/".join(some[: len(names)]) + ":"
    path += "".join("/" + (some.pop() if segment == "*" else segment) for segment in tail)
    query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    sent = {"Authorization": f"Bearer {caller.token}", **{name: _printable(value) for name, value in headers.items()}}
    content = json.dumps(body).encode() if method != "GET" else b""
    url = f"{caller.facts['graph_url']}/v1.0{path}?{query}"
    status, answer = await _send(caller, method, url, headers=sent, body=content)
    assert status < 500 or status == 507, (method, url, body, answer)
    if status >= 400 and answer.startswith(b"{"):
        assert json.loads(answer)["error"]["innerError"]["request-id"]


@SETTINGS
@given(
    path=st.sampled_from(
        [
            "authorize",
            "token",
            "devicecode",
            "logout",
            "adminconsent",
            "login",
            "keys",
        ]
    ),
    tenant=st.sampled_from(
        [
            "common",
            "contoso.example",
            "consumers",
        ]
    )
    | TEXT,
    form=st.dictionaries(
        st.sampled_from(
            [
                "client_id",
                "client_secret",
                "grant_type",
                "code",
                "redirect_uri",
                "scope",
                "state",
                "response_type",
                "response_mode",
                "prompt",
                "nonce",
                "request",
                "login_hint",
                "refresh_token",
                "code_challenge",
                "code_verifier",
                "client_assertion",
                "username",
                "password",
                "account",
                "answer",
            ]
        ),
        TEXT,
    ),
    real=st.booleans(),
    post=st.booleans(),
)
async def test_sign_in_is_never_at_a_loss(
    caller: Caller, path: str, tenant: str, form: dict[str, str], real: bool, post: bool
) -> None:
    if real:
        form = {"client_id": caller.facts["client_id"], "redirect_uri": "http://localhost:1/x"} | form
    middle = {"login": "", "adminconsent": "v2.0/", "keys": "discovery/v2.0/"}.get(path, "oauth2/v2.0/")
    url = f"{caller.facts['login_url']}/{quote(tenant, safe='')}/{middle}{path}"
    encoded = "&".join(f"{name}={quote(value)}" for name, value in form.items())
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    method, body = ("POST", encoded.encode()) if post else ("GET", b"")
    status, answer = await _send(caller, method, url if post else f"{url}?{encoded}", headers=headers, body=body)
    assert status < 500, (method, url, encoded, answer)


@SETTINGS
@given(route=st.sampled_from(ROUTES), names=st.tuples(TEXT, TEXT), body=BODY | JSON)
async def test_the_control_api_is_never_at_a_loss(
    caller: Caller, route: tuple[str, str, Any], names: tuple[str, str], body: Any
) -> None:
    method, pattern, _ = route
    path = pattern.replace("(?:/state)?", "/state")
    for name in names:
        path = path.replace("([^/]+)", quote(name, safe="") or "x", 1).replace("(.+)", quote(name) or "x", 1)
    content = json.dumps(body).encode() if method != "GET" else b""
    status, answer = await _send(caller, method, caller.facts["control_url"] + path, headers={}, body=content)
    assert status < 500, (method, path, body, answer)


@pytest.mark.parametrize("service", ["upload_url", "download_url", "monitor_url"])
@SETTINGS
@given(
    method=st.sampled_from(
        [
            "GET",
            "PUT",
            "POST",
            "DELETE",
            "HEAD",
        ]
    ),
    path=TEXT,
    options=st.dictionaries(TEXT, TEXT),
)
async def test_transfer_hosts_are_never_at_a_loss(
    caller: Caller, service: str, method: str, path: str, options: dict[str, str]
) -> None:
    port = caller.facts["ports"][{"upload_url": 3, "download_url": 4, "monitor_url": 5}[service]]
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in options.items())
    url = f"http://127.0.0.1:{port}/{quote(path)}?{query}"
    try:
        status, answer = await _send(
            caller, method, url, headers={"Range": "bytes=0-"}, body=b"x" if method == "PUT" else b""
        )
    except aiohttp.ClientPayloadError:
        return
    assert status < 500, (method, url, answer)


async def test_what_crashes_does_not_look_like_a_refusal(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> None:
        raise KeyError("a defect of ours")

    monkeypatch.setattr(TokenEndpoint, "answer", crash)
    answer = await caller.token_call(500, grant_type="refresh_token", refresh_token="x")
    assert answer["error"] == "server_error"
    assert "a defect of ours" in caplog.text


@pytest.mark.parametrize(("size", "status"), [(JSON_LIMIT + 1, 413), (10, 400)])
async def test_a_body_that_sign_in_cannot_read_is_the_clients_fault(caller: Caller, size: int, status: int) -> None:
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with caller.session.post(url, headers=headers, data=io.BytesIO(b"%ff=" + b"x" * size)) as response:
        assert (response.status, (await response.json())["error_codes"]) == (status, [9002313])
