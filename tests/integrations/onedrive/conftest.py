"""What tests of OneDrive's actions share: a connected account of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integrations.onedrive.account import ADA, MARY, Account, connected

from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.switches import Switches


@pytest.fixture(params=[ADA, MARY], ids=["work", "personal"])
async def account(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Account]:
    """A connected account; the test runs once for work, once for personal ones."""
    with Sandbox(switches=Switches(upload_authorization="refuse")) as sandbox:
        async with connected(sandbox, request.param, tmp_path / "data") as ours:
            yield ours


@pytest.fixture
async def work_account(tmp_path: Path) -> AsyncIterator[Account]:
    """A connected work account, for what is the same for both."""
    with Sandbox(switches=Switches(upload_authorization="refuse")) as sandbox:
        async with connected(sandbox, ADA, tmp_path / "data") as ours:
            yield ours
