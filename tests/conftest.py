"""What tests of every kind may ask for: a database, a browser, the browser SDK."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog
from scripts import setup
from tests.ground.chromium import running_chromium
from tests.ground.postgres import PostgresServer, running_postgres

if TYPE_CHECKING:
    from playwright.async_api import Browser

# As the product prints tracebacks. With each frame's variables, as is usual where rich is, one can take seconds.
*_processors, _ = structlog.get_config()["processors"]
_renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*_processors, _renderer])

# A machine that stands still is no failure. The examples of a test share its fixtures, and the test allows for that.
_lenient = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("ours", deadline=None, suppress_health_check=_lenient)
hypothesis.settings.load_profile("ours")


def pytest_collection_finish() -> None:
    """Look for garbage more rarely, and not through what every test shares: that took a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that `$TEST_DATABASE_URL` names, whose role may create databases; else one of our own."""
    with ExitStack() as stack:
        url = os.environ.get("TEST_DATABASE_URL") or stack.enter_context(running_postgres(forgetful=True))
        server = PostgresServer(url)
        stack.callback(server.close)
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own, as `postgresql://…`."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own; the test runs once on each kind that we support."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'landbridge.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium of the test's own."""
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def sdk_bundle() -> Path:
    """The unmodified `@useparagon/connect`, as a classic script that defines the global `paragon`.

    Load it in `<head>` and call `paragon.configureGlobal({host}, {…_PUBLIC_URL})` in the next script, while the
    document is still loading: the SDK makes its iframe at once in a later script, and asks the vendor's host for it.
    """
    bundle = setup.TREE / "build" / "sdk.js"
    if not bundle.exists():
        pytest.fail("The browser SDK is not there yet: run `python3 scripts/setup.py sdk`.")
    return bundle
