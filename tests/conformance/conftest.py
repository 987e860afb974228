"""What judging shares: a stage for each integration and kind of account, kept while its cases are played.

`make test T=tests/conformance` and `make soak` judge every action by every trouble, which takes minutes. With all other
tests, `make test` takes some of them, by the seed that pytest prints first.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conformance.stage import Stage, stage

ONE_OF = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def staged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """An integration with an account of a kind connected."""
    integration, kind = request.param
    async with stage(integration, kind, tmp_path_factory.mktemp(integration)) as ours:
        yield ours


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out most of the troubles where all tests of the tree are run."""
    if config.args != config.getini("testpaths"):
        return
    cases = sorted((item for item in items if item.path.name == "test_behaviour.py"), key=lambda item: item.nodeid)
    kept = set(random.Random(config.getoption("randomly_seed", 0)).sample(cases, len(cases) // ONE_OF))
    left_out = [item for item in cases if item not in kept]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)
