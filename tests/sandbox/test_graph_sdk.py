"""msgraph-sdk, Microsoft's own client, unmodified, with the host that a developer configures."""

from __future__ import annotations

import io
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
from kiota_abstractions.api_error import APIError
from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.drives.item.items.item.create_upload_session.create_upload_session_post_request_body import (
    CreateUploadSessionPostRequestBody,
)
from msgraph.generated.models.drive_item import DriveItem
from msgraph.generated.models.drive_item_uploadable_properties import DriveItemUploadableProperties
from msgraph.generated.models.folder import Folder
from msgraph.generated.models.item_reference import ItemReference
from msgraph.graph_request_adapter import options
from msgraph_core import GraphClientFactory
from msgraph_core.tasks.large_file_upload import LargeFileUploadTask
from tests.sandbox.caller import Caller

from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.switches import Switches

# The SDK warns about its own generated code, and leaves connections behind.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class _Tokens(AccessTokenProvider):  # type: ignore[misc]
    def __init__(self, token: str) -> None:
        self._token = token
        self._hosts = AllowedHostsValidator(["localhost"])

    async def get_authorization_token(self, uri: str, additional_authentication_context: Any = None) -> str:
        return self._token if self._hosts.is_url_host_valid(uri) else ""

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self._hosts


@pytest.fixture
async def graph(session: aiohttp.ClientSession) -> AsyncIterator[tuple[GraphServiceClient, str]]:
    """The client and the id of its drive. The SDK sends the last fragment twice, which SharePoint refuses."""
    async with Sandbox(tls=True, switches=Switches(replay_last_fragment=True)) as sandbox:
        facts = sandbox.announcement
        caller = await Caller(session, facts).sign_in()
        context = ssl.create_default_context(cafile=facts["ca_file"])
        # The SDK wraps the transport in one that never closes it.
        async with httpx.AsyncHTTPTransport(verify=context) as transport:
            http = httpx.AsyncClient(transport=transport, timeout=60)
            client = GraphClientFactory.create_with_default_middleware(client=http, options=options)
            authentication = BaseBearerTokenAuthenticationProvider(_Tokens(caller.token))
            adapter = GraphRequestAdapter(authentication, client)
            adapter.base_url = facts["graph_https_url"] + "/v1.0"
            service = GraphServiceClient(request_adapter=adapter)
            drive = await service.me.drive.get()
            assert drive is not None
            assert drive.id
            yield service, drive.id


async def test_it_reads_lists_and_searches(graph: tuple[GraphServiceClient, str]) -> None:
    client, drive = graph
    me = await client.me.get()
    assert me is not None
    assert me.mail == "ada@contoso.example"
    items = client.drives.by_drive_id(drive).items
    children = await items.by_drive_item_id("root").children.get()
    assert children is not None
    assert {child.name for child in children.value or []} == {"Documents", "Notes.md", "Pictures"}
    note = await items.by_drive_item_id("root:/Documents/Welcome.txt:").get()
    assert note is not None
    assert note.file is not None
    assert await items.by_drive_item_id(note.id or "").content.get() == b"Welcome to your OneDrive.\n"
    found = await client.drives.by_drive_id(drive).search_with_q("welcome").get()
    assert found is not None
    assert [item.name for item in found.value or []] == ["Welcome.txt"]
    delta = await items.by_drive_item_id("root").delta.get()
    assert delta is not None
    assert delta.odata_delta_link
    after = await items.by_drive_item_id("root").delta_with_token("latest").get()
    assert after is not None
    assert after.value == []


async def test_it_writes_moves_and_deletes(graph: tuple[GraphServiceClient, str]) -> None:
    client, drive = graph
    items = client.drives.by_drive_id(drive).items
    folder = await items.by_drive_item_id("root").children.post(DriveItem(name="New #1", folder=Folder()))
    assert folder is not None
    made = await items.by_drive_item_id("root:/New #1/a b.txt:").content.put(b"hello")
    assert made is not None
    assert made.size == 5
    moved = await items.by_drive_item_id(made.id or "").patch(
        DriveItem(name="c.txt", parent_reference=ItemReference(id="root"))
    )
    assert moved is not None
    assert moved.name == "c.txt"
    await items.by_drive_item_id(folder.id or "").delete()
    with pytest.raises(APIError) as caught:
        await items.by_drive_item_id(folder.id or "").get()
    assert caught.value.response_status_code == 404
    assert caught.value.error.code == "itemNotFound"


async def test_its_large_file_task_uploads_in_fragments(graph: tuple[GraphServiceClient, str]) -> None:
    client, drive = graph
    body = os.urandom(12 * 1024 * 1024 + 5)
    properties = DriveItemUploadableProperties(additional_data={"@microsoft.graph.conflictBehavior": "replace"})
    target = client.drives.by_drive_id(drive).items.by_drive_item_id("root:/large.bin:")
    session = await target.create_upload_session.post(CreateUploadSessionPostRequestBody(item=properties))
    assert session is not None
    task = LargeFileUploadTask(session, client.request_adapter, io.BytesIO(body), parsable_factory=DriveItem)
    await task.upload()
    assert await target.content.get() == body


async def test_an_expired_token_is_a_401_and_nothing_stranger(graph: tuple[GraphServiceClient, str]) -> None:
    client, drive = graph
    adapter = client.request_adapter
    adapter._authentication_provider = BaseBearerTokenAuthenticationProvider(_Tokens("nonsense"))
    with pytest.raises(APIError) as caught:
        await client.drives.by_drive_id(drive).get()
    assert caught.value.response_status_code == 401
