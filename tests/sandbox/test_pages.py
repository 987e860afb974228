"""The sandbox's pages in a real browser: clicking files into being, and consenting in a small window."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from scripts import setup
from tests.ground.chromium import running_chromium
from tests.sandbox.caller import REDIRECT

from msgraph_sandbox.server import Sandbox

if TYPE_CHECKING:
    from playwright.async_api import Page

ADA = "ada@contoso.example"
AXE = setup.ACCEPTANCE / "node_modules" / "axe-core" / "axe.min.js"
# How large the browser SDK's window is.
WIDTH, HEIGHT = 500, 600


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a fresh browser, which tells of every error in a script."""
    async with running_chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(20_000)
        errors: list[object] = []
        page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - Playwright marks what it is given
        yield page
        assert errors == []


@pytest.fixture
def threaded() -> Iterator[Sandbox]:
    """A sandbox in a thread of its own, whose control client may wait."""
    with Sandbox() as running:
        yield running


async def _obstacles(page: Page) -> list[str]:
    """Return what axe-core finds that makes a page hard to use for somebody."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document).then((found) => found.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


def _home(sandbox: Sandbox) -> str:
    return str(sandbox.announcement["control_url"]).removesuffix("_sandbox")


async def test_files_are_clicked_into_being_and_away(page: Page, threaded: Sandbox) -> None:
    await page.goto(_home(threaded))
    await page.get_by_role("button", name="Ada Lovelace").click()
    await page.get_by_role("button", name="Documents/", exact=True).click()
    await page.get_by_label("New folder").fill("Made here")
    await page.get_by_role("button", name="Create folder").click()
    await page.get_by_role("button", name="Made here/", exact=True).click()
    await page.get_by_role("button", name="New file…").click()
    await page.get_by_label("Name", exact=False).last.fill("a#b%.txt")
    await page.get_by_label("Contents").fill("Hello\nthere")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Saved a#b%.txt.").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    control = threaded.control
    assert control.read(ADA, "Documents/Made here/a#b%.txt") == b"Hello\nthere"
    await page.get_by_role("button", name="a#b%.txt", exact=True).click()
    await page.get_by_label("Contents").fill("Changed")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("7 B").wait_for()
    assert control.read(ADA, "Documents/Made here/a#b%.txt") == b"Changed"
    await page.locator("#upload").set_input_files({"name": "up.bin", "mimeType": "", "buffer": b"\0\1"})
    await page.get_by_text("Uploaded.").wait_for()
    assert control.read(ADA, "Documents/Made here/up.bin") == b"\0\1"
    await page.get_by_role("button", name="Delete a#b%.txt").click()
    await page.get_by_text("Deleted a#b%.txt.").wait_for()
    assert "Documents/Made here/a#b%.txt" not in control.tree(ADA)
    assert await _obstacles(page) == []


async def test_names_are_shown_and_not_obeyed(page: Page, threaded: Sandbox) -> None:
    hostile = "<img src=x onerror=document.title='obeyed'>"
    threaded.control.add_user("x@contoso.example", name=hostile, files={"a&lt;b.txt": "x"})
    await page.goto(_home(threaded))
    await page.get_by_role("button", name=hostile).click()
    await page.get_by_role("button", name="a&lt;b.txt", exact=True).wait_for()
    assert await page.title() == "msgraph-sandbox"


async def test_the_keyboard_is_enough(page: Page, threaded: Sandbox) -> None:
    await page.goto(_home(threaded))
    await page.get_by_role("button", name="Ada Lovelace").wait_for()
    await page.get_by_role("button", name="New file…").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.type("typed.txt")
    await page.keyboard.press("Tab")
    await page.keyboard.type("by hand")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_text("Saved typed.txt.").wait_for()
    assert threaded.control.read(ADA, "typed.txt") == b"by hand"
    await page.get_by_role("button", name="New file…").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    assert not await page.locator("dialog").is_visible()


async def test_a_refusal_is_shown(page: Page, threaded: Sandbox) -> None:
    await page.goto(_home(threaded))
    await page.get_by_role("button", name="Ada Lovelace").wait_for()
    await page.get_by_label("New folder").fill("CON")
    await page.get_by_role("button", name="Create folder").click()
    await page.locator("#said.bad").wait_for()


def _authorize(facts: dict[str, str]) -> str:
    scope = "openid profile offline_access User.Read Files.Read Files.ReadWrite Files.ReadWrite.All Sites.Read.All"
    query = {"client_id": facts["client_id"], "response_type": "code", "redirect_uri": REDIRECT, "scope": scope}
    return f"{facts['login_url']}/common/oauth2/v2.0/authorize?{urlencode(query)}"


async def test_the_whole_question_fits_a_small_window(page: Page, threaded: Sandbox) -> None:
    await page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    await page.goto(_authorize(threaded.announcement))
    for name in ("accept", "decline"):
        box = await page.locator(f"#{name}").bounding_box()
        assert box
        assert box["y"] + box["height"] <= HEIGHT
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not await page.get_by_label("Password").is_visible()
    assert await _obstacles(page) == []
    await page.get_by_label("Use another account").check()
    await page.get_by_label("Email").fill(ADA)
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await page.get_by_role("alert").wait_for()
    assert "AADSTS50126" in await page.get_by_role("alert").inner_text()
