"""Databases with this version's tables, without running the migrations for every test anew."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.ground.postgres import MIGRATED

from landbridge.clock import SystemClock
from landbridge.settings import Settings
from landbridge.store.database import Database

_SQLITE = "sqlite:///"
_FIRST = "/postgres"  # a server's own, which cannot be replaced
_made: list[bytes] = []


async def migrate(settings: Settings) -> None:
    """Bring a database to this version's shape, as `landbridge migrate` does; an empty one as a copy of the first.

    Migrations take a third of the time of a small test; that they make the right tables is for `tests/store` to show.
    """
    url = settings.effective_database_url
    path = Path(url.removeprefix(_SQLITE))
    if url.startswith(_SQLITE) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await _file())
    elif url.startswith(_SQLITE) or urlsplit(url).path == _FIRST or not await _is_empty(url):
        await _migrate(url)
    else:
        await _replace(url)


async def _file() -> bytes:
    if not _made:
        with TemporaryDirectory() as folder:
            path = Path(folder, "migrated.db")
            await _migrate(f"{_SQLITE}{path}")
            _made.append(path.read_bytes())
    return _made[0]


async def _is_empty(url: str) -> bool:
    return not await _ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


async def _replace(url: str) -> None:
    """Put a copy of this process's migrated database in an empty one's place."""
    name, server = urlsplit(url).path.strip("/"), _beside(url, _FIRST)
    if not await _ask(server, f"SELECT count(*) FROM pg_database WHERE datname = '{MIGRATED}'"):
        await _ask(server, f"CREATE DATABASE {MIGRATED}")
        await _migrate(_beside(url, f"/{MIGRATED}"))
    await _ask(server, f"DROP DATABASE {name} WITH (FORCE)")
    await _ask(server, f"CREATE DATABASE {name} TEMPLATE {MIGRATED} STRATEGY file_copy")


def _beside(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=path))


async def _ask(url: str, statement: str) -> Any:  # Any: asyncpg has no types
    connection: Any = await asyncpg.connect(url)  # Any: as above
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def _migrate(url: str) -> None:
    database = Database.from_settings(Settings(database_url=url), SystemClock())
    await database.migrate()
    await database.close()
