"""Queries on checkpoints: what a step of a run has already done, sealed, since it may hold URLs that need no token."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import delete, exists, insert, select, update

from landbridge.store.database import Transaction
from landbridge.store.tables import checkpoints, runs, values_of

_NAMESPACE = UUID("b0a3a9a4-6f0e-4a57-9d5e-2f6b9b1f2f10")


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """How far a step of a run is."""

    id: str
    project_id: str
    run_id: str
    sealed: bytes
    updated_at: datetime


def checkpoint_id(project_id: str, run_id: str, step: str) -> str:
    """Return the id of a step's checkpoint: the same in every process."""
    return str(uuid5(_NAMESPACE, f"{project_id}/{len(run_id)}:{run_id}/{step}"))


async def sealed_checkpoint(tx: Transaction, id_: str) -> bytes | None:
    """Return what a step wrote down last."""
    found: bytes | None = (
        await tx.execute(select(checkpoints.c.sealed).where(checkpoints.c.id == id_))
    ).scalar_one_or_none()
    return found


async def put_checkpoint(tx: Transaction, row: CheckpointRow) -> None:
    """Write down how far a step is, over what it wrote before."""
    changed = await tx.change(
        update(checkpoints).where(checkpoints.c.id == row.id).values(sealed=row.sealed, updated_at=row.updated_at)
    )
    if not changed:
        await tx.execute(insert(checkpoints).values(**values_of(row)))


async def delete_checkpoints_of_run(tx: Transaction, project_id: str, run_id: str) -> None:
    """Delete the checkpoints of a run that is over."""
    await tx.execute(delete(checkpoints).where(checkpoints.c.project_id == project_id, checkpoints.c.run_id == run_id))


async def delete_checkpoint(tx: Transaction, id_: str) -> None:
    """Delete a checkpoint."""
    await tx.execute(delete(checkpoints).where(checkpoints.c.id == id_))


async def delete_old_checkpoints(tx: Transaction, before: datetime) -> int:
    """Delete what no step has written to since `before`, unless its run may need it; return how many that were."""
    needed = exists().where(runs.c.id == checkpoints.c.run_id, runs.c.is_cleared.is_(False))
    return await tx.change(delete(checkpoints).where(checkpoints.c.updated_at < before, ~needed))
