"""Queries on connected users, their connections and configurations, and the lease that a refresh holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from landbridge.errors import Conflict
from landbridge.store.database import Transaction
from landbridge.store.tables import configurations, connected_users, connections, integrations, values_of


@dataclass(frozen=True, slots=True)
class UserRow:
    """A connected user: the host product's end user."""

    project_id: str
    user_id: str
    id: str
    meta: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connected user's authorised account. `status` is `valid`, `invalid` (must reconnect) or `pending`.

    Why the last refresh failed is `refresh_error`, in words, and `refresh_failure`, the error's `code` and `meta`.
    """

    id: str
    project_id: str
    user_id: str
    integration: str
    external_id: str | None
    status: str
    account_id: str
    tenant_id: str
    account: dict[str, Any]
    scopes: list[str]
    client_id: str
    sealed_tokens: bytes | None
    token_version: int
    expires_at: datetime | None
    refreshed_at: datetime
    used_at: datetime
    created_at: datetime
    updated_at: datetime
    refresh_failures: int = 0
    refresh_error: str | None = None
    refresh_failure: dict[str, Any] | None = None
    refresh_retry_at: datetime | None = None
    lease_holder: str | None = None
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConfigurationRow:
    """One set of settings and enabled workflows of a connection."""

    id: str
    connection_id: str
    is_default: bool
    external_id: str | None
    created_at: datetime
    updated_at: datetime
    shared_settings: dict[str, Any] = field(default_factory=dict)
    workflow_settings: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def scopes_of(row: ConnectionRow) -> tuple[str, str]:
    """Return what caches must forget when this connection changes."""
    return f"connection:{row.id}", scope_of_user(row.project_id, row.user_id)


def scope_of_user(project_id: str, user_id: str) -> str:
    """Return what caches must forget when anything of a connected user changes."""
    return f"user:{project_id}/{user_id}"


async def user(tx: Transaction, project_id: str, user_id: str) -> UserRow | None:
    """Return a connected user, if the project has seen them."""
    found = (
        await tx.execute(
            select(connected_users).where(
                connected_users.c.project_id == project_id, connected_users.c.user_id == user_id
            )
        )
    ).one_or_none()
    return UserRow(**found._mapping) if found else None


async def hold_user(tx: Transaction, project_id: str, user_id: str) -> None:
    """Let nobody else who asks for the same go on until this transaction ends; on SQLite writers take turns anyway."""
    held = select(connected_users.c.id).where(
        connected_users.c.project_id == project_id, connected_users.c.user_id == user_id
    )
    await tx.execute(held.with_for_update())


async def insert_user(tx: Transaction, row: UserRow) -> None:
    """Add a connected user, or raise `Conflict` if somebody else just did."""
    try:
        await tx.execute(insert(connected_users).values(**values_of(row)))
    except IntegrityError as error:
        raise Conflict("This user is known already.") from error


async def update_user_meta(tx: Transaction, row: UserRow, meta: dict[str, Any]) -> None:
    """Replace a user's metadata."""
    await tx.execute(update(connected_users).where(connected_users.c.id == row.id).values(meta=meta))


async def connection(tx: Transaction, project_id: str, connection_id: str) -> ConnectionRow | None:
    """Return a connection of a project."""
    found = (
        await tx.execute(
            select(connections).where(connections.c.project_id == project_id, connections.c.id == connection_id)
        )
    ).one_or_none()
    return ConnectionRow(**found._mapping) if found else None


async def connections_of(
    tx: Transaction, project_id: str, user_id: str | None = None, integration: str | None = None, *, limit: int = 1000
) -> list[ConnectionRow]:
    """Return connections, oldest first, of a project or of one user or integration in it."""
    wanted = select(connections).where(connections.c.project_id == project_id)
    if user_id is not None:
        wanted = wanted.where(connections.c.user_id == user_id)
    if integration is not None:
        wanted = wanted.where(connections.c.integration == integration)
    found = await tx.execute(wanted.order_by(connections.c.created_at, connections.c.id).limit(limit))
    return [ConnectionRow(**row._mapping) for row in found]


async def insert_connection(tx: Transaction, row: ConnectionRow, configuration: ConfigurationRow) -> None:
    """Add a connection with its default configuration, or raise `Conflict` if its external id is taken."""
    try:
        await tx.execute(insert(connections).values(**values_of(row)))
    except IntegrityError as error:
        raise Conflict(f"This user already has a connection with the external id “{row.external_id}”.") from error
    await tx.execute(insert(configurations).values(**values_of(configuration)))
    tx.touch(*scopes_of(row))


async def update_connection(tx: Transaction, row: ConnectionRow, **changes: Any) -> None:  # Any: columns
    """Change a connection, everywhere."""
    await tx.execute(update(connections).where(connections.c.id == row.id).values(**changes))
    tx.touch(*scopes_of(row))


async def renew_grant(tx: Transaction, row: ConnectionRow, **granted: Any) -> None:  # Any: columns of the table
    """Put the grant of a new sign-in in place of the old one, whoever is refreshing that at the moment.

    The version counts from what is there now and not from what was read: a refresh may have been saved since, and two
    grants of one version would let a late refresh of the old account pass for one of the new.
    """
    none = ("refresh_error", "refresh_failure", "refresh_retry_at", "lease_holder", "lease_until")
    changes = granted | dict.fromkeys(none)
    version = connections.c.token_version + 1
    await update_connection(tx, row, token_version=version, refresh_failures=0, **changes)


