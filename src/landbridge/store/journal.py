"""The durable engine's own door, since it speaks SQL itself: to a file beside ours, or to our database."""

import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine import make_url

from landbridge.errors import StoreFailed
from landbridge.settings import Settings
from landbridge.store.database import IDLE, IDLE_MILLISECONDS

log = structlog.get_logger(__name__)

_ASK_AGAIN: Final = timedelta(milliseconds=200)
_TELL_EVERY: Final = 50  # attempts
_ANSWERED_WITHIN: Final = 10  # seconds


class Journal:
    """Connections for an engine that never gives up, and the means to have it give up.

    Whoever wants a connection while the database is away waits here for as long as that takes: the engine's own waits
    grow up to 90 s, and nothing ends them, not even the end of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._shut = threading.Event()
        self.engine = _engine(settings)
        event.listen(self.engine, "do_connect", self._connected)

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
        """Return a driver's connection (Any: of either driver), or raise `StoreFailed` once this is shut."""
        attempts = 0
        while not self.is_shut:
            try:
                return dialect.connect(*given, **named)
            except dialect.loaded_dbapi.OperationalError as error:
                if attempts % _TELL_EVERY == 0:
                    log.warning("the journal waits for the database", error=type(error).__name__)
            attempts += 1
            self._shut.wait(_ASK_AGAIN.total_seconds())
        raise StoreFailed("The journal is closed.")


def _engine(settings: Settings) -> Engine:
    url = make_url(settings.effective_database_url)
    if url.get_backend_name() != "sqlite":
        url = url.set(drivername="postgresql+psycopg")
        options = {"options": f"-c {IDLE}={IDLE_MILLISECONDS}", "connect_timeout": _ANSWERED_WITHIN}
        return create_engine(url, pool_size=16, pool_pre_ping=True, hide_parameters=True, connect_args=options)
    assert url.database
    path = Path(url.database).with_suffix(".journal.db")
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={settings.sqlite_synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
