"""Agents use tools over the Model Context Protocol, with its own client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import BlobResourceContents, CallToolResult, ResourceLink, TextContent, TextResourceContents
from scripts.setup import TREE
from tests.integrations.landbridge import Place
from tests.integrations.person import APP, Answer, Person

from landbridge.access import Reach


@contextlib.asynccontextmanager
async def agent(person: Person, query: str = "", *, mode: str = "auto") -> AsyncIterator[Client]:
    """Give an agent that works for a person."""
    headers = {"Authorization": f"Bearer {person.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        url = f"{person.url}/projects/{person.project}/mcp{query}"
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield client


@pytest.fixture
async def person(landbridge: Place) -> Person:
    """A connected user."""
    connected, _ = await landbridge.connected()
    return connected


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def use(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """Return what a tool gives."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result
    assert isinstance(result.content[0], TextContent)
    assert json.loads(result.content[0].text) == result.structured_content
    given: dict[str, Any] = result.structured_content
    return given


async def refusal(client: Client, tool: str, /, **arguments: Any) -> tuple[str, str]:
    """Return the code and words of a tool's error."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    return result.structured_content["code"], result.content[0].text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_agent_lists_and_uses_tools_and_reads_the_files_that_they_give(person: Person, mode: str) -> None:
    await person.upload("Plan.txt", "Grüße".encode())

    async with agent(person, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        listed = await use(client, "ONEDRIVE_LIST_CONTENTS", kind="files")
        fetched = await client.call_tool("ONEDRIVE_DOWNLOAD_FILE", {"filePath": "Plan.txt"})
        assert isinstance(fetched, CallToolResult)
        link = next(part for part in fetched.content if isinstance(part, ResourceLink))
        read = (await client.read_resource(link.uri)).contents[0]

    assert tools["ONEDRIVE_LIST_CONTENTS"].title == "List Files"
    assert "Plan.txt" in {item["name"] for item in listed["value"]}
    assert (link.name, link.mime_type, link.size) == ("Plan.txt", "text/plain", 7)
    assert fetched.structured_content["content"]["uri"] == link.uri
    assert isinstance(read, TextResourceContents)
    assert (read.text, read.mime_type) == ("Grüße", "text/plain")


async def test_tools_say_whether_they_only_read_only_add_or_may_change_what_is_there(person: Person) -> None:
    async with agent(person) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    found = {
        name: (hint.read_only_hint, hint.destructive_hint, hint.idempotent_hint) for name, hint in hints.items() if hint
    }
    assert found["ONEDRIVE_LIST_CONTENTS"] == (True, False, True)
    assert found["ONEDRIVE_CREATE_FOLDER"] == (False, False, False)
    assert found["ONEDRIVE_DELETE_FOLDER"] == (False, True, True)
    assert found["ONEDRIVE_REQUEST"] == (False, True, False)


async def test_an_address_narrows_what_an_agent_is_offered_and_may_use(person: Person) -> None:
    async with agent(person, "?read_only=true") as reader:
        offered = await names(reader)
        with pytest.raises(MCPError, match=r"no action .ONEDRIVE_CREATE_FOLDER.* \(not_found\)"):
            await reader.call_tool("ONEDRIVE_CREATE_FOLDER", {"name": "Box"})
    async with agent(person, "?tools=onedrive_list_files,ONEDRIVE_SAVE_FILE") as few:
        assert await names(few) == {"ONEDRIVE_LIST_CONTENTS", "ONEDRIVE_SAVE_FILE"}
    async with agent(person, "?integrations=salesforce") as elsewhere:
        assert await names(elsewhere) == set()
        with pytest.raises(MCPError, match="no action"):
            await elsewhere.call_tool("ONEDRIVE_LIST_CONTENTS", {})

    assert "ONEDRIVE_DOWNLOAD_FILE" in offered
    assert not {name for name in offered if name.split("_")[1] not in {"GET", "LIST", "SEARCH", "DOWNLOAD"}}


async def test_a_token_for_tools_opens_those_tools_and_nothing_else(landbridge: Place, person: Person) -> None:
    lifetime = timedelta(hours=1)
    claims = Reach(read_only=True, only=frozenset({"ONEDRIVE_LIST_FILES", "ONEDRIVE_CREATE_FOLDER"})).claims()
    token = await landbridge.house.projects.user_token(person.project, person.id, lifetime, claims)
    narrow = replace(person, token=token)

    async with agent(narrow, "?read_only=false") as client:
        offered = await names(client)
        with pytest.raises(MCPError, match="no action"):
            await client.call_tool("ONEDRIVE_CREATE_FOLDER", {"name": "Box"})
    listed = await narrow.send("GET", f"/projects/{person.project}/actions")
    made = await narrow.send("POST", f"/projects/{person.project}/actions", json={"action": "ONEDRIVE_CREATE_FOLDER"})
    beside = [await narrow.call("/me/drive"), await narrow.sdk("GET", "/me")]

    assert offered == {"ONEDRIVE_LIST_CONTENTS"}
    assert [tool["function"]["name"] for tool in listed.json["actions"]["onedrive"]] == ["ONEDRIVE_LIST_CONTENTS"]
    assert (made.status, made.code) == (404, "not_found")
    assert {(answer.status, answer.code) for answer in beside} == {(403, "forbidden")}


async def test_what_goes_wrong_is_told_to_the_model_with_what_to_do(landbridge: Place, person: Person) -> None:
    stranger = replace(await landbridge.person(), url=person.url)

    async with agent(person) as client:
        missing = await refusal(client, "ONEDRIVE_GET_FILE_BY_ID", filePath="Nothing.txt")
        wrong = await refusal(client, "ONEDRIVE_CREATE_FOLDER", name="a:b")
        both = await refusal(client, "ONEDRIVE_GET_FILE_BY_ID")
        made_up = await refusal(client, "ONEDRIVE_SAVE_FILE", file={"uri": "landbridge://files/made-up"})
    async with agent(stranger) as client:
        unconnected = await refusal(client, "ONEDRIVE_LIST_CONTENTS")

    assert missing[0] == "item_not_found"
    assert wrong[0] == "name_not_allowed"
    assert both == ("invalid_request", both[1])
    assert "fileId or filePath" in both[1]
    assert made_up[0] == "file_unknown"
    assert unconnected[0] == "not_connected"
    assert "let them connect" in unconnected[1]


async def test_a_file_goes_from_tool_to_tool_without_passing_through_the_model(person: Person) -> None:
    contents = bytes(range(256)) * 1000
    await person.upload("a.bin", contents)

    async with agent(person) as client:
        fetched = await use(client, "ONEDRIVE_DOWNLOAD_FILE", filePath="a.bin")
        uri = fetched["content"]["uri"]
        saved = await use(client, "ONEDRIVE_SAVE_FILE", file={"uri": uri}, name="b.bin")
        read = (await client.read_resource(uri)).contents[0]

    assert (await person.download("b.bin")).body == contents
    assert saved["name"] == "b.bin"
    assert isinstance(read, BlobResourceContents)
    assert base64.b64decode(read.blob) == contents


async def test_a_file_is_for_the_user_alone_whose_agent_got_it(landbridge: Place, person: Person) -> None:
    await person.upload("a.txt", b"secret")
    other = replace(await landbridge.person(person.project), url=person.url)

    async with agent(person) as client:
        uri = (await use(client, "ONEDRIVE_DOWNLOAD_FILE", filePath="a.txt"))["content"]["uri"]
    async with agent(other) as stranger:
        with pytest.raises(MCPError, match="file_unknown"):
            await stranger.read_resource(uri)
        with pytest.raises(MCPError, match="file_unknown"):
            await stranger.read_resource("https://example.com/a.txt")


async def test_a_file_that_is_too_large_to_read_is_refused_with_its_size(person: Person) -> None:
    await person.upload("large.bin", bytes((8 << 20) + 1))

    async with agent(person) as client:
        uri = (await use(client, "ONEDRIVE_DOWNLOAD_FILE", filePath="large.bin"))["content"]["uri"]
        with pytest.raises(MCPError, match=r"has 8388609 bytes.*too_large"):
            await client.read_resource(uri)


async def test_an_agent_saves_contents_that_are_larger_than_a_message_may_be(person: Person) -> None:
    contents = bytes(range(256)) * 12_000  # 3 MB

    async with agent(person) as client:
        data = base64.b64encode(contents).decode()
        await use(client, "ONEDRIVE_SAVE_FILE", file={"name": "a.bin", "data": data, "encoding": "base64"})
        with pytest.raises(MCPError, match=r"more than 1048576 bytes, apart from the `data` of files.*too_large"):
            await client.call_tool("ONEDRIVE_CREATE_TEXT_FILE", {"name": "a.txt", "text": "word " * 300_000})

    assert (await person.download("a.bin")).body == contents


async def test_lists_come_in_pages_that_a_model_can_read(person: Person, landbridge: Place) -> None:
    async with agent(person) as client:
        for number in range(3):
            await use(client, "ONEDRIVE_CREATE_FOLDER", name=f"{number}", folderPath="Documents")
        first = await use(client, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", pageSize=2)
        more = {"pageCursor": first["nextPageCursor"], "folderPath": "Documents"}
        second = await use(client, "ONEDRIVE_LIST_CONTENTS", **more)
        again = await use(client, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", pageCursor="", pageSize=2)
        await use(client, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents")

    assert len(first["value"]) == 2
    assert second["value"]
    assert again["value"] == first["value"]
    asked = [call["target"] for call in await landbridge.microsoft.calls(service="graph")]
    assert "children?$top=100" in asked[-1]


async def say(person: Person, body: Any, **headers: str) -> Answer:
    """Return the answer to a message as it is on the wire."""
    usual = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/projects/{person.project}/mcp"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await person.send("POST", path, data=io.BytesIO(data), headers={**usual, **named})


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def test_who_may_not_talk_is_refused_before_the_protocol_begins(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    ours = await say(person, PING, Origin=APP)
    page = await say(person, PING, Origin="https://evil.example")
    nobody = await say(person, PING, Authorization="Bearer nonsense")
    got = await person.send("GET", f"/projects/{person.project}/mcp")

    assert ours.json == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert (page.status, page.code) == (403, "origin_forbidden")
    assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert got.status == 405


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b'{"jsonrpc":"2.0","id":1}', b'"' * 70_000])
async def test_what_is_no_message_is_refused_in_the_protocols_words(landbridge: Place, body: bytes) -> None:
    person, _ = await landbridge.connected()

    answer = await say(person, body)

    assert answer.status == 400
    assert answer.json["error"]["code"] in {-32700, -32600, -32602}


GUIDE = (TREE / "docs" / "how-to" / "agents.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the guide's block in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return str(found)


async def test_the_guides_program_prints_what_the_guide_says(person: Person) -> None:
    environment = {**os.environ, "TOKEN": person.token, "MCP_URL": f"{person.url}/projects/{person.project}/mcp"}

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", block("python")), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()

    assert out.decode() == block("text"), err.decode()
