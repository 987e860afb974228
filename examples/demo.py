"""`make demo`: a user connects a OneDrive of the local Microsoft, and the product calls it on their behalf."""

import asyncio
import html
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from rich.console import Console

from examples import stack
from examples.host.server import Host, Product

DATA = Path("build") / "demo"

console = Console(highlight=False)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print a step with the time that it took."""
    began = time.perf_counter()
    yield
    console.print(f"  [green]✓[/] {what} [dim]{(time.perf_counter() - began) * 1000:,.0f} ms[/]")


def main() -> None:
    """Run the demonstration, and keep everything up until Ctrl-C, unless ONCE is set."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that what was started is ended
    console.print("\n[bold]Landbridge[/] — a user connects their OneDrive, the product calls it\n")
    shutil.rmtree(DATA, ignore_errors=True)
    with ExitStack() as running:
        with step("a local Microsoft is up: sign-in and OneDrive"):
            microsoft = running.enter_context(stack.sandbox())
        settings = {"LANDBRIDGE_DATA_DIR": str(DATA), "LANDBRIDGE_PORT": "0", **microsoft.settings}
        with step("Landbridge is up: one process and its worker, one folder"):
            url = running.enter_context(stack.landbridge(settings))
        host = Host()
        with step("a project, OneDrive's client id and secret, a signing key"):
            product = stack.set_up(settings, microsoft, landbridge_url=url, origin=host.url)
        running.enter_context(host.serving(product))
        asyncio.run(use(product, host.url))
        _keep_up(host, product, microsoft)


async def use(product: Product, origin: str) -> None:
    """Do what the SDK and the user's browser do: connect, then call OneDrive through the proxy."""
    headers = {"Authorization": f"Bearer {product.user_token('ada')}", "Origin": origin}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        with step("the user signs in at Microsoft and consents"):
            await connect(browser, product, origin, headers)
        drive = f"{product.landbridge_url}/projects/{product.project_id}/sdk/proxy/onedrive/me/drive"
        with step("the product lists the root of the drive"):
            listed = await _json(browser, "GET", f"{drive}/root/children", headers)
        for item in listed["output"]["value"]:
            console.print(f"      [dim]{'▸' if 'folder' in item else '·'} {item['name']}[/]")
        file = next(item for item in listed["output"]["value"] if "file" in item)
        with step(f"downloads {file['name']}"):
            async with browser.get(f"{drive}/items/{file['id']}/content", headers=headers) as answer:
                answer.raise_for_status()
                content = await answer.read()
        console.print(f"      [dim]{len(content):,} bytes[/]")
        with step("uploads “Greetings from Landbridge.txt”"):
            name = "root:/Greetings%20from%20Landbridge.txt:/content"
            await _json(browser, "PUT", f"{drive}/{name}", headers, b"Hello, Ada!\n")


async def connect(browser: aiohttp.ClientSession, product: Product, origin: str, headers: dict[str, str]) -> None:
    """Walk through the sign-in window: our nonce page, Microsoft's page and its Accept button, our callback."""
    project = f"{product.landbridge_url}/projects/{product.project_id}/sdk"
    query = {"action": "onedrive", "originForPostMessage": origin, "userToken": product.user_token("ada")}
    begin = f"{product.landbridge_url}/v2/projects/{product.project_id}/sdk/actions/build-oauth"
    asked = await _json(browser, "GET", f"{begin}?{urlencode({**query, 'oauthMetaKeyId': 'demo'})}", headers)
    nonce = f"{project}/actions/oauth-nonce?{urlencode(query)}"
    async with browser.get(nonce, headers={"Referer": f"{origin}/"}) as page:
        page.raise_for_status()
    async with browser.get(asked["redirectUrl"]) as page:
        action, form = _form(await page.text())
        target = page.url.join(type(page.url)(action))
    async with browser.post(target, data=form) as page:
        page.raise_for_status()
    found = await _json(browser, "GET", f"{project}/actions/session-id/demo", headers)
    await _json(browser, "GET", f"{project}/credentials/{found['connectCredentialId']}", headers)


def _form(page: str) -> tuple[str, dict[str, str]]:
    """Return the consent page's form as a browser sends it when Accept is pressed: the first account is chosen."""
    action = re.search(r'<form[^>]*action="([^"]*)"', page)
    request = re.search(r'name="request" value="([^"]*)"', page)
    account = re.search(r'name="account" value="([^"]*)"[^>]*checked', page)
    if not (action and request and account):
        raise SystemExit("Microsoft's page is not the consent page: " + re.sub(r"<[^>]*>", " ", page)[:500])
    fields = {"request": request[1], "account": account[1], "answer": "accept"}
    return html.unescape(action[1]), {name: html.unescape(value) for name, value in fields.items()}


async def _json(
    browser: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> dict:  # type: ignore[type-arg]  # whatever JSON comes
    async with browser.request(method, url, headers=headers, data=body) as answer:
        if answer.status >= 400:
            raise SystemExit(f"{method} {url.partition('?')[0]} answered {answer.status}: {await answer.text()}")
        found: dict = await answer.json()  # type: ignore[type-arg]
        return found


def _keep_up(host: Host, product: Product, microsoft: stack.Microsoft) -> None:
    if os.environ.get("ONCE"):
        console.print("\nDone.\n")
        return
    console.print("\n[bold]Try it by hand[/] (Ctrl-C ends everything)\n")
    console.print(f"  {host.url}   the product's page: connect, list, open, disconnect")
    console.print(f"  {product.landbridge_url}   Landbridge; /metrics, /readyz, /api/openapi.json")
    console.print(
        f"  {microsoft.users[0]['email']} / {microsoft.users[0]['password']}   an account of the local Microsoft\n"
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("\nEnding.")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else what we have started would outlive us
    main()
