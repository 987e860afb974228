"""What judging shares: a stage for each integration and kind of account, kept while its cases are played."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conformance.stage import Stage, stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def staged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """An integration with an account of a kind connected."""
    integration, kind = request.param
    async with stage(integration, kind, tmp_path_factory.mktemp(integration)) as ours:
        yield ours
