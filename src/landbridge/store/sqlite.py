"""SQLite as we use it: a file in WAL mode, behind connections that each have a thread."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import aiosqlite
from aiosqlite.context import contextmanager
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from landbridge.errors import Misconfigured
from landbridge.settings import Settings

_CONNECTIONS = 10
_TAKEN_ALONG = 500

WAIT_SECONDS = 30
"""How long one who wants to write waits for others."""


def sqlite_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return the engine of a database in a file, which is made if need be. Raises `Misconfigured` without a file."""
    database = url.database
    if not database or database == ":memory:":
        raise Misconfigured("LANDBRIDGE_DATABASE_URL names SQLite without a file: `sqlite:////folder/landbridge.db`.")
    Path(database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    Path(database).touch(mode=0o600)
    engine = create_async_engine(
        url,
        async_creator=lambda: _connected(database),
        pool_size=_CONNECTIONS,
        max_overflow=0,  # one that is closed after use costs a thread and a connection each time
        pool_use_lifo=True,  # so that few have a cache that is full, and that is warm
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:  # Any: SQLAlchemy's adapter
        connection.isolation_level = None  # we send BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={settings.sqlite_synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(
            "PRAGMA secure_delete=ON"
        )  # a disconnected account's sealed tokens are overwritten, not just unlinked
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("is_snapshot"):
            connection.exec_driver_sql("BEGIN")
        elif not options.get("reads_only"):  # each statement that only reads is a transaction of its own
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


async def _connected(database: str) -> aiosqlite.Connection:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(database, timeout=WAIT_SECONDS, check_same_thread=False)

    connection = _Connection(connect, _TAKEN_ALONG)
    connection._thread.daemon = True  # as SQLAlchemy has it: a process that ends waits for no statement
    return await connection


class _Connection(aiosqlite.Connection):
    """A connection whose thread is visited once for each statement, where aiosqlite's is visited four times.

    A visit wakes a thread and then the event loop, which is most of what a small statement costs.
    """

    @contextmanager
    async def cursor(self) -> aiosqlite.Cursor:
        """Return a cursor; nothing is done yet that could take time."""
        return _Cursor(self, self._conn.cursor())

    async def rollback(self) -> None:
        """Roll back, if there is anything to."""
        if self._conn.in_transaction:
            await super().rollback()


class _Cursor(aiosqlite.Cursor):
    """A cursor that brings the first rows along from the visit that executes the statement."""

    _brought: Sequence[Any] = ()  # Any: rows
    _is_all = True

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:  # Any: what SQLite can keep
        """Execute a statement."""
        visit = self._conn._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        self._brought, self._is_all = await visit
        return self

    def _run(self, sql: str, parameters: Iterable[Any]) -> tuple[Sequence[Any], bool]:
        cursor = self._cursor.execute(sql, parameters)  # type: ignore[arg-type]
        rows = cursor.fetchmany(_TAKEN_ALONG) if cursor.description else ()
        return rows, len(rows) < _TAKEN_ALONG

    async def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        """Return the next rows."""
        most = size or self.arraysize
        some, self._brought = self._brought[:most], self._brought[most:]
        if some or self._is_all:
            return some
        return list(await super().fetchmany(size))

    async def fetchone(self) -> Any:
        """Return the next row, or None."""
        some = await self.fetchmany(1)
        return some[0] if some else None

    async def fetchall(self) -> Sequence[Any]:
        """Return the rest of the rows."""
        brought, self._brought = self._brought, ()
        return brought if self._is_all else [*brought, *await super().fetchall()]

    async def close(self) -> None:
        """Let the statement go."""
        self._cursor.close()
