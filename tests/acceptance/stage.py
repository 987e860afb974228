"""What a story needs: the sandbox, a Landbridge and a product's site, each a server; and the product's page."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, FrameLocator, Page

Json = dict[str, Any]  # Any: JSON

SERVICES = (
    "ZEUS_PUBLIC_URL",
    "HERMES_PUBLIC_URL",
    "WORKER_PROXY_PUBLIC_URL",
    "API_TRIGGER_KIT_PUBLIC_URL",
    "CONNECT_PUBLIC_URL",
    "DASHBOARD_PUBLIC_URL",
    "CDN_PUBLIC_URL",
    "PASSPORT_PUBLIC_URL",
    "PASSPORT_PRODUCTION_URL",
)
"""Every URL that the SDK can be told."""

ON_BOTH = pytest.mark.parametrize("home", ["sqlite", "postgresql"], indirect=True)
"""For stories that databases could tell differently."""

PATIENCE = 20_000
"""How many milliseconds a user would wait for anything here."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>The product</title>
<script src="/sdk.js"></script>
<script>
const asked = new URLSearchParams(location.search);
paragon.configureGlobal({ host: "unused.example" }, JSON.parse(asked.get("environments")));
</script>
</head>
<body>
<h1>The product</h1>
<button id="go">Go</button>
<script>
const told = [];
for (const name of ["onIntegrationInstall", "onIntegrationUninstall", "onPortalOpen", "onPortalClose"])
  paragon.subscribe(name, () => told.push(name));
const plain = (error) => ({
  name: error.name, message: error.message, code: error.code,
  response: error.response === undefined ? null : JSON.parse(JSON.stringify(error.response)),
});
const body = (source) => new Function(`return (async () => { ${source} })()`);
const outcome = (source) => body(source)().then((value) => ({ value }), (error) => ({ error: plain(error) }));
const onClick = (source) => {
  window.clicked = new Promise((settle) => {
    document.getElementById("go").onclick = () => settle(outcome(source));
  });
};
</script>
</body>
</html>
"""


@asynccontextmanager
async def running(*command: str, log: Path | None = None, **environment: str) -> AsyncIterator[Json]:
    """Start a server of this installation, give the JSON line that it prints when ready, and end it."""
    with open(log or os.devnull, "wb") as written:  # noqa: PTH123 - a Path of nothing is no better
        server = await asyncio.create_subprocess_exec(
            *_installed(*command), env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=written
        )
    assert server.stdout
    try:
        line = await server.stdout.readline()
        assert line, f"{command[0]} ended before it was ready."
        yield json.loads(line)
    finally:
        if server.returncode is None:
            server.terminate()
        await server.communicate()


async def run(*command: str, **environment: str) -> Json:
    """Run a command of this installation with `--json`, and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *_installed(*command, "--json"), env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    found: Json = json.loads(printed)
    return found


def _installed(command: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).parent / command), *arguments)


