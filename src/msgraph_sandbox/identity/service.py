"""The sign-in host: which address does what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from msgraph_sandbox import cors
from msgraph_sandbox.http import BadRequest, Refusal, Request, Response, html_response, json_response, parse_form
from msgraph_sandbox.identity import discovery, pages
from msgraph_sandbox.identity.admin import AdminConsent
from msgraph_sandbox.identity.authority import find_authority
from msgraph_sandbox.identity.authorize import SESSION_COOKIE, Authorize, deliver
from msgraph_sandbox.identity.device import DeviceFlow
from msgraph_sandbox.identity.directory import Directory, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.token import TokenEndpoint, credentials
from msgraph_sandbox.identity.tokens import Issuer
from msgraph_sandbox.operation import Operation
from msgraph_sandbox.switches import Switches

_TENANT = r"/(?P<tenant>[^/]+)"
_ROUTES = (
    ("openid_configuration", re.compile(_TENANT + r"(?:/v2\.0)?/\.well-known/openid-configuration")),
    ("keys", re.compile(_TENANT + r"/discovery(?:/v2\.0)?/keys")),
    ("instance", re.compile(r"/(?P<tenant>common)/discovery/instance")),
    ("realm", re.compile(r"/(?P<tenant>common)/userrealm/.*")),
    ("authorize", re.compile(_TENANT + r"/oauth2/v2\.0/authorize")),
    ("token", re.compile(_TENANT + r"/oauth2/v2\.0/token")),
    ("device_code", re.compile(_TENANT + r"/oauth2/v2\.0/devicecode")),
    ("admin_consent", re.compile(_TENANT + r"(?:/v2\.0)?/adminconsent")),
    ("sign_in", re.compile(_TENANT + r"/login")),
    ("logout", re.compile(_TENANT + r"/oauth2/v2\.0/logout")),
    ("native_client", re.compile(_TENANT + r"/oauth2/nativeclient")),
    ("device_page", re.compile(r"/(?P<tenant>devicelogin)")),
)
_FOR_BROWSERS = ("/token", "/openid-configuration", "/keys", "/discovery/instance")


@dataclass(slots=True)
class SignInService:
    """Answers for `login.microsoftonline.com`."""

    directory: Directory
    issuer: Issuer
    switches: Switches
    graph_origin: str
    sessions: dict[str, list[User]] = field(default_factory=dict)
    authorize: Authorize = field(init=False)
    devices: DeviceFlow = field(init=False)
    token: TokenEndpoint = field(init=False)
    admin: AdminConsent = field(init=False)
    name: str = "login"

    def __post_init__(self) -> None:
        self.authorize = Authorize(self.directory, self.issuer, self.switches, self.sessions)
        self.devices = DeviceFlow(self.directory, self.issuer)
        self.token = TokenEndpoint(self.directory, self.issuer, self.switches, self.devices)
        self.admin = AdminConsent(self.directory, self.switches)

    def clear(self) -> None:
        """Forget who is signed in, and every device that waits."""
        self.sessions.clear()
        self.devices.grants.clear()

    async def route(self, request: Request) -> Operation:
        """Return what the request asks for."""
        path = request.path.rstrip("/")
        if cors.is_preflight(request) and path.endswith(_FOR_BROWSERS):
            return Operation("preflight", lambda: cors.preflight(request))
        for name, pattern in _ROUTES:
            if match := pattern.fullmatch(path):
                return await self._operation(request, name, match["tenant"])
        return Operation("unknown", self._unknown)

    async def _operation(self, request: Request, name: str, tenant: str) -> Operation:
        if name == "token":
            return await self._token(request, tenant)

        async def call() -> Response:
            return await self._call(request, name, tenant)

        return Operation(name, call, client_id=request.query.get("client_id"))

    async def _call(self, request: Request, name: str, tenant: str) -> Response:
        match name:
            case "authorize":
                return await self.authorize.ask(request, tenant)
            case "sign_in":
                return await self.authorize.submit(request, tenant)
            case "admin_consent":
                return await self.admin.ask(request, tenant)
            case "device_code" | "device_page":
                return await self._device(request, name, tenant)
            case _:
                return self._describe(request, name, tenant)

    async def _device(self, request: Request, name: str, tenant: str) -> Response:
        form = parse_form(await request.body()) if request.method == "POST" else {}
        return self.devices.begin(request, tenant, form) if name == "device_code" else self.devices.page(form)

    def _describe(self, request: Request, name: str, tenant: str) -> Response:
        match name:
            case "instance":
                return discovery.instance(request)
            case "realm":
                return json_response(
                    {"ver": "1.0", "account_type": "Managed", "cloud_instance_name": "microsoftonline.com"}
                )
            case "logout":
                return self._logout(request)
            case "native_client":
                return html_response(pages.page("Signed in", "<p>You may close this window.</p>"))
        authority = find_authority(self.directory, tenant)
        if name == "keys":
            return discovery.keys(request, authority, self.issuer)
        return discovery.openid_configuration(request, authority, self.graph_origin)

    async def _token(self, request: Request, tenant: str) -> Operation:
        form = parse_form(await request.body()) if request.method == "POST" else {}

        async def call() -> Response:
            return self.token.answer(request, tenant, form)

        try:
            client_id: str | None = credentials(request, form)[0]
        except SignInRefused:
            client_id = None
        grant = self.issuer.refresh.get(form.get("refresh_token", "")) or self.issuer.codes.get(form.get("code", ""))
        user = grant.user.email if grant else form.get("username")
        return Operation("token", call, user=user, client_id=client_id, grant_type=form.get("grant_type"))

    def _logout(self, request: Request) -> Response:
        self.sessions.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        uri, loopback = request.query.get("post_logout_redirect_uri", ""), self.switches.redirect_uris == "loopback"
        if any(app.redirects_to(uri, loopback) for app in self.directory.applications.values()):
            state = {"state": request.query["state"]} if "state" in request.query else {}
            return deliver(uri, "query", state, {})
        return html_response(pages.page("Signed out", "<h1>You signed out of your account</h1>"))

    async def _unknown(self) -> Response:
        return html_response(pages.page("Not found", "<h1>Not found</h1>"), 404)

    def fault(
        self, request: Request, status: int, code: str | None, message: str | None, inner: str | None
    ) -> Response:
        """Return a planted failure in this host's shape. `code` may be an AADSTS number or an `error` name."""
        if code and code.isdecimal():
            return SignInRefused(int(code), text=message).response(request)
        default = "temporarily_unavailable" if status >= 429 else "invalid_request"
        text = message or "AADSTS90033: A transient error has occurred. Please try again."
        return json_response({"error": code or default, "error_description": text, "error_codes": [90033]}, status)

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Return the refusal in this host's shape. What crashed has no AADSTS code, so that nobody takes it for one."""
        if not isinstance(refusal, BadRequest):
            return refusal.response(request)
        if refusal.status >= 500:
            crashed = {"error": "server_error", "error_description": refusal.message}
            return json_response(crashed, refusal.status)
        malformed = SignInRefused(9002313)
        malformed.status = refusal.status
        return malformed.response(request)

    def decorate(self, request: Request, response: Response) -> None:
        """Add the headers that every answer of the sign-in host carries."""
        response.headers["x-ms-request-id"] = request.id
        response.headers["client-request-id"] = request.client_request_id
        if request.path.rstrip("/").endswith(_FOR_BROWSERS):
            # Single-page applications read these, and redeem their codes, from a browser.
            cors.expose(request, response)
        if "origin" in request.headers and request.path.endswith("/token"):
            response.headers["Access-Control-Allow-Origin"] = request.headers["origin"]
        response.headers["x-ms-ests-server"] = "2.1.19000.0 - sandbox"
