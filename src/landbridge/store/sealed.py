"""Where the database holds what the vault sealed, and how the row of each sealed value is named."""

from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, LargeBinary, and_, func, literal, select, update

from landbridge.store.database import Transaction
from landbridge.store.tables import checkpoints, client_secrets, connections, project_secrets, runs, sign_ins

SealedColumn = Column[bytes]

SEALED: tuple[SealedColumn, ...] = (
    client_secrets.c.sealed,
    connections.c.sealed_tokens,
    sign_ins.c.sealed_secrets,
    checkpoints.c.sealed,
    project_secrets.c.sealed,
    runs.c.sealed_input,
    runs.c.sealed_carry,
    runs.c.sealed_output,
    runs.c.sealed_response,
)
"""Every sealed column. A new one belongs here, or a rotation of keys leaves it behind; a test compares the names."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A sealed value, and what the vault bound it to."""

    id: str
    identity: str
    sealed: bytes


def identity(table: str, project_id: str, row_id: str) -> str:
    """Return what the vault binds a sealed value to: a value that is moved to another row does not open."""
    return f"{table}/{project_id}/{row_id}"


async def count(tx: Transaction, column: SealedColumn, *, without: bytes) -> int:
    """Return how many values of a column do not begin with `without`."""
    number: int = (
        await tx.execute(select(func.count()).select_from(column.table).where(_lacks(column, without)))
    ).scalar_one()
    return number


async def is_any(tx: Transaction) -> bool:
    """Return whether the database holds anything that the vault sealed."""
    for column in SEALED:
        if (await tx.execute(select(literal(1)).select_from(column.table).where(column.is_not(None)).limit(1))).first():
            return True
    return False


async def page(
    tx: Transaction, column: SealedColumn, *, without: bytes, after: str = "", limit: int = 100
) -> list[SealedRow]:
    """Return the next values of a column that do not begin with `without`, by row id."""
    table = column.table
    found = await tx.execute(
        select(table.c.id, table.c.project_id, column.label("sealed"))
        .where(and_(table.c.id > after, _lacks(column, without)))
        .order_by(table.c.id)
        .limit(limit)
    )
    return [SealedRow(row.id, identity(table.name, row.project_id, row.id), row.sealed) for row in found]


async def replace(tx: Transaction, column: SealedColumn, row: SealedRow, sealed: bytes) -> bool:
    """Put `sealed` where `row` still holds what was read, or return False: somebody changed or deleted it since."""
    changed = await tx.change(
        update(column.table).where(column.table.c.id == row.id, column == row.sealed).values({column: sealed})
    )
    return changed == 1


def _lacks(column: SealedColumn, prefix: bytes) -> ColumnElement[bool]:
    return func.substr(column, 1, len(prefix), type_=LargeBinary) != literal(prefix, LargeBinary)
