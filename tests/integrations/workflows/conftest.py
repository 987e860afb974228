"""What tests of workflows share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integrations.landbridge import Place
from tests.integrations.workflows.crew import Crew, working


@pytest.fixture
async def crew(landbridge: Place) -> AsyncIterator[Crew]:
    """A connected user, and a worker in this process."""
    person, connection_id = await landbridge.connected()
    async with working(landbridge):
        yield Crew(landbridge, person, connection_id)
