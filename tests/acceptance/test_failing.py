"""What goes wrong in a sign-in reaches the product as an error with a reason, and never as a wait without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.acceptance.stage import App, Project, Site, consent, install_flow

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

INSTALL = "return paragon.installIntegration('onedrive', { onError: (error) => told.push(error.message) })"


async def _refused(app: App, *, headless: bool, button: str | None) -> str:
    """Sign in, with a click on a button of Microsoft's if it comes to that, and return the message of the error."""
    window = await app.click(install_flow() if headless else INSTALL)
    if button:
        await consent(window, button=button)
    ended = await app.clicked()
    if headless:
        assert ended["value"]["context"] == {"stage": "oauth"}, ended
        message: str = ended["value"]["error"]["message"]
        return message
    message = ended["error"]["message"]
    assert await app.do("return told") == [message]
    return message


@pytest.mark.parametrize("headless", [False, True])
async def test_a_user_who_declines_is_told_of(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    app = await App.visit(context, site.origin(), project)

    message = await _refused(app, headless=headless, button="decline")

    assert "Consent was not given" in message
    assert await project.connections("user-1") == []


@pytest.mark.parametrize("headless", [False, True])
async def test_an_integration_that_was_switched_off_meanwhile_says_so(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    app = await App.visit(context, site.origin(), project)
    await project.set_integration(is_active=False)

    message = await _refused(app, headless=headless, button=None)

    assert "not active" in message


@pytest.mark.parametrize("headless", [False, True])
async def test_a_code_that_microsoft_refuses_is_told_of(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    await project.spoil_tokens(status=400, code="54005")
    app = await App.visit(context, site.origin(), project)

    message = await _refused(app, headless=headless, button="accept")

    assert "redeemed before" in message


@pytest.mark.parametrize("headless", [False, True])
async def test_a_wrong_client_secret_is_named(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    for wrong in ("not-the-secret", "nor-this-one"):  # two may overlap: the right one is gone with the second
        await project.set_integration(client_secret=wrong)
    app = await App.visit(context, site.origin(), project)

    message = await _refused(app, headless=headless, button="accept")

    assert "The client secret is wrong." in message


@pytest.mark.parametrize("headless", [False, True])
async def test_a_token_endpoint_that_is_down_is_told_of(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    await project.spoil_tokens(status=503)
    app = await App.visit(context, site.origin(), project)

    message = await _refused(app, headless=headless, button="accept")

    assert "Microsoft" in message


@pytest.mark.parametrize("headless", [False, True])
async def test_a_page_that_hides_itself_is_told_what_to_change(
    context: BrowserContext, site: Site, project: Project, headless: bool
) -> None:
    app = await App.visit(context, site.origin(), project, Referrer_Policy="no-referrer")

    message = await _refused(app, headless=headless, button=None)

    assert "Referrer-Policy" in message
    assert await project.connections("user-1") == []


async def test_a_page_that_cuts_its_windows_off_is_told_what_to_change(
    context: BrowserContext, site: Site, project: Project
) -> None:
    """Only headless: elsewhere no message can reach the product's page, and the window says it to the user."""
    app = await App.visit(context, site.origin(), project, Cross_Origin_Opener_Policy="same-origin")
    await app.page.evaluate("source => onClick(source)", install_flow())

    async with context.expect_page() as opening:
        await app.page.click("#go")
    window = await opening.value
    ended = await app.clicked()
    await window.wait_for_url("**opener=none")

    assert "Cross-Origin-Opener-Policy" in ended["value"]["error"]["message"]
    assert "Cross-Origin-Opener-Policy" in await window.inner_text("[role=status]")


async def test_a_page_that_cuts_only_strangers_off_can_install(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project, Cross_Origin_Opener_Policy="same-origin-allow-popups")

    ended = await app.install()

    assert ended["value"]["credential"]["status"] == "VALID"


async def test_a_user_token_that_has_ended_is_told_of(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await project.revoke_tokens()

    message = await _refused(app, headless=False, button=None)

    assert "token" in message


async def test_a_failed_sign_in_can_be_tried_again(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await _refused(app, headless=False, button="decline")

    ended = await app.install()

    assert ended["value"]["credential"]["status"] == "VALID"


async def test_a_window_that_cannot_close_itself_offers_a_button(
    context: BrowserContext, site: Site, project: Project
) -> None:
    page = await context.new_page()

    await page.goto(f"{project.landbridge.url}/oauth?state=unknown")

    assert "over or unknown" in await page.inner_text("[role=status]")
    assert await page.get_by_role("button", name="Close this window").is_visible()
