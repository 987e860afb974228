"""Queries on runs: the agenda of what is due, who works on it, and what became of it.

A run that waits is a row with a `due_at` and nothing else. A worker claims it, works on one leg of it, and writes what
came of the leg over exactly the row that it claimed: whoever lost the claim meanwhile writes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Subquery,
    Update,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from landbridge.store.database import Transaction
from landbridge.store.tables import runs, values_of, workers

QUEUED, RUNNING, WAITING, PAUSED, HELD = "queued", "running", "waiting", "paused", "held"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"

DUE = (QUEUED, WAITING, PAUSED)
OVER = (SUCCEEDED, FAILED, CANCELLED)

_CLAIMS = 0x72756E73  # serialises claims on PostgreSQL, so that limits hold between workers
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RunRow:
    """One execution of a workflow's version, or of one item of a fan-out in it (then it has a parent)."""

    id: str
    project_id: str
    workflow_id: str
    version_id: str
    user_id: str
    integration: str
    connection_id: str | None
    configuration_id: str | None
    trigger: str
    trace_id: str
    state: str
    due_at: datetime | None
    sealed_input: bytes
    created_at: datetime
    replay_of: str | None = None
    parent_id: str | None = None
    parent_step: str | None = None
    item_index: int | None = None
    depth: int = 0
    open_children: int = 0
    waits_for: str | None = None
    leg: int = 0
    worker_id: str | None = None
    is_cancelling: bool = False
    tasks: int = 0
    sealed_carry: bytes | None = None
    sealed_output: bytes | None = None
    sealed_response: bytes | None = None
    error: dict[str, Any] | None = None  # Any: JSON
    is_cleared: bool = False
    is_test: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs may be under way at once: for one project, and for one connection."""

    per_project: int
    per_connection: int


async def insert_runs(tx: Transaction, rows: Sequence[RunRow]) -> None:
    """Write runs onto the agenda; those that are on it already, from the same cause, stay as they are."""
    await tx.put(runs, [values_of(row) for row in rows])


async def run(tx: Transaction, run_id: str) -> RunRow | None:
    """Return a run."""
    found = (await tx.execute(select(runs).where(runs.c.id == run_id))).one_or_none()
    return RunRow(**found._mapping) if found else None


async def next_due(tx: Transaction) -> datetime | None:
    """Return when there is something to claim, as far as is known now, at the cost of some looks into an index."""
    firsts = [select(func.min(runs.c.due_at)).where(runs.c.state == state).scalar_subquery() for state in DUE]
    found: list[datetime] = [at for at in (await tx.execute(select(*firsts))).one() if at is not None]
    return min(found, default=None)


async def claim(
    tx: Transaction,
    worker_id: str,
    now: datetime,
    *,
    most: int,
    limits: Limits,
    lately: Iterable[tuple[str, str]] = (),
) -> list[RunRow]:
    """Give a worker up to `most` runs that are due: each project in turn, and in it each user in turn.

    What is under way counts, and what was `lately`: projects and users, once for each of their runs. Whoever had theirs
    comes after those who had not; else short runs that are begun one at a time would begin in the order of their hours.
    """
    await tx.take_turn(_CLAIMS)
    chosen = await _choose(tx, now, most, limits, lately)
    if not chosen:
        return []
    claimed = await tx.execute(
        update(runs)
        .where(runs.c.id.in_(chosen), runs.c.state.in_(DUE))  # some may have been given up meanwhile
        .values(
            state=RUNNING,
            worker_id=worker_id,
            waits_for=None,
            due_at=None,
            leg=runs.c.leg + 1,
            started_at=func.coalesce(runs.c.started_at, now, type_=runs.c.started_at.type),
        )
        .returning(runs)
    )
    order = {run_id: place for place, run_id in enumerate(chosen)}
    return sorted((RunRow(**row._mapping) for row in claimed), key=lambda row: order[row.id])


async def _choose(
    tx: Transaction, now: datetime, most: int, limits: Limits, lately: Iterable[tuple[str, str]]
) -> list[str]:
    due = (await tx.execute(_due(now).limit(most + 1))).all()
    if not due:
        return []
    if len(due) > most:  # some have to wait, so it matters who comes first
        return list((await tx.execute(_in_turn(now, limits, lately).limit(most))).scalars())
    in_project, on_connection = await _under_way(tx)
    chosen: list[str] = []
    for row in due:
        if in_project[row.project_id] >= limits.per_project:
            continue
        if row.connection_id and on_connection[row.connection_id] >= limits.per_connection:
            continue
        in_project[row.project_id] += 1
        on_connection[row.connection_id] += 1
        chosen.append(row.id)
    return chosen


async def _under_way(tx: Transaction) -> tuple[Counter[str], Counter[str]]:
    """Return how many runs are under way in each project, and on each connection."""
    in_project: Counter[str] = Counter()
    on_connection: Counter[str] = Counter()
    counted = select(runs.c.project_id, runs.c.connection_id, func.count().label("number"))
    grouped = counted.where(runs.c.state == RUNNING).group_by(runs.c.project_id, runs.c.connection_id)
    for row in await tx.execute(grouped):
        in_project[row.project_id] += row.number
        on_connection[row.connection_id] += row.number
    return in_project, on_connection


def _due(now: datetime) -> Any:  # Any: a select of labelled columns
    due = select(runs.c.id, runs.c.project_id, runs.c.connection_id)
    return due.where(runs.c.state.in_(DUE), runs.c.due_at <= now).order_by(runs.c.due_at, runs.c.id)


def _in_turn(now: datetime, limits: Limits, lately: Iterable[tuple[str, str]]) -> Any:  # Any: a select of ids
    """Return the query for what may begin: the first run of every user of every project, then the second, and so on.

    Whoever had some already begins to count after those. What a limit holds back is not among it, and so keeps nobody
    else waiting.
    """
    of_users, of_projects = _had(lately)
    due = _numbered_on_connections(now)
    in_limit = or_(due.c.connection_id.is_(None), due.c.on_connection <= limits.per_connection)
    of_user = func.row_number().over(
        partition_by=(due.c.project_id, due.c.user_id), order_by=(due.c.due_at, due.c.id)
    ) + func.coalesce(of_users.c.number, 0)
    users = (
        select(due.c.id, due.c.project_id, due.c.due_at, of_user.label("of_user"))
        .outerjoin(of_users, and_(of_users.c.project_id == due.c.project_id, of_users.c.user_id == due.c.user_id))
        .where(in_limit)
        .subquery()
    )
    place = func.row_number().over(partition_by=users.c.project_id, order_by=(users.c.of_user, users.c.due_at))
    turn, in_project = (place + func.coalesce(of_projects.c[before], 0) for before in ("number", "under_way"))
    fair = (
        select(users.c.id, users.c.due_at, turn.label("turn"), in_project.label("in_project"))
        .outerjoin(of_projects, of_projects.c.project_id == users.c.project_id)
        .subquery()
    )
    allowed = select(fair.c.id).where(fair.c.in_project <= limits.per_project)
    return allowed.order_by(fair.c.turn, fair.c.due_at, fair.c.id)


def _numbered_on_connections(now: datetime) -> Subquery:
    """Return what is due, numbered on each connection, after what that has under way."""
    running = select(runs.c.connection_id, func.count().label("number")).where(runs.c.state == RUNNING)
    under_way = running.group_by(runs.c.connection_id).subquery()
    place = func.row_number().over(partition_by=runs.c.connection_id, order_by=(runs.c.due_at, runs.c.id))
    return (
        select(runs.c.id, runs.c.project_id, runs.c.user_id, runs.c.connection_id, runs.c.due_at)
        .add_columns((place + func.coalesce(under_way.c.number, 0)).label("on_connection"))
        .outerjoin(under_way, under_way.c.connection_id == runs.c.connection_id)
        .where(runs.c.state.in_(DUE), runs.c.due_at <= now)
        .subquery()
    )


def _had(lately: Iterable[tuple[str, str]]) -> tuple[Subquery, Subquery]:
    """Return how many runs each user has under way or had lately, and each project, with those under way apart."""
    running = select(runs.c.project_id, runs.c.user_id, literal(1).label("under_way")).where(runs.c.state == RUNNING)
    others = [select(literal(project_id), literal(user_id), literal(0)) for project_id, user_id in lately]
    each = union_all(running, *others).subquery()
    project, number = each.c.project_id, func.count().label("number")
    of_users = select(project, each.c.user_id, number).group_by(project, each.c.user_id)
    of_projects = select(project, number, func.sum(each.c.under_way).label("under_way")).group_by(project)
    return of_users.subquery(), of_projects.subquery()


def _claimed(row: RunRow) -> ColumnElement[bool]:
    return and_(runs.c.id == row.id, runs.c.leg == row.leg, runs.c.worker_id == row.worker_id, runs.c.state == RUNNING)


async def end_leg(tx: Transaction, row: RunRow, **changes: Any) -> bool:  # Any: columns
    """Write what came of a leg over the row that was claimed, or return False: it is another worker's by now."""
    who = {"its_id": row.id, "its_leg": row.leg, "its_worker": row.worker_id}
    return await tx.change(_ended(frozenset(changes)), {**who, **changes}) == 1


