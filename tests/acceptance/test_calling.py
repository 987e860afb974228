"""Everything else that a product calls: requests, settings, metadata, configurations; and how errors look to it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import aiohttp
import pytest
from tests.acceptance.stage import App, Project, Site

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Route

REQUEST = "return paragon.request('onedrive', {})"


async def connected(context: BrowserContext, site: Site, project: Project) -> App:
    """Return the product's page, for a user who has connected before."""
    await project.connect("user-1")
    return await App.visit(context, site.origin(), project)


async def test_files_are_created_changed_and_deleted(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    folder = await app.request("/me/drive/root/children", method="POST", body={"name": project.id, "folder": {}})
    written = await app.request(
        f"/me/drive/items/{folder['id']}:/a note.txt:/content",
        method="PUT",
        body="Grüße",
        headers={"Content-Type": "text/plain"},
    )
    renamed = await app.request(f"/me/drive/items/{written['id']}", method="PATCH", body={"name": "b.txt"})
    read = await app.request(f"/me/drive/items/{written['id']}/content")
    deleted = await app.do(
        f"return paragon.request('onedrive', '/me/drive/items/{folder['id']}', {{ method: 'DELETE' }})"
    )

    assert (renamed["name"], read, deleted) == ("b.txt", "Grüße", None)


async def test_the_query_reaches_onedrive_as_it_is_written(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)

    page = await app.request("/me/drive/root/children?$top=1&$select=name,id&$orderby=name%20desc")

    assert [item["name"] for item in page["value"]] == ["Pictures"]
    assert "@odata.nextLink" in page


async def test_a_next_link_is_followed_as_onedrive_gives_it(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)
    first = await app.request("/me/drive/root/children?$top=1")

    second = await app.request(first["@odata.nextLink"])

    assert second["value"][0]["id"] != first["value"][0]["id"]


async def test_many_requests_at_once_are_answered(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    names = await app.do(
        "return Promise.all([...Array(20).keys()].map(async (n) =>"
        " (await paragon.request('onedrive', `/me?n=${n}`)).displayName))"
    )

    assert set(names) == {"Ada Lovelace"}


async def test_an_error_of_onedrive_keeps_its_status_and_words(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)

    error = await app.fails(REQUEST.format("'/me/drive/items/nope'"))

    assert error["message"] == error["response"]["message"]
    assert (error["response"]["status"], error["response"]["code"]) == (404, "itemNotFound")
    assert error["response"]["output"]["error"]["code"] == "itemNotFound"


async def test_a_call_of_nothing_that_is_set_up_says_so(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    unknown = await app.fails("return paragon.request('dropbox', '/files')")
    elsewhere = await app.fails(REQUEST.format("'https://graph.example/v1.0/me'"))

    assert unknown["response"]["code"] == "not_found"
    assert elsewhere["response"]["code"] == "invalid_request"
    assert await app.do("return paragon.getUser().authenticated") is True


async def test_a_user_whose_token_has_ended_is_logged_out(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)
    await project.revoke_tokens()

    error = await app.fails(REQUEST.format("'/me'"))

    assert "token" in error["message"]
    assert await app.do("return paragon.getUser()") == {"authenticated": False}
    assert await app.page.evaluate("localStorage.getItem('paragon-connect-user-state')") is None


@pytest.mark.parametrize("token", ["other project's", "malformed", "signed by nobody"])
async def test_a_token_that_is_not_good_authenticates_nobody(
    context: BrowserContext, site: Site, project: Project, token: str
) -> None:
    app = await App.visit(context, site.origin(), project, authenticate=False)
    good = await project.token("user-1")
    tokens = {
        "other project's": await (await project.landbridge.project(site.origin())).token("user-1"),
        "malformed": "not.a.token",
        "signed by nobody": good.rpartition(".")[0] + "." + "A" * 86,
    }

    error = await app.fails(f"await paragon.authenticate({project.id!r}, {tokens[token]!r})")

    assert error["message"]
    assert await app.do("return paragon.getUser().authenticated") is False


async def test_metadata_of_the_user_is_kept(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project, authenticate=False)
    token = await project.token("user-1")

    given = "{ metadata: { email: 'a@b.example', plan: 'pro' } }"
    await app.do(f"await paragon.authenticate({project.id!r}, {token!r}, {given})")
    state = await app.do("return paragon.setUserMetadata({ Name: 'Ädä' })")

    assert state["meta"] == {"Email": "a@b.example", "plan": "pro", "Name": "Ädä"}
    assert await app.do("return paragon.getUser().meta") == state["meta"]


async def test_integrations_are_described(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    [described] = await app.do("return paragon.getIntegrationMetadata()")
    config = await app.do("return paragon.getIntegrationConfig('onedrive')")

    assert (described["type"], described["name"]) == ("onedrive", "OneDrive")
    assert described["brandColor"].startswith("#")
    assert config["availableWorkflows"] == []
    assert await app.do("return paragon.getTriggers('onedrive')") == {"triggers": {"onedrive": []}, "errors": []}


async def test_settings_of_an_integration_are_kept(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    await app.do("await paragon.updateIntegrationUserSettings('onedrive', { folder: 'a', depth: 2 })")
    await app.do("await paragon.updateIntegrationUserSettings('onedrive', { folder: 'b' })")
    again = await App.visit(context, site.origin(), project)

    settings = await again.do("return paragon.getUser().integrations.onedrive.sharedSettings")
    assert settings == {"folder": "b", "depth": 2}


async def test_configurations_are_made_changed_and_destroyed(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)
    credential = await app.credential_id()

    made = await app.do(f"return paragon.createConfiguration({{ credentialId: '{credential}', externalId: 'team' }})")
    changed = await app.do(
        f"return paragon.updateConfiguration({{ id: '{made['id']}', credentialId: '{credential}', meta: {{ a: 1 }} }})"
    )
    again = await App.visit(context, site.origin(), project)
    there = await again.do("return paragon.getUser().integrations.onedrive.allConfigurations")
    await again.do(f"await paragon.destroyConfiguration({{ id: '{made['id']}', credentialId: '{credential}' }})")
    last = await App.visit(context, site.origin(), project)
    left = await last.do("return paragon.getUser().integrations.onedrive.allConfigurations")

    assert (made["externalId"], made["isDefault"], changed["configMeta"]) == ("team", False, {"a": 1})
    assert [one["externalId"] for one in there] == [None, "team"]
    assert [one["isDefault"] for one in left] == [True]


async def test_settings_of_one_configuration_leave_the_other(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)
    credential = await app.credential_id()
    made = await app.do(f"return paragon.createConfiguration({{ credentialId: '{credential}', externalId: 'team' }})")

    await app.do(
        "await paragon.updateIntegrationUserSettings('onedrive', { folder: 'team' },"
        f" {{ selectedCredentialId: '{credential}', selectedConfigurationId: '{made['id']}' }})"
    )

    again = await App.visit(context, site.origin(), project)
    found = await again.do("return paragon.getUser().integrations.onedrive.allConfigurations")
    assert [one["sharedSettings"] for one in found] == [{}, {"folder": "team"}]


async def test_what_is_not_here_yet_says_so(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    event = await app.fails("await paragon.event('Task Created', { id: 1 })")
    options = await app.fails("return paragon.getFieldOptions({ integration: 'onedrive', action: 'folders' })")

    assert (json.loads(event["message"])["code"], json.loads(options["message"])["code"]) == ("not_found", "not_found")
    assert await app.do("return paragon.getUser().authenticated") is True


async def test_the_account_is_described(context: BrowserContext, site: Site, project: Project) -> None:
    app = await connected(context, site, project)

    account = await app.do("return paragon.getIntegrationAccount('onedrive')")

    assert account["providerData"]["email"] == "ada@contoso.example"
    assert "accountAuth" not in account


PICKER = """
window.picked = new Promise((settle) => {
  window.picker = new paragon.ExternalFilePicker("onedrive", { onFileSelect: settle });
});
return window.picker.init();
"""
PICKER_PAGE = """<!doctype html><title>Picker</title><script>
const asked = JSON.parse(new URLSearchParams(location.search).get("filePicker")).messaging;
const { port1, port2 } = new MessageChannel();
port1.onmessage = ({ data }) => {
  if (data.type === "activate")
    port1.postMessage({ type: "command", id: "1", data: { command: "pick", items: [{ name: "Notes.md" }] } });
};
window.opener.postMessage({ type: "initialize", channelId: asked.channelId }, asked.origin, [port2]);
</script>"""


@pytest.mark.parametrize(
    ("account", "page"),
    [
        ("ada@contoso.example", "https://contoso-my.sharepoint.example/_layouts/15/FilePicker.aspx"),
        ("mary@outlook.example", "https://onedrive.live.com/picker"),
    ],
)
async def test_microsofts_file_picker_opens_on_the_users_own_drive(
    context: BrowserContext, site: Site, project: Project, account: str, page: str
) -> None:
    """Microsoft's script and page are played here: they are outside, and no setting of the SDK leads elsewhere."""
    await project.set_integration(file_picker=True, audience="common")
    await project.connect("user-1", account)
    app, posted = await App.visit(context, site.origin(), project), asyncio.Queue[str]()

    async def picker(route: Route) -> None:
        posted.put_nowait(route.request.post_data or "")
        await route.fulfill(body=PICKER_PAGE, content_type="text/html")

    await context.route(
        "https://alcdn.msauth.net/**", lambda route: route.fulfill(body="", content_type="text/javascript")
    )
    await context.route(f"{page}?**", picker)

    assert await app.do(PICKER) is True
    await app.click("return window.picker.open()")
    token = parse_qs(await posted.get())["access_token"][0]

    assert (await app.do("return window.picked"))[0]["name"] == "Notes.md"
    graph = f"{project.landbridge.sandbox.graph_url}/v1.0/me"
    async with aiohttp.ClientSession() as http, http.get(graph, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 401, "the token is for the picker and not for Graph"


async def test_no_token_reaches_a_page_unless_the_operator_lets_it(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await connected(context, site, project)

    error = await app.fails("return paragon.getIntegrationAccount('onedrive', { includeAccountAuth: true })")

    assert json.loads(error["message"])["code"] == "conflict"
    assert "--file-picker" in json.loads(error["message"])["message"]
    assert await app.do("return paragon.getUser().authenticated") is True


async def test_a_user_sees_nothing_of_another_user(context: BrowserContext, site: Site, project: Project) -> None:
    await project.connect("user-1")
    app = await App.visit(context, site.origin(), project, "user-2")

    assert await app.do("return paragon.getUser().integrations.onedrive.allCredentials") == []
    assert (await app.fails(REQUEST.format("'/me'")))["response"]["code"] == "not_connected"
