"""Connections, and the lease and comparisons that keep two processes from spoiling each other's tokens."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.clock import START, FakeClock
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.errors import Conflict
from landbridge.store import connections, projects
from landbridge.store.connections import ConnectionRow
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow

LEASE = timedelta(seconds=40)


async def _add(database: Database, project: ProjectRow, **changes: Any) -> ConnectionRow:  # Any: columns
    row = rows.connection(project, **changes)
    async with database.begin() as tx:
        await connections.insert_connection(tx, row, rows.configuration(row))
    return row


async def _now(database: Database, row: ConnectionRow) -> ConnectionRow:
    async with database.read() as tx:
        found = await connections.connection(tx, row.project_id, row.id)
    assert found
    return found


async def _take(database: Database, row: ConnectionRow, holder: str) -> bool:
    now = database.clock.now()
    async with database.begin() as tx:
        return await connections.take_lease(tx, row, holder, now, now + LEASE)


@pytest.fixture
async def row(database: Database, project: ProjectRow) -> ConnectionRow:
    return await _add(database, project, external_id="work", sealed_tokens=bytes(range(256)))


async def test_a_connection_is_found_as_it_was_written_and_only_in_its_project(
    database: Database, row: ConnectionRow
) -> None:
    async with database.read() as tx:
        assert await connections.connection(tx, row.project_id, row.id) == row
        assert await connections.connection(tx, "another", row.id) is None
        assert len(await connections.configurations_of(tx, [row.id])) == 1


async def test_connections_are_listed_by_user_and_integration_oldest_first(
    database: Database, project: ProjectRow
) -> None:
    second = await _add(database, project, created_at=START + timedelta(days=1), external_id="b")
    first = await _add(database, project, external_id="a")
    bobs = await _add(database, project, user_id="bob", created_at=START + timedelta(days=2))
    dropbox = await _add(database, project, integration="dropbox", created_at=START + timedelta(days=3))
    async with database.read() as tx:
        assert await connections.connections_of(tx, project.id) == [first, second, bobs, dropbox]
        assert await connections.connections_of(tx, project.id, "ann") == [first, second, dropbox]
        assert await connections.connections_of(tx, project.id, "ann", "onedrive") == [first, second]
        assert await connections.connections_of(tx, project.id, integration="dropbox") == [dropbox]
        assert await connections.connections_of(tx, project.id, limit=1) == [first]
        assert await connections.connections_of(tx, "another") == []


async def test_one_external_id_names_one_connection_of_a_user(
    database: Database, project: ProjectRow, row: ConnectionRow
) -> None:
    with pytest.raises(Conflict, match="external id “work”"):
        await _add(database, project, external_id="work")
    await _add(database, project, external_id="work", user_id="bob")
    await _add(database, project, external_id="work", integration="dropbox")
    assert await rows.count(database, "connections") == 3
    assert await rows.count(database, "configurations") == 3


async def test_a_deleted_connection_leaves_no_configuration(database: Database, row: ConnectionRow) -> None:
    async with database.begin() as tx:
        await connections.delete_connection(tx, row)
    assert await rows.count(database, "connections") == 0
    assert await rows.count(database, "configurations") == 0


async def test_one_of_two_processes_takes_the_lease(database: Database, row: ConnectionRow, opened: Opener) -> None:
    doors = [database, opened(), opened(), opened()]
    taken = await asyncio.gather(*(_take(door, row, f"process {n}") for n, door in enumerate(doors)))
    assert sorted(taken) == [False, False, False, True]
    assert (await _now(database, row)).lease_holder == f"process {taken.index(True)}"


async def test_a_lease_ends_by_itself_and_then_another_takes_it(
    database: Database, row: ConnectionRow, opened: Opener, clock: FakeClock
) -> None:
    assert await _take(database, row, "one")
    clock.advance(LEASE - timedelta(seconds=1))
    assert not await _take(opened(), row, "other")
    clock.advance(timedelta(seconds=1))
    assert await _take(opened(), row, "other")


async def test_nobody_takes_a_lease_on_tokens_that_were_replaced_or_are_good_for_nothing(
    database: Database, row: ConnectionRow
) -> None:
    async with database.begin() as tx:
        assert await connections.save_tokens(tx, row, sealed_tokens=b"\x01new")
    assert not await _take(database, row, "late")
    current = await _now(database, row)
    async with database.begin() as tx:
        await connections.update_connection(tx, current, status="invalid")
    assert not await _take(database, current, "hopeful")


async def test_saving_tokens_counts_the_version_up_and_gives_the_lease_back(
    database: Database, row: ConnectionRow
) -> None:
    await _take(database, row, "one")
    later = START + timedelta(hours=1)

    async with database.begin() as tx:
        assert await connections.save_tokens(tx, row, sealed_tokens=b"\x01new", expires_at=later)

    assert await _now(database, row) == replace(row, sealed_tokens=b"\x01new", expires_at=later, token_version=2)


async def test_whoever_saves_first_wins_and_a_late_one_puts_no_old_tokens_over_new_ones(
    database: Database, row: ConnectionRow, opened: Opener
) -> None:
    async def save(door: Database, tokens: bytes) -> bool:
        async with door.begin() as tx:
            return await connections.save_tokens(tx, row, sealed_tokens=tokens)

    doors = [database, opened(), opened(), opened()]
    saved = await asyncio.gather(*(save(door, b"\x01%d" % n) for n, door in enumerate(doors)))

    assert sorted(saved) == [False, False, False, True]
    current = await _now(database, row)
    assert (current.sealed_tokens, current.token_version) == (b"\x01%d" % saved.index(True), 2)


async def test_tokens_are_not_brought_back_to_a_connection_that_was_deleted(
    database: Database, row: ConnectionRow
) -> None:
    async with database.begin() as tx:
        await connections.delete_connection(tx, row)
    async with database.begin() as tx:
        assert not await connections.save_tokens(tx, row, sealed_tokens=b"\x01new")
    assert await rows.count(database, "connections") == 0


async def test_a_failed_refresh_is_counted_and_gives_the_lease_back(database: Database, row: ConnectionRow) -> None:
    for failures in (1, 2):
        await _take(database, row, "one")
        async with database.begin() as tx:
            await connections.save_refresh_failure(tx, row, "one", refresh_error="busy", refresh_retry_at=START)
        assert await _now(database, row) == replace(
            row, refresh_failures=failures, refresh_error="busy", refresh_retry_at=START
        )


async def test_a_late_failure_says_nothing_against_tokens_that_were_replaced_meanwhile(
    database: Database, row: ConnectionRow
) -> None:
    async with database.begin() as tx:
        await connections.save_tokens(tx, row, sealed_tokens=b"\x01new")
    good = await _now(database, row)
    async with database.begin() as tx:
        assert not await connections.save_refresh_failure(tx, row, "one", status="invalid", refresh_error="grant lost")
    assert await _now(database, row) == good


async def test_a_late_failure_ends_no_lease_that_another_took_and_calls_no_grant_lost_that_it_renews(
    database: Database, row: ConnectionRow, clock: FakeClock
) -> None:
    await _take(database, row, "one")
    clock.advance(LEASE)
    await _take(database, row, "other")
    taken = await _now(database, row)
    async with database.begin() as tx:
        assert not await connections.save_refresh_failure(tx, row, "one", status="invalid", refresh_error="grant lost")
    assert await _now(database, row) == taken


async def test_a_connection_that_must_be_reconnected_is_forgotten_everywhere_and_a_hiccup_is_not(
    database: Database, row: ConnectionRow, opened: Opener
) -> None:
    elsewhere, heard = opened(), list[str]()
    await elsewhere.skip_old_news()
    elsewhere.on_change(heard.append)

    await _take(database, row, "one")
    async with database.begin() as tx:
        await connections.save_refresh_failure(tx, row, "one", refresh_error="busy")
    await elsewhere.catch_up()
    assert heard == []

    await _take(database, row, "one")
    async with database.begin() as tx:
        await connections.save_refresh_failure(tx, row, "one", status="invalid", refresh_error="grant lost")
    await elsewhere.catch_up()
    assert heard == [f"connection:{row.id}", f"user:{row.project_id}/ann"]


async def test_connections_in_use_come_before_idle_ones_when_tokens_are_refreshed_ahead(
    database: Database, project: ProjectRow
) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)

    async def add(name: str, *, used: timedelta, ends: timedelta, refreshed: timedelta, **changes: Any) -> None:
        times = {"used_at": START - used, "expires_at": START + ends, "refreshed_at": START - refreshed}
        await _add(database, project, external_id=name, **times, **changes)

    async with database.begin() as tx:
        await projects.put_integration(tx, rows.integration(project, type="onedrive", is_active=True))
        await projects.put_integration(tx, rows.integration(project, type="switched-off", is_active=False))
    soon, minute = timedelta(minutes=5), timedelta(minutes=1)
    await add("ends soon and in use", used=minute, ends=soon, refreshed=hour)
    await add("ends sooner and in use", used=minute, ends=minute, refreshed=hour)
    await add("ends soon and nobody needs it", used=day, ends=soon, refreshed=hour)
    await add("in use and good for long", used=minute, ends=hour, refreshed=minute)
    await add("idle for a month", used=40 * day, ends=-39 * day, refreshed=40 * day)
    await add("idle and resting", used=40 * day, ends=-39 * day, refreshed=40 * day, refresh_retry_at=START + minute)
    await add("rested", used=minute, ends=2 * minute, refreshed=hour, refresh_retry_at=START)
    await add("switched off", used=minute, ends=minute, refreshed=40 * day, integration="switched-off")
    await add("never set up", used=minute, ends=minute, refreshed=40 * day, integration="never-set-up")
    await add("must reconnect", used=minute, ends=minute, refreshed=40 * day, status="invalid")

    async def due(limit: int) -> list[str | None]:
        async with database.read() as tx:
            found = await connections.due_for_refresh(
                tx,
                now=START,
                in_use_since=START - 2 * hour,
                expiring_before=START + 2 * soon,
                idle_since=START - 30 * day,
                limit=limit,
            )
        return [row.external_id for row in found]

    all_due = ["ends sooner and in use", "rested", "ends soon and in use", "idle for a month"]
    assert await due(10) == all_due
    assert await due(2) == all_due[:2]


async def test_a_rest_is_noted_once_and_not_for_tokens_that_were_replaced_meanwhile(
    database: Database, row: ConnectionRow
) -> None:
    later = START + timedelta(minutes=5)

    async def rest(of: ConnectionRow, why: str) -> bool:
        async with database.begin() as tx:
            return await connections.rest(tx, of, now=START, until=later, refresh_error=why)

    assert not await rest(replace(row, token_version=0), "late")
    assert await rest(row, "first")
    assert not await rest(row, "second")
    found = await _now(database, row)
    assert (found.refresh_retry_at, found.refresh_error, found.status) == (later, "first", "valid")


async def test_use_is_noted_for_those_that_were_used(database: Database, project: ProjectRow) -> None:
    used, idle = await _add(database, project), await _add(database, project, user_id="bob")
    later = START + timedelta(hours=1)
    async with database.begin() as tx:
        await connections.mark_used(tx, [used.id], later)
        await connections.mark_used(tx, [], later)
    assert (await _now(database, used)).used_at == later
    assert (await _now(database, idle)).used_at == START


async def test_a_user_is_found_in_their_project_and_their_metadata_can_be_replaced(
    database: Database, project: ProjectRow
) -> None:
    row = rows.user(project, user_id="ann/🦊?", meta={"plan": "pro", "größe": [1, None]})
    async with database.begin() as tx:
        await connections.insert_user(tx, row)
        await connections.update_user_meta(tx, row, {"plan": "free"})
    async with database.read() as tx:
        assert await connections.user(tx, project.id, "ann/🦊?") == replace(row, meta={"plan": "free"})
        assert await connections.user(tx, project.id, "ann") is None
        assert await connections.user(tx, "another", "ann/🦊?") is None


async def test_one_of_two_first_calls_of_a_user_adds_them_and_the_other_is_told(
    database: Database, project: ProjectRow, opened: Opener
) -> None:
    async def add(door: Database) -> None:
        async with door.begin() as tx:
            await connections.insert_user(tx, rows.user(project))

    outcomes = await asyncio.gather(add(database), add(opened()), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {Conflict, type(None)}
    assert await rows.count(database, "connected_users") == 1


async def test_of_two_who_look_before_they_add_a_connection_the_second_finds_the_firsts(
    database: Database, project: ProjectRow, opened: Opener
) -> None:
    async with database.begin() as tx:
        await connections.insert_user(tx, rows.user(project))

    async def add_unless_there(door: Database) -> bool:
        async with door.begin() as tx:
            await connections.hold_user(tx, project.id, "ann")
            if await connections.connections_of(tx, project.id, "ann", "onedrive"):
                return False
            await asyncio.sleep(0.05)  # as long as another would need to find nothing too
            row = rows.connection(project)
            await connections.insert_connection(tx, row, rows.configuration(row))
            return True

    added = await asyncio.gather(*(add_unless_there(opened()) for _ in range(3)))

    assert sorted(added) == [False, False, True]


async def test_configurations_are_added_changed_and_deleted(database: Database, row: ConnectionRow) -> None:
    second = rows.configuration(row, is_default=False, external_id="eu", created_at=START + timedelta(seconds=1))
    async with database.begin() as tx:
        await connections.insert_configuration(tx, second)
        await connections.update_configuration(tx, second, shared_settings={"folder": "/Invoices"})
    async with database.read() as tx:
        default, changed = await connections.configurations_of(tx, [row.id])
    assert (default.is_default, changed) == (True, replace(second, shared_settings={"folder": "/Invoices"}))
    with pytest.raises(Conflict, match="configuration “eu”"):
        async with database.begin() as tx:
            await connections.insert_configuration(tx, rows.configuration(row, external_id="eu"))
    async with database.begin() as tx:
        await connections.delete_configuration(tx, second)
    async with database.read() as tx:
        assert await connections.configurations_of(tx, [row.id]) == [default]
        assert await connections.configurations_of(tx, []) == []


async def test_a_new_grant_and_a_refresh_that_came_just_before_it_are_two_versions(
    database: Database, row: ConnectionRow
) -> None:
    async with database.begin() as tx:
        await connections.save_tokens(tx, row, sealed_tokens=b"\x01refreshed")
    refreshed = await _now(database, row)
    async with database.begin() as tx:  # which has read the connection before that
        await connections.renew_grant(tx, row, status="valid", sealed_tokens=b"\x01granted", account_id="another")

    async with database.begin() as tx:
        assert not await connections.save_tokens(tx, refreshed, sealed_tokens=b"\x01refreshed late")
    found = await _now(database, row)
    assert (found.sealed_tokens, found.account_id, found.lease_holder) == (b"\x01granted", "another", None)