@cache
def _ended(changed: frozenset[str]) -> Update:
    """Return the statement that writes over a claimed row, made once for the same columns: that takes long."""
    its = and_(
        runs.c.id == bindparam("its_id"),
        runs.c.leg == bindparam("its_leg"),
        runs.c.worker_id == bindparam("its_worker"),
    )
    return update(runs).where(its, runs.c.state == RUNNING).values({name: bindparam(name) for name in changed})


async def held(tx: Transaction, rows: Sequence[RunRow]) -> set[str]:
    """Return which of some rows are still as they were claimed, and let nobody change those until the end."""
    claimed = {(row.id, row.leg, row.worker_id) for row in rows}
    columns = select(runs.c.id, runs.c.leg, runs.c.worker_id)
    wanted = columns.where(runs.c.id.in_([row.id for row in rows]), runs.c.state == RUNNING).with_for_update()
    return {row.id for row in await tx.execute(wanted.order_by(runs.c.depth, runs.c.id)) if tuple(row) in claimed}


async def take_over(tx: Transaction, row: RunRow, worker_id: str) -> bool:
    """Give a run of a dead worker to another one, or return False: somebody else did."""
    return await tx.change(update(runs).where(_claimed(row)).values(worker_id=worker_id)) == 1


async def runs_of_worker(tx: Transaction, worker_id: str) -> list[RunRow]:
    """Return the runs that a worker has claimed."""
    found = await tx.execute(select(runs).where(runs.c.worker_id == worker_id, runs.c.state == RUNNING))
    return [RunRow(**row._mapping) for row in found]


