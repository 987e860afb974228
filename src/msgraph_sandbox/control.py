"""The control API: what a test does to the sandbox from outside. `docs/reference/sandbox.md` describes it.

Every address is below `/_sandbox` on the control origin, which listens on loopback and asks for no credentials.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import timedelta
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.faults import Fault
from msgraph_sandbox.http import (
    BadRequest,
    Json,
    Receive,
    Refusal,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    send_response,
)
from msgraph_sandbox.identity.directory import Application, Secret, User
from msgraph_sandbox.identity.service import SignInService
from msgraph_sandbox.ledger import Entry
from msgraph_sandbox.seed import SeedApplication, SeedUser, add_application, add_user
from msgraph_sandbox.switches import Switches
from msgraph_sandbox.world import READY_SCOPES, World

Model = TypeVar("Model", bound=BaseModel)
_FIELDS = frozenset(field.name for field in fields(Entry))
log = logging.getLogger("msgraph_sandbox")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Advance(_Body):
    """`POST /clock`."""

    seconds: float = Field(ge=0, le=100 * 366 * 86400)


class Decision(_Body):
    """`POST /authorize`: an authorize URL, and how the person decides."""

    url: str
    user: str | None = None
    accept: bool = True


class Whose(_Body):
    """`POST /tokens/expire`: everyone's tokens, or one user's."""

    user: str | None = None


class Wanted(_Body):
    """`POST /users/{user}/tokens`: tokens without signing in."""

    client_id: str | None = None
    scopes: list[str] = Field(default_factory=lambda: sorted(READY_SCOPES))


class NewSecret(_Body):
    """`POST /apps/{client_id}/secrets`."""

    value: str = Field(min_length=1)
    expires_in: float | None = None


class Resync(_Body):
    """`POST /drives/{id}/resync`: what clients shall do with items that a fresh listing does not report."""

    kind: Literal["apply", "upload"] = "apply"


class UserChange(_Body):
    """`PATCH /users/{user}`."""

    password: str | None = None
    disabled: bool | None = None
    admin: bool | None = None
    obstacle: int | None = Field(
        default=None, description="An AADSTS code that sign-in and refresh run into; 0 takes it away."
    )


class Device(_Body):
    """`POST /device`: how the person with the code decides."""

    user_code: str
    user: str = ""
    accept: bool = True


class AppChange(_Body):
    """`PATCH /apps/{client_id}`."""

    audience: (
        Literal["AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"]
        | None
    ) = None
    redirect_uris: list[str] | None = None
    disabled: bool | None = None
    id_tokens: bool | None = None


class TenantChange(_Body):
    """`PATCH /tenants/{tenant}`."""

    user_consent: bool


class Missing(Refusal):
    """The control API knows nothing of that name."""

    status = 404

    def response(self, request: Request) -> Response:
        return json_response({"error": {"code": "notFound", "message": str(self)}}, 404)


class Wrong(Refusal):
    """The control API was asked wrongly."""

    def response(self, request: Request) -> Response:
        return json_response({"error": {"code": "invalidRequest", "message": str(self)}}, 400)


Handler = Callable[["Control", Request, str], Awaitable[Json]]


class Control:
    """Answers the control API."""

    def __init__(self, world: World, sign_in: SignInService, urls: Json) -> None:
        self._world = world
        self._sign_in = sign_in
        self._urls = urls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = refusal.response(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_target)
            response = BadRequest("The control API failed.", 500).response(request)
        await send_response(response, send)

    async def _answer(self, request: Request) -> Response:
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, request.path.rstrip("/"))
            if match and method == request.method:
                value = await handler(self, request, next(iter(match.groups()), ""))
                return Response(204) if value is None else json_response(value)
        raise Missing(f"There is no {request.method} {request.path}.")

    # The sandbox itself

    async def state(self, request: Request, _: str) -> Json:
        """Return who and what there is."""
        directory = self._world.directory
        return {
            **self._urls,
            "now": self._world.clock.now().isoformat(),
            "tenants": [{"id": t.id, "domain": t.domain, "name": t.name} for t in directory.tenants.values()],
            "users": [_user_json(user) for user in directory.users.values()],
            "apps": [_app_json(app) for app in directory.applications.values()],
            "drives": [
                {"id": d.id, "kind": d.kind, "owner": d.owner.email, "items": len(d.items), "used": d.root.size}
                for d in self._world.library.drives.values()
            ],
            "requests": self._world.ledger.count,
        }

    async def switches(self, request: Request, _: str) -> Json:
        """Return the switches."""
        return self._world.switches.model_dump()

    async def set_switches(self, request: Request, _: str) -> Json:
        """Change some switches and return all."""
        given = await request.json_object()
        merged = _checked(Switches, {**self._world.switches.model_dump(), **given})
        for name in given:
            setattr(self._world.switches, name, getattr(merged, name))
        return self._world.switches.model_dump()

    async def clock(self, request: Request, _: str) -> Json:
        """Return the present."""
        return {"now": self._world.clock.now().isoformat()}

    async def advance(self, request: Request, _: str) -> Json:
        """Move the present forward."""
        by = _checked(Advance, await request.json_object())
        return {"now": self._world.clock.advance(timedelta(seconds=by.seconds)).isoformat()}

    # The ledger

    async def ledger(self, request: Request, _: str) -> Json:
        """Return the entries that fit the query, and how many there are."""
        wanted = dict(request.query)
        after = wanted.pop("after", "0")
        if not after.isdigit() or not wanted.keys() <= _FIELDS:
            raise Wrong(f"Filter by these: after, {', '.join(sorted(_FIELDS))}.")
        entries = [entry.json() for entry in self._world.ledger.find(wanted, int(after))]
        return {"count": len(entries), "last": self._world.ledger.count, "entries": entries}

    async def clear_ledger(self, request: Request, _: str) -> Json:
        """Forget all entries."""
        self._world.ledger.clear()

    # Faults

    async def faults(self, request: Request, _: str) -> Json:
        """Return all planted faults."""
        return {"faults": [planted.json() for planted in self._world.faults.all()]}

    async def plant_fault(self, request: Request, _: str) -> Json:
        """Plant a fault and return it with its id."""
        return self._world.faults.plant(_checked(Fault, await request.json_object())).json()

    async def clear_faults(self, request: Request, _: str) -> Json:
        """Remove all faults."""
        self._world.faults.clear()

    async def remove_fault(self, request: Request, name: str) -> Json:
        """Remove one fault."""
        if not self._world.faults.remove(name):
            raise Missing(f"There is no fault {name}.")

    # Sign-in

    async def authorize(self, request: Request, _: str) -> Json:
        """Decide an authorize request as its user would, and return where the browser would go."""
        decision = _checked(Decision, await request.json_object())
        request.asked_at = self._world.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        return {"location": self._sign_in.authorize.decide(request, decision.url, decision.accept, decision.user)}

    async def expire_tokens(self, request: Request, _: str) -> Json:
        """Expire access tokens now."""
        whose = _checked(Whose, await request.json_object())
        user = self._user(whose.user) if whose.user else None
        return {"expired": self._world.issuer.expire_access(user)}

    async def add_user(self, request: Request, _: str) -> Json:
        """Add a user with a drive."""
        given = _checked(SeedUser, await request.json_object())
        if self._world.directory.user(given.email):
            raise Wrong(f"There is a user {given.email} already.")
        return _user_json(_or_wrong(lambda: add_user(given, self._world.directory, self._world.library)))

    async def change_user(self, request: Request, name: str) -> Json:
        """Change a user."""
        user = self._user(name)
        change = _checked(UserChange, await request.json_object())
        user.password = change.password if change.password is not None else user.password
        user.disabled = change.disabled if change.disabled is not None else user.disabled
        user.admin = change.admin if change.admin is not None else user.admin
        if change.obstacle is not None:
            user.obstacle = change.obstacle or None
        return _user_json(user)

    async def revoke(self, request: Request, name: str) -> Json:
        """Revoke a user's refresh tokens."""
        self._world.issuer.revoke_refresh(self._user(name))

    async def withdraw(self, request: Request, name: str) -> Json:
        """Withdraw a user's consents, so that the next sign-in asks again."""
        self._world.directory.withdraw(request.query.get("client_id"), self._user(name))

    async def tokens(self, request: Request, name: str) -> Json:
        """Return an access and a refresh token for a user without signing in."""
        user, wanted = self._user(name), _checked(Wanted, await request.json_object())
        application = self._app(wanted.client_id) if wanted.client_id else self._world.confidential
        if application is None:
            raise Missing("There is no application.")
        scopes = frozenset(wanted.scopes)
        issuer = self._world.issuer
        token, life = issuer.access_token(user, application, user.tenant.id, scopes, self._world.origins.login)
        refresh = issuer.refresh_token(user, application.client_id, scopes)
        return {"access_token": token, "expires_in": life, "refresh_token": refresh, "client_id": application.client_id}

    async def add_app(self, request: Request, _: str) -> Json:
        """Add an application registration."""
        given = _checked(SeedApplication, await request.json_object())
        return _app_json(_or_wrong(lambda: add_application(given, self._world.directory)))

    async def change_app(self, request: Request, client_id: str) -> Json:
        """Change an application registration."""
        app, change = self._app(client_id), _checked(AppChange, await request.json_object())
        for name, value in change.model_dump(exclude_none=True).items():
            setattr(app, name, value)
        return _app_json(app)

    async def change_tenant(self, request: Request, name: str) -> Json:
        """Change a tenant."""
        tenant = self._world.directory.tenant(name)
        if tenant is None:
            raise Missing(f"There is no tenant {name}.")
        tenant.user_consent = _checked(TenantChange, await request.json_object()).user_consent

    async def device(self, request: Request, _: str) -> Json:
        """Answer a device code as its person would."""
        given = _checked(Device, await request.json_object())
        if not self._sign_in.devices.decide(given.user_code, given.user, accept=given.accept):
            raise Missing("There is no such code, or no such user for it.")

    async def rotate_keys(self, request: Request, _: str) -> Json:
        """Sign with a new key from now on."""
        return {"kid": self._world.issuer.rotate_key()}

    async def expire_secrets(self, request: Request, client_id: str) -> Json:
        """Expire every secret that an application has now."""
        for secret in self._app(client_id).secrets:
            secret.expires = self._world.clock.now()

    async def add_secret(self, request: Request, client_id: str) -> Json:
        """Add a secret beside those that there are."""
        given = _checked(NewSecret, await request.json_object())
        expires = None if given.expires_in is None else self._world.clock.now() + timedelta(seconds=given.expires_in)
        self._app(client_id).secrets.append(Secret(given.value, expires))

    # Drives

    async def resync(self, request: Request, drive_id: str) -> Json:
        """Make all delta tokens of a drive invalid: the next use answers 410."""
        asked = _checked(Resync, await request.json_object())
        self._drive(drive_id).end_epoch(f"resyncChanges{asked.kind.title()}Differences")

    def _drive(self, drive_id: str) -> Drive:
        """Return the drive of that id, or of the user with that e-mail address."""
        user = self._world.directory.user(drive_id)
        found = self._world.library.drives.get(user.drive_id or "" if user else drive_id)
        if found is None:
            raise Missing(f"There is no drive {drive_id}.")
        return found

    def _user(self, name: str) -> User:
        user = self._world.directory.user(name)
        if user is None:
            raise Missing(f"There is no user {name}.")
        return user

    def _app(self, client_id: str) -> Application:
        application = self._world.directory.applications.get(client_id)
        if application is None:
            raise Missing(f"There is no application {client_id}.")
        return application


