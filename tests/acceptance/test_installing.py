"""A user connects an account, connects it again, adds a second one, and disconnects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.acceptance.stage import ON_BOTH, App, Project, Site, consent, install_flow

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

ADA, GRACE = "Ada Lovelace", "Grace Hopper"
WHO = "return (await paragon.request('onedrive', '/me', { selectedCredentialId: %s })).displayName"


@ON_BOTH
async def test_install_integration_connects_the_account_and_says_so_once(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project)

    ended = await app.install("{ onSuccess: () => told.push('success') }")

    credential = ended["value"]["credential"]
    assert (credential["status"], credential["providerData"]["email"]) == ("VALID", "ada@contoso.example")
    assert (await app.do("return told")).count("onIntegrationInstall") == 1
    assert "success" in await app.do("return told")
    assert await app.do("return paragon.getUser().integrations.onedrive.enabled") is True


@ON_BOTH
async def test_install_flow_connects_without_a_portal(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)

    ended = await app.install_headless()

    assert ended["value"]["stages"] == ["oauth"]
    assert ended["value"]["event"]["integrationType"] == "onedrive"
    assert (await app.request("/me/drive"))["driveType"] == "business"


async def test_a_personal_account_connects_too(context: BrowserContext, site: Site, project: Project) -> None:
    await project.set_integration(audience="common")
    app = await App.visit(context, site.origin(), project)

    await app.install(account="Mary Shelley")

    assert (await app.request("/me/drive"))["driveType"] == "personal"


async def test_a_reload_of_the_page_keeps_the_connection(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.install()

    await app.page.reload()
    await app.do(f"await paragon.authenticate({project.id!r}, {await project.token(app.user)!r})")

    assert await app.do("return paragon.getUser().integrations.onedrive.credentialStatus") == "VALID"
    assert (await app.request("/me"))["displayName"] == ADA


@ON_BOTH
async def test_reconnecting_keeps_ids_and_settings(context: BrowserContext, site: Site, project: Project) -> None:
    kept = await project.connect("user-1")
    app = await App.visit(context, site.origin(), project)
    await app.do("await paragon.updateIntegrationUserSettings('onedrive', { folder: 'Documents' })")
    before = await app.do("return paragon.getUser().integrations.onedrive")

    ended = await app.install_headless(f"selectedCredentialId: '{kept}'")

    await app.do("await paragon.setUserMetadata({})")  # asks for everything again
    after = await app.do("return paragon.getUser().integrations.onedrive")
    assert ended["value"]["event"]["credentialId"] == kept
    assert after["credentialId"] == before["credentialId"] == kept
    assert after["credentialConfigId"] == before["credentialConfigId"]
    assert after["sharedSettings"] == {"folder": "Documents"}
    assert len(await project.connections("user-1")) == 1


async def test_without_options_another_account_takes_the_place_of_the_first(
    context: BrowserContext, site: Site, project: Project
) -> None:
    kept = await project.connect("user-1")
    app = await App.visit(context, site.origin(), project)

    ended = await app.install_headless(account=GRACE)

    assert ended["value"]["event"]["credentialId"] == kept
    assert [one["account"]["name"] for one in await project.connections("user-1")] == [GRACE]


@ON_BOTH
async def test_an_account_that_microsoft_has_cut_off_is_connected_again_in_place(
    context: BrowserContext, site: Site, project: Project
) -> None:
    sandbox = project.landbridge.sandbox
    async with sandbox.switched(access_token_seconds=1):
        kept = await project.connect("user-1")
    await sandbox.control("POST", "/users/ada@contoso.example/revoke")
    app = await App.visit(context, site.origin(), project)
    cut_off = await app.fails("return paragon.request('onedrive', '/me')")
    await app.do("await paragon.setUserMetadata({})")  # asks for everything again
    invalid = await app.do("return paragon.getUser().integrations.onedrive.credentialStatus")

    ended = await app.install()

    assert cut_off["response"]["status"] == 424
    assert cut_off["response"]["code"] == "reconnect_required"
    assert invalid == "INVALID"
    assert ended["value"]["credentialId"] == kept
    assert (await app.request("/me"))["displayName"] == ADA


@ON_BOTH
async def test_a_user_may_connect_several_accounts_and_choose_between_them(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.install(account=ADA)
    first = await app.credential_id()

    ended = await app.install("{ allowMultipleCredentials: true }", account=GRACE)

    second = ended["value"]["credentialId"]
    assert second != first
    assert len(await app.do("return paragon.getUser().integrations.onedrive.allCredentials")) == 2
    assert await app.do(WHO % f"'{first}'") == ADA
    assert await app.do(WHO % f"'{second}'") == GRACE


@pytest.mark.parametrize("given", ["team-drive", "ext:team-drive"])
async def test_a_connection_answers_to_the_product_s_own_name_for_it(
    context: BrowserContext, site: Site, project: Project, given: str
) -> None:
    app = await App.visit(context, site.origin(), project)

    ended = await app.install(f"{{ externalId: '{given}' }}")

    assert ended["value"]["credential"]["externalId"] == "team-drive"
    assert await app.do(WHO % "'team-drive'") == ADA
    assert await app.do(WHO % "'ext:team-drive'") == ADA


async def test_an_external_id_that_is_taken_is_refused(context: BrowserContext, site: Site, project: Project) -> None:
    app = await App.visit(context, site.origin(), project)
    await project.connect("user-1", externalId="team-drive")  # in another tab: this page does not know

    ended = await app.install_headless("externalId: 'team-drive', allowMultipleCredentials: true", account=GRACE)

    assert "team-drive" in ended["value"]["error"]["message"]


@ON_BOTH
async def test_after_disconnecting_calls_fail_with_a_clear_error(
    context: BrowserContext, site: Site, project: Project
) -> None:
    app = await App.visit(context, site.origin(), project)
    await app.install()

    await app.do("await paragon.uninstallIntegration('onedrive')")
    error = await app.fails("return paragon.request('onedrive', '/me/drive')")

    assert await project.connections("user-1") == []
    assert not await app.do("return paragon.getUser().integrations.onedrive.enabled")
    assert error["message"] == "This user has not connected onedrive."
    assert (error["response"]["status"], error["response"]["code"]) == (404, "not_connected")
    assert (await app.install())["value"]["credential"]["status"] == "VALID"


async def test_disconnecting_one_of_two_accounts_leaves_the_other(
    context: BrowserContext, site: Site, project: Project
) -> None:
    first = await project.connect("user-1")
    second = await project.connect("user-1", "grace@contoso.example", allowMultipleCredentials=True)
    app = await App.visit(context, site.origin(), project)

    await app.do(f"await paragon.uninstallIntegration('onedrive', {{ selectedCredentialId: '{first}' }})")

    assert [one["id"] for one in await project.connections("user-1")] == [second]
    assert (await app.request("/me"))["displayName"] == GRACE


async def test_the_product_can_receive_the_code_itself(context: BrowserContext, site: Site, project: Project) -> None:
    page = site.put("Received")
    url = f"{site.origin()}{page}"
    app = await App.visit(context, site.origin(), project)

    window = await app.click(install_flow(f"overrideRedirectUrl: '{url}'"))
    await window.click("#accept")
    await window.wait_for_url(f"{url}?*")
    code = await window.evaluate("new URLSearchParams(location.search).get('code')")
    await app.do(f"await paragon.completeInstall('onedrive', {{ authorizationCode: '{code}', redirectUrl: '{url}' }})")

    assert (await app.request("/me"))["displayName"] == ADA


@ON_BOTH
async def test_signing_in_twice_at_once_connects_one_account(
    context: BrowserContext, site: Site, project: Project
) -> None:
    first, second = [await App.visit(context, site.origin(), project) for _ in range(2)]
    install = "return paragon.installIntegration('onedrive')"

    windows = [await first.click(install), await second.click(install)]
    for window in windows:
        await consent(window)

    ended = [await first.clicked(), await second.clicked()]
    assert len({one["value"]["credentialId"] for one in ended}) == 1
