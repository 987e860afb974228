"""Who there is, what they consented to, and the tokens and subscriptions that rest on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from msgraph_sandbox.http import Json
from msgraph_sandbox.identity.directory import Application, Directory, Tenant, User
from msgraph_sandbox.identity.tokens import REMEMBERED, AccessGrant, Issuer, RefreshGrant
from msgraph_sandbox.notifier import Subscription


@dataclass(frozen=True, slots=True)
class People:
    """A directory as it is saved."""

    tenants: list[Tenant]
    users: list[User]
    applications: list[Application]
    consents: list[tuple[str, str, list[str]]]
    withdrawals: list[tuple[str, str, datetime]]


_PEOPLE = TypeAdapter(People)
SUBSCRIPTIONS = TypeAdapter(list[Subscription])


def people_text(directory: Directory) -> str:
    """Return a directory as text."""
    return _PEOPLE.dump_json(
        People(
            list(directory.tenants.values()),
            list(directory.users.values()),
            list(directory.applications.values()),
            [(client, who, sorted(scopes)) for (client, who), scopes in directory.consents.items()],
            [(client, who, at) for (client, who), at in directory.withdrawals.items()],
        )
    ).decode()


def fill(directory: Directory, text: str) -> None:
    """Put what was saved into a directory; users and applications that are new since then stay."""
    saved = _PEOPLE.validate_json(text)
    directory.tenants.update({tenant.id: tenant for tenant in saved.tenants})
    for user in [*saved.users, *directory.users.values()]:
        user.tenant = directory.tenants[user.tenant.id]
    directory.users.update({user.oid: user for user in saved.users})
    directory.applications.update({app.client_id: app for app in saved.applications})
    directory.consents.update({(client, who): set(scopes) for client, who, scopes in saved.consents})
    directory.withdrawals.update({(client, who): at for client, who, at in saved.withdrawals})


def refresh_row(grant: RefreshGrant) -> Json:
    """Return what a refresh token stands for."""
    times = [grant.issued.isoformat(), grant.expires.isoformat()]
    return ["refresh", grant.user.oid, grant.client_id, sorted(grant.scopes), *times, grant.spa, grant.spent]


def access_row(grant: AccessGrant) -> Json:
    """Return what an access token stands for."""
    who = grant.user.oid if grant.user else None
    rights = [grant.tenant_id, sorted(grant.scopes), sorted(grant.roles)]
    times = [grant.issued.isoformat(), grant.expires.isoformat()]
    return ["access", who, grant.application.client_id, *rights, *times, grant.capable, grant.audience]


def remember(issuer: Issuer, directory: Directory, token: str, row: Json) -> None:
    """Take a saved token back, unless its user or application is gone, or it expired long ago."""
    kind, who, client_id, *rest = row
    user, application = directory.users.get(who or ""), directory.applications.get(client_id)
    if application is None or (user is None and who is not None):
        return
    if kind == "refresh" and user is not None:
        scopes, issued, expires, spa, spent = rest
        issuer.refresh[token] = RefreshGrant(user, client_id, frozenset(scopes), *_times(issued, expires), spa, spent)
    elif kind == "access":
        tenant, scopes, roles, issued, expires, *kind_of = rest  # what was saved by an older sandbox has no audience
        rights, times = (frozenset(scopes), frozenset(roles)), _times(issued, expires)
        if times[1] > issuer.clock.now() - REMEMBERED:
            issuer.access[token] = AccessGrant(user, application, tenant, *rights, *times, *kind_of)


def _times(issued: str, expires: str) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(issued), datetime.fromisoformat(expires)
