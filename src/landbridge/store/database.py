"""A database, SQLite or PostgreSQL: transactions, migrations, and the news of what other processes changed."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from sqlalchemy import (
    CursorResult,
    Executable,
    Result,
    Row,
    Table,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from landbridge.clock import Clock
from landbridge.errors import Misconfigured, StoreFailed
from landbridge.settings import Settings
from landbridge.store.sqlite import WAIT_SECONDS, sqlite_engine
from landbridge.store.tables import revisions

log = structlog.get_logger(__name__)

NEWS_EVERY = timedelta(milliseconds=200)
"""How often a process looks for what others changed; two looks fit into the half second that we promise."""

WAIT_FOR_DATABASE = timedelta(milliseconds=500)
"""How long what must not be given up waits before it asks a database again that did not answer."""

EVERYTHING = "everything"
"""The scope that means all of them, as after the restore of a backup."""

_NEWS_KEPT = timedelta(hours=1)
_STREAMED_AT_ONCE = 200
IDLE, IDLE_MILLISECONDS = "idle_in_transaction_session_timeout", "5000"
"""After which PostgreSQL ends a transaction whose process was stopped, with the locks that others wait for."""

_REVISION_LOCK = 0x6C616E64  # serialises writers of revisions on PostgreSQL, so that a later number never shows first


class Transaction:
    """One database transaction, and the scopes that caches everywhere must forget once it commits."""

    def __init__(self, connection: AsyncConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.scopes: list[str] = []

    async def execute(self, statement: Executable, parameters: Any = None) -> Result[Any]:  # Any: rows of any table
        """Run one statement."""
        return await self._connection.execute(statement, parameters)

    async def stream(self, statement: Executable) -> AsyncIterator[Row[Any]]:  # Any: rows of any table
        """Yield the rows of a query as they come, however many there are, in constant memory."""
        async with self._connection.stream(statement, execution_options={"yield_per": _STREAMED_AT_ONCE}) as rows:
            async for row in rows:
                yield row

    async def put(self, table: Table, rows: Sequence[Mapping[str, Any]], *, replace: bool = False) -> None:
        """Insert rows of which some may be there already; those stay as they are, or are replaced, by primary key."""
        if rows:
            put = _put(table, tuple(rows[0]), replace=replace, is_sqlite=self.is_sqlite)
            await self._connection.execute(put, list(rows))

    async def change(self, statement: Executable, parameters: Any = None) -> int:  # Any: as above
        """Run one statement that changes rows, and return how many it changed."""
        result = await self._connection.execute(statement, parameters)
        assert isinstance(result, CursorResult)
        return result.rowcount

    async def lock(self, *tables: Table) -> None:
        """Let nobody else write to `tables` until the end; on SQLite a transaction that may write is alone anyway."""
        if self._connection.dialect.name == "postgresql":
            names = ", ".join(f'"{table.name}"' for table in tables)
            await self._connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))

    async def take_turn(self, key: int) -> None:
        """Let nobody else with the same key past here until the end; on SQLite that is so anyway."""
        if not self.is_sqlite:
            await self._connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, which lacks some functions and has others."""
        return self._connection.dialect.name == "sqlite"

    def touch(self, *scopes: str) -> None:
        """Have every process forget what it cached under `scopes` (`project:…`, `user:…`, `connection:…`, all)."""
        self.scopes.extend(scopes)

    async def _write_revisions(self) -> None:
        if not self.scopes:
            return
        await self.take_turn(_REVISION_LOCK)
        now = self._clock.now()
        await self._connection.execute(insert(revisions), [{"scope": scope, "at": now} for scope in self.scopes])


