"""Signing in: discovery, the page, codes, tokens, and how Microsoft says no."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest
from tests.sandbox.caller import REDIRECT, Caller

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


async def test_discovery_leads_to_keys_that_verify_the_id_token(caller: Caller) -> None:
    login = caller.facts["login_url"]
    async with caller.session.get(f"{login}/common/v2.0/.well-known/openid-configuration") as response:
        found = await response.json()
    assert found["issuer"] == f"{login}/{{tenantid}}/v2.0"
    code = (await caller.authorize(nonce="n-1"))["code"]
    tokens = await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    async with caller.session.get(found["jwks_uri"]) as response:
        keys = jwt.PyJWKSet.from_dict(await response.json())
    key = keys[jwt.get_unverified_header(tokens["id_token"])["kid"]]
    claims = jwt.decode(tokens["id_token"], key, algorithms=["RS256"], audience=caller.facts["client_id"])
    assert claims["nonce"] == "n-1"
    assert claims["iss"] == found["issuer"].replace("{tenantid}", claims["tid"])
    assert claims["preferred_username"] == caller.user["email"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_advertised_userinfo_endpoint_names_whom_the_id_token_names(caller: Caller, method: str) -> None:
    code = (await caller.authorize())["code"]
    tokens = await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    async with caller.session.get(f"{caller.facts['login_url']}/common/.well-known/openid-configuration") as response:
        url = (await response.json())["userinfo_endpoint"]
    caller.token = tokens["access_token"]
    found = await caller.graph(method, url)
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (found["sub"], found["email"]) == (claims["sub"], caller.user["email"])
    caller.token = "unknown"
    await caller.graph(method, url, 401)


async def test_instance_discovery_names_the_tenant_endpoint(caller: Caller) -> None:
    login = caller.facts["login_url"]
    query = {"api-version": "1.0", "authorization_endpoint": f"{login}/common/oauth2/v2.0/authorize"}
    async with caller.session.get(f"{login}/common/discovery/instance", params=query) as response:
        answer = await response.json()
    assert answer["tenant_discovery_endpoint"] == f"{login}/common/v2.0/.well-known/openid-configuration"


@pytest.mark.parametrize(("method", "challenge"), [("S256", CHALLENGE), ("plain", VERIFIER)])
async def test_a_code_needs_the_verifier_that_was_announced(caller: Caller, method: str, challenge: str) -> None:
    code = (await caller.authorize(code_challenge=challenge, code_challenge_method=method))["code"]
    form: dict[str, Any] = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    wrong = await caller.token_call(400, **form, code_verifier="w" * 64)
    assert wrong["error_codes"] == [501481]
    tokens = await caller.token_call(**form, code_verifier=VERIFIER)
    assert tokens["scope"] == "Files.ReadWrite User.Read openid profile"
    again = await caller.token_call(400, **form, code_verifier=VERIFIER)
    assert (again["error"], again["error_codes"]) == ("invalid_grant", [54005])


async def test_a_refresh_gives_new_tokens_and_the_old_refresh_token_stays_good(caller: Caller) -> None:
    old = caller.user["refresh_token"]
    first = await caller.token_call(grant_type="refresh_token", refresh_token=old)
    second = await caller.token_call(grant_type="refresh_token", refresh_token=old)
    assert len({old, first["refresh_token"], second["refresh_token"]}) == 3
    assert 3599 <= first["expires_in"] < 5400
    caller.token = first["access_token"]
    assert (await caller.graph("GET", "/me"))["mail"] == caller.user["email"]


async def test_personal_accounts_get_opaque_tokens(personal: Caller) -> None:
    tokens = await personal.token_call(grant_type="refresh_token", refresh_token=personal.user["refresh_token"])
    assert tokens["access_token"].startswith("EwB")
    assert "." not in tokens["access_token"]
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert claims["tid"] == "9188040d-6c67-4c5b-b112-36a304b66dad"
    assert claims["oid"].startswith("00000000-0000-0000-")


async def test_client_credentials_speak_for_the_application_in_one_tenant(caller: Caller) -> None:
    form: dict[str, Any] = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
    assert (await caller.token_call(400, **form))["error_codes"] == [9001023]
    tokens = await caller.token_call(tenant="contoso.example", **form)
    assert tokens.keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    caller.token = tokens["access_token"]
    assert (await caller.graph("GET", "/me/drive", 400))["error"]["code"] == "BadRequest"
    assert (await caller.graph("GET", "/users/ada@contoso.example/drive"))["driveType"] == "business"
    await caller.graph("GET", "/users/linus@fabrikam.example/drive", 404)


async def test_a_password_is_redeemed_where_its_user_has_consented(caller: Caller) -> None:
    public = caller.facts["public_client_id"]
    await caller.authorize(client_id=public, scope="Files.Read", login_hint="grace@contoso.example")
    form: dict[str, Any] = {"client_id": public, "client_secret": "", "grant_type": "password"}
    form |= {"username": "Grace@Contoso.example", "password": "Pa55word!", "scope": "Files.Read openid offline_access"}
    for tenant in ("organizations", "contoso.example"):
        tokens = await caller.token_call(tenant=tenant, **form)
        assert {"id_token", "refresh_token"} < tokens.keys()
        caller.token = tokens["access_token"]
        assert (await caller.graph("GET", "/me/drive"))["owner"]["user"]["email"] == "grace@contoso.example"


async def test_the_client_may_authenticate_with_http_basic(caller: Caller) -> None:
    pair = urlencode([(caller.facts["client_id"], caller.facts["client_secret"])]).replace("=", ":", 1)
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/token"
    async with caller.session.post(url, data=form, headers=headers) as response:
        assert response.status == 200, await response.text()


async def test_wrong_and_expired_secrets_are_told_apart(caller: Caller) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    wrong = await caller.token_call(401, **form, client_secret="nonsense")
    assert (wrong["error"], wrong["error_codes"]) == ("invalid_client", [7000215])
    await caller.control("POST", f"/apps/{caller.facts['client_id']}/expire-secrets")
    assert (await caller.token_call(401, **form))["error_codes"] == [7000222]
    await caller.control("POST", f"/apps/{caller.facts['client_id']}/secrets", json={"value": "fresh"})
    await caller.token_call(**form, client_secret="fresh")


async def test_a_revoked_refresh_token_says_since_when(caller: Caller, personal: Caller) -> None:
    for who, code in ((caller, 50173), (personal, 70000)):
        await who.control("POST", f"/users/{who.user['email']}/revoke")
        form = {"grant_type": "refresh_token", "refresh_token": who.user["refresh_token"]}
        answer = await who.token_call(400, **form)
        assert (answer["error"], answer["error_codes"]) == ("invalid_grant", [code])
    assert "AADSTS" not in answer["error_description"]


@pytest.mark.parametrize("email", ["ada@contoso.example", "mary@outlook.example"])
async def test_a_new_password_ends_the_refresh_tokens_of_public_clients_only(caller: Caller, email: str) -> None:
    path, public = f"/users/{email}", caller.facts["public_client_id"]
    old = await caller.control("POST", f"{path}/tokens", json={"client_id": public})
    confidential = await caller.control("POST", f"{path}/tokens", json={})
    await caller.control("PATCH", path, json={"password": "An0ther!"})
    form = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}
    refused = await caller.token_call(400, **form, client_id=public, client_secret="")
    assert refused["error_codes"] == [50173 if email.endswith("contoso.example") else 70000]
    await caller.token_call(**(form | {"refresh_token": confidential["refresh_token"]}))
    fresh = await caller.control("POST", f"{path}/tokens", json={"client_id": public})
    form["refresh_token"] = fresh["refresh_token"]
    await caller.token_call(**form, client_id=public, client_secret="")


async def test_a_user_may_revoke_their_own_sessions(caller: Caller, personal: Caller) -> None:
    await caller.graph("POST", "/me/revokeSignInSessions")
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    assert (await caller.token_call(400, **form))["error_codes"] == [50173]
    await caller.graph("GET", "/me")
    await personal.graph("POST", "/me/revokeSignInSessions", 400)
    await personal.token_call(grant_type="refresh_token", refresh_token=personal.user["refresh_token"])


async def test_who_signs_out_is_asked_again(caller: Caller) -> None:
    login, query = (
        f"{caller.facts['login_url']}/common/oauth2/v2.0",
        {
            "client_id": caller.facts["client_id"],
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "openid",
        },
    )
    signing_in = query | {"sandbox_consent": "auto"}
    async with caller.session.get(f"{login}/authorize", params=signing_in, allow_redirects=False) as response:
        headers = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
    async with caller.session.get(f"{login}/logout", headers=headers) as response:
        assert "You signed out" in await response.text()
    async with caller.session.get(f"{login}/authorize", params=query, headers=headers) as response:
        assert 'id="accept"' in await response.text()


@pytest.mark.parametrize(
    ("policy", "uri", "leads_back"),
    [
        ("loopback", "http://localhost:3000/bye", True),
        ("loopback", "https://evil.example/bye", False),
        ("registered", "http://localhost:3000/bye", False),
        ("registered", "https://app.example/bye", True),
    ],
)
async def test_signing_out_leads_back_to_the_application_only(
    caller: Caller, policy: str, uri: str, leads_back: bool
) -> None:
    await caller.control("PATCH", "/switches", json={"redirect_uris": policy})
    app = f"/apps/{caller.facts['client_id']}"
    await caller.control("PATCH", app, json={"redirect_uris": ["https://app.example/bye"]})
    query = {"post_logout_redirect_uri": uri, "state": "a state"}
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/logout"
    async with caller.session.get(url, params=query, allow_redirects=False) as response:
        assert response.headers.get("Location") == (f"{uri}?state=a+state" if leads_back else None)


@pytest.mark.parametrize(
    ("uri", "redirected"), [(REDIRECT, False), ("http://localhost:8/cb", True), ("http://localhost/other", False)]
)
async def test_registered_redirect_uris_may_be_insisted_on(caller: Caller, uri: str, redirected: bool) -> None:
    await caller.control("PATCH", "/switches", json={"redirect_uris": "registered"})
    app = f"/apps/{caller.facts['client_id']}"
    await caller.control("PATCH", app, json={"redirect_uris": ["http://localhost/cb"]})
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": uri,
        "scope": "openid",
        "sandbox_consent": "auto",
    }
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize"
    async with caller.session.get(url, params=query, allow_redirects=False) as response:
        assert response.headers.get("Location", "").startswith(f"{uri}?code=") == redirected
        assert redirected or "AADSTS50011" in await response.text()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"client_id": "nobody"}, 700016),
        ({"redirect_uri": "https://evil.example/cb"}, 50011),
        ({"redirect_uri": "http://127.0.0.1.evil.example/cb"}, 50011),
        ({"redirect_uri": ""}, 900144),
        ({"tenant": "nowhere.example"}, 90002),
    ],
)
async def test_an_untrusted_redirect_gets_a_page_and_no_redirect(
    caller: Caller, changed: dict[str, str], code: int
) -> None:
    tenant = changed.pop("tenant", "common")
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
    }
    given = {name: value for name, value in (query | changed).items() if value}
    url = f"{caller.facts['login_url']}/{tenant}/oauth2/v2.0/authorize"
    async with caller.session.get(url, params=given, allow_redirects=False) as response:
        assert response.status == 400
        assert f"AADSTS{code}" in await response.text()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"scope": "Files.Fly"}, "invalid_scope"),
        ({"scope": "files.read"}, None),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"response_type": "magic"}, "unsupported_response_type"),
        ({"code_challenge_method": "md5"}, "invalid_request"),
        ({"sandbox_consent": "deny"}, "access_denied"),
        ({"login_hint": "nobody@nowhere.example"}, "access_denied"),
        ({"prompt": "none", "sandbox_consent": ""}, "login_required"),
    ],
)
async def test_other_errors_come_back_to_the_application(
    caller: Caller, changed: dict[str, Any], error: str | None
) -> None:
    answer = await caller.authorize(**changed)
    assert answer.get("error") == error
    assert answer["state"] == "a state"


async def test_a_person_may_accept_or_decline_on_one_page(caller: Caller) -> None:
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "Files.Read offline_access",
        "state": "<&\"'>",
        "prompt": "select_account",
    }
    login = caller.facts["login_url"]
    async with caller.session.get(f"{login}/common/oauth2/v2.0/authorize", params=query) as response:
        page = await response.text()
    assert 'id="accept"' in page
    assert 'id="decline"' in page
    assert "Read your files" in page
    account = re.findall(r'name="account" value="([^"]+)"', page)[1]
    for answer, expected in (("accept", "code"), ("decline", "error")):
        form = {"request": urlencode(query), "account": account, "answer": answer}
        async with caller.session.post(f"{login}/common/login", data=form, allow_redirects=False) as response:
            assert response.status == 302
            back = dict(parse_qsl(urlsplit(response.headers["Location"]).query))
        assert expected in back
        assert back["state"] == query["state"]
    assert back["error_description"].startswith("AADSTS65004")


async def test_a_wrong_password_keeps_the_person_on_the_page(caller: Caller) -> None:
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
    }
    form = {"request": urlencode(query), "account": "other", "answer": "accept", "email": "grace@contoso.example"}
    url = f"{caller.facts['login_url']}/common/login"
    async with caller.session.post(url, data=form | {"password": "wrong"}) as response:
        assert "AADSTS50126" in await response.text()
    async with caller.session.post(url, data=form | {"password": "Pa55word!"}, allow_redirects=False) as response:
        assert response.status == 302


async def test_who_has_signed_in_and_consented_is_not_asked_again(caller: Caller) -> None:
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "User.Read",
    }
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize"
    auto = query | {"sandbox_consent": "auto", "login_hint": "grace@contoso.example"}
    async with caller.session.get(url, params=auto, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    async with caller.session.get(url, params=query, headers={"Cookie": cookie}, allow_redirects=False) as response:
        assert response.status == 302
    more = query | {"scope": "User.Read Files.Read"}
    async with caller.session.get(url, params=more, headers={"Cookie": cookie}, allow_redirects=False) as response:
        assert response.status == 200
    silent = more | {"prompt": "none"}
    async with caller.session.get(url, params=silent, headers={"Cookie": cookie}, allow_redirects=False) as response:
        assert "interaction_required" in response.headers["Location"]


async def test_a_script_may_decide_through_the_control_api(caller: Caller) -> None:
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
    }
    url = f"{caller.facts['login_url']}/organizations/oauth2/v2.0/authorize?{urlencode(query)}"
    granted = await caller.control("POST", "/authorize", json={"url": url, "user": "linus@fabrikam.example"})
    assert granted["location"].startswith(REDIRECT + "?code=")
    denied = await caller.control("POST", "/authorize", json={"url": url, "accept": False})
    assert "access_denied" in denied["location"]


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "\u00e9\u0000"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x", "redirect_uri": REDIRECT}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x", "client_id": "nobody"}, 400, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x", "client_secret": ""}, 401, "invalid_client"),
        (
            {"grant_type": "client_credentials", "scope": "Files.Read", "tenant": "contoso.example"},
            400,
            "invalid_scope",
        ),
    ],
)
async def test_bad_token_requests_are_refused_in_the_documented_shape(
    caller: Caller, form: dict[str, str], status: int, error: str
) -> None:
    answer = await caller.token_call(status, **form)
    assert answer["error"] == error
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", answer["timestamp"])
    assert answer["error_uri"].endswith(f"error?code={answer['error_codes'][0]}")
    assert "Correlation ID: " + answer["correlation_id"] in answer["error_description"]
