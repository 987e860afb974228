"""Admin consent: an administrator lets everyone in a tenant use an application.

https://learn.microsoft.com/entra/identity-platform/v2-admin-consent
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from msgraph_sandbox.http import Request, Response, html_response, parse_form, redirect
from msgraph_sandbox.identity import pages
from msgraph_sandbox.identity.authority import Authority, find_application, find_authority
from msgraph_sandbox.identity.directory import Application, Directory, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.scopes import parse_scopes
from msgraph_sandbox.switches import Switches


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request for admin consent. `legacy` is the older form: it is for the registration's permissions."""

    authority: Authority
    application: Application
    redirect_uri: str
    scopes: frozenset[str]
    state: str | None
    legacy: bool


@dataclass(slots=True)
class AdminConsent:
    """Answers `/{tenant}/v2.0/adminconsent` and `/{tenant}/adminconsent`."""

    directory: Directory
    switches: Switches

    async def ask(self, request: Request, tenant: str) -> Response:
        """Return the page for an administrator, or the redirect that follows their answer."""
        given = dict(request.query)
        if request.method == "POST":
            given |= parse_form(await request.body())
        try:
            asked = self._asked(given, tenant, legacy="/v2.0/" not in request.path)
        except SignInRefused as refused:
            return refused.page(request)
        answer = {"auto": "accept", "deny": "decline"}.get(given.get("sandbox_consent", ""), given.get("answer", ""))
        admins = [user for user in asked.authority.users(self.directory, asked.application) if user.admin]
        if not answer and not self.switches.auto_consent:
            return html_response(pages.admin_consent(asked.application, admins, sorted(asked.scopes)))
        who = given.get("account") or given.get("login_hint") or (admins[0].email if admins else "")
        return self._answer(request, asked, self.directory.user(who), accept=answer != "decline")

    def _asked(self, given: Mapping[str, str], tenant: str, *, legacy: bool) -> Asked:
        authority = find_authority(self.directory, tenant)
        if authority.name == "consumers" or (authority.name == "common" and not legacy):
            raise SignInRefused(90002, tenant=tenant)
        for name in ("client_id", "redirect_uri", *(() if legacy else ("scope",))):
            if not given.get(name):
                raise SignInRefused(900144, field=name)
        application = find_application(self.directory, authority, given["client_id"])
        uri = given["redirect_uri"]
        if not application.redirects_to(uri, self.switches.redirect_uris == "loopback"):
            raise SignInRefused(50011, redirect_uri=uri, client_id=application.client_id)
        scopes = parse_scopes(given.get("scope") or ".default", application)
        return Asked(authority, application, uri, scopes, given.get("state"), legacy)

    def _answer(self, request: Request, asked: Asked, user: User | None, *, accept: bool) -> Response:
        if user is None or not user.admin or not accept:
            refused = SignInRefused(65004 if user is None or user.admin else 90094, name=asked.application.name)
            error = "permission_denied" if asked.legacy else "consent_required"
            return _back(asked, {"error": error, "error_description": refused.describe(request)})
        self.directory.consent(asked.application.client_id, user.tenant.id, set(asked.scopes))
        scope = {} if asked.legacy else {"scope": " ".join(sorted(asked.scopes))}
        return _back(asked, {"tenant": user.tenant.id, **scope})


def _back(asked: Asked, answer: Mapping[str, str]) -> Response:
    state = {} if asked.state is None else {"state": asked.state}
    parts = urlsplit(asked.redirect_uri)
    query = "&".join(filter(None, (parts.query, urlencode({"admin_consent": "True", **answer, **state}))))
    return redirect(parts._replace(query=query).geturl())
