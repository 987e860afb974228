"""A sandbox of the test's own, and a client that speaks to it as an application would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.sandbox.caller import Caller

from msgraph_sandbox.server import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A fresh sandbox."""
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client without cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield client


@pytest.fixture
async def caller(sandbox: Sandbox, session: aiohttp.ClientSession) -> Caller:
    """The first (business) user's application, signed in."""
    return await Caller(session, sandbox.announcement).sign_in()


@pytest.fixture
async def personal(caller: Caller) -> Caller:
    """The personal account's application, signed in."""
    return await caller.as_user("mary@outlook.example")
