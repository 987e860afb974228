"""The rest of identity: certificates, devices, administrators, single-page applications, audiences, obstacles."""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.sandbox.caller import REDIRECT, Caller

from msgraph_sandbox.identity.refusals import REASONS
from msgraph_sandbox.identity.tokens import base64url

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def make_certificate() -> tuple[str, str]:
    """Return a private key and its self-signed certificate, both in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = builder.not_valid_before(start).not_valid_after(start.replace(year=2090)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


def _thumbprints(pem: str) -> dict[str, dict[str, str]]:
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    return {
        "PS256": {"x5t#S256": base64url(hashlib.sha256(der).digest())},
        "RS256": {"x5t": base64url(hashlib.sha1(der).digest())},
    }


async def _add_app(caller: Caller, **more: Any) -> None:
    await caller.control("POST", "/apps", json={"client_id": "other", "name": "Other"} | more)


@pytest.mark.parametrize(
    ("algorithm", "changed", "code"),
    [
        ("PS256", {}, None),
        ("RS256", {}, None),
        ("PS256", {"sub": "someone"}, 50048),
        ("PS256", {"sub": "x", "iss": "x"}, 50013),
        ("PS256", {"exp": 1}, 50013),
        ("PS256", {"exp": "soon"}, 50013),
        ("PS256", {"aud": "https://elsewhere.example"}, 50013),
        ("HS256", {}, 700027),
    ],
)
async def test_a_certificate_proves_the_application(
    caller: Caller, algorithm: str, changed: dict[str, Any], code: int | None
) -> None:
    private, certificate = make_certificate()
    await _add_app(caller, certificates=[certificate])
    url = f"{caller.facts['login_url']}/contoso.example/oauth2/v2.0/token"
    claims = {"aud": url, "iss": "other", "sub": "other", "jti": "1", "exp": int(time.time()) + 300} | changed
    headers = _thumbprints(certificate).get(algorithm, {})
    key = private if algorithm != "HS256" else "k" * 64
    form = {
        "client_id": "other",
        "client_secret": "",
        "grant_type": "client_credentials",
        "scope": "https://graph.microsoft.com/.default",
        "client_assertion_type": ASSERTION,
        "client_assertion": jwt.encode(claims, key, algorithm=algorithm, headers=headers),
    }
    answer = await caller.token_call(401 if code else 200, tenant="contoso.example", **form)
    assert answer.get("error_codes", [None]) == [code]
    await caller.token_call(401, tenant="contoso.example", **(form | {"client_assertion": "a.b.c"}))


async def test_a_device_waits_for_its_person(caller: Caller) -> None:
    public = {"client_id": caller.facts["public_client_id"], "client_secret": ""}
    login = caller.facts["login_url"]
    ask = {"client_id": public["client_id"], "scope": "Files.Read offline_access"}
    for accept, error in ((True, None), (False, "authorization_declined")):
        async with caller.session.post(f"{login}/common/oauth2/v2.0/devicecode", data=ask) as response:
            begun = await response.json()
        assert begun["user_code"] in begun["message"]
        form: dict[str, Any] = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", **public}
        form["device_code"] = begun["device_code"]
        assert (await caller.token_call(400, **form))["error"] == "authorization_pending"
        decision = {"user_code": begun["user_code"], "user": "mary@outlook.example", "accept": accept}
        await caller.control("POST", "/device", json=decision)
        answer = await caller.token_call(200 if accept else 400, **form)
        assert answer.get("error") == error
    assert (await caller.token_call(400, **(form | {"device_code": "x"})))["error"] == "bad_verification_code"
    async with caller.session.post(f"{login}/common/oauth2/v2.0/devicecode", data=ask) as response:
        form["device_code"] = (await response.json())["device_code"]
    await caller.control("POST", "/clock", json={"seconds": 901})
    assert (await caller.token_call(400, **form))["error"] == "expired_token"
    async with caller.session.get(f"{login}/devicelogin") as response:
        assert 'id="accept"' in await response.text()


async def test_an_administrator_consents_for_everyone(caller: Caller) -> None:
    await caller.control("PATCH", "/tenants/contoso.example", json={"user_consent": False})
    assert (await caller.authorize(login_hint="grace@contoso.example"))["error"] == "access_denied"
    query = {
        "client_id": caller.facts["client_id"],
        "redirect_uri": REDIRECT,
        "state": "s",
        "scope": "openid profile offline_access User.Read Files.ReadWrite",
    }
    login = caller.facts["login_url"]
    for path, answer in (("organizations/v2.0", "deny"), ("organizations/v2.0", "auto"), ("common", "auto")):
        given = query | {"sandbox_consent": answer}
        url = f"{login}/{path}/adminconsent"
        async with caller.session.get(url, params=given, allow_redirects=False) as response:
            back = dict(parse_qsl(urlsplit(response.headers["Location"]).query))
        assert (back["admin_consent"], back["state"]) == ("True", "s")
        assert ("tenant" in back, "error" in back) == ((True, False) if answer == "auto" else (False, True))
    assert "code" in await caller.authorize(login_hint="grace@contoso.example")
    async with caller.session.get(f"{login}/common/v2.0/adminconsent", params=query) as response:
        assert response.status == 400
    async with caller.session.get(f"{login}/contoso.example/v2.0/adminconsent", params=query) as response:
        assert 'id="accept"' in await response.text()


async def test_a_single_page_application_needs_pkce_and_an_origin(caller: Caller) -> None:
    await _add_app(caller, spa_redirect_uris=["https://spa.example/"])
    query = {"client_id": "other", "redirect_uri": "https://spa.example/"}
    async with caller.session.get(
        f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize",
        params=query
        | {"response_type": "code", "scope": "Files.Read offline_access", "sandbox_consent": "auto"}
        | {"code_challenge": "c" * 43, "code_challenge_method": "plain"},
        allow_redirects=False,
    ) as response:
        code = dict(parse_qsl(urlsplit(response.headers["Location"]).query))["code"]
    form = query | {"grant_type": "authorization_code", "code": code, "code_verifier": "c" * 43, "client_secret": ""}
    async with caller.session.get(
        f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize",
        params=query | {"response_type": "code", "scope": "Files.Read", "sandbox_consent": "auto"},
        allow_redirects=False,
    ) as response:
        bare = dict(parse_qsl(urlsplit(response.headers["Location"]).query))["code"]
    assert (await caller.token_call(400, **form))["error_codes"] == [9002327]
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/token"
    headers = {"Origin": "https://spa.example"}
    async with caller.session.post(url, data={k: v for k, v in form.items() if v}, headers=headers) as response:
        token = (await response.json())["refresh_token"]
        assert response.headers["Access-Control-Allow-Origin"] == "https://spa.example"
    unproven = query | {"grant_type": "authorization_code", "code": bare}
    async with caller.session.post(url, data=unproven, headers=headers) as response:
        assert (await response.json())["error_codes"] == [9002325]
    await caller.control("POST", "/clock", json={"seconds": 86401})
    refresh = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "other", "client_secret": ""}
    assert (await caller.token_call(400, **refresh))["error_codes"] == [700084]


@pytest.mark.parametrize(
    ("audience", "tenant", "code"),
    [
        ("AzureADMyOrg", "common", 50194),
        ("AzureADMyOrg", "fabrikam.example", 700016),
        ("AzureADMyOrg", "contoso.example", None),
        ("AzureADMultipleOrgs", "consumers", 9002332),
        ("AzureADMultipleOrgs", "organizations", None),
        ("PersonalMicrosoftAccount", "common", 9002331),
        ("PersonalMicrosoftAccount", "consumers", None),
        ("AzureADandPersonalMicrosoftAccount", "9188040d-6c67-4c5b-b112-36a304b66dad", None),
    ],
)
async def test_an_application_is_for_whom_it_was_registered(
    caller: Caller, audience: str, tenant: str, code: int | None
) -> None:
    await caller.control("PATCH", f"/apps/{caller.facts['client_id']}", json={"audience": audience})
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    answer = await caller.token_call(400, tenant=tenant, **form)
    assert answer["error_codes"] == [code or 9002313]


async def test_an_application_must_be_known_in_the_tenant_before_it_speaks_alone(caller: Caller) -> None:
    form: dict[str, Any] = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
    assert (await caller.token_call(400, tenant="fabrikam.example", **form))["error_codes"] == [700016]
    await caller.authorize(tenant="fabrikam.example")
    await caller.token_call(tenant="fabrikam.example", **form)


async def test_an_id_token_may_come_with_the_code(caller: Caller) -> None:
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "code id_token",
        "redirect_uri": REDIRECT,
        "scope": "openid profile",
        "nonce": "n",
        "sandbox_consent": "auto",
    }
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize"
    async with caller.session.get(url, params=query, allow_redirects=False) as response:
        back = dict(parse_qsl(urlsplit(response.headers["Location"]).fragment))
    claims = jwt.decode(back["id_token"], options={"verify_signature": False})
    assert claims["nonce"] == "n"
    # OpenID Connect Core, section 3.3.2.11: whoever exchanges the code on its way is found out.
    assert claims["c_hash"] == base64url(hashlib.sha256(back["code"].encode()).digest()[:16])
    async with caller.session.get(url, params=query | {"response_mode": "form_post"}) as response:
        page = await response.text()
    assert re.search(r'name="code" value="[^"]+"', page)
    async with caller.session.get(url, params=query | {"response_mode": "query"}, allow_redirects=False) as response:
        assert "error=invalid_request" in response.headers["Location"]


async def test_every_advertised_response_type_is_taken(caller: Caller) -> None:
    async with caller.session.get(f"{caller.facts['login_url']}/common/.well-known/openid-configuration") as response:
        advertised = (await response.json())["response_types_supported"]
    for kinds in advertised:
        url = f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize"
        query = {"client_id": caller.facts["client_id"], "redirect_uri": REDIRECT, "scope": "openid", "nonce": "n"}
        given = query | {"response_type": kinds, "sandbox_consent": "auto", "response_mode": "fragment"}
        async with caller.session.get(url, params=given, allow_redirects=False) as response:
            back = dict(parse_qsl(urlsplit(response.headers["Location"]).fragment))
        assert set(kinds.split()) <= back.keys(), back


async def test_keys_change_without_notice(caller: Caller) -> None:
    kid = (await caller.control("POST", "/keys/rotate"))["kid"]
    code = (await caller.authorize())["code"]
    tokens = await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    assert jwt.get_unverified_header(tokens["id_token"])["kid"] == kid
    async with caller.session.get(f"{caller.facts['login_url']}/common/discovery/v2.0/keys") as response:
        assert len((await response.json())["keys"]) == 2


async def test_narrower_and_wider_scopes_on_refresh(caller: Caller) -> None:
    code = (await caller.authorize(scope="offline_access Files.Read User.Read"))["code"]
    tokens = await caller.token_call(grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    narrow = await caller.token_call(**form, scope="https://graph.microsoft.com/Files.Read")
    assert narrow["scope"] == "https://graph.microsoft.com/Files.Read"
    wide = await caller.token_call(400, **form, scope="Mail.Read")
    assert (wide["error_codes"], wide["suberror"]) == ([65001], "consent_required")
    await caller.authorize(scope="Mail.Read")
    assert (await caller.token_call(**form, scope="Mail.Read"))["scope"] == "Mail.Read"
    foreign = await caller.token_call(400, **form, scope="https://vault.azure.net/.default")
    assert foreign["error"] == "invalid_resource"


@pytest.mark.parametrize("code", sorted(REASONS))
async def test_every_code_can_be_met(caller: Caller, code: int) -> None:
    await caller.control("POST", "/faults", json={"operation": "token", "code": str(code)})
    answer = await caller.token_call(REASONS[code].status, grant_type="refresh_token", refresh_token="x")
    assert answer["error_codes"] == [code]
    assert answer["error"] == REASONS[code].error
    assert answer["error_description"].startswith(f"AADSTS{code}: ")
    assert "{" not in answer["error_description"]


@pytest.mark.parametrize("code", [50076, 50078, 50079, 70043])
async def test_signing_in_again_settles_what_a_refresh_cannot(caller: Caller, code: int) -> None:
    await caller.control("PATCH", "/users/ada@contoso.example", json={"obstacle": code})
    form = {"grant_type": "refresh_token", "refresh_token": caller.user["refresh_token"]}
    assert (await caller.token_call(400, **form))["error_codes"] == [code]
    assert "code" in await caller.authorize()
    await caller.token_call(**form)
