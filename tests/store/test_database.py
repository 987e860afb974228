"""A transaction is all or nothing, news reach every process, and no error of a driver gets through."""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.clock import START, FakeClock
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.clock import SystemClock
from landbridge.errors import Misconfigured, NotFound, StoreFailed
from landbridge.settings import Settings
from landbridge.store import projects
from landbridge.store.database import Database, Transaction, engine_url
from landbridge.store.projects import ProjectRow


async def _names(database: Database) -> list[str]:
    async with database.read() as tx:
        return [row.name for row in await projects.all_projects(tx)]


async def test_an_exception_rolls_everything_back_and_tells_nobody(database: Database, opened: Opener) -> None:
    elsewhere, heard = opened(), list[str]()
    database.on_change(heard.append)
    elsewhere.on_change(heard.append)

    async def fail() -> None:
        async with database.begin() as tx:
            await projects.insert_project(tx, rows.project())
            raise NotFound("never mind")

    with pytest.raises(NotFound):
        await fail()
    await elsewhere.catch_up()
    assert await _names(database) == []
    assert heard == []


async def test_a_cancelled_transaction_is_rolled_back_and_lets_others_write(database: Database, opened: Opener) -> None:
    written = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.begin() as tx:
            await projects.insert_project(tx, rows.project(name="cancelled"))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with opened().begin() as tx:
        await projects.insert_project(tx, rows.project(name="next"))
    assert await _names(database) == ["next"]


async def test_a_reader_waits_for_no_writer_and_sees_nothing_half_done(database: Database, opened: Opener) -> None:
    async with database.begin() as tx:
        await projects.insert_project(tx, rows.project())
        assert await _names(opened()) == []
    assert await _names(opened()) == ["Acme"]


async def test_writers_in_several_processes_take_turns_and_none_is_lost(database: Database, opened: Opener) -> None:
    async def write(door: Database, name: str) -> None:
        for number in range(5):
            async with door.begin() as tx:
                await projects.insert_project(tx, rows.project(name=f"{name} {number}"))

    await asyncio.gather(*(write(opened(), name) for name in "abcd"))

    assert len(await _names(database)) == 20


async def test_whoever_reads_before_writing_is_not_refused_because_others_wrote_meanwhile(
    database: Database, opened: Opener
) -> None:
    async def read_then_write(door: Database) -> None:
        async with door.begin() as tx:
            await projects.all_projects(tx)
            await asyncio.sleep(0.01)
            await projects.insert_project(tx, rows.project())

    await asyncio.gather(*(read_then_write(opened()) for _ in range(4)))

    assert len(await _names(database)) == 4


async def test_a_change_is_announced_here_at_once_and_elsewhere_at_the_next_look(
    database: Database, opened: Opener
) -> None:
    elsewhere, here, there = opened(), list[str](), list[str]()
    database.on_change(here.append)
    elsewhere.on_change(there.append)

    async with database.begin() as tx:
        tx.touch("project:1", "user:1/ann")
        assert here == []
    assert here == ["project:1", "user:1/ann"]

    await elsewhere.catch_up()
    await elsewhere.catch_up()
    assert there == ["project:1", "user:1/ann"]


async def test_whoever_starts_listening_hears_no_old_news(database: Database, opened: Opener) -> None:
    async with database.begin() as tx:
        tx.touch("project:old")
    elsewhere, heard = opened(), list[str]()
    elsewhere.on_change(heard.append)
    await elsewhere.skip_old_news()
    async with database.begin() as tx:
        tx.touch("project:new")
    await elsewhere.catch_up()
    assert heard == ["project:new"]


