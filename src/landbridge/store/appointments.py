"""Queries on appointments: when a workflow that starts by itself is next to run for a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, not_, or_, select, tuple_, update

from landbridge.store.connections import ConfigurationRow, ConnectionRow, UserRow
from landbridge.store.database import Transaction
from landbridge.store.tables import (
    appointments,
    configurations,
    connected_users,
    connections,
    values_of,
    workflow_versions,
    workflows,
)
from landbridge.store.workflows import WorkflowRow

_ARRANGING = 0x6170706F  # serialises those who arrange on PostgreSQL, so that nobody puts an old time over a newer one


@dataclass(frozen=True, slots=True)
class AppointmentRow:
    """When a workflow runs next for a configuration, as a version of it says; None once it will not again."""

    workflow_id: str
    configuration_id: str
    version_id: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Party:
    """A configuration, with the connection and the user that it belongs to."""

    user: UserRow
    connection: ConnectionRow
    configuration: ConfigurationRow


async def projects_with(tx: Transaction, triggers: Sequence[str]) -> list[str]:
    """Return the projects that have deployed a workflow with a trigger of these types."""
    type_ = workflow_versions.c.definition["trigger", "type"].as_string()
    found = await tx.execute(
        select(workflows.c.project_id)
        .join(workflow_versions, workflow_versions.c.id == workflows.c.deployed_version_id)
        .where(type_.in_(triggers))
        .distinct()
    )
    return list(found.scalars())


async def take_turn(tx: Transaction) -> None:
    """Let nobody else arrange until this transaction ends."""
    await tx.take_turn(_ARRANGING)


async def unarranged(tx: Transaction, workflow: WorkflowRow, now: datetime, *, most: int) -> list[str]:
    """Return configurations that have a workflow switched on, and no appointment by the version that is deployed.

    One that is due already is kept first, whichever version made it. All that have it on are looked through, so ask
    for many at once.
    """
    switched = configurations.c.workflow_settings[workflow.id, "enabled"].as_boolean()
    mine = and_(
        appointments.c.configuration_id == configurations.c.id,
        appointments.c.workflow_id == workflow.id,
    )
    found = await tx.execute(
        select(configurations.c.id)
        .join(connections, connections.c.id == configurations.c.connection_id)
        .outerjoin(appointments, mine)
        .where(
            connections.c.project_id == workflow.project_id,
            connections.c.integration == workflow.integration,
            func.coalesce(switched, workflow.is_default_enabled),
            or_(appointments.c.workflow_id.is_(None), not_(_is_made(workflow, now))),
        )
        .limit(most)
    )
    return list(found.scalars())


def _is_made(workflow: WorkflowRow, now: datetime) -> ColumnElement[bool]:
    by_this_version = appointments.c.version_id == workflow.deployed_version_id
    return or_(by_this_version, appointments.c.due_at <= now, appointments.c.due_at.is_(None))


async def still_unarranged(
    tx: Transaction, workflow: WorkflowRow, now: datetime, configuration_ids: Sequence[str]
) -> list[tuple[str, UserRow]]:
    """Return those of some configurations for which nobody has made the appointment meanwhile, with their users."""
    mine = select(appointments.c.configuration_id).where(
        appointments.c.workflow_id == workflow.id, appointments.c.configuration_id.in_(configuration_ids)
    )
    made = set((await tx.execute(mine.where(_is_made(workflow, now)))).scalars())
    theirs = and_(
        connected_users.c.project_id == connections.c.project_id, connected_users.c.user_id == connections.c.user_id
    )
    found = await tx.execute(
        select(configurations.c.id.label("of"), *connected_users.c)
        .join(connections, connections.c.id == configurations.c.connection_id)
        .join(connected_users, theirs)
        .where(configurations.c.id.in_([id_ for id_ in configuration_ids if id_ not in made]))
    )
    columns = [column.name for column in connected_users.c]
    return [(row.of, UserRow(**{name: row._mapping[name] for name in columns})) for row in found]


async def parties(tx: Transaction, configuration_ids: Sequence[str]) -> list[Party]:
    """Return configurations with whom they belong to; without those that are gone."""
    found = await tx.execute(select(configurations).where(configurations.c.id.in_(configuration_ids)))
    own = [ConfigurationRow(**row._mapping) for row in found]
    found = await tx.execute(select(connections).where(connections.c.id.in_({row.connection_id for row in own})))
    accounts = {row.id: ConnectionRow(**row._mapping) for row in found}
    key = tuple_(connected_users.c.project_id, connected_users.c.user_id)
    wanted = {(row.project_id, row.user_id) for row in accounts.values()}
    found = await tx.execute(select(connected_users).where(key.in_(wanted)))
    users = {(row.project_id, row.user_id): UserRow(**row._mapping) for row in found}
    return [
        Party(users[account.project_id, account.user_id], account, row)
        for row in own
        if (account := accounts.get(row.connection_id)) and (account.project_id, account.user_id) in users
    ]


async def put(tx: Transaction, rows: Sequence[AppointmentRow]) -> None:
    """Make appointments, in place of those that there were for the same."""
    await tx.put(appointments, [values_of(row) for row in rows], replace=True)


async def due(tx: Transaction, now: datetime, *, most: int) -> list[tuple[AppointmentRow, Party]]:
    """Return appointments whose time has come, with whom they are for: the earliest first."""
    found = await tx.execute(
        select(appointments).where(appointments.c.due_at <= now).order_by(appointments.c.due_at).limit(most)
    )
    rows = [AppointmentRow(**row._mapping) for row in found]
    by_id = {party.configuration.id: party for party in await parties(tx, [row.configuration_id for row in rows])}
    return [(row, by_id[row.configuration_id]) for row in rows if row.configuration_id in by_id]


async def is_any_due(tx: Transaction, now: datetime) -> bool:
    """Return whether the time of any has come, at the cost of one look into an index."""
    wanted = select(appointments.c.due_at).where(appointments.c.due_at <= now).limit(1)
    return (await tx.execute(wanted)).first() is not None


async def move(tx: Transaction, row: AppointmentRow, version_id: str, due_at: datetime | None) -> bool:
    """Move an appointment from the time that it had, or return False: somebody else kept it."""
    moved = update(appointments).where(_as_it_was(row)).values(version_id=version_id, due_at=due_at)
    return await tx.change(moved) == 1


async def give_up(tx: Transaction, row: AppointmentRow) -> None:
    """Delete an appointment that is as it was read."""
    await tx.execute(delete(appointments).where(_as_it_was(row)))


async def arrange_anew(tx: Transaction, project_id: str, user_id: str) -> None:
    """Have a user's appointments made anew, since what their times follow from has changed."""
    theirs = (
        select(configurations.c.id)
        .join(connections, connections.c.id == configurations.c.connection_id)
        .where(connections.c.project_id == project_id, connections.c.user_id == user_id)
    )
    await tx.execute(update(appointments).where(appointments.c.configuration_id.in_(theirs)).values(version_id=""))


def _as_it_was(row: AppointmentRow) -> ColumnElement[bool]:
    return and_(
        appointments.c.workflow_id == row.workflow_id,
        appointments.c.configuration_id == row.configuration_id,
        appointments.c.due_at == row.due_at,
    )
