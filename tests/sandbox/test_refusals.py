"""What sign-in refuses, met as applications meet it: by a request that is wrong, or a registration or user that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.sandbox.caller import REDIRECT, Caller

from msgraph_sandbox.identity.refusals import REASONS

APP, ADA = "/apps/{client}", "/users/ada@contoso.example"
CODE = {"grant_type": "authorization_code", "code": "{code}", "redirect_uri": REDIRECT}
REFRESH = {"grant_type": "refresh_token", "refresh_token": "{refresh}"}
ALONE = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
PASSWORD = {
    "grant_type": "password",
    "username": "ada@contoso.example",
    "password": "Pa55word!",
    "scope": "User.Read",
    "client_id": "{public}",
    "client_secret": "",
}
DEVICE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    "client_id": "{public}",
    "client_secret": "",
    "device_code": "{device}",
}
ASSERTION = {
    "client_secret": "",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
}


@dataclass
class Case:
    """A token request, and what was done before it."""

    form: dict[str, str]
    before: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    tenant: str = "common"
    asked: dict[str, Any] = field(default_factory=dict)


def _changed(path: str, **changes: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [("PATCH", path, changes)]


AT_TOKEN: list[tuple[int, Case]] = [
    (90002, Case(REFRESH, tenant="nowhere.example")),
    (700016, Case(REFRESH | {"client_id": "nobody"})),
    (700016, Case(ALONE, tenant="fabrikam.example")),
    (7000112, Case(REFRESH, _changed(APP, disabled=True))),
    (50194, Case(REFRESH, _changed(APP, audience="AzureADMyOrg"))),
    (9002331, Case(REFRESH, _changed(APP, audience="PersonalMicrosoftAccount"))),
    (9002332, Case(REFRESH, _changed(APP, audience="AzureADMultipleOrgs"), tenant="consumers")),
    (7000215, Case(REFRESH | {"client_secret": "nonsense"})),
    (7000218, Case(REFRESH | {"client_secret": ""})),
    (7000222, Case(REFRESH, [("POST", APP + "/expire-secrets", {})])),
    (700025, Case(REFRESH | {"client_id": "{public}"})),
    (50027, Case(REFRESH | ASSERTION | {"client_assertion": "nonsense"})),
    (900144, Case({"grant_type": ""})),
    (900144, Case(REFRESH | {"refresh_token": ""})),
    (900144, Case(PASSWORD | {"username": ""}, tenant="organizations")),
    (70003, Case({"grant_type": "magic"})),
    (901002, Case(REFRESH | {"resource": "https://graph.microsoft.com"})),
    (9001023, Case(ALONE)),
    (9001023, Case(PASSWORD)),
    (9002313, Case(REFRESH | {"refresh_token": "nonsense"})),
    (9002313, Case(REFRESH | {"claims": "{{"})),
    (70011, Case(REFRESH | {"scope": "Files.Fly"})),
    (70011, Case(ALONE | {"scope": "Files.Read"}, tenant="contoso.example")),
    (700022, Case(CODE | {"scope": "Files.Read https://contoso.sharepoint.example/AllSites.Read"})),
    (500011, Case(REFRESH | {"scope": "https://vault.example/.default"})),
    (65001, Case(REFRESH | {"scope": "Mail.Read"})),
    (65001, Case(REFRESH, [("DELETE", ADA + "/consents", {})])),
    (70000, Case(CODE | {"code": "nonsense"})),
    (70008, Case(CODE, [("POST", "/clock", {"seconds": 601})])),
    (50011, Case(CODE | {"redirect_uri": "http://localhost/other"})),
    (501481, Case(CODE | {"code_verifier": "v" * 43})),
    (501481, Case(CODE, asked={"code_challenge": "c" * 43})),
    (700005, Case(CODE, tenant="fabrikam.example")),
    (700082, Case(REFRESH, [("POST", "/clock", {"seconds": 91 * 86400})])),
    (50173, Case(REFRESH, [("POST", ADA + "/revoke", {})])),
    (50057, Case(REFRESH, _changed(ADA, disabled=True))),
    (50057, Case(PASSWORD, _changed(ADA, disabled=True), tenant="organizations")),
    (50034, Case(PASSWORD | {"username": "nobody@contoso.example"}, tenant="organizations")),
    (50126, Case(PASSWORD | {"password": "nonsense"}, tenant="organizations")),
    (65001, Case(PASSWORD | {"scope": "Mail.Send"}, tenant="organizations")),
    *((code, Case(PASSWORD, _changed(ADA, obstacle=code), tenant="organizations")) for code in (50053, 50055, 50056)),
    *((code, Case(REFRESH, _changed(ADA, obstacle=code))) for code in (50076, 50105, 53003, 530032)),
    (70016, Case(DEVICE)),
    (70018, Case(DEVICE | {"device_code": "nonsense"})),
    (70019, Case(DEVICE, [("POST", "/clock", {"seconds": 901})])),
]
AT_AUTHORIZE: list[tuple[int, Case]] = [
    (65004, Case({"sandbox_consent": "deny"})),
    (900144, Case({"scope": ""})),
    (90023, Case({"response_type": "magic"})),
    (90023, Case({"code_challenge_method": "md5"})),
    (70011, Case({"scope": "Files.Read .default"})),
    (500011, Case({"scope": "https://vault.example/.default"})),
    (9002313, Case({"claims": "{{"})),
    (50020, Case({"login_hint": "mary@outlook.example"}, tenant="organizations")),
    (50057, Case({}, _changed(ADA, disabled=True))),
    (50058, Case({"prompt": "none", "sandbox_consent": ""})),
    (90094, Case({"scope": "Group.Read.All", "login_hint": "grace@contoso.example"})),
    (90094, Case({"login_hint": "grace@contoso.example"}, _changed("/tenants/contoso.example", user_consent=False))),
    *((code, Case({}, _changed(ADA, obstacle=code))) for code in (50105, 53000, 53003, 530035, 90095)),
    *((code, Case({"prompt": "none"}, _changed(ADA, obstacle=code))) for code in (50076, 70043)),
]


def _ids(cases: list[tuple[int, Case]]) -> list[str]:
    return [f"{code}-{number}" for number, (code, _) in enumerate(cases)]


async def _facts(caller: Caller, asked: dict[str, Any]) -> dict[str, str]:
    """What an application holds before anything goes wrong."""
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/devicecode"
    ask = {"client_id": caller.facts["public_client_id"], "scope": "User.Read"}
    async with caller.session.post(url, data=ask) as response:
        device = (await response.json())["device_code"]
    return {
        "client": caller.facts["client_id"],
        "public": caller.facts["public_client_id"],
        "refresh": caller.user["refresh_token"],
        "code": (await caller.authorize(**asked))["code"],
        "device": device,
    }


async def _spoil(caller: Caller, case: Case, facts: dict[str, str]) -> dict[str, Any]:
    for method, path, body in case.before:
        await caller.control(method, path.format(**facts), json=body)
    return {name: value.format(**facts) for name, value in case.form.items()}


@pytest.mark.parametrize(("code", "case"), AT_TOKEN, ids=_ids(AT_TOKEN))
async def test_the_token_endpoint_says_what_is_wrong(caller: Caller, code: int, case: Case) -> None:
    form = await _spoil(caller, case, await _facts(caller, case.asked))
    answer = await caller.token_call(401 if REASONS[code].error == "invalid_client" else 400, case.tenant, **form)
    assert answer["error_codes"] == [code], answer
    assert answer["error_description"].startswith(f"AADSTS{code}: ")


@pytest.mark.parametrize(("code", "case"), AT_AUTHORIZE, ids=_ids(AT_AUTHORIZE))
async def test_the_redirect_says_what_is_wrong(caller: Caller, code: int, case: Case) -> None:
    form = await _spoil(caller, case, await _facts(caller, case.asked))
    answer = await caller.authorize(case.tenant, **form)
    assert answer["error_description"].startswith(f"AADSTS{code}: "), answer
    assert answer["state"] == "a state"


async def test_an_id_token_has_to_be_enabled(caller: Caller) -> None:
    await caller.control("PATCH", f"/apps/{caller.facts['client_id']}", json={"id_tokens": False})
    query = {
        "client_id": caller.facts["client_id"],
        "response_type": "id_token",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "nonce": "n",
    }
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/authorize"
    async with caller.session.get(url, params=query, allow_redirects=False) as response:
        back = dict(parse_qsl(urlsplit(response.headers["Location"]).fragment))
    assert (back["error"], back["error_description"][:13]) == ("unsupported_response_type", "AADSTS700054:")


async def test_the_token_endpoint_is_for_posting(caller: Caller) -> None:
    url = f"{caller.facts['login_url']}/common/oauth2/v2.0/token"
    async with caller.session.get(url) as response:
        assert (await response.json())["error_codes"] == [900561]


@pytest.mark.parametrize(("seconds", "good"), [(2900, True), (3001, False)])
async def test_codes_and_refresh_tokens_live_as_long_as_the_switches_say(
    caller: Caller, seconds: int, good: bool
) -> None:
    await caller.control("PATCH", "/switches", json={"code_seconds": 3000, "refresh_token_seconds": 3000})
    facts = await _facts(caller, {})
    facts["refresh"] = (await caller.control("POST", f"{ADA}/tokens", json={}))["refresh_token"]
    await caller.control("POST", "/clock", json={"seconds": seconds})
    for form, code in ((CODE, 70008), (REFRESH, 700082)):
        given: dict[str, Any] = {name: value.format(**facts) for name, value in form.items()}
        answer = await caller.token_call(200 if good else 400, **given)
        assert answer.get("error_codes") == (None if good else [code])
