"""Landbridge may answer at one origin, at an origin for each service, or under prefixes of a shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.acceptance.stage import (
    SERVICES,
    App,
    Landbridge,
    Project,
    Sandbox,
    Site,
    begin,
    consent,
    sign_in_on,
)
from tests.ground.ports import free_port

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext


def _hosts(port: int) -> dict[str, str]:
    """A host for each service; to a browser each of them is a site of its own, so that no cookie is shared."""
    return {name: f"http://{name.removesuffix('_URL').replace('_', '-').lower()}.localhost:{port}" for name in SERVICES}


def _callback_apart(port: int) -> dict[str, str]:
    return {"PUBLIC_URL": f"http://127.0.0.1:{port}", "PASSPORT_PUBLIC_URL": f"http://localhost:{port}"}


def _prefix(port: int) -> dict[str, str]:
    return {"PUBLIC_URL": f"http://127.0.0.1:{port}/apps/landbridge"}


def _prefixes(port: int) -> dict[str, str]:
    """A prefix for each service that Landbridge tells apart, on one host."""
    names = ("ZEUS", "CONNECT", "PASSPORT", "HERMES", "WORKER_PROXY")
    return {f"{name}_PUBLIC_URL": f"http://127.0.0.1:{port}/{name.lower()}" for name in names}


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=[_hosts, _callback_apart, _prefix, _prefixes],
    ids=["hosts", "callback apart", "prefix", "prefixes"],
)
async def landbridge(
    request: pytest.FixtureRequest, data_dir: Path, api_key: str, sandbox: Sandbox
) -> AsyncIterator[Landbridge]:
    """A Landbridge with that layout."""
    layout: Callable[[int], dict[str, str]] = request.param
    port = free_port()
    async with Landbridge.serve(data_dir, api_key, sandbox, port=port, public=layout(port)) as landbridge:
        yield landbridge


async def test_an_account_is_connected_called_reconnected_and_disconnected(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project)

    installed = await app.install()
    id_ = await app.credential_id()
    listed = await app.request("/me/drive/root/children")
    notes = next(item["id"] for item in listed["value"] if item["name"] == "Notes.md")
    downloaded = await app.request(f"/me/drive/items/{notes}/content", method="GET")
    again = await app.install_headless(f"selectedCredentialId: {id_!r}")
    await app.do("await paragon.uninstallIntegration('onedrive')")

    assert installed["value"]["credential"]["status"] == "VALID"
    assert downloaded == "# Notes\n\n- Buy milk\n"
    assert again["value"]["event"]["credentialId"] == id_
    assert await project.connections(app.user) == []


async def test_a_declined_consent_is_told_of(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)

    ended = await app.install(button="decline")

    assert "Consent was not given" in ended["error"]["message"]


async def test_a_victim_sent_to_somebody_else_s_sign_in_is_not_connected_to_them(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project, "victim")
    await app.install()
    sign_in, _ = await begin(project, "attacker")

    shown = await sign_in_on(app.page, sign_in)

    assert "another browser" in shown
    assert await project.connections("attacker") == []


async def test_the_portal_connects(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.do("paragon.connect('onedrive')")

    async with app.page.expect_popup() as opening:
        await app.portal.get_by_role("button", name="Connect").click()
    await consent(await opening.value)

    await app.portal.get_by_text("ada@contoso.example").wait_for()
    assert len(await project.connections(app.user)) == 1


async def test_icons_are_where_the_sdk_looks(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)

    icon = await app.do("return paragon.getIntegrationMetadata('onedrive').icon")
    answer = await (await context.new_page()).goto(icon)

    assert answer
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
