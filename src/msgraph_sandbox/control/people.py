"""The control API's hand on sign-in: users, applications, tenants, tokens, and decisions that a person would make."""

from __future__ import annotations

from datetime import timedelta

from msgraph_sandbox.control.bodies import (
    ONE,
    AppChange,
    Decision,
    Device,
    Missing,
    NewSecret,
    Routes,
    TenantChange,
    UserChange,
    Wanted,
    Whose,
    Wrong,
    checked,
    find_app,
    find_user,
    or_wrong,
    takes,
)
from msgraph_sandbox.http import Json, Request
from msgraph_sandbox.identity.directory import Application, Secret, User
from msgraph_sandbox.seed import SeedApplication, SeedUser
from msgraph_sandbox.seed import add_application as seed_application
from msgraph_sandbox.seed import add_user as seed_user
from msgraph_sandbox.world import World


@takes(Decision)
async def authorize(world: World, request: Request) -> Json:
    """Decide an authorize request as its user would, and return where the browser would go."""
    decision = checked(Decision, await request.json_object())
    return {"location": world.sign_in.authorize.decide(request, decision.url, decision.accept, decision.user)}


@takes(Whose)
async def expire_tokens(world: World, request: Request) -> Json:
    """Expire access tokens now."""
    whose = checked(Whose, await request.json_object())
    user = find_user(world, whose.user) if whose.user else None
    return {"expired": world.issuer.expire_access(user)}


@takes(SeedUser)
async def add_user(world: World, request: Request) -> Json:
    """Add a user with a drive."""
    given = checked(SeedUser, await request.json_object())
    if world.directory.user(given.email):
        raise Wrong(f"There is a user {given.email} already.")
    return user_json(or_wrong(lambda: seed_user(given, world.directory, world.library)))


@takes(UserChange)
async def change_user(world: World, request: Request, name: str) -> Json:
    """Change a user."""
    user = find_user(world, name)
    change = checked(UserChange, await request.json_object())
    if change.password is not None:
        user.change_password(change.password, world.clock.now())
    user.disabled = change.disabled if change.disabled is not None else user.disabled
    user.admin = change.admin if change.admin is not None else user.admin
    if change.obstacle is not None:
        user.obstacle = change.obstacle or None
    return user_json(user)


async def revoke(world: World, request: Request, name: str) -> Json:
    """Revoke a user's refresh tokens."""
    world.issuer.revoke_refresh(find_user(world, name))


async def withdraw(world: World, request: Request, name: str) -> Json:
    """Withdraw a user's consents: their refresh tokens are dead and the next sign-in asks again."""
    world.directory.withdraw(request.query.get("client_id"), find_user(world, name), world.clock.now())


async def challenge(world: World, request: Request, name: str) -> Json:
    """Challenge a user's access tokens of before, where the client declared that it can take it (`cp1`)."""
    find_user(world, name).challenged = world.clock.now()


@takes(Wanted)
async def tokens(world: World, request: Request, name: str) -> Json:
    """Return an access and a refresh token for a user without signing in."""
    user, wanted = find_user(world, name), checked(Wanted, await request.json_object())
    application = find_app(world, wanted.client_id) if wanted.client_id else world.confidential
    if application is None:
        raise Missing("There is no application.")
    scopes = frozenset(wanted.scopes)
    issuer = world.issuer
    token, life = issuer.access_token(user, application, user.tenant.id, scopes, capable=wanted.capable)
    refresh = issuer.refresh_token(user, application.client_id, scopes)
    return {"access_token": token, "expires_in": life, "refresh_token": refresh, "client_id": application.client_id}


@takes(SeedApplication)
async def add_app(world: World, request: Request) -> Json:
    """Add an application registration."""
    given = checked(SeedApplication, await request.json_object())
    return app_json(or_wrong(lambda: seed_application(given, world.directory)))


@takes(AppChange)
async def change_app(world: World, request: Request, client_id: str) -> Json:
    """Change an application registration."""
    app, change = find_app(world, client_id), checked(AppChange, await request.json_object())
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(app, name, value)
    return app_json(app)


@takes(TenantChange)
async def change_tenant(world: World, request: Request, name: str) -> Json:
    """Change a tenant."""
    tenant = world.directory.tenant(name)
    if tenant is None:
        raise Missing(f"There is no tenant {name}.")
    tenant.user_consent = checked(TenantChange, await request.json_object()).user_consent


@takes(Device)
async def device(world: World, request: Request) -> Json:
    """Answer a device code as its person would."""
    given = checked(Device, await request.json_object())
    if not world.sign_in.devices.decide(given.user_code, given.user, accept=given.accept):
        raise Missing("There is no such code, or no such user for it.")


async def rotate_keys(world: World, request: Request) -> Json:
    """Sign with a new key from now on."""
    return {"kid": world.issuer.rotate_key()}


async def expire_secrets(world: World, request: Request, client_id: str) -> Json:
    """Expire every secret that an application has now."""
    for secret in find_app(world, client_id).secrets:
        secret.expires = world.clock.now()


@takes(NewSecret)
async def add_secret(world: World, request: Request, client_id: str) -> Json:
    """Add a secret beside those that there are."""
    given = checked(NewSecret, await request.json_object())
    expires = None if given.expires_in is None else world.clock.now() + timedelta(seconds=given.expires_in)
    find_app(world, client_id).secrets.append(Secret(given.value, expires))


def user_json(user: User) -> Json:
    """Return a user as the control API shows it."""
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


def app_json(app: Application) -> Json:
    """Return an application as the control API shows it; secrets are not shown."""
    return {
        "client_id": app.client_id,
        "name": app.name,
        "audience": app.audience,
        "public": app.public,
        "redirect_uris": app.redirect_uris,
        "secrets": [{"expires": secret.expires.isoformat() if secret.expires else None} for secret in app.secrets],
    }


ROUTES: Routes = (
    ("POST", "/authorize", authorize),
    ("POST", "/device", device),
    ("POST", "/keys/rotate", rotate_keys),
    ("POST", "/tokens/expire", expire_tokens),
    ("POST", "/users", add_user),
    ("PATCH", f"/users{ONE}", change_user),
    ("POST", f"/users{ONE}/revoke", revoke),
    ("POST", f"/users{ONE}/challenge", challenge),
    ("DELETE", f"/users{ONE}/consents", withdraw),
    ("POST", f"/users{ONE}/tokens", tokens),
    ("PATCH", f"/tenants{ONE}", change_tenant),
    ("POST", "/apps", add_app),
    ("PATCH", f"/apps{ONE}", change_app),
    ("POST", f"/apps{ONE}/expire-secrets", expire_secrets),
    ("POST", f"/apps{ONE}/secrets", add_secret),
)