def _checked(model: type[Model], given: Json) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Wrong(str(error)) from None


Made = TypeVar("Made")


def _or_wrong(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (ValueError, GraphRefused) as error:
        raise Wrong(str(error)) from None


def _user_json(user: User) -> Json:
    return {
        "id": user.oid,
        "email": user.email,
        "name": user.name,
        "tenant": user.tenant.id,
        "kind": "personal" if user.personal else "business",
        "drive_id": user.drive_id,
        "disabled": user.disabled,
        "admin": user.admin,
        "obstacle": user.obstacle,
    }


def _app_json(app: Application) -> Json:
    return {
        "client_id": app.client_id,
        "name": app.name,
        "audience": app.audience,
        "public": app.public,
        "redirect_uris": app.redirect_uris,
        "secrets": [{"expires": secret.expires.isoformat() if secret.expires else None} for secret in app.secrets],
    }


_BASE = "/_sandbox"
_ONE = "/([^/]+)"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", f"{_BASE}(?:/state)?", Control.state),
    ("GET", f"{_BASE}/switches", Control.switches),
    ("PATCH", f"{_BASE}/switches", Control.set_switches),
    ("GET", f"{_BASE}/clock", Control.clock),
    ("POST", f"{_BASE}/clock", Control.advance),
    ("GET", f"{_BASE}/ledger", Control.ledger),
    ("DELETE", f"{_BASE}/ledger", Control.clear_ledger),
    ("GET", f"{_BASE}/faults", Control.faults),
    ("POST", f"{_BASE}/faults", Control.plant_fault),
    ("DELETE", f"{_BASE}/faults", Control.clear_faults),
    ("DELETE", f"{_BASE}/faults{_ONE}", Control.remove_fault),
    ("POST", f"{_BASE}/authorize", Control.authorize),
    ("POST", f"{_BASE}/tokens/expire", Control.expire_tokens),
    ("POST", f"{_BASE}/users", Control.add_user),
    ("PATCH", f"{_BASE}/users{_ONE}", Control.change_user),
    ("POST", f"{_BASE}/users{_ONE}/revoke", Control.revoke),
    ("DELETE", f"{_BASE}/users{_ONE}/consents", Control.withdraw),
    ("POST", f"{_BASE}/users{_ONE}/tokens", Control.tokens),
    ("POST", f"{_BASE}/apps", Control.add_app),
    ("POST", f"{_BASE}/drives{_ONE}/resync", Control.resync),
    ("PATCH", f"{_BASE}/apps{_ONE}", Control.change_app),
    ("PATCH", f"{_BASE}/tenants{_ONE}", Control.change_tenant),
    ("POST", f"{_BASE}/device", Control.device),
    ("POST", f"{_BASE}/keys/rotate", Control.rotate_keys),
    ("POST", f"{_BASE}/apps{_ONE}/expire-secrets", Control.expire_secrets),
    ("POST", f"{_BASE}/apps{_ONE}/secrets", Control.add_secret),
)
