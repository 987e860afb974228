"""The stage: one sandbox, one browser and one site for all; a Landbridge for each way to lay out its origins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.acceptance.stage import PATIENCE, Landbridge, Project, Sandbox, Site, run
from tests.ground.chromium import running_chromium
from tests.ground.postgres import PostgresServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests share a loop, since they share servers and a browser."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


shared = pytest_asyncio.fixture(scope="session", loop_scope="session")


@shared
async def browser() -> AsyncIterator[Browser]:
    """One browser for all; every test has a profile of its own in it."""
    async with running_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A user's browser, without cookies."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    await context.close()


@shared
async def sandbox() -> AsyncIterator[Sandbox]:
    """One Microsoft for all; every project has an application of its own there."""
    async with Sandbox.serve() as sandbox:
        yield sandbox


@shared
async def site(sdk_bundle: Path) -> AsyncIterator[Site]:
    """One web server for all the products and attackers, each under a host name of its own."""
    async with Site(sdk_bundle).served() as site:
        yield site


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that every Landbridge here uses."""
    return tmp_path_factory.mktemp("landbridge")


@shared
async def api_key(data_dir: Path) -> str:
    """A key of the management API, made in the terminal as an operator does."""
    made = await run("landbridge", "api-keys", "create", "acceptance", LANDBRIDGE_DATA_DIR=str(data_dir))
    key: str = made["key"]
    return key


@shared
async def landbridge(data_dir: Path, api_key: str, sandbox: Sandbox) -> AsyncIterator[Landbridge]:
    """A Landbridge at one origin."""
    async with Landbridge.serve(data_dir, api_key, sandbox) as landbridge:
        yield landbridge


@shared
async def landbridge_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, sandbox: Sandbox
) -> AsyncIterator[Landbridge]:
    """A Landbridge at one origin, whose database is PostgreSQL."""
    folder = tmp_path_factory.mktemp("landbridge-on-postgresql")
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        loop = asyncio.get_running_loop()
        url = await loop.run_in_executor(thread, stack.enter_context, postgres_server.database())
        set_up = {"LANDBRIDGE_DATA_DIR": str(folder), "LANDBRIDGE_DATABASE_URL": url}
        await run("landbridge", "migrate", **set_up)
        key = (await run("landbridge", "api-keys", "create", "acceptance", **set_up))["key"]
        async with Landbridge.serve(folder, key, sandbox, DATABASE_URL=url) as landbridge:
            yield landbridge
        await loop.run_in_executor(thread, stack.close)


@pytest.fixture
def home(request: pytest.FixtureRequest, landbridge: Landbridge) -> Landbridge:
    """The Landbridge of the test's project; for a test that is marked `ON_BOTH`, one on each kind of database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return landbridge
    found: Landbridge = request.getfixturevalue("landbridge_on_postgresql")
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def project(home: Landbridge, site: Site) -> Project:
    """A project of the test's own, for pages of the product."""
    return await home.project(site.origin())
