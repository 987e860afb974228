"""Continuous access evaluation: a capable client's token can be challenged, and a new one is taken."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from tests.sandbox.caller import REDIRECT, Caller

CP1 = json.dumps({"access_token": {"xms_cc": {"values": ["cp1"]}}})


async def _tokens(caller: Caller, **given: Any) -> Any:
    code = (await caller.authorize(**given))["code"]
    return await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)


async def _challenge(caller: Caller) -> str:
    url, headers = caller.facts["graph_url"] + "/v1.0/me/drive", {"Authorization": f"Bearer {caller.token}"}
    async with caller.session.get(url, headers=headers) as response:
        assert response.status == 401
        return response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("event", ["challenge", "revoke"])
async def test_a_capable_client_is_challenged_and_comes_back(caller: Caller, event: str) -> None:
    tokens = await _tokens(caller, claims=CP1)
    assert tokens["expires_in"] > 19 * 3600
    caller.token = tokens["access_token"]
    await caller.graph("GET", "/me/drive")
    await caller.control("POST", f"/users/{caller.user['email']}/{event}", json={})
    asked = await _challenge(caller)
    assert 'error="insufficient_claims"' in asked
    found = re.search(r'claims="([^"]+)"', asked)
    assert found
    claims = base64.b64decode(found[1]).decode()
    assert json.loads(claims)["access_token"]["nbf"]["essential"] is True
    if event == "challenge":
        refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "claims": claims}
        caller.token = (await caller.token_call(**refresh))["access_token"]
    else:
        caller.token = (await _tokens(caller, claims=claims))["access_token"]
    await caller.graph("GET", "/me/drive")


async def test_other_clients_keep_their_tokens(caller: Caller) -> None:
    await caller.control("POST", f"/users/{caller.user['email']}/challenge", json={})
    await caller.graph("GET", "/me/drive")
    caller.token = "unknown"
    assert "insufficient_claims" not in await _challenge(caller)


async def test_claims_that_are_no_json_are_refused(caller: Caller) -> None:
    assert "AADSTS9002313" in (await caller.authorize(claims="{"))["error_description"]


@pytest.mark.parametrize("email", ["ada@contoso.example", "mary@outlook.example"])
async def test_withdrawn_consent_ends_the_refresh_tokens(caller: Caller, email: str) -> None:
    path = f"/users/{email}"
    token = (await caller.control("POST", f"{path}/tokens", json={}))["refresh_token"]
    await caller.control("DELETE", f"{path}/consents?client_id={caller.facts['client_id']}")
    answer = await caller.token_call(400, grant_type="refresh_token", refresh_token=token)
    assert answer["error"] == "invalid_grant"
    # A personal account's refusal carries no code in its text.
    assert ("AADSTS65001" in answer["error_description"]) == email.endswith("contoso.example")
