"""Queries on the history of runs that people read: what each step was given and gave, masked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select

from landbridge.store.database import Transaction
from landbridge.store.runs import WAITING, RunRow, family
from landbridge.store.tables import run_steps, runs, values_of


@dataclass(frozen=True, slots=True)
class StepRow:
    """What became of one step of a run. `input`, `output` and `error` are JSON without secrets.

    Of a value that is cut there, `whole_…` is the id of a file that holds all of it, unless that is too long.
    """

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
    whole_input: str | None = None
    whole_output: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; what other runs started is not among them, but with its parent."""

    project_id: str
    workflow_id: str | None = None
    user_id: str | None = None
    integration: str | None = None
    states: tuple[str, ...] = ()
    for_children: bool | None = None
    """Of those that wait, only those that do so for runs that they started, or only the others."""

    after: datetime | None = None
    before: datetime | None = None
    trace_id: str | None = None
    is_test: bool = False
    """Whether tests of drafts are asked for, and nothing else; otherwise there are none among them."""


async def put_steps(tx: Transaction, rows: Sequence[StepRow]) -> None:
    """Write what became of steps of one run, over what was written of them before."""
    await tx.put(run_steps, [values_of(row) for row in rows], replace=True)


async def steps_of(tx: Transaction, run_id: str) -> list[StepRow]:
    """Return what became of a run's steps, in their order."""
    wanted = (
        select(run_steps).where(run_steps.c.run_id == run_id).order_by(run_steps.c.position, run_steps.c.started_at)
    )
    return [StepRow(**row._mapping) for row in await tx.execute(wanted)]


async def step_of(tx: Transaction, run_id: str, step: str) -> StepRow | None:
    """Return what became of one step."""
    wanted = select(run_steps).where(run_steps.c.run_id == run_id, run_steps.c.step == step)
    found = (await tx.execute(wanted)).one_or_none()
    return StepRow(**found._mapping) if found else None


async def large_values(tx: Transaction, run_id: str) -> list[str]:
    """Return the ids of the files that hold values of a run, and of all that it started."""
    of_family = run_steps.c.run_id.in_(family(runs.c.id == run_id))
    whole = (run_steps.c.whole_input, run_steps.c.whole_output)
    found = await tx.execute(select(*whole).where(of_family, or_(*(column.is_not(None) for column in whole))))
    return [id_ for row in found for id_ in row if id_]


async def page(
    tx: Transaction,
    wanted: Filter,
    *,
    limit: int,
    offset: int = 0,
    ascending: bool = False,
    beyond: tuple[datetime, str] | None = None,
) -> list[RunRow]:
    """Return runs, newest first unless `ascending`.

    `beyond` is when the last run of the page before was created, and its id: that run itself may be gone by now.
    """
    created, id_ = runs.c.created_at, runs.c.id
    query = select(runs).where(_matches(wanted))
    if beyond:
        last, last_id = beyond
        later = or_(created > last, and_(created == last, id_ > last_id))
        earlier = or_(created < last, and_(created == last, id_ < last_id))
        query = query.where(later if ascending else earlier)
    order = (created, id_) if ascending else (created.desc(), id_.desc())
    return [RunRow(**row._mapping) for row in await tx.execute(query.order_by(*order).limit(limit).offset(offset))]


async def count(tx: Transaction, wanted: Filter) -> int:
    """Return how many runs there are of that kind."""
    number: int = (await tx.execute(select(func.count()).select_from(runs).where(_matches(wanted)))).scalar_one()
    return number


async def entries(
    tx: Transaction, parent_id: str, *, step: str | None, limit: int, beyond: tuple[str, int] | None
) -> list[RunRow]:
    """Return the runs that a run started, by step and index. `beyond` is where the page before ended."""
    step_, index = runs.c.parent_step, runs.c.item_index
    query = select(runs).where(runs.c.parent_id == parent_id)
    if step is not None:
        query = query.where(step_ == step)
    if beyond:
        query = query.where(or_(step_ > beyond[0], and_(step_ == beyond[0], index > beyond[1])))
    return [RunRow(**row._mapping) for row in await tx.execute(query.order_by(step_, index).limit(limit))]


def _matches(wanted: Filter) -> Any:  # Any: an expression over the columns
    conditions = [
        runs.c.project_id == wanted.project_id,
        runs.c.parent_id.is_(None),
        runs.c.is_test.is_(wanted.is_test),
    ]
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
    if wanted.for_children is not None:
        waits = (runs.c.waits_for == "children") if wanted.for_children else (runs.c.waits_for != "children")
        conditions.append(or_(runs.c.state != WAITING, waits))
    if wanted.after:
        conditions.append(runs.c.created_at >= wanted.after)
    if wanted.before:
        conditions.append(runs.c.created_at < wanted.before)
    return and_(*conditions)
