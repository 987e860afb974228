"""Our connections to SQLite give every row, and wake their thread as rarely as they can."""

import asyncio
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text
from tests.ground.migrated import migrate

from landbridge.clock import SystemClock
from landbridge.errors import StoreFailed
from landbridge.settings import Settings
from landbridge.store.database import Database

COUNTING = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) SELECT i FROM n")


@pytest.fixture
async def sqlite(tmp_path: Path) -> Any:  # Any: a generator of a database
    settings = Settings(data_dir=tmp_path)
    await migrate(settings)
    database = Database.from_settings(settings, SystemClock())
    yield database
    await database.close()


@pytest.mark.parametrize("most", [1, 499, 500, 501, 1700])
async def test_all_rows_come_at_once_or_as_a_stream(sqlite: Database, most: int) -> None:
    numbers = list(range(1, most + 1))

    async with sqlite.read() as tx:
        at_once = [row.i for row in await tx.execute(COUNTING.bindparams(most=most))]
        streamed = [row.i async for row in tx.stream(COUNTING.bindparams(most=most))]

    assert at_once == streamed == numbers


async def test_whoever_has_read_enough_of_a_stream_can_go_on_with_something_else(sqlite: Database) -> None:
    async with sqlite.read() as tx:
        async for row in tx.stream(COUNTING.bindparams(most=5000)):
            if row.i == 700:
                break
        assert (await tx.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_statement_is_one_visit_to_the_connections_thread(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = []
    visit = aiosqlite.Connection._execute

    async def counted(connection: aiosqlite.Connection, do: Any, *given: Any) -> Any:  # Any: whatever is done there
        visits.append(do)
        return await visit(connection, do, *given)  # type: ignore[no-untyped-call]

    async with sqlite.read() as tx:
        await tx.execute(text("SELECT 1"))
    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    async with sqlite.read() as tx:
        await tx.execute(text("SELECT 1"))

        await tx.execute(text("SELECT 2"))
    assert len(visits) == 2
    async with sqlite.begin() as tx:
        await tx.execute(text("SELECT 1"))
    assert len(visits) == 5, "to begin, to read, and to commit"


async def test_writers_of_one_process_go_one_after_the_other_without_asking_sqlite_again_and_again(
    sqlite: Database,
) -> None:
    order = []

    async def write(number: int) -> None:
        async with sqlite.begin() as tx:
            order.append(number)
            await tx.execute(text("SELECT 1"))
            order.append(number)

    await asyncio.gather(*(write(number) for number in range(30)))

    assert order == [number for number in range(30) for _ in range(2)]


async def test_a_writer_waits_for_the_others_of_its_process_as_long_as_for_those_of_another(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landbridge.store.database.WAIT_SECONDS", 0.05)

    async with sqlite.begin():
        with pytest.raises(StoreFailed, match="others write for too long"):
            async with sqlite.begin():
                pass

    async with sqlite.begin() as tx:
        assert (await tx.execute(text("SELECT 1"))).scalar_one() == 1
