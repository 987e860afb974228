"""The token endpoint: codes, refresh tokens and client credentials become access tokens.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus

from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.assertions import KIND, check_assertion
from msgraph_sandbox.identity.authority import Authority, find_application, find_authority
from msgraph_sandbox.identity.authorize import client_info
from msgraph_sandbox.identity.claims import is_capable
from msgraph_sandbox.identity.device import DeviceFlow
from msgraph_sandbox.identity.directory import Application, Directory, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.scopes import (
    OIDC_SCOPES,
    audience_of,
    check_reach,
    echo,
    of_audience,
    parse_scopes,
    resources_of,
)
from msgraph_sandbox.identity.tokens import CodeGrant, Issuer, RefreshGrant, challenge_of
from msgraph_sandbox.switches import Switches

Form = Mapping[str, str]
# Personal accounts get this text, without a code, once the user has withdrawn consent at account.live.com.
_WITHDRAWN = (
    "The request was denied because one or more scopes requested are unauthorized or expired. "
    "The user must first sign in and grant the client application access to the requested scope."
)


@dataclass(slots=True)
class TokenEndpoint:
    """Answers `POST /{tenant}/oauth2/v2.0/token`."""

    directory: Directory
    issuer: Issuer
    switches: Switches
    devices: DeviceFlow

    def answer(self, request: Request, tenant: str, form: Form) -> Response:
        """Return the token response, or refuse."""
        if request.method != "POST":
            raise SignInRefused(900561, method=request.method)
        grants: dict[str, Callable[[Request, Authority, Application, Form], Json]] = {
            "authorization_code": self._from_code,
            "refresh_token": self._from_refresh_token,
            "client_credentials": self._from_credentials,
            "password": self._from_password,
            "urn:ietf:params:oauth:grant-type:device_code": self._from_device,
            "device_code": self._from_device,
        }
        kind = _required(form, "grant_type")
        if kind not in grants:
            raise SignInRefused(70003, grant_type=kind)
        if "resource" in form:
            raise SignInRefused(901002)
        authority = find_authority(self.directory, tenant)
        client_id, secret = credentials(request, form)
        application = find_application(self.directory, authority, client_id)
        self._authenticate(application, secret, form)
        body = grants[kind](request, authority, application, form)
        return json_response(body, headers={"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})

    def _authenticate(self, application: Application, secret: str | None, form: Form) -> None:
        assertion = form.get("client_assertion")
        if assertion and not application.public:
            if form.get("client_assertion_type") != KIND:
                raise SignInRefused(900144, field="client_assertion_type")
            check_assertion(assertion, application, self.issuer.clock)
            return
        # A single-page application redeems from a browser and has no secret to send.
        if secret is None and self._from_browser(application, form):
            return
        self._check_secret(application, secret or assertion)

    def _from_browser(self, application: Application, form: Form) -> bool:
        code, refresh = (
            self.issuer.codes.get(form.get("code", "")),
            self.issuer.refresh.get(form.get("refresh_token", "")),
        )
        return (code is not None and code.redirect_uri in application.spa_redirect_uris) or (
            refresh is not None and refresh.spa and refresh.client_id == application.client_id
        )

    def _check_secret(self, application: Application, secret: str | None) -> None:
        facts = {"client_id": application.client_id, "name": application.name}
        if application.public:
            if secret is not None:
                raise SignInRefused(700025, **facts)
            return
        if not secret:
            raise SignInRefused(7000218, **facts)
        now = self.issuer.clock.now()
        fitting = [one for one in application.secrets if hmac.compare_digest(one.value.encode(), secret.encode())]
        if not fitting:
            raise SignInRefused(7000215, **facts)
        if all(one.expires is not None and one.expires <= now for one in fitting):
            raise SignInRefused(7000222, **facts)

    def _from_code(self, request: Request, authority: Authority, application: Application, form: Form) -> Json:
        grant = self._redeem(authority, application, form)
        spa = grant.redirect_uri in application.spa_redirect_uris
        if spa and "origin" not in request.headers:
            raise SignInRefused(9002327)
        if spa and grant.challenge is None:
            raise SignInRefused(9002325)
        granted = grant.scopes
        if asked := form.get("scope", "").strip():
            wanted = parse_scopes(asked, application)
            if len(resources_of(wanted)) > 1:
                raise SignInRefused(700022, scope=asked)
            granted = wanted & grant.scopes | (grant.scopes & OIDC_SCOPES)
        grant.redeemed = True
        return self._tokens(
            request,
            application,
            grant.user,
            granted,
            form,
            asked=asked or grant.asked,
            nonce=grant.nonce,
            refreshable=grant.scopes,
            spa=spa,
            capable=grant.capable,
        )

    def _redeem(self, authority: Authority, application: Application, form: Form) -> CodeGrant:
        code, redirect_uri = _required(form, "code"), _required(form, "redirect_uri")
        grant = self.issuer.codes.get(code)
        if grant is None:
            raise SignInRefused(9002313 if not code.strip() else 70000)
        if grant.client_id != application.client_id:
            raise SignInRefused(70000)
        if grant.redeemed:
            raise SignInRefused(54005)
        if grant.expires <= self.issuer.clock.now():
            raise SignInRefused(70008)
        if authority.tenant and grant.user.tenant is not authority.tenant:
            raise SignInRefused(700005)
        if grant.redirect_uri != redirect_uri:
            raise SignInRefused(
                50011, error="invalid_grant", redirect_uri=redirect_uri, client_id=application.client_id
            )
        _check_verifier(grant, form.get("code_verifier"))
        return grant

    def _from_refresh_token(self, request: Request, authority: Authority, application: Application, form: Form) -> Json:
        token = _required(form, "refresh_token")
        grant = self.issuer.refresh.get(token)
        if grant is None or grant.client_id != application.client_id:
            raise SignInRefused(9002313, error="invalid_grant")
        self._check_alive(grant, application)
        self._check_user(grant.user, application)
        if audience := _drive_host(grant.user, form.get("scope", "")):
            return self._for_drive(application, grant, audience, form["scope"])
        scopes = grant.scopes
        if asked := form.get("scope", "").strip():
            wanted = parse_scopes(asked, application)
            allowed = grant.scopes | self.directory.consented(application.client_id, grant.user) | OIDC_SCOPES
            if not wanted <= allowed:
                raise SignInRefused(65001, client_id=application.client_id, name=application.name)
            scopes = wanted | (grant.scopes & OIDC_SCOPES)
        if self.switches.strict_refresh_rotation:
            grant.spent = True
        return self._tokens(
            request,
            application,
            grant.user,
            scopes,
            form,
            asked=asked,
            refreshable=grant.scopes | scopes,
            parent=grant,
        )

    def _for_drive(self, application: Application, grant: RefreshGrant, audience: str, scope: str) -> Json:
        """Return a token for the host of the user's own drive; every application here may have one."""
        user = grant.user
        token, life = self.issuer.access_token(user, application, user.tenant.id, frozenset(), audience=audience)
        refresh = self.issuer.refresh_token(user, application.client_id, grant.scopes, parent=grant, spa=grant.spa)
        return {
            "token_type": "Bearer",
            "scope": scope,
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": token,
            "refresh_token": refresh,
        }

    def _check_alive(self, grant: RefreshGrant, application: Application) -> None:
        valid_from, issued = grant.user.refreshable_from(application), _iso7(grant.issued)
        if valid_from is not None and grant.issued < valid_from:
            if grant.user.personal:
                raise SignInRefused(70000, text=_WITHDRAWN)
            raise SignInRefused(50173, issued=issued, valid_from=_iso7(valid_from))
        withdrawn = self.directory.withdrawn(application.client_id, grant.user)
        if withdrawn is not None and grant.issued < withdrawn:
            if grant.user.personal:
                raise SignInRefused(70000, text=_WITHDRAWN)
            raise SignInRefused(65001, client_id=application.client_id, name=application.name)
        if grant.spent:
            raise SignInRefused(70000)
        if grant.expires <= self.issuer.clock.now():
            raise SignInRefused(700084 if grant.spa else 700082, issued=issued)

    def _check_user(self, user: User, application: Application) -> None:
        if user.disabled:
            raise SignInRefused(50057)
        if user.obstacle is not None:
            raise SignInRefused(user.obstacle, user=user.email, client_id=application.client_id, name=application.name)

    def _from_credentials(self, request: Request, authority: Authority, application: Application, form: Form) -> Json:
        if authority.tenant is None:
            raise SignInRefused(9001023)
        if application.public:
            raise SignInRefused(7000218)
        scope = _required(form, "scope")
        if not scope.endswith("/.default") or len(scope.split()) != 1:
            raise SignInRefused(70011, scope=scope)
        parse_scopes(scope, application)
        if not self.directory.installed(application.client_id, authority.tenant):
            raise SignInRefused(700016, client_id=application.client_id, tenant=authority.tenant.name)
        token, life = self.issuer.access_token(
            None, application, authority.tenant.id, frozenset(), capable=is_capable(form)
        )
        return {"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}

    def _from_device(self, request: Request, authority: Authority, application: Application, form: Form) -> Json:
        grant = self.devices.redeem(application, _required(form, "device_code"))
        assert grant.user is not None
        scopes = grant.scopes
        return self._tokens(request, application, grant.user, scopes, form, asked=grant.asked, refreshable=scopes)

    def _from_password(self, request: Request, authority: Authority, application: Application, form: Form) -> Json:
        if authority.name in ("common", "consumers"):
            raise SignInRefused(9001023)
        user = self.directory.user(_required(form, "username"))
        password = _required(form, "password")
        if user is None or user not in authority.users(self.directory, application):
            raise SignInRefused(50034, user=form["username"], tenant=authority.home)
        if user.password != password:
            raise SignInRefused(50126)
        self._check_user(user, application)
        scopes = parse_scopes(_required(form, "scope"), application)
        if not scopes - OIDC_SCOPES <= self.directory.consented(application.client_id, user):
            raise SignInRefused(65001, client_id=application.client_id, name=application.name)
        return self._tokens(request, application, user, scopes, form, asked=form["scope"], refreshable=scopes)

    def _tokens(
        self,
        request: Request,
        application: Application,
        user: User,
        scopes: frozenset[str],
        form: Form,
        *,
        asked: str,
        refreshable: frozenset[str],
        nonce: str | None = None,
        parent: RefreshGrant | None = None,
        spa: bool = False,
        capable: bool = False,
    ) -> Json:
        check_reach(user, scopes)
        audience = audience_of(asked, scopes)
        granted = of_audience(scopes, audience)
        token, life = self.issuer.access_token(
            user, application, user.tenant.id, granted, capable=capable or is_capable(form), audience=audience
        )
        body: dict[str, Json] = {
            "token_type": "Bearer",
            "scope": echo(granted, asked),
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": token,
        }
        if "offline_access" in refreshable:
            body["refresh_token"] = self.issuer.refresh_token(
                user, application.client_id, refreshable, parent=parent, spa=spa
            )
        if "openid" in scopes:
            body["id_token"] = self.issuer.id_token(user, application, scopes, nonce, request.origin)
        if form.get("client_info") == "1":
            body["client_info"] = client_info(user)
        return body


def credentials(request: Request, form: Form) -> tuple[str, str | None]:
    """Return the client's id and secret, from HTTP Basic (both parts form-encoded) or from the form."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return _required(form, "client_id"), form.get("client_secret")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise SignInRefused(9002313) from None
    return unquote_plus(client_id), unquote_plus(secret)


def _drive_host(user: User, scope: str) -> str | None:
    """Return whom a token with this scope is for, if it is for the file picker on the user's own drive.

    https://learn.microsoft.com/onedrive/developer/controls/file-pickers
    """
    if user.personal:
        return "https://onedrive.live.com" if scope in {"OneDrive.ReadOnly", "OneDrive.ReadWrite"} else None
    host = user.tenant.drives_origin
    return host if scope == f"{host}/.default" else None


def _required(form: Form, name: str) -> str:
    if not form.get(name):
        raise SignInRefused(900144, field=name)
    return form[name]


def _check_verifier(grant: CodeGrant, verifier: str | None) -> None:
    if grant.challenge is None:
        if verifier:
            raise SignInRefused(501481)
        return
    if not verifier or not hmac.compare_digest(
        challenge_of(verifier, grant.challenge_method).encode(), grant.challenge.encode()
    ):
        raise SignInRefused(501481)


def _iso7(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