async def under_way(tx: Transaction, run_ids: Sequence[str]) -> set[tuple[str, int]]:
    """Return those of some runs that somebody works on, and on which leg of them."""
    found = await tx.execute(select(runs.c.id, runs.c.leg).where(runs.c.id.in_(run_ids), runs.c.state == RUNNING))
    return {(row.id, row.leg) for row in found}


async def workers_with_runs(tx: Transaction) -> set[str]:
    """Return the workers that have claimed anything."""
    found = await tx.execute(select(runs.c.worker_id).where(runs.c.state == RUNNING).distinct())
    return {worker_id for worker_id in found.scalars() if worker_id}


async def lock(tx: Transaction, run_id: str) -> None:
    """Let nobody else change a run until the end: entries end one after the other, and a parent is locked first."""
    await tx.execute(select(literal(1)).where(runs.c.id == run_id).with_for_update())


async def end_item(
    tx: Transaction, parent_id: str, step: str, now: datetime, *, ended: int = 1, had_begun: bool = True
) -> None:
    """Let the next item of a step begin in place of one that is over, and the parent go on if it was the last."""
    await lock(tx, parent_id)
    if had_begun:
        await _release_next(tx, parent_id, step, now)
    fewer = (func.max if tx.is_sqlite else func.greatest)(runs.c.open_children - ended, 0, type_=Integer)
    await tx.execute(update(runs).where(runs.c.id == parent_id).values(open_children=fewer))
    waits = and_(runs.c.id == parent_id, runs.c.state == WAITING, runs.c.open_children == 0, runs.c.due_at.is_(None))
    await tx.execute(update(runs).where(waits).values(due_at=now))


async def _release_next(tx: Transaction, parent_id: str, step: str, now: datetime) -> None:
    held = and_(runs.c.parent_id == parent_id, runs.c.parent_step == step, runs.c.state == HELD)
    first = select(func.min(runs.c.item_index)).where(held).scalar_subquery()
    await tx.execute(update(runs).where(held, runs.c.item_index == first).values(state=QUEUED, due_at=now))


