"""Queries on the history of runs that people read: what each step was given and gave, masked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select

from landbridge.store.database import Transaction
from landbridge.store.runs import RunRow
from landbridge.store.tables import run_steps, runs, values_of


@dataclass(frozen=True, slots=True)
class StepRow:
    """What became of one step of a run. `input`, `output` and `error` are JSON without secrets."""

    run_id: str
    step: str
    position: int
    type: str
    state: str
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; fan-out items are not among them, but with their parents."""

    project_id: str
    workflow_id: str | None = None
    user_id: str | None = None
    integration: str | None = None
    states: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    trace_id: str | None = None


async def put_steps(tx: Transaction, rows: Sequence[StepRow]) -> None:
    """Write what became of steps of one run, over what was written of them before."""
    await tx.put(run_steps, [values_of(row) for row in rows], replace=True)


async def steps_of(tx: Transaction, run_id: str) -> list[StepRow]:
    """Return what became of a run's steps, in their order."""
    wanted = (
        select(run_steps).where(run_steps.c.run_id == run_id).order_by(run_steps.c.position, run_steps.c.started_at)
    )
    return [StepRow(**row._mapping) for row in await tx.execute(wanted)]


async def page(
    tx: Transaction, wanted: Filter, *, limit: int, offset: int = 0, ascending: bool = False, beyond: str | None = None
) -> list[RunRow]:
    """Return runs, newest first unless `ascending`; `beyond` is the run that the page before ended with."""
    created, id_ = runs.c.created_at, runs.c.id
    query = select(runs).where(_matches(wanted))
    if beyond and (last := (await tx.execute(select(created).where(id_ == beyond))).scalar_one_or_none()):
        later = or_(created > last, and_(created == last, id_ > beyond))
        earlier = or_(created < last, and_(created == last, id_ < beyond))
        query = query.where(later if ascending else earlier)
    order = (created, id_) if ascending else (created.desc(), id_.desc())
    return [RunRow(**row._mapping) for row in await tx.execute(query.order_by(*order).limit(limit).offset(offset))]


async def count(tx: Transaction, wanted: Filter) -> int:
    """Return how many runs there are of that kind."""
    number: int = (await tx.execute(select(func.count()).select_from(runs).where(_matches(wanted)))).scalar_one()
    return number


def _matches(wanted: Filter) -> Any:  # Any: an expression over the columns
    conditions = [runs.c.project_id == wanted.project_id, runs.c.parent_id.is_(None)]
    for column, value in (
        (runs.c.workflow_id, wanted.workflow_id),
        (runs.c.user_id, wanted.user_id),
        (runs.c.integration, wanted.integration),
        (runs.c.trace_id, wanted.trace_id),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.states:
        conditions.append(runs.c.state.in_(wanted.states))
    if wanted.after:
        conditions.append(runs.c.created_at >= wanted.after)
    if wanted.before:
        conditions.append(runs.c.created_at < wanted.before)
    return and_(*conditions)