async def delete_connection(tx: Transaction, row: ConnectionRow) -> None:
    """Delete a connection with its tokens and configurations."""
    await tx.execute(delete(connections).where(connections.c.id == row.id))
    tx.touch(*scopes_of(row))


async def take_lease(tx: Transaction, row: ConnectionRow, holder: str, now: datetime, until: datetime) -> bool:
    """Return whether `holder` may refresh the tokens of `row` until `until`; nobody else may in that time."""
    taken = await tx.change(
        update(connections)
        .where(
            connections.c.id == row.id,
            connections.c.status == "valid",
            connections.c.token_version == row.token_version,
            or_(connections.c.lease_until.is_(None), connections.c.lease_until <= now),
        )
        .values(lease_holder=holder, lease_until=until)
    )
    return taken == 1


async def save_tokens(tx: Transaction, row: ConnectionRow, **changes: Any) -> bool:  # Any: columns of the table
    """Replace the tokens that `row` held, and return False if somebody else already did, or disconnected.

    The comparison with the version makes a late writer lose: one that was stopped past its lease cannot put old tokens
    over new ones, nor bring tokens back to an account that was disconnected meanwhile.
    """
    saved = await tx.change(
        update(connections)
        .where(connections.c.id == row.id, connections.c.token_version == row.token_version)
        .values(token_version=row.token_version + 1, lease_holder=None, lease_until=None, **changes)
    )
    return saved == 1


async def save_refresh_failure(
    tx: Transaction, row: ConnectionRow, holder: str, **changes: Any
) -> bool:  # Any: columns of the table
    """Record why a refresh failed and give the lease back, and return False if it is `holder`'s no more.

    Whoever was stopped past its lease must not end another's, nor call a grant lost that the other has just renewed.
    """
    saved = await tx.change(
        update(connections)
        .where(
            connections.c.id == row.id,
            connections.c.token_version == row.token_version,
            connections.c.lease_holder == holder,
        )
        .values(lease_holder=None, lease_until=None, refresh_failures=connections.c.refresh_failures + 1, **changes)
    )
    if saved and "status" in changes:
        tx.touch(*scopes_of(row))
    return saved == 1


async def rest(
    tx: Transaction, row: ConnectionRow, *, now: datetime, until: datetime, **why: Any
) -> bool:  # Any: columns of the table
    """Have nobody refresh `row` before `until`, and return False if that is so already or its tokens were replaced."""
    rested = await tx.change(
        update(connections)
        .where(
            connections.c.id == row.id,
            connections.c.status == "valid",
            connections.c.token_version == row.token_version,
            _not_resting(now),
        )
        .values(refresh_retry_at=until, **why)
    )
    return rested == 1


async def mark_used(tx: Transaction, connection_ids: Sequence[str], at: datetime) -> None:
    """Record that these connections served a request; refreshing ahead follows those in use."""
    await tx.execute(update(connections).where(connections.c.id.in_(connection_ids)).values(used_at=at))


async def due_for_refresh(
    tx: Transaction,
    *,
    now: datetime,
    in_use_since: datetime,
    expiring_before: datetime,
    idle_since: datetime,
    limit: int,
) -> list[ConnectionRow]:
    """Return valid connections whose token ends soon and is in use, or that nobody refreshed since `idle_since`.

    Those of integrations that are switched off wait until they are switched on again.
    """
    in_use = and_(connections.c.used_at >= in_use_since, connections.c.expires_at < expiring_before)
    idle = connections.c.refreshed_at < idle_since
    found = await tx.execute(
        select(connections)
        .join(
            integrations,
            and_(
                integrations.c.project_id == connections.c.project_id,
                integrations.c.type == connections.c.integration,
                integrations.c.is_active,
            ),
        )
        .where(connections.c.status == "valid", or_(in_use, idle), _not_resting(now))
        .order_by(case((in_use, 0), else_=1), connections.c.expires_at)
        .limit(limit)
    )
    return [ConnectionRow(**row._mapping) for row in found]


def _not_resting(now: datetime) -> ColumnElement[bool]:
    return or_(connections.c.refresh_retry_at.is_(None), connections.c.refresh_retry_at <= now)


async def configurations_of(tx: Transaction, connection_ids: Sequence[str]) -> list[ConfigurationRow]:
    """Return the configurations of these connections, oldest first."""
    found = await tx.execute(
        select(configurations)
        .where(configurations.c.connection_id.in_(connection_ids))
        .order_by(configurations.c.created_at, configurations.c.id)
    )
    return [ConfigurationRow(**row._mapping) for row in found]


async def insert_configuration(tx: Transaction, row: ConfigurationRow) -> None:
    """Add a configuration, or raise `Conflict` if its external id is taken."""
    try:
        await tx.execute(insert(configurations).values(**values_of(row)))
    except IntegrityError as error:
        raise Conflict(f"This connection already has a configuration “{row.external_id}”.") from error


async def update_configuration(tx: Transaction, row: ConfigurationRow, **changes: Any) -> None:  # Any: columns
    """Change a configuration."""
    await tx.execute(update(configurations).where(configurations.c.id == row.id).values(**changes))


async def delete_configuration(tx: Transaction, row: ConfigurationRow) -> None:
    """Delete a configuration."""
    await tx.execute(delete(configurations).where(configurations.c.id == row.id))
