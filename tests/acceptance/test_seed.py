"""The page "Connecting to OneDrive" works as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.acceptance.stage import ON_BOTH, App, Project, Site

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext


@ON_BOTH
async def test_the_page_s_own_snippets_work(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project, authenticate=False)

    # Authenticate the user
    await app.do(f"await paragon.authenticate({project.id!r}, {await project.token('user-1')!r});")
    installed = await app.install()
    # List files in the root of the drive
    listed = await app.do("""
return await paragon.request("onedrive", "/me/drive/root/children", {
  method: "GET"
});
""")
    notes = next(item["id"] for item in listed["value"] if item["name"] == "Notes.md")
    # Download a specific file in a drive
    downloaded = await app.do(
        """
return await paragon.request("onedrive", "/me/drive/items/<item-id>/content", {
  method: "GET"
})
""".replace("<item-id>", notes)
    )

    assert installed["value"]["integrationType"] == "onedrive"
    assert {item["name"] for item in listed["value"]} == {"Documents", "Pictures", "Notes.md"}
    assert downloaded == "# Notes\n\n- Buy milk\n"
