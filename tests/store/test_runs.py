"""The agenda of runs: fair, within limits, and written to by nobody but who works on a run."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from tests.clock import START
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.store import checkpoints, history, runs
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow, insert_project
from landbridge.store.runs import CANCELLED, HELD, QUEUED, RUNNING, SUCCEEDED, WAITING, Limits, RunRow

WIDE = Limits(per_project=1000, per_connection=1000)


async def _put(database: Database, *many: RunRow) -> None:
    async with database.begin() as tx:
        await runs.insert_runs(tx, many)


async def _claim(database: Database, worker: str = "worker", *, most: int = 100, limits: Limits = WIDE) -> list[RunRow]:
    async with database.begin() as tx:
        return await runs.claim(tx, worker, START, most=most, limits=limits)


async def _state(database: Database, row: RunRow) -> str:
    async with database.read() as tx:
        found = await runs.run(tx, row.id)
    assert found
    return found.state


async def test_a_run_from_the_same_cause_is_written_down_once(database: Database, project: ProjectRow) -> None:
    run = rows.run(project)
    await _put(database, run)
    await _put(database, run)
    assert await rows.count(database, "runs") == 1


async def test_what_is_due_later_is_left_alone(database: Database, project: ProjectRow) -> None:
    await _put(database, rows.run(project, due_at=START + timedelta(seconds=1)))
    assert await _claim(database) == []


async def test_a_quiet_user_comes_after_one_run_of_a_busy_one_and_not_after_all(
    database: Database, project: ProjectRow
) -> None:
    busy = [rows.run(project, user_id="busy", due_at=START - timedelta(hours=1)) for _ in range(50)]
    quiet = rows.run(project, user_id="quiet")
    await _put(database, *busy, quiet)

    claimed = await _claim(database, most=4)

    assert quiet.id in {row.id for row in claimed[:2]}


async def test_whoever_has_nothing_under_way_comes_before_those_who_have(
    database: Database, project: ProjectRow
) -> None:
    another = rows.project()
    async with database.begin() as tx:
        await insert_project(tx, another)
    busy = [rows.run(project, user_id="busy", due_at=START - timedelta(hours=1)) for _ in range(50)]
    await _put(database, *busy)
    assert len(await _claim(database, most=2)) == 2
    quiet, elsewhere = rows.run(project, user_id="quiet"), rows.run(another)
    await _put(database, quiet, elsewhere)

    claimed = [(await _claim(database, most=1))[0] for _ in range(4)]

    assert [row.id for row in claimed[:1]] == [elsewhere.id]
    assert quiet.id in {row.id for row in claimed[:2]}


async def test_no_project_and_no_connection_goes_over_its_limit(database: Database, project: ProjectRow) -> None:
    connection = rows.connection(project)
    one = [rows.run(project, user_id=f"v{i}", connection_id=connection.id) for i in range(5)]
    others = [rows.run(project, user_id=f"u{i}") for i in range(5)]
    await _put(database, *one, *others)

    claimed = await _claim(database, limits=Limits(per_project=6, per_connection=2))
    again = await _claim(database, limits=Limits(per_project=6, per_connection=2))

    assert len(claimed) == 6
    assert Counter(row.connection_id for row in claimed)[connection.id] <= 2
    assert again == []


async def test_two_workers_never_claim_the_same_run(database: Database, opened: Opener, project: ProjectRow) -> None:
    await _put(database, *(rows.run(project) for _ in range(10)))
    mine = await _claim(database, "one", most=6)
    theirs = await _claim(opened(), "two", most=6)
    assert len({row.id for row in (*mine, *theirs)}) == len(mine) + len(theirs) == 10


async def test_whoever_lost_the_claim_writes_nothing(database: Database, project: ProjectRow) -> None:
    await _put(database, rows.run(project))
    (claimed,) = await _claim(database, "dead")
    async with database.begin() as tx:
        assert await runs.take_over(tx, claimed, "heir")
        assert not await runs.take_over(tx, claimed, "late heir")
    async with database.begin() as tx:
        assert not await runs.end_leg(tx, claimed, state=SUCCEEDED)
    assert await _state(database, claimed) == RUNNING


async def test_the_next_item_begins_when_one_is_over_and_the_parent_goes_on_after_the_last(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=3)
    of = {"parent_id": parent.id, "parent_step": "each"}
    items = [
        rows.run(project, item_index=i, state=QUEUED if i == 0 else HELD, due_at=START if i == 0 else None, **of)
        for i in range(3)
    ]
    await _put(database, parent, *items)

    for number, item in enumerate(items):
        assert await _state(database, item) == QUEUED
        assert await _state(database, parent) == WAITING
        async with database.begin() as tx:
            await runs.end_item(tx, parent.id, "each", START)
        async with database.read() as tx:
            after = await runs.run(tx, parent.id)
        assert after
        assert (after.open_children, after.due_at is None) == (2 - number, number < 2)


async def test_cancelling_ends_what_waits_and_asks_the_worker_for_the_rest(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project)
    (child,) = _entries(project, parent, [HELD])
    stranger = rows.run(project, user_id="else")
    await _put(database, parent, child, stranger)
    claimed = await _claim(database)
    assert {row.id for row in claimed} == {parent.id, stranger.id}

    async with database.begin() as tx:
        assert await runs.cancel(tx, parent.id, START)
    async with database.read() as tx:
        asked = await runs.cancelling(tx, "worker")

    assert asked == {parent.id}
    assert await _state(database, child) == CANCELLED


async def test_a_run_that_was_asked_to_end_does_not_wait_once_more(database: Database, project: ProjectRow) -> None:
    await _put(database, rows.run(project))
    (claimed,) = await _claim(database)
    (child,) = _entries(project, claimed, [QUEUED])
    async with database.begin() as tx:
        assert await runs.cancel(tx, claimed.id, START)

    async with database.begin() as tx:
        assert await runs.end_leg(tx, claimed, state=WAITING, due_at=None, open_children=1)
        await runs.insert_runs(tx, [child])
        await runs.cancel_if_asked(tx, claimed.id, START)

    assert [await _state(database, row) for row in (claimed, child)] == [CANCELLED, CANCELLED]


async def test_a_parent_goes_on_when_what_it_waits_for_is_cancelled_alone(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=1)
    child = rows.run(project, id=f"{parent.id}:ask:0", parent_id=parent.id, parent_step="ask", item_index=0)
    await _put(database, parent, child)

    async with database.begin() as tx:
        assert await runs.cancel(tx, child.id, START)

    assert [row.id for row in await _claim(database)] == [parent.id]


async def test_cancelling_at_the_very_moment_at_which_a_leg_ends_in_waiting_is_not_lost(
    database: Database, opened: Opener, project: ProjectRow
) -> None:
    await _put(database, rows.run(project))
    (claimed,) = await _claim(database)

    async def cancel() -> bool:
        async with opened().begin() as tx:
            return await runs.cancel(tx, claimed.id, START)

    async with database.begin() as tx:
        assert await runs.end_leg(tx, claimed, state=WAITING, due_at=None, open_children=1)
        cancelling = asyncio.create_task(cancel())
        await asyncio.sleep(0.2)  # it has looked at what it can see by now, and waits for the lock
        await runs.insert_runs(tx, _entries(project, claimed, [QUEUED]))

    assert await cancelling
    assert await _state(database, claimed) == CANCELLED
    assert await _claim(database) == []


async def test_an_entry_that_is_cancelled_before_its_turn_leaves_no_place_for_another(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=3)
    first, second, third = _entries(project, parent, [WAITING, HELD, HELD])
    await _put(database, parent, first, second, third)

    async with database.begin() as tx:
        assert await runs.cancel(tx, third.id, START)
    assert await _states(database, first, second, third) == [WAITING, HELD, CANCELLED]

    async with database.begin() as tx:
        assert await runs.cancel(tx, first.id, START)
    assert await _states(database, first, second, third) == [CANCELLED, QUEUED, CANCELLED]
    async with database.read() as tx:
        after = await runs.run(tx, parent.id)
    assert after
    assert after.open_children == 1


async def test_cancelling_ends_all_that_a_run_started_whatever_the_ids_of_those_are(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None)
    (entry,) = _entries(project, parent, [WAITING])
    (inner,) = _entries(project, entry, [WAITING], id="short")
    stranger = rows.run(project, id=f"{entry.id}:each")
    await _put(database, parent, entry, inner, stranger)

    async with database.begin() as tx:
        assert await runs.cancel(tx, entry.id, START)

    assert await _states(database, parent, entry, inner, stranger) == [WAITING, CANCELLED, CANCELLED, QUEUED]


async def test_giving_up_entries_ends_what_they_wait_for_and_not_what_goes_its_own_way(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=4)
    entries = _entries(project, parent, [SUCCEEDED, WAITING, RUNNING, HELD])
    inner = _entries(project, entries[1], [RUNNING, WAITING, HELD])
    alone = rows.run(project, parent_id=entries[1].id, item_index=0, state=WAITING)
    await _put(database, parent, *entries, *inner, alone)

    async with database.begin() as tx:
        assert await runs.give_up_items(tx, parent.id, "each", START) == 2

    assert await _states(database, *entries) == [SUCCEEDED, CANCELLED, RUNNING, CANCELLED]
    assert await _states(database, *inner, alone) == [RUNNING, CANCELLED, CANCELLED, WAITING]
    async with database.read() as tx:
        assert await runs.cancelling(tx, "worker") == {entries[2].id, inner[0].id}


async def test_what_is_given_up_while_a_worker_looks_for_something_to_do_is_not_begun(
    database: Database, opened: Opener, project: ProjectRow
) -> None:
    parent = rows.run(project, state=WAITING, due_at=None, open_children=1)
    (entry,) = _entries(project, parent, [QUEUED])
    await _put(database, parent, entry)

    async with database.begin() as tx:
        assert await runs.give_up_items(tx, parent.id, "each", START) == 1
        claiming = asyncio.create_task(_claim(opened()))
        await asyncio.sleep(0.2)  # it has found the entry by now, and waits for the lock

    assert await claiming == []
    assert await _state(database, entry) == CANCELLED


async def test_what_a_limit_holds_back_keeps_nobody_else_waiting(database: Database, project: ProjectRow) -> None:
    limits = Limits(per_project=20, per_connection=2)
    crowds = [rows.project() for _ in range(9)]
    async with database.begin() as tx:
        for crowd in crowds:
            await insert_project(tx, crowd)
    busy = [row for number, crowd in enumerate(crowds) for row in _crowd(crowd, f"busy {number}")]
    quiet, other = rows.run(project, user_id="quiet"), rows.run(project, user_id="ann", connection_id="other")
    await _put(database, *busy, *_crowd(project, "full"), quiet, other)

    claimed = [row.id for _ in range(3) for row in await _claim(database, most=1, limits=limits)]

    assert sorted(claimed) == sorted((quiet.id, other.id))


async def test_a_connection_with_one_place_left_takes_one_and_leaves_the_rest_to_others(
    database: Database, project: ProjectRow
) -> None:
    one = [rows.run(project, connection_id="one", due_at=START - timedelta(hours=1)) for _ in range(200)]
    under_way = rows.run(project, connection_id="one", state=RUNNING, worker_id="another", due_at=None)
    other = [rows.run(project, connection_id="other") for _ in range(50)]
    unbound = [rows.run(project, user_id="bob") for _ in range(50)]
    await _put(database, *one, under_way, *other, *unbound)

    claimed = await _claim(database, most=16, limits=Limits(per_project=8, per_connection=2))

    assert Counter(row.connection_id for row in claimed) == {"one": 1, "other": 2, None: 4}


async def test_a_run_is_cleared_and_deleted_when_all_that_it_started_is_over_for_long_enough(
    database: Database, project: ProjectRow
) -> None:
    over = {"state": SUCCEEDED, "due_at": None, "finished_at": START - timedelta(days=9)}
    root, cleared = rows.run(project, **over), rows.run(project, is_cleared=True, **over)
    (entry,), (other,) = _entries(project, root, [SUCCEEDED]), _entries(project, cleared, [SUCCEEDED])
    late = rows.run(project, parent_id=entry.id, item_index=0, state=WAITING)
    later = rows.run(project, parent_id=other.id, item_index=0, state=SUCCEEDED, finished_at=START - timedelta(days=1))
    alone = rows.run(project, **over)
    await _put(database, root, cleared, entry, other, late, later, alone)

    async with database.begin() as tx:
        assert [row.id for row in await runs.uncleared(tx, START, most=9)] == [alone.id]
        assert await runs.cancel(tx, late.id, START)
        assert [row.id for row in await runs.uncleared(tx, START, most=9)] == [alone.id]
        a_moment_later = START + timedelta(seconds=1)
        assert {row.id for row in await runs.uncleared(tx, a_moment_later, most=9)} == {root.id, alone.id}
        assert await runs.delete_finished(tx, START - timedelta(days=1), most=9) == 0
        assert await runs.delete_finished(tx, START, most=9) == 1

    assert await rows.count(database, "runs") == 4


async def test_large_values_of_a_run_are_those_of_all_that_it_started_too(
    database: Database, project: ProjectRow
) -> None:
    parent = rows.run(project)
    (entry,) = _entries(project, parent, [SUCCEEDED], id="short")
    stranger = rows.run(project)
    await _put(database, parent, entry, stranger)
    async with database.begin() as tx:
        for run in (parent, entry, stranger):
            await history.put_steps(tx, [rows.step(run, whole_output=f"of {run.id}"), rows.step(run, step="small")])

        assert set(await history.large_values(tx, parent.id)) == {f"of {parent.id}", "of short"}


async def test_checkpoints_stay_for_as_long_as_their_run_may_need_them(database: Database, project: ProjectRow) -> None:
    waiting, cleared = rows.run(project, state=WAITING), rows.run(project, state=SUCCEEDED, is_cleared=True)
    await _put(database, waiting, cleared)
    kept, of_cleared, of_none = (
        rows.checkpoint(project, run_id=run_id) for run_id in (waiting.id, cleared.id, "a call that is no run")
    )
    async with database.begin() as tx:
        for checkpoint in (kept, of_cleared, of_none):
            await checkpoints.put_checkpoint(tx, checkpoint)
        assert await checkpoints.delete_old_checkpoints(tx, START + timedelta(days=1)) == 2
        assert await checkpoints.sealed_checkpoint(tx, kept.id)


def _entries(of: ProjectRow, parent: RunRow, states: list[str], **changes: Any) -> list[RunRow]:  # Any: columns
    """Return the entries of a fan-out in some states; those that run do so on `worker`."""
    return [
        rows.run(
            of,
            **{"id": f"{parent.id}:each:{index}"} | changes,
            parent_id=parent.id,
            parent_step="each",
            item_index=index,
            depth=parent.depth + 1,
            state=state,
            due_at=START if state == QUEUED else None,
            worker_id="worker" if state == RUNNING else None,
        )
        for index, state in enumerate(states)
    ]


def _crowd(of: ProjectRow, connection_id: str) -> list[RunRow]:
    """Return what a connection has under way, which is as much as it may, and long since due."""
    usual = {"connection_id": connection_id, "user_id": "ann"}
    under_way = [rows.run(of, state=RUNNING, worker_id="another", due_at=None, **usual) for _ in range(2)]
    return under_way + [rows.run(of, due_at=START - timedelta(hours=1), **usual) for _ in range(30)]


async def _states(database: Database, *many: RunRow) -> list[str]:
    return [await _state(database, row) for row in many]
