"""Queries on workflows, their versions, and the secrets and events of a project that they refer to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from landbridge.errors import Conflict
from landbridge.store.database import Transaction
from landbridge.store.tables import (
    app_events,
    project_secrets,
    tested_drafts,
    values_of,
    workflow_versions,
    workflows,
)

_DEPLOYING = 0x6465706C  # serialises those who deploy on PostgreSQL, so that what they looked at still holds


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow: its draft, and which version of it is deployed. `draft` and `permissions` are JSON."""

    id: str
    project_id: str
    integration: str
    name: str
    draft: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    draft_number: int = 1
    deployed_version_id: str | None = None
    is_hidden: bool = False
    is_default_enabled: bool = False
    permissions: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """An immutable copy of a definition, as it was deployed."""

    id: str
    project_id: str
    workflow_id: str
    number: int
    definition: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """An app event: what the host product may report, with an example of it and perhaps its JSON Schema."""

    id: str
    project_id: str
    name: str
    example: Any
    schema: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A project's secret, sealed."""

    id: str
    project_id: str
    name: str
    sealed: bytes
    created_at: datetime


def scope_of(project_id: str) -> str:
    """Return what caches must forget when a project's workflows, events or secrets change."""
    return f"workflows:{project_id}"


async def insert_workflow(tx: Transaction, row: WorkflowRow) -> None:
    """Add a workflow."""
    await tx.execute(insert(workflows).values(**values_of(row)))
    tx.touch(scope_of(row.project_id))


async def workflow(tx: Transaction, project_id: str, workflow_id: str) -> WorkflowRow | None:
    """Return a workflow of a project."""
    wanted = select(workflows).where(workflows.c.project_id == project_id, workflows.c.id == workflow_id)
    found = (await tx.execute(wanted)).one_or_none()
    return WorkflowRow(**found._mapping) if found else None


async def workflows_of(tx: Transaction, project_id: str) -> list[WorkflowRow]:
    """Return a project's workflows, oldest first."""
    wanted = select(workflows).where(workflows.c.project_id == project_id)
    found = await tx.execute(wanted.order_by(workflows.c.created_at, workflows.c.id))
    return [WorkflowRow(**row._mapping) for row in found]


async def update_workflow(tx: Transaction, row: WorkflowRow, **changes: Any) -> None:  # Any: columns
    """Change a workflow, everywhere; or raise `Conflict` if somebody else changed its draft since it was read."""
    mine = (workflows.c.id == row.id, workflows.c.draft_number == row.draft_number)
    if not await tx.change(update(workflows).where(*mine).values(**changes)):
        raise Conflict("Somebody else changed this workflow meanwhile; read it again.")
    tx.touch(scope_of(row.project_id))


async def delete_workflow(tx: Transaction, row: WorkflowRow) -> None:
    """Delete a workflow with its versions; a run that still needs one of those fails."""
    await tx.execute(delete(workflows).where(workflows.c.id == row.id))
    tx.touch(scope_of(row.project_id))


async def insert_version(tx: Transaction, row: VersionRow) -> None:
    """Add a version, or raise `Conflict` if its number was just taken."""
    try:
        await tx.execute(insert(workflow_versions).values(**values_of(row)))
    except IntegrityError as error:
        raise Conflict("Somebody else deployed this workflow at the same moment; look at what is deployed.") from error


async def version(tx: Transaction, version_id: str) -> VersionRow | None:
    """Return a version, which never changes."""
    found = (await tx.execute(select(workflow_versions).where(workflow_versions.c.id == version_id))).one_or_none()
    return VersionRow(**found._mapping) if found else None


async def insert_tested_draft(tx: Transaction, run_id: str, definition: dict[str, Any]) -> None:  # Any: JSON
    """Keep what a test runs, for as long as its run is kept."""
    await tx.execute(insert(tested_drafts).values(run_id=run_id, definition=definition))


async def tested_draft(tx: Transaction, run_id: str) -> dict[str, Any] | None:  # Any: JSON
    """Return what a test runs."""
    found = await tx.execute(select(tested_drafts.c.definition).where(tested_drafts.c.run_id == run_id))
    definition: dict[str, Any] | None = found.scalar_one_or_none()  # Any: as above
    return definition


async def versions_of(tx: Transaction, workflow_id: str) -> list[VersionRow]:
    """Return a workflow's versions, newest first."""
    wanted = select(workflow_versions).where(workflow_versions.c.workflow_id == workflow_id)
    found = await tx.execute(wanted.order_by(workflow_versions.c.number.desc()))
    return [VersionRow(**row._mapping) for row in found]


async def deployed(tx: Transaction, project_id: str) -> list[tuple[WorkflowRow, VersionRow]]:
    """Return a project's deployed workflows with the version that is, oldest first."""
    rows = {row.id: row for row in await workflows_of(tx, project_id) if row.deployed_version_id}
    wanted = [row.deployed_version_id for row in rows.values()]
    found = await tx.execute(select(workflow_versions).where(workflow_versions.c.id.in_(wanted)))
    versions = {row.workflow_id: VersionRow(**row._mapping) for row in found}
    return [(row, versions[row.id]) for row in rows.values() if row.id in versions]


async def deployed_versions(tx: Transaction, project_id: str) -> set[str]:
    """Return the ids of the versions that are deployed in a project."""
    wanted = select(workflows.c.deployed_version_id).where(workflows.c.project_id == project_id)
    return set((await tx.execute(wanted.where(workflows.c.deployed_version_id.is_not(None)))).scalars())


async def take_turn_to_deploy(tx: Transaction) -> None:
    """Let nobody else deploy until this transaction ends."""
    await tx.take_turn(_DEPLOYING)


async def put_event(tx: Transaction, row: EventRow) -> None:
    """Add an app event, or change the one of that name."""
    mine = (app_events.c.project_id == row.project_id, app_events.c.name == row.name)
    if not await tx.change(update(app_events).where(*mine).values(example=row.example, schema=row.schema)):
        await tx.execute(insert(app_events).values(**values_of(row)))
    tx.touch(scope_of(row.project_id))


async def events_of(tx: Transaction, project_id: str) -> Sequence[EventRow]:
    """Return a project's app events, by name."""
    wanted = select(app_events).where(app_events.c.project_id == project_id).order_by(app_events.c.name)
    return [EventRow(**row._mapping) for row in await tx.execute(wanted)]


async def delete_event(tx: Transaction, project_id: str, name: str) -> bool:
    """Delete an app event, and return whether there was one."""
    gone = await tx.change(delete(app_events).where(app_events.c.project_id == project_id, app_events.c.name == name))
    tx.touch(scope_of(project_id))
    return gone == 1


async def put_secret(tx: Transaction, row: SecretRow) -> None:
    """Put a secret in place of the one of that name, which has another id and is sealed for it."""
    await delete_secret(tx, row.project_id, row.name)
    await tx.execute(insert(project_secrets).values(**values_of(row)))
    tx.touch(scope_of(row.project_id))


async def secrets_of(tx: Transaction, project_id: str) -> Sequence[SecretRow]:
    """Return a project's secrets, sealed, by name."""
    wanted = select(project_secrets).where(project_secrets.c.project_id == project_id)
    return [SecretRow(**row._mapping) for row in await tx.execute(wanted.order_by(project_secrets.c.name))]


async def delete_secret(tx: Transaction, project_id: str, name: str) -> bool:
    """Delete a secret, and return whether there was one."""
    mine = (project_secrets.c.project_id == project_id, project_secrets.c.name == name)
    gone = await tx.change(delete(project_secrets).where(*mine))
    tx.touch(scope_of(project_id))
    return gone == 1