async def ask(method: str, url: str, body: Json | None = None, *, bearer: str | None = None) -> Any:  # Any: JSON
    """Send JSON as an operator's program would, and return the JSON of a good answer."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with aiohttp.ClientSession() as client, client.request(method, url, json=body, headers=headers) as answer:
        assert answer.ok, f"{method} {url}: {answer.status} {await answer.text()}"
        return await answer.json() if answer.content_length != 0 and answer.status != 204 else None


@dataclass(frozen=True)
class Sandbox:
    """A Microsoft."""

    login_url: str
    graph_url: str
    control_url: str

    @classmethod
    @asynccontextmanager
    async def serve(cls) -> AsyncIterator[Self]:
        """Run one, which refuses a token at an upload URL, where it does not belong."""
        command = ("msgraph-sandbox", "serve", "--port", "0", "--set", "upload_authorization=refuse")
        async with running(*command) as said:
            yield cls(said["login_url"], said["graph_url"], said["control_url"])

    async def control(self, method: str, path: str, body: Json | None = None) -> Any:  # Any: JSON
        """Pull one of its strings."""
        return await ask(method, f"{self.control_url}{path}", body)

    async def register_app(self, redirect_url: str) -> tuple[str, str]:
        """Register an application as an operator does in Azure, and return its client id and secret."""
        client_id, secret = str(uuid4()), f"s3cret~{uuid4().hex}"
        given = {"client_id": client_id, "name": "The product", "secret": secret, "redirect_uris": [redirect_url]}
        await self.control("POST", "/apps", given)
        return client_id, secret

    @asynccontextmanager
    async def switched(self, **switches: object) -> AsyncIterator[None]:
        """Let it behave otherwise for a while."""
        before = await self.control("GET", "/switches")
        await self.control("PATCH", "/switches", switches)
        yield
        await self.control("PATCH", "/switches", {name: before[name] for name in switches})

    async def spoil(self, **fault: Any) -> None:  # Any: JSON
        """Plant a fault."""
        await self.control("POST", "/faults", fault)


@dataclass(frozen=True)
class Landbridge:
    """A Landbridge, as its operator and a product's developer know it: its URLs, and a key of the management API."""

    url: str
    redirect_url: str
    api_key: str
    environments: Json
    sandbox: Sandbox
    log: Path

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        data_dir: Path,
        api_key: str,
        sandbox: Sandbox,
        *,
        port: int = 0,
        public: Mapping[str, str] | None = None,
        works: bool = False,
        **settings: str,
    ) -> AsyncIterator[Self]:
        """Run one, at one origin but for what `public` gives its own, by the SDK's names and `PUBLIC_URL`.

        It has a worker only if it `works`.
        """
        public, log = public or {}, data_dir / f"{uuid4().hex}.log"
        async with running(
            *("landbridge", "serve", "--json", "--port", str(port), *(() if works else ("--no-worker",))),
            log=log,
            LANDBRIDGE_DATA_DIR=str(data_dir),
            LANDBRIDGE_MICROSOFT_LOGIN_URL=sandbox.login_url,
            LANDBRIDGE_MICROSOFT_GRAPH_URL=sandbox.graph_url,
            LANDBRIDGE_OUTBOUND_ALLOW="127.0.0.1",
            **{f"LANDBRIDGE_{name}": value for name, value in (*public.items(), *settings.items())},
        ) as said:
            environments = {name: public.get(name, said["url"]) for name in SERVICES}
            yield cls(said["url"], said["redirect_url"], api_key, environments, sandbox, log)

    async def api(self, method: str, path: str, body: Json | None = None) -> Any:  # Any: JSON
        """Call the management API."""
        return await ask(method, f"{self.url}/api/v1{path}", body, bearer=self.api_key)

    async def project(self, *origins: str) -> Project:
        """Set up a project with OneDrive, as the setup guide says, for pages of these origins."""
        client_id, secret = await self.sandbox.register_app(self.redirect_url)
        id_ = (await self.api("POST", "/projects", {"name": "The product", "allowed_origins": list(origins)}))["id"]
        project = Project(self, id_, client_id)
        await project.set_integration(client_id=client_id, client_secret=secret, is_active=True)
        return project


