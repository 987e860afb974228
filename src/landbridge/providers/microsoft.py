"""Microsoft's dialect of OAuth 2.0 and OpenID Connect: four form posts, and how their failures are sorted.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt

from landbridge.clock import Clock
from landbridge.errors import (
    AppRejected,
    CodeRejected,
    GrantLost,
    InstallFailed,
    LandbridgeError,
    ProviderBusy,
    ProviderFailed,
)
from landbridge.outbound import Answer, Outbound, retry_after
from landbridge.providers.aadsts import explain

PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant that all personal accounts live in."""

_GRANT_IS_LOST = {"invalid_grant", "interaction_required", "consent_required", "login_required"}
_APP_IS_REJECTED = {"invalid_client", "unauthorized_client", "invalid_resource", "invalid_scope"}
_NOBODY_IS_SIGNED_IN = {None, "login_required", "interaction_required", "consent_required"}
_AADSTS = re.compile(r"\bAADSTS(\d{5,8})\b")
_SCOPES_NOT_ECHOED = {"offline_access", "openid", "profile", "email"}


@dataclass(frozen=True, slots=True)
class App:
    """An app registration. `audience` is `organizations`, `common`, `consumers`, or one tenant's id or domain."""

    client_id: str
    secrets: tuple[str, ...] = field(repr=False)
    audience: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What the token endpoint gave. Tokens are opaque to us: personal accounts' are no JWTs."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)
    expires_at: datetime
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """Whose grant it is. `id` is `tenant:object`, stable for ever; the rest is for people and may change."""

    id: str
    tenant_id: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What an authority says of itself. `graph_host` is the Graph of its cloud, `at` the time on its clock."""

    authorize_url: str
    token_url: str
    graph_host: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class SignInAnswer:
    """What the sign-in page made of a request behind which nobody sits.

    `returned` says whether it sent the browser back to the redirect URL, which it does for registered ones only. The
    codes are read from a text for people: there is no other place for them on this page. Good for telling people why,
    and for nothing else.
    """

    returned: bool
    error: str | None
    codes: tuple[int, ...]

    @property
    def is_welcome(self) -> bool:
        """Whether the only thing missing was a person: the app, the authority and the redirect URL fit together."""
        return self.returned and self.error in _NOBODY_IS_SIGNED_IN


class Microsoft:
    """Microsoft's sign-in, as one app registration or another."""

    def __init__(self, outbound: Outbound, *, login_url: str, graph_url: str, clock: Clock) -> None:
        self._outbound = outbound
        self._login_url = login_url
        self._graph_url = graph_url
        self._clock = clock

    def authorize_url(
        self, app: App, *, redirect_url: str, scopes: Sequence[str], state: str, verifier: str, nonce: str
    ) -> str:
        """Return the page at which the user chooses an account and consents.

        `prompt=select_account`, since the account that a browser happens to be signed in with is often the wrong one.
        """
        query = {
            "client_id": app.client_id,
            "response_type": "code",
            "response_mode": "query",
            "redirect_uri": redirect_url,
            "scope": " ".join(scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
            "prompt": "select_account",
        }
        return f"{self._login_url}/{app.audience}/oauth2/v2.0/authorize?{urlencode(query)}"

    async def redeem(self, app: App, *, code: str, redirect_url: str, verifier: str | None) -> Grant:
        """Return the grant for a code, or raise `CodeRejected`, `AppRejected`, `ProviderFailed`."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_url}
        try:
            return await self._token(app, form | ({"code_verifier": verifier} if verifier else {}))
        except GrantLost as error:
            raise CodeRejected(error.message, meta=error.meta) from error

    async def refresh(self, app: App, *, refresh_token: str, scopes: Sequence[str]) -> Grant:
        """Return a new grant, or raise `GrantLost`, `AppRejected`, `ProviderBusy`, `ProviderFailed`.

        The scopes are repeated, since Microsoft may refuse a refresh without them, and the authority is the one that
        the user signed in at, since a tenant's own would not know guests' grants.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": " ".join(scopes)}
        return await self._token(app, form)

    async def check_secret(self, app: App, secret: str, tenant: str) -> None:
        """Raise what Microsoft says against a client secret; nothing if it is good (a client-credentials probe)."""
        form = {"grant_type": "client_credentials", "scope": f"{self._graph_url}/.default", "client_id": app.client_id}
        answer = await self._post(tenant, form | {"client_secret": secret})
        if answer.status != 200:
            raise self.failure(answer)

    async def discover(self, authority: str) -> Discovery:
        """Return what an authority (`common`, a tenant, …) says of itself, or raise what it answers instead."""
        answer = await self._outbound.call(
            "GET", f"{self._login_url}/{authority}/v2.0/.well-known/openid-configuration"
        )
        document = answer.json()
        if answer.status != 200:
            raise self.failure(answer)
        if not isinstance(document, dict) or not {"authorization_endpoint", "token_endpoint"} <= document.keys():
            raise ProviderFailed(f"{self._login_url} answers, but not as a sign-in of Microsoft's does.")
        graph_host = document.get("msgraph_host")
        return Discovery(
            authorize_url=str(document["authorization_endpoint"]),
            token_url=str(document["token_endpoint"]),
            graph_host=str(graph_host) if graph_host else None,
            at=_date(answer.headers.get("Date")),
        )

    async def try_sign_in(self, app: App, *, authority: str, redirect_url: str) -> SignInAnswer:
        """Return what Microsoft says to a sign-in without a person or a session: nobody is asked, nothing is granted.

        With `prompt=none` a registered redirect URL gets `login_required`; one that is not, or an unknown client, gets
        a page of Microsoft's own (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
        """
        query = {
            "client_id": app.client_id,
            "response_type": "code",
            "response_mode": "query",
            "redirect_uri": redirect_url,
            "scope": "openid",
            "state": "probe",
            "prompt": "none",
        }
        url = f"{self._login_url}/{authority}/oauth2/v2.0/authorize?{urlencode(query)}"
        return _sign_in_answer(await self._outbound.call("GET", url, headers={"Accept": "text/html"}), redirect_url)

    async def reach_graph(self) -> None:
        """Return if Graph answers; it does by asking for the token (401) that this request leaves out."""
        answer = await self._outbound.call("GET", f"{self._graph_url}/v1.0/me", headers={"Accept": "application/json"})
        if answer.status != 401:
            raise ProviderFailed(f"{self._graph_url} answers {answer.status} where Microsoft Graph asks for a token.")

    async def identify(self, grant: Grant, *, client_id: str, nonce: str | None) -> Account:
        """Return whose grant it is, from the id token and `/me`; the access token is never looked into.

        The id token came straight from the token endpoint over TLS, which is what vouches for it (OpenID Connect Core
        §3.1.3.7); it is still held to the client, the nonce and the time. Raises `InstallFailed`.
        """
        claims = _claims(grant.id_token, client_id=client_id, nonce=nonce)
        profile = await self._profile(grant)
        subject, tenant = claims.get("oid") or claims.get("sub"), claims.get("tid")
        if not subject or not tenant:
            raise InstallFailed("Microsoft's answer does not say which account signed in.")
        details = {
            "email": profile.get("mail") or profile.get("userPrincipalName") or claims.get("email"),
            "name": profile.get("displayName") or claims.get("name"),
            "username": claims.get("preferred_username") or profile.get("userPrincipalName"),
            "tenantId": tenant,
            "kind": "personal" if tenant == PERSONAL_TENANT else "organization",
        }
        return Account(f"{tenant}:{subject}", tenant, {key: value for key, value in details.items() if value})

    async def drive_origin(self, access_token: str) -> str | None:
        """Return the origin at which a work account's own drive is; None for a personal one, whose has none of its own.

        Raises `ProviderFailed` if Graph does not say.
        """
        url = f"{self._graph_url}/v1.0/me/drive?$select=driveType,webUrl"
        answer = await self._outbound.call("GET", url, headers={"Authorization": f"Bearer {access_token}"})
        drive = answer.json()
        if answer.status != 200 or not isinstance(drive, dict):
            raise ProviderFailed("Microsoft does not say where this user's drive is.", meta={"status": answer.status})
        page = urlsplit(str(drive.get("webUrl")))
        return None if drive.get("driveType") == "personal" else f"{page.scheme}://{page.netloc}"

    def failure(self, answer: Answer) -> ProviderFailed:
        """Return the error that an unsuccessful answer of the token endpoint stands for.

        Sorted by `error`, which is the contract; only a lost grant is the user's to mend, a rejected app is the
        operator's, and the rest passes by itself.
        """
        body = answer.json()
        body = body if isinstance(body, dict) else {}
        error, meta = str(body.get("error") or ""), _for_people(body)
        message = meta.get("cause") or f"Microsoft answered {answer.status} {error}".strip()
        wait = retry_after(answer.headers.get("Retry-After"), now=self._clock.now())
        if answer.status == 429:
            return ProviderBusy(message, meta=meta, retry_after=wait)
        if answer.status < 500 and error in _GRANT_IS_LOST:
            return GrantLost(message, meta=meta)
        if answer.status < 500 and error in _APP_IS_REJECTED:
            return AppRejected(message, meta=meta)
        return ProviderFailed(message, meta=meta, retry_after=wait)

    async def _token(self, app: App, form: Mapping[str, str]) -> Grant:
        """Post to the token endpoint with each secret in turn, so that a new and an old one may overlap."""
        rejected: ProviderFailed = AppRejected("This integration has no client secret.")
        for secret in app.secrets:
            asked_at = self._clock.now()
            answer = await self._post(app.audience, {**form, "client_id": app.client_id, "client_secret": secret})
            if answer.status == 200:
                return _grant(answer, asked_at)
            rejected = self.failure(answer)
            if not isinstance(rejected, AppRejected):
                break
        raise rejected

    async def _post(self, tenant: str, form: Mapping[str, str]) -> Answer:
        return await self._outbound.call("POST", f"{self._login_url}/{tenant}/oauth2/v2.0/token", form=form)

    async def _profile(self, grant: Grant) -> Mapping[str, Any]:
        """Return `/me`, or nothing: the id token has said who it is, the profile only says it more nicely."""
        headers = {"Authorization": f"Bearer {grant.access_token}", "Accept": "application/json"}
        try:
            answer = await self._outbound.call("GET", f"{self._graph_url}/v1.0/me", headers=headers)
        except LandbridgeError:
            return {}
        profile = answer.json()
        return profile if answer.status == 200 and isinstance(profile, dict) else {}


def missing_scopes(asked: Sequence[str], granted: Sequence[str]) -> list[str]:
    """Return the scopes that were asked for and not granted.

    The answer may spell scopes in another case or with the resource in front, and leaves out the OpenID ones.
    """
    have = {scope.rsplit("/", 1)[-1].lower() for scope in granted}
    return [scope for scope in asked if scope not in _SCOPES_NOT_ECHOED and scope.lower() not in have]


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _grant(answer: Answer, asked_at: datetime) -> Grant:
    body = answer.json()
    token = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        raise ProviderFailed("Microsoft's token answer holds no access token.")
    try:
        lifetime = timedelta(seconds=float(body.get("expires_in", 3600)))
    except (TypeError, ValueError, OverflowError):
        lifetime = timedelta(hours=1)
    return Grant(
        access_token=token,
        refresh_token=body.get("refresh_token"),
        id_token=body.get("id_token"),
        expires_at=asked_at + lifetime,
        scopes=tuple(str(body.get("scope") or "").split()),
    )


def _sign_in_answer(answer: Answer, redirect_url: str) -> SignInAnswer:
    location = answer.headers.get("Location", "")
    page, *rest = re.split("[?#]", location)
    returned, given = page == redirect_url, dict(parse_qsl("&".join(rest)))
    text = given.get("error_description", "") if returned else f"{answer.body.decode('utf-8', 'replace')} {location}"
    codes = tuple(dict.fromkeys(int(code) for code in _AADSTS.findall(text)))
    return SignInAnswer(returned, given.get("error"), codes)


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _claims(id_token: str | None, *, client_id: str, nonce: str | None) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(
            id_token or "", options={"verify_signature": False, "verify_exp": True, "require": ["exp"]}, leeway=300
        )
    except jwt.InvalidTokenError as error:
        raise InstallFailed("Microsoft's answer holds no id token that can be read.") from error
    if claims.get("aud") != client_id or (nonce is not None and claims.get("nonce") != nonce):
        raise InstallFailed("Microsoft's id token belongs to another sign-in.")
    return claims


def _for_people(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what helps an operator: never the description, which may quote what was sent."""
    explanation = explain(body.get("error_codes"))
    found = {
        "provider": "microsoft",
        "providerError": body.get("error"),
        "providerCodes": body.get("error_codes"),
        "correlationId": body.get("correlation_id"),
        "cause": explanation.cause if explanation else None,
        "providerRemedy": explanation.remedy if explanation else None,
    }
    return {key: value for key, value in found.items() if value}
