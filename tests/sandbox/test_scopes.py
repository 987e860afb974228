"""Scopes: which there are, how they may be spelt, whose they are, and how answers spell them."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from tests.sandbox.caller import REDIRECT, Caller

GRAPH = "https://graph.microsoft.com"
SITES = "https://contoso.sharepoint.example"


async def _tokens(caller: Caller, scope: str) -> Any:
    code = (await caller.authorize(scope=scope))["code"]
    return await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("user.read", "User.Read"),
        ("FILES.READWRITE.APPFOLDER OpenID", "Files.ReadWrite.AppFolder openid"),
        ("MailboxSettings.Read Chat.Read Presence.Read", "Chat.Read MailboxSettings.Read Presence.Read"),
        ("Application.Read.All ChannelMessage.Read.All", "Application.Read.All ChannelMessage.Read.All"),
        ("eDiscovery.Read.All", "eDiscovery.Read.All"),
        (f"{GRAPH}/user.read email", f"{GRAPH}/User.Read email"),
        (f"{GRAPH}//Files.Read", f"{GRAPH}//Files.Read"),
        (
            f"{GRAPH}/.default openid",
            f"{GRAPH}/Files.ReadWrite.All {GRAPH}/User.Read openid {GRAPH}/.default",
        ),
        (".default", "Files.ReadWrite.All User.Read .default"),
        (
            "00000003-0000-0000-c000-000000000000/Files.Read",
            "00000003-0000-0000-c000-000000000000/Files.Read",
        ),
    ],
)
async def test_scopes_are_told_in_the_spelling_in_which_they_were_asked_for(
    caller: Caller, asked: str, told: str
) -> None:
    assert sorted((await _tokens(caller, asked))["scope"].split()) == sorted(told.split())


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("Files.Fly", 70011),
        (f"{GRAPH}/Files.Fly", 70011),
        ("Nonsense.Read.All", 70011),
        ("files", 70011),
        ("Files.Read .default", 70011),
        (f"{SITES}/Files.Read", 70011),
        (f"{SITES}/AllSites.Read {SITES}/.default", 70011),
        ("https://vault.example/.default", 500011),
        ("11111111-1111-4111-8111-111111111111/.default", 500011),
        ("https://[/Files.Read", 500011),
        ("https://fabrikam.sharepoint.example/AllSites.Read", 500011),
    ],
)
async def test_scopes_that_there_are_not_are_refused(caller: Caller, scope: str, code: int) -> None:
    answer = await caller.authorize(scope=scope)
    assert answer["error"] == ("invalid_scope" if code == 70011 else "invalid_resource")
    assert f"AADSTS{code}:" in answer["error_description"]


async def test_one_consent_may_span_resources_and_each_token_is_for_one(caller: Caller) -> None:
    both = f"openid offline_access Files.Read {SITES}/allsites.read"
    code = (await caller.authorize(scope=both))["code"]
    form: dict[str, Any] = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    assert (await caller.token_call(400, **form, scope=both))["error_codes"] == [700022]
    first = await caller.token_call(**form)
    assert first["scope"] == "Files.Read openid"
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = await caller.token_call(**refresh, scope=f"{SITES}/AllSites.Read")
    claims = jwt.decode(second["access_token"], options={"verify_signature": False})
    assert (second["scope"], claims["aud"], claims["scp"]) == (
        f"{SITES}/AllSites.Read openid",
        SITES,
        f"{SITES}/AllSites.Read openid",
    )
    caller.token = second["access_token"]
    await caller.graph("GET", "/me/drive", 401)
    # Of several resources the first counts, and of none Graph.
    for scope, told in ((f"{SITES}/AllSites.Read Files.Read", f"{SITES}/AllSites.Read openid"), ("", first["scope"])):
        assert (await caller.token_call(**refresh, scope=scope))["scope"] == told


async def test_a_personal_account_has_no_sharepoint(caller: Caller) -> None:
    answer = await caller.authorize(scope=f"{SITES}/AllSites.Read", login_hint="mary@outlook.example")
    assert answer["error"] == "invalid_resource"


@pytest.mark.parametrize(
    "scope", ["Application.Read.All", "ChannelMessage.Read.All", "Group.Read.All", "User.Read.All"]
)
async def test_some_scopes_only_an_administrator_may_grant(caller: Caller, scope: str) -> None:
    answer = await caller.authorize(scope=scope, login_hint="grace@contoso.example")
    assert "AADSTS90094:" in answer["error_description"]
    assert "code" in await caller.authorize(scope=scope, login_hint="ada@contoso.example")
