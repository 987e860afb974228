"""The durable engine begins and ends whole, whatever its database and its worker do meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.integrations.landbridge import eventually

from landbridge.engine import CLOSED_WITHIN, Engine
from landbridge.errors import LandbridgeError
from landbridge.settings import Settings
from landbridge.vault import KeyFile, Vault


class Walked:
    """A leg of one step, that tells how often it began and waits until it may go on."""

    def __init__(self) -> None:
        self.begun = self.journaling = 0
        self.may_end = asyncio.Event()
        self.ended = 0
        self.errors: list[BaseException] = []  # a step that waits for a thread when the engine ends is cancelled
        self.engine: Engine | None = None

    async def __call__(self, _run_id: str, _number: int) -> None:
        assert self.engine
        try:
            await self.engine.step("only", self._effect)
        except BaseException as error:
            self.errors.append(error)
            raise
        self.ended += 1

    async def _effect(self) -> None:
        self.begun += 1
        await self.may_end.wait()
        self.journaling += 1


class Away:
    """A database beside another one."""

    def __init__(self, beside: str) -> None:
        self._beside = beside
        self._name = f"{urlsplit(beside).path.strip('/')}_away"
        self.url = urlunsplit(urlsplit(beside)._replace(path=self._name))

    async def create(self) -> None:
        await self._do(f"CREATE DATABASE {self._name} STRATEGY file_copy")

    async def drop(self) -> None:
        await self._do(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    async def _do(self, order: str) -> None:
        connection = await asyncpg.connect(self._beside)
        try:
            await connection.execute(order)
        finally:
            await connection.close()


Engines = Callable[..., Engine]


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    """Makes engines, and closes them with the test."""
    async with AsyncExitStack() as closing:

        def make(url: str, walked: Walked) -> Engine:
            vault = Vault(KeyFile(tmp_path / "vault.keys"))
            walked.engine = Engine(Settings(database_url=url), vault, walked, "a worker")
            closing.push_async_callback(walked.engine.close)
            return walked.engine

        yield make


def _threads() -> list[threading.Thread]:
    """Return the threads that a process waits for before it ends, beside its first one."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("dbos-executor")]


@pytest.mark.parametrize("after", [0, 0.01, 0.02])
async def test_an_engine_whose_opening_is_broken_off_leaves_nothing_to_the_next(
    engines: Engines, database_url: str, tmp_path: Path, after: float
) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engines(database_url, Walked()).open(), after)
    elsewhere = tmp_path / "elsewhere.db"
    walked = Walked()
    engine = engines(f"sqlite:///{elsewhere}", walked)
    await engine.open()
    walked.may_end.set()
    await engine.start("a run", 1)
    await eventually(lambda: walked.ended == 1)
    assert b"a run/1" in elsewhere.with_suffix(".journal.db-wal").read_bytes()


async def test_an_engine_forgets_all_that_has_ended_however_much_that_is(
    engines: Engines, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landbridge.engine._AT_ONCE", 2)
    walked = Walked()
    engine = engines(database_url, walked)
    await engine.open()
    walked.may_end.set()
    for number in range(5):
        await engine.start("a run", number)
    await eventually(lambda: walked.ended == 5)

    async def are_over() -> bool:
        return {await engine.take_up("a run", number) for number in range(5)} == {"over"}

    await eventually(are_over)
    await engine.forget(datetime.now(UTC) + timedelta(seconds=1))

    assert {await engine.take_up("a run", number) for number in range(5)} == {"begun"}


@pytest.fixture
async def away(postgres_url: str) -> AsyncIterator[Away]:
    """A database that is not there until it is made, and may go."""
    database = Away(postgres_url)
    yield database
    await database.drop()


async def test_an_engine_waits_for_a_database_that_is_away(engines: Engines, away: Away) -> None:
    walked = Walked()
    engine = engines(away.url, walked)
    opening = asyncio.create_task(engine.open())
    done, _ = await asyncio.wait([opening], timeout=0.3)
    assert not done
    await away.create()
    await opening
    walked.may_end.set()
    await engine.start("a run", 1)
    await eventually(lambda: walked.ended == 1)


async def test_an_engine_whose_database_is_gone_ends_with_all_that_waits_for_it(engines: Engines, away: Away) -> None:
    walked = Walked()
    await away.create()
    engine = engines(away.url, walked)
    await engine.open()
    for number in range(8):
        await engine.start("a run", number)
    await eventually(lambda: walked.begun == 8)
    await away.drop()
    walked.may_end.set()
    await eventually(lambda: walked.journaling == 8)

    await asyncio.wait_for(engine.close(), 2 * CLOSED_WITHIN.total_seconds())

    await eventually(lambda: not _threads())
    await eventually(lambda: len(walked.errors) == 8)
    assert not [error for error in walked.errors if isinstance(error, LandbridgeError)]  # those end a run
