"""A fan-out keeps its order and its bound, whatever ends first, and whatever is cancelled."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from tests.clock import START
from tests.store import rows

from landbridge.store import runs
from landbridge.store.database import Database, Transaction
from landbridge.store.projects import ProjectRow
from landbridge.store.runs import CANCELLED, DUE, HELD, OVER, QUEUED, RUNNING, SUCCEEDED, WAITING, Limits, RunRow
from landbridge.store.tables import runs as table

LIMITS = Limits(per_project=1_000_000, per_connection=1_000_000)


@dataclass(frozen=True)
class FanOut:
    """A run that waits for its entries, and what may happen to these."""

    database: Database
    parent: RunRow
    concurrency: int

    async def begin(self, count: int) -> None:
        entries = [
            rows.run(
                rows.project(id=self.parent.project_id),
                id=f"{self.parent.id}:each:{index}",
                parent_id=self.parent.id,
                parent_step="each",
                item_index=index,
                state=QUEUED if index < self.concurrency else HELD,
                due_at=START if index < self.concurrency else None,
            )
            for index in range(count)
        ]
        async with self.database.begin() as tx:
            await tx.execute(delete(table))  # those of the example before, which a worker would claim as well
            await runs.insert_runs(tx, [self.parent, *entries])

    async def entries(self) -> list[RunRow]:
        async with self.database.read() as tx:
            return await runs.children(tx, self.parent.id, "each")

    async def happen(self, what: str, to: RunRow) -> None:
        """Have a worker claim what is due, or end its work on an entry; or have somebody cancel that one."""
        async with self.database.begin() as tx:
            match what:
                case "claim":
                    await runs.claim(tx, "worker", START, most=2, limits=LIMITS)
                case "cancel":
                    await runs.cancel(tx, to.id, START)
                case _ if to.state == RUNNING:
                    await self._end_leg(tx, to, SUCCEEDED if what == "end" else WAITING)

    async def _end_leg(self, tx: Transaction, row: RunRow, state: str) -> None:
        await runs.lock(tx, self.parent.id)
        if state == WAITING:
            await runs.end_leg(tx, row, state=WAITING, due_at=START, worker_id=None)
            await runs.cancel_if_asked(tx, row.id, START)
            return
        state = CANCELLED if row.is_cancelling else state
        await runs.end_leg(tx, row, state=state, finished_at=START, worker_id=None)
        await runs.end_item(tx, self.parent.id, "each", START)

    async def holds(self) -> None:
        """Assert what must hold at any time."""
        entries = await self.entries()
        assert [entry.item_index for entry in entries] == list(range(len(entries)))
        begun, held, succeeded = (
            [entry.id for entry in entries if entry.state in states]
            for states in ((RUNNING, *DUE), (HELD,), (SUCCEEDED,))
        )
        assert len(begun) <= self.concurrency
        assert len(begun) == self.concurrency or not held
        assert not held or max(begun + succeeded) < min(held)
        async with self.database.read() as tx:
            parent = await runs.run(tx, self.parent.id)
        assert parent
        unfinished = sum(entry.state not in OVER for entry in entries)
        assert (parent.open_children, parent.due_at is None) == (unfinished, unfinished > 0)


@settings(max_examples=15)
@given(
    count=st.integers(1, 9),
    concurrency=st.integers(1, 4),
    happenings=st.lists(st.tuples(st.sampled_from(["claim", "end", "wait", "cancel"]), st.integers(0, 8)), max_size=20),
)
async def test_entries_begin_in_order_and_within_their_bound_whatever_ends_first_and_is_cancelled(
    database: Database, project: ProjectRow, count: int, concurrency: int, happenings: list[tuple[str, int]]
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=count)
    fan_out = FanOut(database, parent, concurrency)
    await fan_out.begin(count)
    await fan_out.holds()
    for what, index in happenings + [("claim", 0), ("end", 0), ("end", 1)] * count:
        if unfinished := [entry for entry in await fan_out.entries() if entry.state not in OVER]:
            await fan_out.happen(what, unfinished[index % len(unfinished)])
            await fan_out.holds()
    assert {entry.state for entry in await fan_out.entries()} <= set(OVER)
