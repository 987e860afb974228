"""What tests of the store share: a migrated database, and more doors to the same one, as other processes have."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from tests.clock import FakeClock
from tests.ground.migrated import migrate
from tests.store import rows

from landbridge.settings import Settings
from landbridge.store import projects
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow

Opener = Callable[[], Database]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def opened(database_url: str, clock: FakeClock) -> AsyncIterator[Opener]:
    """Opens one door more to the database, with nothing in common with the others but the file or the server."""
    async with AsyncExitStack() as stack:

        def open_() -> Database:
            settings = Settings(database_url=database_url, sqlite_synchronous="NORMAL")
            database = Database.from_settings(settings, clock)
            stack.push_async_callback(database.close)
            return database

        yield open_


@pytest.fixture
async def database(opened: Opener, database_url: str) -> Database:
    """An empty database with this version's tables."""
    await migrate(Settings(database_url=database_url))
    return opened()


@pytest.fixture
async def project(database: Database) -> ProjectRow:
    """A project that is in the database."""
    row = rows.project()
    async with database.begin() as tx:
        await projects.insert_project(tx, row)
    return row