@dataclass(frozen=True)
class Project:
    """A project of a product."""

    landbridge: Landbridge
    id: str
    client_id: str

    async def set_integration(self, **settings: object) -> None:
        """Change the settings of OneDrive."""
        await self.landbridge.api("PATCH", f"/projects/{self.id}/integrations/onedrive", settings)

    async def token(self, user: str) -> str:
        """Return a token that speaks for a user of the product."""
        made = await self.landbridge.api("POST", f"/projects/{self.id}/users/{user}/token", {})
        token: str = made["token"]
        return token

    async def revoke_tokens(self) -> None:
        """End every user token, by revoking the keys that signed them."""
        keys = f"/projects/{self.id}/signing-keys"
        for key in await self.landbridge.api("GET", keys):
            await self.landbridge.api("DELETE", f"{keys}/{key['id']}")

    async def connections(self, user: str) -> list[Json]:
        """Return what a user has connected, as the operator sees it."""
        found: list[Json] = await self.landbridge.api("GET", f"/projects/{self.id}/connections?user_id={user}")
        return found

    async def connect(self, user: str, account: str = "ada@contoso.example", **options: object) -> str:
        """Connect an account without a browser, where how is not the story; return the credential's id."""
        base, token, key = f"{self.landbridge.url}", await self.token(user), uuid4().hex
        origin = (await self.landbridge.api("GET", f"/projects/{self.id}"))["allowed_origins"][0]
        begin = {"action": "onedrive", "oauthMetaKeyId": key, "installOptions": json.dumps(options)}
        nonce = {"action": "onedrive", "originForPostMessage": origin, "userToken": token}
        jar, me = aiohttp.CookieJar(unsafe=True), {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(base, cookie_jar=jar, raise_for_status=True) as browser:
            async with browser.get(
                f"/v2/projects/{self.id}/sdk/actions/build-oauth", params=begin, headers=me
            ) as answer:
                sign_in = (await answer.json())["redirectUrl"]
            actions = f"/projects/{self.id}/sdk/actions"
            await browser.get(f"{actions}/oauth-nonce", params=nonce, headers={"Referer": f"{origin}/"})
            await browser.get(f"{sign_in}&sandbox_consent=auto&login_hint={quote(account)}")
            async with browser.get(f"{actions}/session-id/{key}", headers=me) as answer:
                found: str = (await answer.json())["connectCredentialId"]
                return found

    async def spoil_tokens(self, **fault: Any) -> None:  # Any: JSON
        """Let the token endpoint fail for this project's application."""
        await self.landbridge.sandbox.spoil(operation="token", client_id=self.client_id, count=None, **fault)


class Site:
    """A product's web site, at an origin of its own: its page has the SDK, unmodified, and a button."""

    def __init__(self, sdk: Path) -> None:
        self._sdk = sdk
        self._pages: dict[str, tuple[str, dict[str, str]]] = {}
        self._port = 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Self]:
        """Serve it at a free port, under every name of this machine."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await (listening := web.TCPSite(runner, "127.0.0.1", 0)).start()
        self._port = urlsplit(listening.name).port or runner.addresses[0][1]
        yield self
        await runner.cleanup()

    def origin(self, host: str = "127.0.0.1") -> str:
        """Return the origin under one of this machine's names; browsers look up `*.localhost` by themselves."""
        return f"http://{host}:{self._port}"

    def put(self, body: str, **headers: str) -> str:
        """Serve another page, and return its path."""
        path = f"/{uuid4().hex}"
        html = f"<!doctype html><title>A page</title><body>{body}</body>"
        self._pages[path] = html, {name.replace("_", "-"): value for name, value in headers.items()}
        return path

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/sdk.js":
            return web.FileResponse(
                self._sdk, headers={"Content-Type": "text/javascript", "Cache-Control": "max-age=600"}
            )
        if request.path == "/app":
            headers = {name: value for name, value in request.query.items() if name != "environments"}
            return web.Response(text=_PAGE, content_type="text/html", headers=headers)
        if request.path == "/redirect":  # as careless products have one
            raise web.HTTPFound(request.query["to"])
        html, more = self._pages.get(request.path, ("", {}))
        return web.Response(text=html, status=200 if html else 404, content_type="text/html", headers=more)


