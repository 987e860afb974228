"""The durable engine's own door, since it speaks SQL itself: to a file beside ours, or to our database."""

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Dialect, Engine, ExceptionContext, create_engine, event
from sqlalchemy.engine import make_url

from landbridge.settings import Settings
from landbridge.store.database import IDLE, IDLE_MILLISECONDS

log = structlog.get_logger(__name__)

_ASK_AGAIN: Final = timedelta(milliseconds=200)
_TELL_EVERY: Final = 50  # attempts
_ANSWERED_WITHIN: Final = 10  # seconds
_PASSING: Final = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "25006")
"""What databases call a disk that is full or does not answer, and a server that is not the writing one for now."""


class JournalShut(Exception):
    """The engine is to end. None of our errors, since it says nothing about a run: that goes on elsewhere."""


class Journal:
    """Connections for an engine that never gives up, and the means to have it give up.

    Whoever wants a connection while the database is away waits here for as long as that takes: the engine's own waits
    grow up to 90 s, and nothing ends them, not even the end of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._shut = threading.Event()
        self.engine = _engine(settings)
        event.listen(self.engine, "do_connect", self._connected)
        event.listen(self.engine, "handle_error", self._failed)

    @property
    def is_shut(self) -> bool:
        """Whether nobody is let in any more."""
        return self._shut.is_set()

    def shut(self) -> None:
        """Let nobody in any more, and tell those who wait. Who is in may finish."""
        self._shut.set()

    def close(self) -> None:
        """Close every connection."""
        self.shut()
        self.engine.dispose()

    def _connected(self, dialect: Dialect, _record: object, given: list[Any], named: dict[str, Any]) -> Any:
        """Return a driver's connection (Any: of either driver), or raise `JournalShut`."""
        attempts = 0
        while not self.is_shut:
            try:
                return dialect.connect(*given, **named)
            except dialect.loaded_dbapi.OperationalError as error:
                if attempts % _TELL_EVERY == 0:
                    log.warning("the journal waits for the database", error=type(error).__name__)
            attempts += 1
            self._shut.wait(_ASK_AGAIN.total_seconds())
        raise JournalShut

    def _failed(self, context: ExceptionContext) -> None:
        """Have the engine do again, after a pause, what fails for a reason that will pass.

        That is what it does when a connection is lost. Else the leg would fail, and what its step gave would be lost.
        """
        error = context.original_exception
        if _will_pass(error) and not self.is_shut:
            log.warning("the journal cannot be written now, and is tried again", error=str(error))
            context.is_disconnect = True


def _will_pass(error: BaseException) -> bool:
    name = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""
    return name.startswith(_PASSING)


def _engine(settings: Settings) -> Engine:
    url = make_url(settings.effective_database_url)
    if url.get_backend_name() != "sqlite":
        url = url.set(drivername="postgresql+psycopg")
        options = {"options": f"-c {IDLE}={IDLE_MILLISECONDS}", "connect_timeout": _ANSWERED_WITHIN}
        return create_engine(url, pool_size=16, pool_use_lifo=True, hide_parameters=True, connect_args=options)
    assert url.database
    path = Path(url.database).with_suffix(".journal.db")
    path.touch(mode=0o600)
    engine = create_engine(
        f"sqlite:///{path}", pool_size=16, pool_use_lifo=True, hide_parameters=True, connect_args={"timeout": 30}
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={settings.sqlite_synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
