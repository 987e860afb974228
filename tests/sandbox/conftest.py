"""A sandbox of the test's own, and a client that speaks to it as an application would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.caller import Caller
from tests.sandbox.receiver import Receiver

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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A running webhook."""
    hook = Receiver()
    app = web.Application()
    app.router.add_post("/hook", hook.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?tenant=1"
    yield hook
    await runner.cleanup()