async def test_no_news_are_missed_when_the_one_who_wrote_first_commits_last(
    database: Database, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that show out of order would be skipped for ever by whoever looked in between."""
    reader, other, heard = opened(), opened(), list[str]()
    reader.on_change(heard.append)
    written, go_on = asyncio.Event(), asyncio.Event()
    write = Transaction._write_revisions

    async def write_then_wait(tx: Transaction) -> None:
        await write(tx)
        if tx.scopes == ["first"]:
            written.set()
            await go_on.wait()

    async def touch(door: Database, scope: str) -> None:
        async with door.begin() as tx:
            tx.touch(scope)

    monkeypatch.setattr(Transaction, "_write_revisions", write_then_wait)
    first = asyncio.create_task(touch(database, "first"))
    await written.wait()
    second = asyncio.create_task(touch(other, "second"))
    await asyncio.wait({second}, timeout=0.3)
    await reader.catch_up()
    go_on.set()
    await asyncio.gather(first, second)
    await reader.catch_up()

    assert heard == ["first", "second"]


async def test_numbers_of_news_are_never_used_again_though_old_news_are_dropped(
    database: Database, opened: Opener, clock: FakeClock
) -> None:
    elsewhere, heard = opened(), list[str]()
    elsewhere.on_change(heard.append)
    async with database.begin() as tx:
        tx.touch("project:old")
    await elsewhere.catch_up()
    assert await database.drop_old_news() == 0

    clock.advance(timedelta(hours=1, seconds=1))
    assert await database.drop_old_news() == 1
    async with database.begin() as tx:
        tx.touch("project:new")
    await elsewhere.catch_up()

    assert heard == ["project:old", "project:new"]


@contextlib.asynccontextmanager
async def _watching(database: Database) -> AsyncIterator[None]:
    task = asyncio.create_task(database.watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until(holds: Callable[[], bool], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_process_that_watches_hears_of_others_changes_by_itself(database: Database, database_url: str) -> None:
    watching = Database.from_settings(Settings(database_url=database_url), SystemClock())
    heard: list[str] = []
    watching.on_change(heard.append)
    async with _watching(watching):
        async with database.begin() as tx:
            tx.touch("project:1")
        await _until(lambda: heard == ["project:1"])
    await watching.close()


async def test_watching_survives_a_database_that_does_not_answer_for_a_while(
    database: Database, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, heard, failed = opened(), list[str](), 0
    watching.on_change(heard.append)
    read = watching.read

    def refuse() -> None:
        nonlocal failed
        failed += 1
        raise StoreFailed("away")

    monkeypatch.setattr(watching, "read", refuse)
    async with _watching(watching):
        await _until(lambda: failed > 3)
        async with database.begin() as tx:
            tx.touch("project:1")
        monkeypatch.setattr(watching, "read", read)
        await _until(lambda: heard == ["project:1"])


async def test_every_write_of_whoever_changes_the_data_version_for_all_who_ask(
    database: Database, opened: Opener, project: ProjectRow
) -> None:
    other = opened()
    if database.engine.dialect.name != "sqlite":
        assert database.data_version() is None
        return
    before = (database.data_version(), database.data_version())
    async with other.begin() as tx:
        await tx.execute(text("UPDATE projects SET name = 'another'"))
    after = (database.data_version(), database.data_version())
    assert before[0] == before[1] != after[0] == after[1]


async def test_instants_come_back_in_utc_whatever_zone_they_were_written_in(
    database: Database, project: ProjectRow
) -> None:
    elsewhere = START.astimezone(timezone(timedelta(hours=-7)))
    async with database.begin() as tx:
        await projects.insert_signing_key(tx, rows.signing_key(project, expires_at=elsewhere))
    async with database.read() as tx:
        (key,) = await projects.signing_keys_of(tx, project.id)
    assert key.expires_at == START
    assert key.expires_at.utcoffset() == timedelta(0)


async def test_an_instant_without_a_zone_is_refused(database: Database, project: ProjectRow) -> None:
    key = rows.signing_key(project, expires_at=START.replace(tzinfo=None))
    with pytest.raises(StoreFailed):
        async with database.begin() as tx:
            await projects.insert_signing_key(tx, key)


async def test_an_error_of_the_driver_becomes_ours_and_its_message_quotes_no_value(database: Database) -> None:
    row = rows.project(name="canary")
    async with database.begin() as tx:
        await projects.insert_project(tx, row)
    with pytest.raises(StoreFailed) as caught:
        async with database.begin() as tx:
            await projects.insert_project(tx, row)
    assert "canary" not in str(caught.value)
    assert "canary" not in str(caught.value.__cause__)


async def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    settings = Settings(database_url="postgresql://landbridge:canary@127.0.0.1:1/landbridge")
    database = Database.from_settings(settings, FakeClock())
    with pytest.raises(StoreFailed) as caught:
        await database.check()
    assert "canary" not in str(caught.value)
    await database.close()


async def test_the_embedded_database_is_for_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        database = Database.from_settings(Settings(data_dir=tmp_path / "data"), FakeClock())
        await database.migrate()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        await database.close()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert modes
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
async def test_sqlite_keeps_what_it_acknowledged_enforces_references_and_overwrites_what_is_deleted(
    tmp_path: Path, synchronous: str
) -> None:
    settings = Settings(data_dir=tmp_path, sqlite_synchronous=synchronous)
    database = Database.from_settings(settings, FakeClock())
    async with database.read() as tx:
        pragmas = {
            name: (await tx.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    await database.close()
    level = {"FULL": 2, "NORMAL": 1}[synchronous]
    assert pragmas == {"journal_mode": "wal", "synchronous": level, "foreign_keys": 1, "secure_delete": 1}


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////var/lib/landbridge.db", "sqlite+aiosqlite:////var/lib/landbridge.db"),
        ("postgresql://u:p@db:5433/lb", "postgresql+asyncpg://u:***@db:5433/lb"),
        ("postgres://u:p@db/lb", "postgresql+asyncpg://u:***@db/lb"),
        ("postgresql+psycopg://u@db/lb", "postgresql+asyncpg://u@db/lb"),
        ("postgresql://u@db/lb?sslmode=require", "postgresql+asyncpg://u@db/lb?ssl=require"),
    ],
)
def test_a_database_url_is_taken_as_people_write_it(url: str, driver: str) -> None:
    assert str(engine_url(url)) == driver


@pytest.mark.parametrize(
    "url", ["", "landbridge.db", "mysql://u:canary@db/lb", "://", "postgresql://u:canary@db:port/lb"]
)
def test_a_database_url_that_cannot_be_used_is_named_by_its_variable_and_not_repeated(url: str) -> None:
    with pytest.raises(Misconfigured, match="LANDBRIDGE_DATABASE_URL") as caught:
        engine_url(url)
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_without_a_file_is_refused_since_processes_could_not_share_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="without a file"):
        Database.from_settings(Settings(database_url=url), FakeClock())
