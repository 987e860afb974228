"""msal, Microsoft's own library, unmodified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.sandbox.caller import REDIRECT, Caller
from tests.sandbox.test_identity import make_certificate

from msgraph_sandbox.server import Sandbox

# msal warns its callers about flows that it still offers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:response_mode:UserWarning")
SCOPES = ["Files.ReadWrite", "User.Read"]


@dataclass
class Desk:
    """Where an application developer sits: the sandbox, and an HTTP session that trusts its authority."""

    caller: Caller
    http: requests.Session

    def app(self, authority: str, **more: Any) -> Any:
        """A confidential client."""
        facts = self.caller.facts
        given = {"client_id": facts["client_id"], "client_credential": facts["client_secret"]} | more
        return msal.ConfidentialClientApplication(**given, authority=authority, http_client=self.http)


@pytest.fixture(params=["microsoft's names", "localhost"])
async def desk(request: pytest.FixtureRequest, session: aiohttp.ClientSession) -> AsyncIterator[tuple[Desk, str]]:
    """A desk, and the authority's address: under Microsoft's name by a proxy, or on localhost."""
    with Sandbox(tls=True) as sandbox, requests.Session() as http:
        facts = sandbox.announcement
        http.trust_env = False
        http.verify = facts["ca_file"]
        login = facts["login_https_url"]
        if request.param == "microsoft's names":
            http.proxies = {"https": facts["proxy_url"]}
            login = "https://login.microsoftonline.com"
        yield Desk(await Caller(session, facts).sign_in(), http), login


async def test_a_person_signs_in_and_is_remembered(desk: tuple[Desk, str]) -> None:
    place, login = desk
    app = await asyncio.to_thread(place.app, f"{login}/common", instance_discovery=False)
    flow = app.initiate_auth_code_flow(SCOPES, redirect_uri=REDIRECT, state="s", login_hint="mary@outlook.example")
    decided = {"url": flow["auth_uri"], "user": "mary@outlook.example"}
    location = (await place.caller.control("POST", "/authorize", json=decided))["location"]
    back = dict(parse_qsl(urlsplit(location).query))
    result = await asyncio.to_thread(app.acquire_token_by_auth_code_flow, flow, back)
    assert result["access_token"].startswith("EwB"), result
    assert result["id_token_claims"]["preferred_username"] == "mary@outlook.example"
    account = app.get_accounts()[0]
    assert account["username"] == "mary@outlook.example"
    again = await asyncio.to_thread(app.acquire_token_silent, SCOPES, account, force_refresh=True)
    assert again["access_token"] != result["access_token"]


@pytest.mark.parametrize(
    "scopes",
    [["Files.ReadWrite"], ["https://graph.microsoft.com/Files.ReadWrite"], ["https://graph.microsoft.com/.default"]],
)
async def test_a_token_in_the_cache_is_found_by_what_it_was_asked_for(
    desk: tuple[Desk, str], scopes: list[str]
) -> None:
    place, login = desk
    app = await asyncio.to_thread(place.app, f"{login}/common", instance_discovery=False)
    flow = app.initiate_auth_code_flow(scopes, redirect_uri=REDIRECT, state="s")
    location = (await place.caller.control("POST", "/authorize", json={"url": flow["auth_uri"]}))["location"]
    back = dict(parse_qsl(urlsplit(location).query))
    result = await asyncio.to_thread(app.acquire_token_by_auth_code_flow, flow, back)
    again = await asyncio.to_thread(app.acquire_token_silent, scopes, app.get_accounts()[0])
    assert again["access_token"] == result["access_token"]


async def test_an_application_speaks_for_itself(desk: tuple[Desk, str]) -> None:
    place, login = desk
    private, certificate = make_certificate()
    await place.caller.control("POST", "/apps", json={"client_id": "c", "name": "C", "certificates": [certificate]})
    thumbprint = x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA1()).hex()
    credentials: tuple[dict[str, Any], ...] = (
        {},
        {"client_id": "c", "client_credential": {"private_key": private, "public_certificate": certificate}},
        {"client_id": "c", "client_credential": {"private_key": private, "thumbprint": thumbprint}},
    )
    for credential in credentials:
        app = await asyncio.to_thread(place.app, f"{login}/contoso.example", instance_discovery=False, **credential)
        scopes = ["https://graph.microsoft.com/.default"]
        result = await asyncio.to_thread(app.acquire_token_for_client, scopes)
        assert "access_token" in result, result


async def test_a_public_client_uses_a_device_code_or_a_password(desk: tuple[Desk, str]) -> None:
    place, login = desk
    facts = place.caller.facts

    def make(tenant: str) -> Any:
        return msal.PublicClientApplication(
            facts["public_client_id"],
            authority=f"{login}/{tenant}",
            http_client=place.http,
            instance_discovery=False,
        )

    app = await asyncio.to_thread(make, "common")
    flow = await asyncio.to_thread(app.initiate_device_flow, SCOPES)
    decided = {"user_code": flow["user_code"], "user": "grace@contoso.example"}
    await place.caller.control("POST", "/device", json=decided)
    result = await asyncio.to_thread(app.acquire_token_by_device_flow, flow)
    assert "access_token" in result, result
    if "localhost" in login:
        return  # msal drops the port when it asks what kind of account a user has.
    app = await asyncio.to_thread(make, "organizations")
    result = await asyncio.to_thread(
        app.acquire_token_by_username_password, "grace@contoso.example", "Pa55word!", SCOPES
    )
    assert "access_token" in result, result
    wrong = await asyncio.to_thread(app.acquire_token_by_username_password, "grace@contoso.example", "no", SCOPES)
    assert wrong["error_codes"] == [50126]


async def test_instance_discovery_is_answered(desk: tuple[Desk, str]) -> None:
    place, login = desk
    if "localhost" in login:
        pytest.skip("msal asks Microsoft's own host about authorities that it does not know.")
    app = await asyncio.to_thread(place.app, f"{login}/organizations")
    form = await asyncio.to_thread(app.acquire_token_by_refresh_token, place.caller.user["refresh_token"], SCOPES)
    assert "access_token" in form, form