async def give_up_items(tx: Transaction, parent_id: str, step: str, now: datetime) -> int:
    """End the items of a fan-out early, with all that they wait for; those under way end before their next step.

    Returns how many have ended by that, without what they waited for. What they started to go its own way goes on.
    """
    items = and_(runs.c.parent_id == parent_id, runs.c.parent_step == step)
    unfinished = await _end_early(tx, family(items, runs.c.parent_step.is_not(None)), now)
    return sum(row.parent_id == parent_id and row.state != RUNNING for row in unfinished)


async def children(tx: Transaction, parent_id: str, step: str) -> list[RunRow]:
    """Return the runs that a step started, in the order of its items."""
    found = await tx.execute(
        select(runs).where(runs.c.parent_id == parent_id, runs.c.parent_step == step).order_by(runs.c.item_index)
    )
    return [RunRow(**row._mapping) for row in found]


async def cancel(tx: Transaction, run_id: str, now: datetime) -> bool:
    """End a run with all that it started, or have its worker end it at the next step. False: it is over already."""
    await tx.take_turn(_CLAIMS)  # what waits would else be claimed while we look at what runs
    return await _cancel(tx, run_id, now)


async def cancel_if_asked(tx: Transaction, run_id: str, now: datetime) -> None:
    """End a run that somebody asked to end while a leg of it was under way, which ended in waiting."""
    asked = select(literal(1)).where(runs.c.id == run_id, runs.c.is_cancelling)
    if (await tx.execute(asked)).first():
        await _cancel(tx, run_id, now)


async def _cancel(tx: Transaction, run_id: str, now: datetime) -> bool:
    row = await run(tx, run_id)
    if row is None:
        return False
    if row.parent_id:
        await lock(tx, row.parent_id)
    unfinished = await _end_early(tx, family(runs.c.id == run_id), now)
    state = next((one.state for one in unfinished if one.id == run_id), None)
    if state in (HELD, *DUE) and row.parent_id and row.parent_step:
        await end_item(tx, row.parent_id, row.parent_step, now, had_begun=state != HELD)
    return bool(unfinished)


def family(heads: ColumnElement[bool], *links: ColumnElement[bool]) -> Any:  # Any: a select of ids
    """Return the query for some runs and all that they started, however deep, as far as `links` holds for that."""
    found = select(runs.c.id).where(heads).cte("family", recursive=True)
    started = select(runs.c.id).join(found, runs.c.parent_id == found.c.id).where(*links)
    return select(found.union_all(started).c.id)


async def _end_early(tx: Transaction, members: Any, now: datetime) -> Sequence[Any]:  # Any: a select of ids, and rows
    """End those of a family that wait, and have workers end the others before their next step.

    Returns the id, the parent and the state of each that was not over. They are locked in the order in which the ends
    of legs lock: a parent before its children.
    """
    unfinished = select(runs.c.id, runs.c.parent_id, runs.c.state).where(runs.c.id.in_(members))
    unfinished = unfinished.where(runs.c.state.not_in(OVER)).order_by(runs.c.depth, runs.c.id).with_for_update()
    found = (await tx.execute(unfinished)).all()
    idle = update(runs).where(runs.c.id.in_(members), runs.c.state.in_((HELD, *DUE)))
    over = {"state": CANCELLED, "due_at": None, "waits_for": None, "is_cancelling": False, "finished_at": now}
    await tx.execute(idle.values(over))
    busy = update(runs).where(runs.c.id.in_(members), runs.c.state == RUNNING)
    await tx.execute(busy.values(is_cancelling=True))
    return found


async def cancelling(tx: Transaction, worker_id: str) -> set[str]:
    """Return which of a worker's runs somebody asked to end."""
    asked = select(runs.c.id).where(runs.c.worker_id == worker_id, runs.c.state == RUNNING, runs.c.is_cancelling)
    return set((await tx.execute(asked)).scalars())


async def responses(tx: Transaction, run_ids: Iterable[str]) -> list[RunRow]:
    """Return those of some runs that have answered, or are over."""
    answered = or_(runs.c.sealed_response.is_not(None), runs.c.state.in_(OVER))
    found = await tx.execute(select(runs).where(runs.c.id.in_(list(run_ids)), answered))
    return [RunRow(**row._mapping) for row in found]


