"""The portal: what a user sees and does when the product calls `connect()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from scripts import setup
from tests.acceptance.stage import App, Project, Site, consent

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Frame, Locator

SCREENSHOTS = setup.TREE / "build" / "screenshots"
AXE = setup.ACCEPTANCE / "node_modules" / "axe-core" / "axe.min.js"
FOCUSED = "document.activeElement.id"


def button(app: App, name: str) -> Locator:
    return app.portal.get_by_role("button", name=name, exact=True)


async def opened(app: App) -> App:
    """Open the portal, as the product does, and wait until it is there."""
    await app.page.evaluate("() => { window.connected = paragon.connect('onedrive').catch(plain) }")
    await app.portal.get_by_role("dialog", name="OneDrive").wait_for()
    await app.page.frames[1].wait_for_function(f"{FOCUSED} !== ''")  # the last thing that it does
    return app


async def until_shut(app: App) -> None:
    await app.page.wait_for_selector("#paragon-connect-frame", state="hidden")


async def test_a_user_connects_in_the_portal_and_disconnects_there(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await opened(await App.visit(context, site.origin(), project))

    async with app.page.expect_popup() as opening:
        await button(app, "Connect").click()
    await consent(await opening.value)
    await app.portal.get_by_text("ada@contoso.example").wait_for()
    connected = await app.page.evaluate("() => connected")
    listed = await app.request("/me/drive/root/children")
    await button(app, "Disconnect").click()
    await button(app, "Connect").wait_for()

    assert connected["credential"]["status"] == "VALID"
    assert len(listed["value"]) == 3
    assert await app.portal.get_by_text("ada@contoso.example").is_hidden()
    assert await project.connections(app.user) == []
    assert await app.do("return told") == ["onPortalOpen", "onIntegrationInstall", "onIntegrationUninstall"]


async def test_the_portal_works_by_keyboard_and_keeps_the_focus(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await opened(await App.visit(context, site.origin(), project))
    keys, portal = app.page.keyboard, app.page.frames[1]
    visited = []

    for key in ("Tab", "Tab", "Tab", "Shift+Tab"):
        visited.append(await portal.evaluate(FOCUSED))
        await keys.press(key)
    visited.append(await portal.evaluate(FOCUSED))
    async with app.page.expect_popup() as opening:
        await button(app, "Connect").focus()
        await keys.press("Enter")
    await consent(await opening.value)
    await button(app, "Disconnect").wait_for()
    await keys.press("Escape")
    await until_shut(app)

    assert visited == ["connect", "close", "connect", "close", "connect"]
    assert (await app.do("return told"))[-1] == "onPortalClose"


@pytest.mark.parametrize("how", ["the cross", "a click beside it", "the product"])
async def test_the_portal_closes_and_opens_again(
    context: BrowserContext, site: Site, project: Project, how: str
) -> None:
    app = await opened(await App.visit(context, site.origin(), project))

    if how == "the cross":
        await button(app, "Close").click()
    elif how == "a click beside it":
        await app.page.mouse.click(5, 5)
    else:
        await app.do("paragon.closePortal()")
    await until_shut(app)

    await opened(app)
    assert (await app.do("return told")).count("onPortalOpen") == 2


async def test_a_declined_consent_is_shown_in_the_portal(context: BrowserContext, site: Site, project: Project) -> None:
    app = await opened(await App.visit(context, site.origin(), project))

    async with app.page.expect_popup() as opening:
        await button(app, "Connect").click()
    await consent(await opening.value, button="decline")

    await app.portal.get_by_role("alert").filter(has_text="Consent was not given").wait_for()
    await shoot(app, "portal-light-declined.png")
    assert "Consent was not given" in (await app.page.evaluate("() => connected"))["message"]


async def test_an_account_that_was_cut_off_is_connected_again_in_the_portal(
    context: BrowserContext, site: Site, project: Project
) -> None:
    async with project.landbridge.sandbox.switched(access_token_seconds=1):
        kept = await project.connect("user-1")
    await project.landbridge.sandbox.control("POST", "/users/ada@contoso.example/revoke")
    before = await App.visit(context, site.origin(), project)
    await before.fails("return paragon.request('onedrive', '/me')")
    app = await opened(await App.visit(context, site.origin(), project))
    said = await app.portal.get_by_role("alert").inner_text()
    await shoot(app, "portal-light-cut-off.png")

    async with app.page.expect_popup() as opening:
        await button(app, "Reconnect").click()
    await consent(await opening.value)

    await button(app, "Reconnect").wait_for(state="hidden")
    assert "connected again" in said
    assert [(one["id"], one["status"]) for one in await project.connections("user-1")] == [(kept, "valid")]


async def test_an_install_shows_the_portal_only_if_asked_to(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project)

    await app.install()
    without = await app.page.locator("#paragon-connect-frame").is_visible()
    await app.do("await paragon.uninstallIntegration('onedrive')")
    await app.install("{ showPortalAfterInstall: true }")

    assert not without
    await app.portal.get_by_text("ada@contoso.example").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_portal_looks_as_it_should(
    context: BrowserContext, site: Site, project: Project, scheme: Literal["light", "dark"]
) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.page.emulate_media(color_scheme=scheme)
    await app.page.set_viewport_size({"width": 900, "height": 640})
    await opened(app)

    await shoot(app, f"portal-{scheme}-new.png")
    async with app.page.expect_popup() as opening:
        await button(app, "Connect").click()
    window = await opening.value
    await window.wait_for_selector("#accept")
    await shoot(app, f"portal-{scheme}-waiting.png")
    await consent(window)
    await button(app, "Disconnect").wait_for()
    await shoot(app, f"portal-{scheme}-connected.png")


async def test_the_portal_fits_a_phone(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.page.set_viewport_size({"width": 320, "height": 568})
    await opened(app)

    await shoot(app, "portal-phone.png")

    assert await app.page.frames[1].evaluate("document.documentElement.scrollWidth") <= 320
    assert await button(app, "Connect").is_visible()


async def test_the_window_s_last_page_is_accessible(context: BrowserContext, project: Project) -> None:
    page = await context.new_page()

    await page.goto(f"{project.landbridge.url}/oauth?state=unknown")

    assert await barriers(page.main_frame) == []


async def shoot(app: App, name: str) -> None:
    """Keep a picture for people to look at, and look for what would stop some of them."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await app.page.screenshot(path=SCREENSHOTS / name)
    assert await barriers(app.page.frames[1]) == []


async def barriers(frame: Frame) -> list[str]:
    """Return what axe-core finds that makes a page hard to use for somebody, as `rule: element`."""
    if not await frame.evaluate("'axe' in window"):
        await frame.evaluate(AXE.read_text(encoding="utf-8"))
    found = await frame.evaluate("axe.run(document).then((found) => found.violations)")
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