@dataclass(frozen=True)
class App:
    """The product's page in a browser, with the user at its keys."""

    page: Page
    project: Project
    user: str

    @classmethod
    async def visit(
        cls,
        context: BrowserContext,
        site: str,
        project: Project,
        user: str = "user-1",
        *,
        authenticate: bool = True,
        **headers: str,
    ) -> Self:
        """Open the page, which is sent with these headers, and authenticate as the seed's page says."""
        page = await context.new_page()
        asked = {name.replace("_", "-"): value for name, value in headers.items()}
        asked["environments"] = json.dumps(project.landbridge.environments)
        await page.goto(f"{site}/app?{urlencode(asked)}")
        app = cls(page, project, user)
        if authenticate:
            await app.do(f"await paragon.authenticate({project.id!r}, {await project.token(user)!r})")
        return app

    async def outcome(self, source: str) -> Json:
        """Run statements of the page's own; return the `value` that they return, or the `error` that they throw."""
        found: Json = await self.page.evaluate("source => outcome(source)", source)
        return found

    async def do(self, source: str) -> Any:  # Any: JSON
        """Run statements of the page's own, and return what they return."""
        outcome = await self.outcome(source)
        assert "error" not in outcome, outcome
        return outcome.get("value")

    async def fails(self, source: str) -> Json:
        """Run statements that must throw, and return the error."""
        outcome = await self.outcome(source)
        assert "error" in outcome, outcome
        error: Json = outcome["error"]
        return error

    async def request(self, path: str, **options: object) -> Any:  # Any: JSON
        """Call OneDrive."""
        return await self.do(f"return paragon.request('onedrive', {path!r}, {json.dumps(options)})")

    async def click(self, source: str) -> Page:
        """Click the page's button, which runs these statements, and return the window that opens."""
        await self.page.evaluate("source => onClick(source)", source)
        async with self.page.expect_popup() as opening:
            await self.page.click("#go")
        return await opening.value

    async def clicked(self) -> Json:
        """Return how the statements of the last click ended, as they must within seconds, for better or worse."""
        handle = await self.page.wait_for_function("async () => ({ outcome: await clicked })", timeout=PATIENCE)
        found: Json = (await handle.json_value())["outcome"]
        return found

    async def install(self, options: str = "{}", *, account: str | None = None, button: str = "accept") -> Json:
        """Connect OneDrive by `installIntegration`, answering Microsoft's question; return how it ended."""
        window = await self.click(f"return paragon.installIntegration('onedrive', {options})")
        await consent(window, account=account, button=button)
        return await self.clicked()

    async def install_headless(self, options: str = "", *, account: str | None = None, button: str = "accept") -> Json:
        """Connect OneDrive by `installFlow` with a page of the product's own; return how it ended, and its stages."""
        window = await self.click(install_flow(options))
        await consent(window, account=account, button=button)
        return await self.clicked()

    async def credential_id(self) -> str:
        """Return the current connection."""
        found: str = await self.do("return paragon.getUser().integrations.onedrive.credentialId")
        return found

    @property
    def portal(self) -> FrameLocator:
        """The portal, in its frame."""
        return self.page.frame_locator("#paragon-connect-frame")


def install_flow(options: str = "") -> str:
    """Return statements that run the headless flow to its end, and give its stages and what it calls back with."""
    return f"""
paragon.setHeadless(true);
const stages = [];
return new Promise((resolve) => paragon.installFlow.start("onedrive", {{
  onNext: (next) => stages.push(next.stage),
  onComplete: (event) => resolve({{ stages, event }}),
  onError: (error, context) => resolve({{ stages, error: plain(error), context }}),
  {options}
}}));
"""


async def consent(window: Page, *, button: str = "accept", account: str | None = None) -> None:
    """Answer Microsoft's question in the window, and wait until the window closes by itself."""
    await window.wait_for_selector("#accept")
    if account:
        await window.get_by_label(account).check()
    async with window.expect_event("close"):
        await window.click(f"#{button}")


async def begin(project: Project, user: str) -> tuple[str, str]:
    """Begin a sign-in without a browser, as whoever holds a user's token can; return its URL and its session key."""
    key = uuid4().hex
    asked = urlencode({"action": "onedrive", "oauthMetaKeyId": key, "installOptions": "{}"})
    url = f"{project.landbridge.url}/v2/projects/{project.id}/sdk/actions/build-oauth?{asked}"
    begun = await call("GET", url, await project.token(user))
    redirect_url: str = begun["redirectUrl"]
    return redirect_url, key


async def call(method: str, url: str, token: str, body: Json | None = None, **headers: str) -> Json:
    """Call the SDK's API as a program, and return the JSON of any answer."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as client, client.request(method, url, json=body, headers=headers) as answer:
        found: Json = await answer.json()
        return found


async def sign_in_on(page: Page, url: str) -> str:
    """Follow a link to Microsoft and consent there; return what the page says in the end."""
    await page.goto(url)
    await page.click("#accept")
    return await page.inner_text("[role=status]")
