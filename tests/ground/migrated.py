"""Databases with this version's tables, without running the migrations for every test anew."""

from pathlib import Path
from tempfile import TemporaryDirectory

from landbridge.clock import SystemClock
from landbridge.settings import Settings
from landbridge.store.database import Database

_SQLITE = "sqlite:///"
_made: list[bytes] = []


async def migrate(settings: Settings) -> None:
    """Bring a database to this version's shape, as `landbridge migrate` does; a new SQLite file as a copy of the first.

    Migrations take a third of the time of a small test; that they make the right tables is for `tests/store` to show.
    """
    url = settings.effective_database_url
    path = Path(url.removeprefix(_SQLITE))
    if url.startswith(_SQLITE) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await _file())
    else:
        await _migrate(url)


async def _file() -> bytes:
    if not _made:
        with TemporaryDirectory() as folder:
            path = Path(folder, "migrated.db")
            await _migrate(f"{_SQLITE}{path}")
            _made.append(path.read_bytes())
    return _made[0]


async def _migrate(url: str) -> None:
    database = Database.from_settings(Settings(database_url=url), SystemClock())
    await database.migrate()
    await database.close()
