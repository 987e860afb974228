"""Nobody ends up connected to somebody else's user, and nobody reads what is another's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.acceptance.stage import App, Landbridge, Project, Site, begin, call, consent, sign_in_on

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

ATTACKER, VICTIM = "attacker", "victim"
EVIL = "attacker.localhost"


async def nonce_url(project: Project, user: str, app_origin: str) -> str:
    asked = {"action": "onedrive", "originForPostMessage": app_origin, "userToken": await project.token(user)}
    return f"{project.landbridge.url}/projects/{project.id}/sdk/actions/oauth-nonce?{urlencode(asked)}"


async def cookies(context: BrowserContext) -> list[str]:
    """Return the cookies that Landbridge gave this browser, whatever its host; Microsoft's own do not count."""
    return [cookie["name"] for cookie in await context.cookies() if cookie["name"].startswith("lb_")]


@asynccontextmanager
async def another_browser(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    yield context
    await context.close()


WINDOW = "<script>window.open({url})</script>"
LINK = "<a target=_blank rel=opener href={url}>Win</a><script>document.querySelector('a').click()</script>"
WAYS = {
    "a window": (WINDOW, "strict-origin-when-cross-origin"),
    "a link": (LINK, "strict-origin-when-cross-origin"),
    "a page that hides itself": (WINDOW, "no-referrer"),
    "a page that shows all of its URL": (WINDOW, "unsafe-url"),
    "the product's own redirect": ("<script>window.open({redirect})</script>", "unsafe-url"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_victim_lured_to_the_attacker_s_sign_in_is_not_connected_to_the_attacker(
    context: BrowserContext, site: Site, project: Project, way: str
) -> None:
    lure, policy = WAYS[way]
    url = await nonce_url(project, ATTACKER, site.origin())
    redirect = f"{site.origin()}/redirect?{urlencode({'to': url})}"
    page = site.put(lure.format(url=json.dumps(url), redirect=json.dumps(redirect)), Referrer_Policy=policy)
    sign_in, key = await begin(project, ATTACKER)
    lured = await context.new_page()

    async with lured.expect_popup() as opening:
        await lured.goto(f"{site.origin(EVIL)}{page}?{site.origin()}/")
    await until_closed(await opening.value)
    shown = await sign_in_on(lured, sign_in)

    assert "another browser" in shown
    assert await cookies(context) == []
    assert await project.connections(ATTACKER) == []
    assert await outcome(project, ATTACKER, key) == "install_failed"


async def test_a_victim_who_is_connected_is_not_connected_to_the_attacker_either(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project, VICTIM)
    await app.install()
    sign_in, key = await begin(project, ATTACKER)

    shown = await sign_in_on(app.page, sign_in)

    assert "another browser" in shown
    assert await project.connections(ATTACKER) == []
    assert await outcome(project, ATTACKER, key) == "install_failed"
    assert len(await project.connections(VICTIM)) == 1


async def test_a_bare_visit_of_the_nonce_page_gives_no_cookie(
    context: BrowserContext, site: Site, project: Project
) -> None:
    page = await context.new_page()

    await page.goto(await nonce_url(project, ATTACKER, site.origin()))

    assert "Start from the app" in await page.inner_text("[role=status]")
    assert await cookies(context) == []


@pytest.mark.parametrize("host", ["127.0.0.1", EVIL])
@pytest.mark.parametrize("tag", ["<iframe src={}></iframe>", "<img src={}>", "<link rel=stylesheet href={}>"])
async def test_a_nonce_page_that_is_not_a_window_gives_no_cookie(
    context: BrowserContext, site: Site, project: Project, host: str, tag: str
) -> None:
    """Not even in the product's own page, where an attacker may have put a picture into a comment."""
    url = await nonce_url(project, ATTACKER, site.origin())
    page = await context.new_page()

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    await page.goto(f"{site.origin(host)}{site.put(tag.format(json.dumps(url)))}")

    assert url in asked
    assert await cookies(context) == []
    assert "oauth-nonce" not in "".join(frame.url for frame in page.frames)


@pytest.mark.parametrize("target", ["_blank", "_self"])
async def test_a_link_in_the_product_s_own_page_gives_no_cookie(
    context: BrowserContext, site: Site, project: Project, target: str
) -> None:
    """An attacker may have put it into a comment; the SDK opens a window that knows who opened it."""
    url = await nonce_url(project, ATTACKER, site.origin())
    page = await context.new_page()
    await page.goto(f"{site.origin()}{site.put(f'<a target={target} href={json.dumps(url)}>Read this</a>')}")

    if target == "_self":
        await page.click("a")
        window = page
    else:
        async with context.expect_page() as opening:
            await page.click("a")
        window = await opening.value
    await window.wait_for_url("**opener=none")

    assert "Start from the app" in await window.inner_text("[role=status]")
    assert await cookies(context) == []


async def test_an_origin_that_is_not_allowed_gets_no_cookie_though_it_says_who_it_is(
    context: BrowserContext, site: Site, project: Project
) -> None:
    url = await nonce_url(project, ATTACKER, site.origin(EVIL))
    path = site.put(f"<script>window.opened = window.open({json.dumps(url)})</script>", Referrer_Policy="unsafe-url")
    page = await context.new_page()

    async with page.expect_popup() as opening:
        await page.goto(f"{site.origin(EVIL)}{path}")
    await until_closed(await opening.value)

    assert await cookies(context) == []


@pytest.mark.parametrize(("policy", "speaks_for"), [("unsafe-none", ATTACKER), ("same-origin-allow-popups", VICTIM)])
async def test_the_opener_policy_keeps_strangers_from_commanding_the_sdk(
    context: BrowserContext, site: Site, project: Project, policy: str, speaks_for: str
) -> None:
    """The first row is the SDK's own weakness: the reason for what `docs/reference/sdk.md` asks of the product."""
    app = await App.visit(context, site.origin(), project, VICTIM, Cross_Origin_Opener_Policy=policy)
    authenticate = f"await paragon.authenticate({project.id!r}, {await project.token(VICTIM)!r})"
    command = {
        "messageType": "SDK_FUNCTION_INVOCATION",
        "type": "authenticate",
        "parameters": [project.id, await project.token(ATTACKER)],
        "id": 1,
    }
    strange = await context.new_page()
    await strange.goto(f"{site.origin(EVIL)}{site.put('A page')}")

    async with strange.expect_popup() as opening:
        await strange.evaluate("url => { window.opened = window.open(url) }", app.page.url)
    opened = await opening.value
    await opened.wait_for_load_state()
    await App(opened, project, VICTIM).do(authenticate)
    await strange.evaluate("command => opened.postMessage(command, '*')", command)
    if speaks_for == ATTACKER:
        await opened.wait_for_function("paragon.getUser().userId === 'attacker'")

    assert await opened.evaluate("paragon.getUser().userId") == speaks_for
    assert await strange.evaluate("opened.closed") is (speaks_for == VICTIM)


async def test_a_page_of_another_origin_cannot_authenticate(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(EVIL), project, VICTIM, authenticate=False)

    error = await app.fails(f"await paragon.authenticate({project.id!r}, {await project.token(VICTIM)!r})")

    assert "does not allow pages of http://attacker.localhost" in error["message"]


async def test_the_portal_can_be_framed_by_no_other_page(context: BrowserContext, site: Site, project: Project) -> None:
    page = await context.new_page()

    await page.goto(f"{site.origin(EVIL)}{site.put(f'<iframe src={project.landbridge.url}/ui></iframe>')}")

    [framed] = page.frames[1:]
    await framed.wait_for_url("chrome-error://**")


async def test_a_stolen_sign_in_is_used_up_and_connects_nobody(
    context: BrowserContext, browser: Browser, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project, VICTIM)
    window = await app.click("return paragon.installIntegration('onedrive')")
    await window.wait_for_selector("#accept")
    async with another_browser(browser) as stranger:
        stolen = await sign_in_on(await stranger.new_page(), window.url)

    await consent(window)
    ended = await app.clicked()

    assert "another browser" in stolen
    assert "another browser" in ended["error"]["message"]
    assert await project.connections(VICTIM) == []


async def test_a_callback_that_is_repeated_elsewhere_changes_nothing(
    context: BrowserContext, browser: Browser, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project, VICTIM)
    seen: list[str] = []
    context.on("request", lambda request: seen.append(request.url))
    await app.install()
    before = await project.connections(VICTIM)
    callback = next(url for url in seen if urlsplit(url).path == "/oauth" and "code" in parse_qs(urlsplit(url).query))

    for elsewhere in (context, await browser.new_context()):
        page = await elsewhere.new_page()
        await page.goto(callback)

    assert await project.connections(VICTIM) == before
    await page.context.close()


@pytest.mark.parametrize("stranger", ["another user", "another project's user of the same name"])
async def test_what_a_user_connected_is_nobody_else_s(
    context: BrowserContext, site: Site, project: Project, landbridge: Landbridge, stranger: str
) -> None:
    connection = await project.connect(VICTIM)
    theirs, who = (
        (project, ATTACKER) if stranger == "another user" else (await landbridge.project(site.origin()), VICTIM)
    )
    await theirs.connect(who, "grace@contoso.example")
    app = await App.visit(context, site.origin(), theirs, who)
    sdk, token = f"{landbridge.url}/projects/{theirs.id}/sdk", await theirs.token(who)

    called = await app.fails(f"return paragon.request('onedrive', '/me', {{ selectedCredentialId: '{connection}' }})")
    answers = [
        await call("GET", f"{sdk}/credentials/{connection}", token),
        await call("PATCH", f"{sdk}/credentials/{connection}", token, {"config": {"sharedSettings": {"a": 1}}}),
        await call("POST", f"{sdk}/credentials/{connection}/configurations", token, {}),
        await call("DELETE", f"{sdk}/integrations/onedrive", token, X_Paragon_Credential=connection),
    ]

    assert called["response"]["code"] == "not_found"
    assert [answer["code"] for answer in answers] == ["not_found"] * 4
    assert [one["id"] for one in await project.connections(VICTIM)] == [connection]
    assert (await project.connections(VICTIM))[0]["account"]["email"] == "ada@contoso.example"


async def test_a_session_key_tells_strangers_nothing(site: Site, project: Project, landbridge: Landbridge) -> None:
    _, key = await begin(project, VICTIM)
    other = await landbridge.project(site.origin())
    poll = "{}/projects/{}/sdk/actions/session-id/{}".format

    assert await call("GET", poll(landbridge.url, project.id, key), await project.token(ATTACKER)) == {}
    assert await call("GET", poll(landbridge.url, other.id, key), await other.token(VICTIM)) == {}
    crossed = await call("GET", poll(landbridge.url, project.id, key), await other.token(VICTIM))
    assert crossed["code"] == "unauthenticated"


async def test_no_token_code_or_state_is_in_the_log(
    context: BrowserContext, site: Site, project: Project, landbridge: Landbridge
) -> None:
    app = await App.visit(context, site.origin(), project, VICTIM)
    seen: list[str] = []
    context.on("request", lambda request: seen.append(request.url))
    await app.install()
    await app.request("/me")

    values = [value for url in seen for values in parse_qs(urlsplit(url).query).values() for value in values]
    secrets = {value for value in values if len(value) > 40 and " " not in value and "/" not in value}
    log = landbridge.log.read_text(encoding="utf-8")
    assert "account connected" in log
    assert len(secrets) >= 3
    assert [secret for secret in secrets if secret in log] == []


async def until_closed(window: Page) -> None:
    """Wait until a window has closed itself."""
    if not window.is_closed():
        await window.wait_for_event("close")


async def outcome(project: Project, user: str, key: str) -> str:
    """Return the code of the error with which a user's sign-in ended."""
    base, token = f"{project.landbridge.url}/projects/{project.id}/sdk", await project.token(user)
    found = await call("GET", f"{base}/actions/session-id/{key}", token)
    failed = await call("GET", f"{base}/credentials/{found['connectCredentialId']}", token)
    code: str = failed["code"]
    return code
