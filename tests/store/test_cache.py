"""What is cached is never older than the last change that anybody told us of."""

import asyncio
from collections.abc import Callable

import pytest
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.store import projects
from landbridge.store.cache import Cache, Kept
from landbridge.store.database import EVERYTHING, Database
from landbridge.store.projects import ProjectRow


@pytest.fixture
def cache(database: Database) -> Cache[str]:
    return Cache(database, scopes=10)


def _loading(*values: str) -> Callable[[], asyncio.Future[str]]:
    """Return a load that gives one value after the other."""
    left = list(values)

    def load() -> asyncio.Future[str]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(left.pop(0))
        return future

    return load


async def test_a_value_is_read_once_and_again_after_it_was_forgotten(cache: Cache[str]) -> None:
    load = _loading("old", "new")
    assert [await cache.read("project:1", load), await cache.read("project:1", load)] == ["old", "old"]
    cache.forget("project:1")
    assert cache.get("project:1") is None
    assert await cache.read("project:1", load) == "new"


async def test_keys_of_a_scope_are_forgotten_together_and_other_scopes_stay(cache: Cache[str]) -> None:
    cache.put("project:1", "a", "onedrive")
    cache.put("project:1", "b", "dropbox")
    cache.put("project:2", "c", "onedrive")
    cache.forget("project:1")
    assert [cache.get("project:1", "onedrive"), cache.get("project:1", "dropbox")] == [None, None]
    assert cache.get("project:2", "onedrive") == "c"


async def test_everything_can_be_forgotten_at_once(cache: Cache[str]) -> None:
    cache.put("project:1", "a")
    cache.put("user:1/ann", "b")
    cache.forget(EVERYTHING)
    assert [cache.get("project:1"), cache.get("user:1/ann")] == [None, None]


@pytest.mark.parametrize("scope", ["project:1", EVERYTHING])
async def test_what_was_read_before_a_forget_is_given_out_once_and_never_kept(cache: Cache[str], scope: str) -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def load_slowly() -> str:
        reading.set()
        await go_on.wait()
        return "read before the change"

    read = asyncio.create_task(cache.read("project:1", load_slowly))
    await reading.wait()
    cache.forget(scope)
    go_on.set()

    assert await read == "read before the change"
    assert cache.get("project:1") is None


async def test_a_load_that_fails_leaves_nothing_behind(cache: Cache[str]) -> None:
    async def fail() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        await cache.read("project:1", fail)
    assert cache.get("project:1") is None


async def test_neither_scopes_nor_keys_grow_without_bound(cache: Cache[str]) -> None:
    for number in range(1000):
        cache.put(f"project:{number}", "value")
        cache.put("project:one", "value", number)
    kept = sum(cache.get(f"project:{number}") is not None for number in range(1000))
    keys = sum(cache.get("project:one", number) is not None for number in range(1000))
    assert kept <= 10
    assert keys <= 32


async def test_a_change_in_another_process_is_forgotten_here_and_nothing_stale_is_kept_meanwhile(
    database: Database, project: ProjectRow, opened: Opener
) -> None:
    serving, changing = opened(), opened()
    await serving.skip_old_news()
    cache: Cache[str] = Cache(serving, scopes=10)

    async def name() -> str:
        async with serving.read() as tx:
            return (await projects.project(tx, project.id)).name

    scope = f"project:{project.id}"
    assert await cache.read(scope, name) == "Acme"
    async with changing.begin() as tx:
        await projects.update_project(tx, project.id, name="Renamed")
    assert await cache.read(scope, name) == "Acme"
    await serving.catch_up()
    assert await cache.read(scope, name) == "Renamed"


async def test_a_change_here_is_forgotten_here_at_once(database: Database) -> None:
    cache: Cache[str] = Cache(database, scopes=10)
    row = rows.project()
    cache.put(f"project:{row.id}", "not there")
    async with database.begin() as tx:
        await projects.insert_project(tx, row)
    assert cache.get(f"project:{row.id}") is None


def test_what_is_kept_is_kept_for_half_a_minute_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    kept: Kept[str, int] = Kept(10)

    kept.put("a", 1)
    now += 29.9
    assert kept.get("a") == 1
    now += 0.2
    assert kept.get("a") is None


def test_the_oldest_make_room_and_what_is_kept_anew_is_young_again() -> None:
    kept: Kept[str, int] = Kept(2)

    kept.put("a", 1)
    kept.put("b", 2)
    kept.put("a", 3)
    kept.put("c", 4)

    assert [kept.get(key) for key in "abc"] == [3, None, 4]
