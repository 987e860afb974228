"""The device flow: a program shows a code, a person types it in a browser, the program asks until it may go on.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgraph_sandbox.http import Request, Response, html_response, json_response
from msgraph_sandbox.identity import pages
from msgraph_sandbox.identity.authority import find_application, find_authority
from msgraph_sandbox.identity.directory import Application, Directory, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.scopes import parse_scopes
from msgraph_sandbox.identity.tokens import Issuer, opaque

LIFE = timedelta(minutes=15)
_LETTERS = "BCDFGHJKLMNPQRSTVWXYZ23456789"


@dataclass(slots=True)
class DeviceGrant:
    """One pending device: who has answered, and how."""

    application: Application
    scopes: frozenset[str]
    # The scopes as the program wrote them.
    asked: str
    authority: str
    user_code: str
    expires: datetime
    user: User | None = None
    declined: bool = False
    redeemed: bool = False


@dataclass(slots=True)
class DeviceFlow:
    """All pending devices by their device code."""

    directory: Directory
    issuer: Issuer
    grants: dict[str, DeviceGrant] = field(default_factory=dict)

    def begin(self, request: Request, tenant: str, form: Mapping[str, str]) -> Response:
        """Return a device code for the program and a user code for the person."""
        authority = find_authority(self.directory, tenant)
        if not form.get("client_id"):
            raise SignInRefused(900144, field="client_id")
        application = find_application(self.directory, authority, form["client_id"])
        if not form.get("scope", "").strip():
            raise SignInRefused(900144, field="scope")
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(9))
        device_code = opaque("BAQABIQEAAAD", 200)
        scopes = parse_scopes(form["scope"], application)
        expires = self.issuer.clock.now() + LIFE
        self.grants[device_code] = DeviceGrant(application, scopes, form["scope"], authority.home, user_code, expires)
        page = f"{request.origin}/devicelogin"
        return json_response(
            {
                "user_code": user_code,
                "device_code": device_code,
                "verification_uri": page,
                "expires_in": int(LIFE.total_seconds()),
                "interval": 5,
                "message": f"To sign in, use a web browser to open the page {page} and enter the code {user_code} "
                "to authenticate.",
            }
        )

    def redeem(self, application: Application, device_code: str) -> DeviceGrant:
        """Return the grant once its person has accepted; until then say what the program shall do."""
        grant = self.grants.get(device_code)
        if grant is None or grant.application is not application or grant.redeemed:
            raise SignInRefused(70018)
        if grant.declined:
            raise SignInRefused(65004, error="authorization_declined")
        if grant.expires <= self.issuer.clock.now():
            raise SignInRefused(70019)
        if grant.user is None:
            raise SignInRefused(70016)
        grant.redeemed = True
        return grant

    def decide(self, user_code: str, who: str, *, accept: bool) -> bool:
        """Answer for the person who typed `user_code`, and tell whether there was such a code."""
        wanted = user_code.strip().upper()
        grant = next((one for one in self.grants.values() if one.user_code == wanted), None)
        if grant is None or grant.expires <= self.issuer.clock.now():
            return False
        users = find_authority(self.directory, grant.authority).users(self.directory, grant.application)
        user = self.directory.user(who) if who else next(iter(users), None)
        if user not in users:
            return False
        grant.declined = not accept
        if accept and user is not None:
            grant.user = user
            self.directory.consent(grant.application.client_id, user.oid, set(grant.scopes))
        return True

    def page(self, form: Mapping[str, str]) -> Response:
        """Return the page that asks for the code, or says what came of it."""
        if not form:
            return html_response(pages.device(list(self.directory.users.values()), ""))
        accept = form.get("answer") == "accept"
        if not self.decide(form.get("code", ""), form.get("account", ""), accept=accept):
            return html_response(pages.device(list(self.directory.users.values()), "That code did not work."))
        told = "You have signed in. You may now close this window." if accept else "You declined."
        return html_response(pages.page("Device sign-in", f'<p id="done">{told}</p>'))
