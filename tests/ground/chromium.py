"""A headless Chromium with a profile of its own that speaks to nobody unless a page tells it to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from scripts import setup

if TYPE_CHECKING:
    from playwright.async_api import Browser

_QUIET = ("disable-background-networking", "disable-component-update", "disable-sync", "no-first-run")
_PLAIN = ("disable-gpu", "disable-quic")


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """Start the browser that `scripts/setup.py chromium` fetched, and close it in the end."""
    # Imported here: it takes a third of a second, which tests without a browser should not pay.
    from playwright.async_api import async_playwright  # noqa: PLC0415

    chromium = setup.BIN / "chromium"
    if not chromium.exists():
        pytest.fail("There is no browser yet: run `python3 scripts/setup.py chromium`.")
    # The Node that Playwright brings wants a library, libatomic, that a small machine does not have.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(setup.BIN / "node"))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.resolve(), args=[f"--{switch}" for switch in (*_QUIET, *_PLAIN)]
        )
        yield browser
        await browser.close()