async def existing(tx: Transaction, run_ids: Sequence[str]) -> set[str]:
    """Return those of some ids that runs have."""
    found: set[str] = set()
    for first in range(0, len(run_ids), _AT_ONCE):
        some = select(runs.c.id).where(runs.c.id.in_(run_ids[first : first + _AT_ONCE]))
        found.update((await tx.execute(some)).scalars())
    return found


async def uncleared(tx: Transaction, before: datetime, *, most: int) -> list[RunRow]:
    """Return runs that were over before an instant, whose files and checkpoints are still there, the oldest first."""
    old = and_(runs.c.is_cleared.is_(False), _was_over(before))
    found = await tx.execute(select(runs).where(old).order_by(runs.c.finished_at).limit(most))
    return [RunRow(**row._mapping) for row in found]


async def begun_and_uncleared(tx: Transaction, before: datetime) -> list[tuple[str, str]]:
    """Return the runs that began before an instant whose files and checkpoints may be needed still, by project."""
    old = and_(runs.c.is_cleared.is_(False), runs.c.parent_id.is_(None), runs.c.created_at < before)
    return [(row.project_id, row.id) for row in await tx.execute(select(runs.c.project_id, runs.c.id).where(old))]


def _was_over(before: datetime) -> ColumnElement[bool]:
    """Return whether a run that no other started was over before an instant, with all that it started.

    What it waits for is over when it is. So what matters is what it started to go its own way, in however deep a run.
    """
    on_its_own = and_(runs.c.parent_id.is_not(None), runs.c.parent_step.is_(None))
    unfinished = select(runs.c.parent_id.label("id")).where(on_its_own, runs.c.finished_at.is_(None))
    recent = select(runs.c.parent_id).where(on_its_own, runs.c.finished_at >= before)
    around = unfinished.cte("around", recursive=True)
    further = select(runs.c.parent_id).join(around, runs.c.id == around.c.id).where(runs.c.parent_id.is_not(None))
    outlived = select(around.union(recent, further).c.id)
    return and_(runs.c.finished_at < before, runs.c.parent_id.is_(None), runs.c.id.not_in(outlived))


async def mark_cleared(tx: Transaction, run_ids: Sequence[str]) -> None:
    """Note that the files and checkpoints of runs are gone."""
    await tx.execute(update(runs).where(runs.c.id.in_(run_ids)).values(is_cleared=True))


async def delete_finished(tx: Transaction, before: datetime, *, most: int) -> int:
    """Delete up to `most` cleared runs that were over before an instant, with what they started and all history.

    Returns how many were deleted, without those that they started.
    """
    old = and_(runs.c.is_cleared.is_(True), _was_over(before))
    found = list((await tx.execute(select(runs.c.id).where(old).order_by(runs.c.finished_at).limit(most))).scalars())
    generation = found
    while generation:
        started: list[str] = []
        for first in range(0, len(generation), _AT_ONCE):
            some = generation[first : first + _AT_ONCE]
            started += (await tx.execute(select(runs.c.id).where(runs.c.parent_id.in_(some)))).scalars()
            await tx.execute(delete(runs).where(runs.c.id.in_(some)))
        generation = started
    return len(found)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process, for as long as it lives: `beats` goes up while it does."""

    id: str
    host: str
    beats: int
    started_at: datetime


async def insert_worker(tx: Transaction, row: WorkerRow) -> None:
    """Say that a worker began."""
    await tx.execute(insert(workers).values(**values_of(row)))


async def beat(tx: Transaction, worker_id: str) -> bool:
    """Say that a worker lives, or return False: the others took it for dead."""
    return await tx.change(update(workers).where(workers.c.id == worker_id).values(beats=workers.c.beats + 1)) == 1


async def all_workers(tx: Transaction) -> list[WorkerRow]:
    """Return every worker that has not been found dead."""
    return [WorkerRow(**row._mapping) for row in await tx.execute(select(workers))]


async def delete_worker(tx: Transaction, worker_id: str) -> None:
    """Forget a worker that ended, or died."""
    await tx.execute(delete(workers).where(workers.c.id == worker_id))
