"""What a user has, as it stands when several of their tabs write at once."""

import asyncio
from datetime import timedelta

from tests.clock import FakeClock
from tests.store.conftest import Opener

from landbridge.access import Caller
from landbridge.connections.accounts import Accounts
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow


async def test_metadata_set_by_two_tabs_at_once_is_all_kept(
    database: Database, opened: Opener, clock: FakeClock, project: ProjectRow
) -> None:
    caller = Caller(project.id, "ada", clock.now() + timedelta(hours=1))
    tabs = [Accounts(database, clock), Accounts(opened(), clock)]

    await asyncio.gather(*(tabs[n % 2].set_meta(caller, {f"key {n}": n}) for n in range(10)))

    assert (await tabs[0].user(caller)).meta == {f"key {n}": n for n in range(10)}
