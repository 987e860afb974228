"""Queries on projects and what belongs to them: signing keys, API keys, integrations and their client secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from landbridge.errors import NotFound
from landbridge.store.database import Transaction
from landbridge.store.tables import api_keys, client_secrets, integrations, projects, signing_keys, values_of


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A tenant."""

    id: str
    name: str
    allowed_origins: list[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """The public half of a key that signs user tokens."""

    id: str
    project_id: str
    algorithm: str
    public_key: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """A key of the management API, by its digest; without a project it may manage all of them."""

    id: str
    project_id: str | None
    name: str
    hash: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class IntegrationRow:
    """A project's settings of one integration."""

    id: str
    project_id: str
    type: str
    client_id: str
    scopes: list[str]
    audience: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    file_picker: bool = False


@dataclass(frozen=True, slots=True)
class ClientSecretRow:
    """A client secret, sealed; `hint` is its first characters, to tell two apart."""

    id: str
    project_id: str
    integration_id: str
    sealed: bytes
    hint: str
    expires_at: datetime | None
    created_at: datetime


async def insert_project(tx: Transaction, row: ProjectRow) -> None:
    """Add a project."""
    await tx.execute(insert(projects).values(**values_of(row)))
    tx.touch(f"project:{row.id}")


async def project(tx: Transaction, project_id: str) -> ProjectRow:
    """Return a project, or raise `NotFound`."""
    found = (await tx.execute(select(projects).where(projects.c.id == project_id))).one_or_none()
    if found is None:
        raise NotFound(f"There is no project “{project_id[:64]}”.")
    return ProjectRow(**found._mapping)


async def all_projects(tx: Transaction) -> list[ProjectRow]:
    """Return every project, oldest first."""
    found = await tx.execute(select(projects).order_by(projects.c.created_at, projects.c.id))
    return [ProjectRow(**row._mapping) for row in found]


async def update_project(tx: Transaction, project_id: str, **changes: Any) -> None:  # Any: columns of the table
    """Change a project, everywhere."""
    await tx.execute(update(projects).where(projects.c.id == project_id).values(**changes))
    tx.touch(f"project:{project_id}")


async def delete_project(tx: Transaction, project_id: str) -> None:
    """Delete a project with all that belongs to it."""
    await tx.execute(delete(projects).where(projects.c.id == project_id))
    tx.touch(f"project:{project_id}")


async def insert_signing_key(tx: Transaction, row: SigningKeyRow) -> None:
    """Add a signing key, valid everywhere at once."""
    await tx.execute(insert(signing_keys).values(**values_of(row)))
    tx.touch(f"project:{row.project_id}")


async def signing_keys_of(tx: Transaction, project_id: str) -> list[SigningKeyRow]:
    """Return a project's signing keys, revoked ones too, oldest first."""
    found = await tx.execute(
        select(signing_keys).where(signing_keys.c.project_id == project_id).order_by(signing_keys.c.created_at)
    )
    return [SigningKeyRow(**row._mapping) for row in found]


async def revoke_signing_key(tx: Transaction, project_id: str, key_id: str, at: datetime) -> None:
    """End a signing key, or raise `NotFound`."""
    ended = await tx.change(
        update(signing_keys)
        .where(
            signing_keys.c.project_id == project_id, signing_keys.c.id == key_id, signing_keys.c.revoked_at.is_(None)
        )
        .values(revoked_at=at)
    )
    if ended == 0:
        raise NotFound("This project has no such active signing key.")
    tx.touch(f"project:{project_id}")


async def delete_expired_signing_keys(tx: Transaction, now: datetime) -> int:
    """Delete signing keys made for a limited time that is over; return how many."""
    return await tx.change(delete(signing_keys).where(signing_keys.c.expires_at < now))


async def insert_api_key(tx: Transaction, row: ApiKeyRow) -> None:
    """Add an API key."""
    await tx.execute(insert(api_keys).values(**values_of(row)))


async def api_key_by_hash(tx: Transaction, digest: str) -> ApiKeyRow | None:
    """Return the active API key with this digest."""
    found = (
        await tx.execute(select(api_keys).where(api_keys.c.hash == digest, api_keys.c.revoked_at.is_(None)))
    ).one_or_none()
    return ApiKeyRow(**found._mapping) if found else None


async def all_api_keys(tx: Transaction) -> list[ApiKeyRow]:
    """Return every API key, oldest first."""
    found = await tx.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    return [ApiKeyRow(**row._mapping) for row in found]


async def revoke_api_key(tx: Transaction, key_id: str, at: datetime) -> None:
    """End an API key, or raise `NotFound`."""
    ended = await tx.change(
        update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    )
    if ended == 0:
        raise NotFound("There is no such active API key.")


async def integration(tx: Transaction, project_id: str, type_: str) -> IntegrationRow | None:
    """Return a project's settings of an integration, or None if it has none yet."""
    found = (
        await tx.execute(
            select(integrations).where(integrations.c.project_id == project_id, integrations.c.type == type_)
        )
    ).one_or_none()
    return IntegrationRow(**found._mapping) if found else None


async def integrations_of(tx: Transaction, project_id: str) -> list[IntegrationRow]:
    """Return a project's integrations, by type."""
    found = await tx.execute(
        select(integrations).where(integrations.c.project_id == project_id).order_by(integrations.c.type)
    )
    return [IntegrationRow(**row._mapping) for row in found]


async def put_integration(tx: Transaction, row: IntegrationRow) -> None:
    """Add an integration's settings, or replace them."""
    values = values_of(row)
    changed = await tx.change(update(integrations).where(integrations.c.id == row.id).values(**values))
    if changed == 0:
        await tx.execute(insert(integrations).values(**values))
    tx.touch(f"project:{row.project_id}")


async def insert_client_secret(tx: Transaction, row: ClientSecretRow) -> None:
    """Add a client secret beside those there are."""
    await tx.execute(insert(client_secrets).values(**values_of(row)))
    tx.touch(f"project:{row.project_id}")


async def client_secrets_of(tx: Transaction, integration_id: str) -> list[ClientSecretRow]:
    """Return an integration's client secrets, newest first."""
    found = await tx.execute(
        select(client_secrets)
        .where(client_secrets.c.integration_id == integration_id)
        .order_by(client_secrets.c.created_at.desc(), client_secrets.c.id)
    )
    return [ClientSecretRow(**row._mapping) for row in found]


async def delete_client_secrets(tx: Transaction, project_id: str, ids: Sequence[str]) -> None:
    """Delete client secrets of a project."""
    await tx.execute(
        delete(client_secrets).where(client_secrets.c.project_id == project_id, client_secrets.c.id.in_(ids))
    )
    tx.touch(f"project:{project_id}")
