"""Sign-ins under way: each is finished once, and seen only by whose it is."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.clock import START
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.errors import Conflict
from landbridge.store import sign_ins
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow
from landbridge.store.sign_ins import SignInRow

LATER = START + timedelta(minutes=10)


@pytest.fixture
async def row(database: Database, project: ProjectRow) -> SignInRow:
    row = rows.sign_in(project, sealed_secrets=bytes(range(256)), expires_at=LATER)
    async with database.begin() as tx:
        await sign_ins.insert_sign_in(tx, row)
    return row


async def test_a_sign_in_is_found_by_its_state_and_by_its_user_with_its_session_or_id(
    database: Database, row: SignInRow
) -> None:
    async with database.read() as tx:
        assert await sign_ins.sign_in_by_state(tx, row.state_hash) == row
        assert await sign_ins.sign_in_by_session(tx, row.project_id, "ann", row.session_key) == row
        assert await sign_ins.sign_in_by_id(tx, row.project_id, "ann", row.id) == row


async def test_nobody_else_finds_it(database: Database, row: SignInRow) -> None:
    async with database.read() as tx:
        assert await sign_ins.sign_in_by_state(tx, "another") is None
        for project_id, user_id in ((row.project_id, "bob"), ("another", "ann")):
            assert await sign_ins.sign_in_by_session(tx, project_id, user_id, row.session_key) is None
            assert await sign_ins.sign_in_by_id(tx, project_id, user_id, row.id) is None


async def test_a_session_key_is_used_once_by_a_user_and_may_be_used_by_another(
    database: Database, project: ProjectRow, row: SignInRow
) -> None:
    with pytest.raises(Conflict, match="used before"):
        async with database.begin() as tx:
            await sign_ins.insert_sign_in(tx, rows.sign_in(project, session_key=row.session_key))
    async with database.begin() as tx:
        await sign_ins.insert_sign_in(tx, rows.sign_in(project, session_key=row.session_key, user_id="bob"))


async def test_one_of_several_callbacks_at_once_finishes_a_sign_in(
    database: Database, row: SignInRow, opened: Opener
) -> None:
    async def claim(door: Database) -> bool:
        async with door.begin() as tx:
            return await sign_ins.claim(tx, row, START)

    claimed = await asyncio.gather(*(claim(door) for door in (database, opened(), opened(), opened())))

    assert sorted(claimed) == [False, False, False, True]
    assert not await claim(database)


async def test_the_outcome_is_kept_for_whoever_asks_for_it(database: Database, row: SignInRow) -> None:
    failure = {"code": "install_failed", "message": "The user declined."}
    async with database.begin() as tx:
        await sign_ins.claim(tx, row, START)
        await sign_ins.finish(tx, row, failure=failure)
    async with database.read() as tx:
        found = await sign_ins.sign_in_by_session(tx, row.project_id, "ann", row.session_key)
    assert found == replace(row, claimed_at=START, failure=failure)


async def test_the_newest_open_sign_in_is_the_one_that_nobody_claimed_and_that_is_not_over(
    database: Database, project: ProjectRow
) -> None:
    def made(minute: int, **changes: object) -> SignInRow:
        return rows.sign_in(project, created_at=START + timedelta(minutes=minute), expires_at=LATER, **changes)

    older, newest = made(1), made(2)
    others = [made(3, claimed_at=START), made(4, user_id="bob"), made(5, integration="dropbox")]
    others += [made(6, redirect_url="https://other.example"), replace(made(7), expires_at=START)]
    async with database.begin() as tx:
        for row in (older, newest, *others):
            await sign_ins.insert_sign_in(tx, row)
    async with database.read() as tx:
        found = await sign_ins.open_sign_in(tx, project.id, "ann", "onedrive", newest.redirect_url, START)
        nothing = await sign_ins.open_sign_in(tx, project.id, "ann", "onedrive", newest.redirect_url, LATER)
    assert found == newest
    assert nothing is None


async def test_a_nonce_is_found_by_its_digest_and_the_newest_one_by_its_sign_in(
    database: Database, project: ProjectRow, row: SignInRow
) -> None:
    older, newer = rows.nonce(project), rows.nonce(project, created_at=LATER, refusal="not from there")
    bobs = rows.nonce(project, user_id="bob", created_at=LATER + timedelta(minutes=1))
    async with database.begin() as tx:
        for nonce in (newer, older, bobs):
            await sign_ins.insert_nonce(tx, nonce)
    async with database.read() as tx:
        assert await sign_ins.nonce(tx, older.hash) == older
        assert await sign_ins.nonce(tx, "another") is None
        assert await sign_ins.newest_nonce(tx, row) == newer
        assert await sign_ins.newest_nonce(tx, replace(row, integration="dropbox")) is None


async def test_what_is_over_is_deleted_and_what_is_not_stays(
    database: Database, project: ProjectRow, row: SignInRow
) -> None:
    lasting = rows.nonce(project, expires_at=LATER)
    async with database.begin() as tx:
        await sign_ins.insert_sign_in(tx, rows.sign_in(project))
        await sign_ins.insert_nonce(tx, rows.nonce(project))
        await sign_ins.insert_nonce(tx, lasting)
        assert await sign_ins.delete_expired(tx, START + timedelta(seconds=1)) == 2
    async with database.read() as tx:
        assert await sign_ins.sign_in_by_state(tx, row.state_hash) == row
        assert await sign_ins.nonce(tx, lasting.hash) == lasting
    assert (await rows.count(database, "sign_ins"), await rows.count(database, "browser_nonces")) == (1, 1)
