"""What is revoked in one process is refused in every other as soon as it hears of it."""

from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import jwt
import pytest
from tests.clock import FakeClock
from tests.store.conftest import Opener

from landbridge.access import Access
from landbridge.catalog import Catalog
from landbridge.errors import NotFound, Unauthenticated
from landbridge.projects import Projects
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.vault import KeyRing, KeySetting, Vault

HOUR = timedelta(hours=1)
RING = KeyRing.generate().text()


class Process:
    """One process: its own door to the database, with its own caches."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        vault, catalog = Vault(KeySetting(RING)), Catalog.read(files("landbridge.integrations"))
        self.projects = Projects(database, vault, catalog, clock)
        self.access = Access(self.projects, database, Settings(), clock)


@pytest.fixture
def here(database: Database, clock: FakeClock) -> Process:
    return Process(database, clock)


@pytest.fixture
def there(here: Process, opened: Opener, clock: FakeClock) -> Process:
    return Process(opened(), clock)


async def test_a_token_of_a_revoked_key_is_refused_here_at_once_and_there_at_the_next_look(
    here: Process, there: Process, clock: FakeClock
) -> None:
    project = await here.projects.create("Acme")
    key, private = await here.projects.create_signing_key(project.id)
    claims = {"sub": "ann", "exp": clock.now() + HOUR}
    token = jwt.encode(claims, private, algorithm="RS256", headers={"kid": key.id})
    for process in (here, there):
        assert (await process.access.user(project.id, token)).user_id == "ann"

    await here.projects.revoke_signing_key(project.id, key.id)

    with pytest.raises(Unauthenticated):
        await here.access.user(project.id, token)
    await there.database.catch_up()
    with pytest.raises(Unauthenticated):
        await there.access.user(project.id, token)


async def test_a_new_key_is_good_there_as_soon_as_it_was_made_here(here: Process, there: Process) -> None:
    project = await here.projects.create("Acme")
    await there.projects.facts(project.id)

    token = await here.projects.user_token(project.id, "ann", HOUR)
    await there.database.catch_up()

    assert (await there.access.user(project.id, token)).user_id == "ann"


async def test_a_token_for_trying_out_ends_and_leaves_no_key_behind(here: Process, clock: FakeClock) -> None:
    project = await here.projects.create("Acme")
    token = await here.projects.user_token(project.id, "ann", HOUR)
    assert (await here.access.user(project.id, token)).expires_at >= clock.now() + HOUR
    clock.advance(2 * HOUR)
    with pytest.raises(Unauthenticated, match=r"has expired|No active signing key"):
        await here.access.user(project.id, token)


async def test_a_deleted_project_serves_nobody(here: Process, there: Process) -> None:
    project = await here.projects.create("Acme")
    token = await here.projects.user_token(project.id, "ann", HOUR)
    await there.access.user(project.id, token)

    await here.projects.delete(project.id)
    await there.database.catch_up()

    with pytest.raises(NotFound):
        await there.access.user(project.id, token)


async def test_an_api_key_is_good_until_it_is_revoked_and_is_kept_only_as_a_digest(
    here: Process, there: Process, tmp_path: Path
) -> None:
    project = await here.projects.create("Acme")
    row, text = await here.projects.create_api_key("CI", project.id)
    assert (await there.access.operator(text)).project_id == project.id
    assert text not in repr(await here.projects.api_keys())

    await here.projects.revoke_api_key(row.id)

    with pytest.raises(Unauthenticated, match="unknown or revoked"):
        await there.access.operator(text)
    with pytest.raises(Unauthenticated, match="unknown or revoked"):
        await there.access.operator("lb_key_guess")
