"""Workflows, as a product's page starts them and switches them on and off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest_asyncio
from scripts.setup import TREE
from tests.acceptance.stage import App, Landbridge, Project, Sandbox, Site, run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from playwright.async_api import BrowserContext

ON_EVENT = """
name: Keep invoices
trigger: {type: appEvent, event: Invoice created}
steps:
  - {id: folder, type: action, action: create_folder_path, input: {path: Invoices}}
  - id: write
    type: action
    action: create_text_file
    input:
      folderId: "{{ steps.folder.result.id }}"
      name: "{{ trigger.event.number }}.txt"
      text: "{{ trigger.event.text }}"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def home(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> AsyncIterator[Landbridge]:
    """A Landbridge with its worker."""
    folder: Path = tmp_path_factory.mktemp("landbridge-with-a-worker")
    made = await run("landbridge", "api-keys", "create", "acceptance", LANDBRIDGE_DATA_DIR=str(folder))
    async with Landbridge.serve(folder, made["key"], sandbox, works=True) as landbridge:
        yield landbridge


async def deploy(project: Project, definition: str) -> str:
    """Deploy a workflow as an operator does, and return its id."""
    url = f"{project.landbridge.url}/api/v1/projects/{project.id}/workflows"
    headers = {"Authorization": f"Bearer {project.landbridge.api_key}", "Content-Type": "application/yaml"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as client:
        async with client.post(url, data=definition.encode()) as answer:
            id_: str = (await answer.json())["id"]
        await client.post(f"{url}/{id_}/deploy")
    return id_


async def connected(context: BrowserContext, site: Site, project: Project) -> App:
    await project.connect("user-1", "grace@contoso.example")  # no other test looks into her drive
    return await App.visit(context, site.origin(), project)


async def over(project: Project, workflow: str) -> Any:  # Any: JSON
    """Return a workflow's run as its operator sees it, once it is over."""
    runs = f"/projects/{project.id}/runs"
    while True:
        found = (await project.landbridge.api("GET", f"{runs}?workflow_id={workflow}"))["runs"]
        if found and found[0]["state"] in {"succeeded", "failed", "cancelled"}:
            return found[0]


async def test_a_page_switches_a_workflow_on_uploads_through_it_and_switches_it_off(
    context: BrowserContext, site: Site, project: Project
) -> None:
    definition = (TREE / "examples" / "workflows" / "upload.yaml").read_text(encoding="utf-8")
    id_ = await deploy(project, definition.replace("paragon-file", "file").replace("request.file", "request.body.file"))
    app = await connected(context, site, project)
    file = '{ dataType: "FILE", name: "note.txt", mimeType: "text/plain", data: "4772c3bcc39f65" }'
    upload = f"return paragon.workflow('{id_}', {{ body: {{ file: {file} }}, query: {{ from: 'the page' }} }})"

    before = await app.outcome(upload)
    await app.do(f"return paragon.enableWorkflow('{id_}')")
    saved = await app.do(upload)
    await app.do(f"return paragon.disableWorkflow('{id_}')")
    after = await app.outcome(upload)

    assert "not switched on" in before["error"]["message"]
    assert "not switched on" in after["error"]["message"]
    assert (await app.request(f"/me/drive/items/{saved['id']}/content")) == "Grüße"


async def test_a_page_reports_an_event_and_what_follows_from_it_is_done(
    context: BrowserContext, site: Site, project: Project
) -> None:
    await project.landbridge.api("PUT", f"/projects/{project.id}/events/Invoice%20created", {"example": {"number": 1}})
    id_ = await deploy(project, ON_EVENT)
    await project.landbridge.api("PATCH", f"/projects/{project.id}/workflows/{id_}", {"is_default_enabled": True})
    app = await connected(context, site, project)

    nothing = await app.do("return paragon.event('Invoice created', { number: 'of 2026', text: 'Pay this.' })")
    ended = await over(project, id_)
    unknown = await app.fails("return paragon.event('Who knows', {})")

    assert nothing is None
    assert ended["state"] == "succeeded"
    assert await app.request("/me/drive/root:/Invoices/of%202026.txt:/content") == "Pay this."
    assert "no app event" in unknown["message"]