class Database:
    """The door to the tables."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.news = 0
        """How often anything was announced as changed: while it stays, what was read and may be kept still holds."""

        self._listeners: list[Callable[[str], None]] = []
        self._seen = 0
        self._looking: sqlite3.Connection | None = None
        # SQLite lets one write at a time, and has the others ask again and again, less and less often.
        self._writing = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock) -> Self:
        """Return the database that the settings name; nothing is opened yet."""
        url = engine_url(settings.effective_database_url)
        if url.get_backend_name() == "sqlite":
            return cls(sqlite_engine(url, settings), clock)
        engine = create_async_engine(
            url,
            pool_size=20,
            max_overflow=0,
            pool_use_lifo=True,
            pool_timeout=10,
            hide_parameters=True,
            connect_args={"server_settings": {IDLE: IDLE_MILLISECONDS}},
        )
        event.listen(engine.sync_engine, "checkout", _must_be_open)
        return cls(engine, clock)

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """Open a transaction that may write. Leaving it commits, an exception rolls back. Keep it short."""
        with _translated():
            async with self._turn_to_write(), self.engine.begin() as connection:
                transaction = Transaction(connection, self.clock)
                yield transaction
                await transaction._write_revisions()
        for scope in transaction.scopes:
            self.announce(scope)

    @contextlib.asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[None]:
        """Wait for the others of this process that write, no longer than SQLite itself would wait."""
        if self._writing is None:
            yield
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS if self._writing.locked() else None):
                await self._writing.acquire()
        except TimeoutError:
            raise StoreFailed("The database does not answer as it should (others write for too long).") from None
        try:
            yield
        finally:
            self._writing.release()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Let one only read: it waits for no writer, and each statement sees the newest state."""
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(reads_only=True)
                yield Transaction(connection, self.clock)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Open a transaction that sees one state of the database, however long it reads, and holds up no writer."""
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(is_snapshot=True)
                if connection.dialect.name == "postgresql":
                    await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                    await connection.execute(text(f"SET LOCAL {IDLE} = 0"))  # it holds no lock that others wait for
                yield Transaction(connection, self.clock)

    def data_version(self) -> int | None:
        """Return a number that changes with every write, by whichever process; None on PostgreSQL, which has no such.

        SQLite tells it within microseconds. Asked for before reading, it tells later whether to read again.
        """
        if self.engine.dialect.name != "sqlite":
            return None
        with _translated():
            if self._looking is None:
                self._looking = sqlite3.connect(str(self.engine.url.database), isolation_level=None)
            version: int = self._looking.execute("PRAGMA data_version").fetchone()[0]
        return version

    def on_change(self, forget: Callable[[str], None]) -> None:
        """Call `forget` with each scope that this or another process touched, within `NEWS_EVERY` or so."""
        self._listeners.append(forget)

    async def watch(self) -> None:
        """Listen for other processes' changes until cancelled.

        While the database does not answer, nothing can be changed through it either; caches end by themselves after
        thirty seconds, and whatever was missed is read when it is back.
        """
        failing = False
        while True:
            try:
                await self.catch_up()
                failing = False
            except StoreFailed as error:
                if not failing:
                    log.warning("database does not answer", error=str(error))
                failing = True
            await self.clock.sleep(NEWS_EVERY)

    async def catch_up(self) -> None:
        """Announce what was touched since the last look."""
        news = select(revisions).where(revisions.c.seq > self._seen).order_by(revisions.c.seq)
        async with self.read() as tx:
            rows = (await tx.execute(news)).all()
        for row in rows:
            self._seen = row.seq
            self.announce(row.scope)

    async def skip_old_news(self) -> None:
        """Start listening from now: a process that has cached nothing has nothing to forget."""
        async with self.read() as tx:
            self._seen = (await tx.execute(select(func.max(revisions.c.seq)))).scalar_one() or 0

    async def drop_old_news(self) -> int:
        """Delete revisions that every living process has long seen; return how many."""
        async with self.begin() as tx:
            return await tx.change(delete(revisions).where(revisions.c.at < self.clock.now() - _NEWS_KEPT))

    def announce(self, scope: str) -> None:
        """Have this process, and no other, forget what it keeps under a scope, since it has learnt better."""
        self.news += 1
        for forget in self._listeners:
            forget(scope)

    async def migrate(self) -> None:
        """Bring the tables to this version's shape; safe to repeat, and to run from several processes at once."""
        if await self._migration() == latest_migration():
            return
        from landbridge.store.schema import upgrade  # noqa: PLC0415 - few starts have to wait for Alembic

        with _translated():
            async with self.engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _REVISION_LOCK})
                await connection.run_sync(upgrade)

    async def check(self) -> None:
        """Raise `StoreFailed` unless the database answers and its tables have this version's shape."""
        current = await self._migration()
        if current != latest_migration():
            raise StoreFailed(
                f"The database's tables are at “{current or 'nothing'}”, this version needs “{latest_migration()}”. "
                "Run `landbridge migrate`."
            )

    async def _migration(self) -> str | None:
        """Return the migration that the tables are at, or None before the first."""
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(reads_only=True)
                if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
                    return None
                return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()

    async def close(self) -> None:
        """Close every connection."""
        if self._looking:
            self._looking.close()
        await self.engine.dispose()


def engine_url(url: str) -> URL:
    """Return `sqlite:///…` or `postgresql://…` with the async driver that we use, or raise `Misconfigured`."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise Misconfigured("LANDBRIDGE_DATABASE_URL is not a database URL.") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend not in {"postgresql", "postgres"}:
        raise Misconfigured(f"LANDBRIDGE_DATABASE_URL names {urlsplit(url).scheme}; it takes sqlite or postgresql.")
    query = dict(parsed.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def latest_migration() -> str:
    """Return the id of the newest migration that this version ships: their files begin with it, in order."""
    return max(path.name.partition("_")[0] for path in (Path(__file__).parent / "migrations" / "versions").glob("*.py"))


@lru_cache(maxsize=100)
def _put(table: Table, names: tuple[str, ...], *, replace: bool, is_sqlite: bool) -> Executable:
    """Return the statement of `Transaction.put`, made once for all rows of the same kind: that takes long."""
    statement = (sqlite.insert if is_sqlite else postgresql.insert)(table)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in names if name not in keys} if replace else {}
    if changes:
        return statement.on_conflict_do_update(table.primary_key, set_=changes)
    return statement.on_conflict_do_nothing()


def _must_be_open(connection: Any, *_: object) -> None:  # Any: SQLAlchemy's adapter of asyncpg's
    """Have the pool connect anew if the server has closed a connection meanwhile, which asyncpg knows by itself.

    The pool's own way to find out, `pool_pre_ping`, is three round trips before each transaction.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn every driver's error into ours; its text stays in the cause, since it may quote what a row holds."""
    try:
        yield
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise StoreFailed(f"The database does not answer as it should ({type(cause).__name__}).") from error
