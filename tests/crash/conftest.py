"""What tests that kill share with those that do not, and which of them there is time for.

`make soak` sets `CRASH_EVERYWHERE`, and runs all of them. `make test` takes some, by the seed that pytest prints first.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from tests.crash import doomed
from tests.crash.doomed import Doom, Doomed
from tests.crash.everything import Service, answering
from tests.integrations.conftest import http, landbridge, microsoft, settings
from tests.integrations.landbridge import Place
from tests.integrations.workflows.crew import Crew

from landbridge.settings import Settings

__all__ = ["http", "landbridge", "microsoft", "settings"]

EVERYWHERE = bool(os.environ.get("CRASH_EVERYWHERE"))
BAD_DAYS = 2

Forked = Callable[..., Doomed]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all bad days but some."""
    days = sorted((item for item in items if item.path.name == "test_bad_days.py"), key=lambda item: item.nodeid)
    if EVERYWHERE or len(days) <= BAD_DAYS:
        return
    chosen = random.Random(config.getoption("randomly_seed", 0)).sample(days, BAD_DAYS)
    items[:] = [item for item in items if item not in days or item in chosen]
    config.hook.pytest_deselected(items=[item for item in days if item not in chosen])


@pytest.fixture
def forked() -> Iterator[Forked]:
    """Starts workers that die as they are told to, and ends them with the test."""
    with ExitStack() as closing:

        def start(settings: Settings, name: str, doom: Doom | None = None, **options: timedelta) -> Doomed:
            worker = doomed.start(settings, name, doom, **options)
            closing.callback(worker.close)
            return worker

        yield start


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A stranger's service."""
    async with answering() as answers:
        yield answers


@pytest.fixture
async def crew(landbridge: Place) -> Crew:
    """A connected user, without a worker."""
    person, connection_id = await landbridge.connected()
    return Crew(landbridge, person, connection_id)
