"""What tests with the sandbox share: the sandbox itself, and a Landbridge in this process or beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from tests.integrations.landbridge import Place, Process, place, settings_for
from tests.integrations.landbridge import serve as start
from tests.integrations.microsoft import Microsoft

from landbridge.settings import Settings
from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.switches import Switches

Server = Callable[..., Process]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's or a server's HTTP client; it keeps cookies."""
    jar = aiohttp.CookieJar(unsafe=True)
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        cookie_jar=jar, timeout=timeout, connector=connector, auto_decompress=False
    ) as session:
        yield session


@pytest.fixture
async def microsoft(http: aiohttp.ClientSession) -> AsyncIterator[Microsoft]:
    """A sandbox of the test's own, whose clock it may move."""
    with Sandbox(switches=Switches(upload_authorization="refuse")) as sandbox:
        yield Microsoft(sandbox.announcement, http)


@pytest.fixture
def settings(microsoft: Microsoft, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a Landbridge of the test's own, on each kind of database."""
    return settings_for(microsoft.facts, tmp_path, database_url=database_url)


@pytest.fixture
async def landbridge(settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft) -> AsyncIterator[Place]:
    """A Landbridge in this process, that answers HTTP and whose clock the test may move."""
    async with place(settings, http, microsoft) as ours:
        yield ours


@pytest.fixture
def server() -> Iterator[Server]:
    """Starts `landbridge serve` processes, and ends them with the test."""
    with ExitStack() as closing:

        def run(settings: Settings, *options: str) -> Process:
            process = start(settings, *options)
            closing.callback(process.close)
            return process

        yield run
