"""The Model Context Protocol: tools and the files that they give, for the user of the token.

Every message is an exchange of its own, without a session, so that any process may answer any message. Files that tools
give are resources: they stay for an hour, for that user alone, and other tools take them by their URI.
https://modelcontextprotocol.io/specification
"""

import base64
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import mcp_types as types
import structlog
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from landbridge import __version__
from landbridge.errors import FileUnknown, LandbridgeError, TooLarge
from landbridge.kit import File, Result
from landbridge.web.agents import in_words, refused
from landbridge.web.rooms import Rooms
from landbridge.web.toolbox import Call, Tool, Toolbox, files_in, listed, wanted
from landbridge.web.uploads import LARGEST_FORM, chunks_of, short_json

log = structlog.get_logger(__name__)
logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of each exchange

LARGEST_RESOURCE = 8 << 20
"""Bytes of a file that may be read as a resource."""

LARGEST_KEPT = 256 << 20
"""Bytes of a file that a tool may give at all, for another tool to take."""

KEPT_FOR = timedelta(hours=1)
MOST_KEPT = 1 << 30
"""Bytes of all files of one user's agents together; the oldest go first."""

PAGE = 100
"""Items of a list that are given unless more are asked for: what is given is what a model has to read."""

_SCHEME, _HOST = "landbridge", "files"
_INSTRUCTIONS = (
    "Each tool works on the accounts that one user has connected. Lists give a page and `nextPageCursor`. Files that "
    'tools give are resources: read them by their URI, or give another tool `{"uri": …}` as its file. They are kept '
    "for an hour. An error says what to do; when it says that the user must connect, ask them to."
)
_FILE = {
    "type": "object",
    "description": "The file: `uri`, as a tool gave it; or `name` and `data`.",
    "properties": {
        "uri": {"type": "string"},
        "name": {"type": "string"},
        "data": {"type": "string", "description": "The contents, written as `encoding` says."},
        "encoding": {"enum": ["hex", "base64"], "default": "hex"},
        "mimeType": {"type": "string"},
    },
}

_ParamsT = TypeVar("_ParamsT")
_AnswerT = TypeVar("_AnswerT")


class Exchange(Response):
    """The answer to one message."""

    def __init__(self, rooms: Rooms, toolbox: Toolbox, request: Request) -> None:
        super().__init__()
        self._rooms = rooms
        self._toolbox = toolbox
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the message, and answer it."""
        caller = self._toolbox.caller
        files = self._rooms.workbench.files(caller.project_id, f"agent:{caller.user_id}")
        async with self._toolbox.call(files) as call:
            try:
                body = await short_json(chunks_of(self._request), files)
                server = _Agent(self._toolbox, call, self._request).server()
            except LandbridgeError as error:
                await refused(error)(scope, receive, send)
                return
            manager = StreamableHTTPSessionManager(
                server, stateless=True, json_response=True, max_request_body_size=LARGEST_FORM + 1
            )
            async with manager.run():
                await manager.handle_request(_of_length(scope, len(body)), _replay(body, receive), send)
        await files.trim(self._rooms.clock.now() - KEPT_FOR, MOST_KEPT)


class _Agent:
    """What an agent asks for in one exchange."""

    def __init__(self, toolbox: Toolbox, call: Call, request: Request) -> None:
        self._toolbox = toolbox
        self._call = call
        self._wanted = wanted(request.query_params)
        self._integrations = listed(request.query_params, "integrations")
        self._selector = request.headers.get("x-paragon-credential")

    def server(self) -> Server[Any]:  # Any: what lives as long as the library's own server; here nothing does
        """Return the protocol's server for this exchange."""
        server = Server(
            "landbridge",
            version=__version__,
            title="Landbridge",
            instructions=_INSTRUCTIONS,
            on_list_tools=_guarded(self._list_tools),
            on_call_tool=_guarded(self._call_tool),
            on_list_resources=_guarded(self._list_resources),
            on_list_resource_templates=_guarded(self._list_templates),
            on_read_resource=_guarded(self._read_resource),
        )
        server.middleware.clear()  # tracing, for which nobody listens
        return server

    async def _list_tools(self, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        found = await self._toolbox.tools(self._integrations, self._wanted)
        return types.ListToolsResult(tools=[_described(tool) for tools in found.values() for tool in tools])

    async def _call_tool(self, asked: types.CallToolRequestParams) -> types.CallToolResult:
        tool = self._toolbox.find(asked.name, self._wanted, self._integrations)
        try:
            values = self._values(tool, asked.arguments or {})
            result = await self._call.do(tool, self._selector, values, LARGEST_KEPT)
        except LandbridgeError as error:  # for the model to read, which may know better next time
            return types.CallToolResult(
                content=[types.TextContent(text=in_words(error))], structured_content=error.body(), is_error=True
            )
        return _answer(result)

    def _values(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:  # Any, here and below: JSON
        """Return the arguments, a file by its URI as the file, and a page of a list unless they say how much of it."""
        values = dict(arguments)
        if tool.file_field and isinstance(given := values.get(tool.file_field), Mapping) and "uri" in given:
            values[tool.file_field] = _file_at(str(given["uri"]))
        if "page_size" in tool.action.given.model_fields:
            values["pageCursor"] = values.get("pageCursor") or None  # an empty one is the first page
            if not any(values.get(name) for name in ("limit", "pageSize", "pageCursor")):
                values["pageSize"] = PAGE
        return values

    async def _list_resources(self, _: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])  # only whoever was given a file knows its URI

    async def _list_templates(self, _: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="file",
            title="A file that a tool gave",
            uri_template=f"{_SCHEME}://{_HOST}/{{id}}{{?name,type}}",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read_resource(self, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        file = _file_at(asked.uri)
        contents = self._call.files.open(file)
        if contents.size > LARGEST_RESOURCE:
            raise TooLarge(
                f"“{file.name[:100]}” has {contents.size} bytes; as a resource at most {LARGEST_RESOURCE} are read."
            )
        data = b"".join([chunk async for chunk in contents.chunks()])
        return types.ReadResourceResult(contents=[_contents(asked.uri, file.mime_type, data)])


def _guarded(
    handler: Callable[[_ParamsT], Awaitable[_AnswerT]],
) -> Callable[[Any, _ParamsT], Awaitable[_AnswerT]]:  # Any: the library's context, of which we need nothing
    """Return a handler whose errors are the protocol's, and tell nobody what is inside."""

    async def guarded(_: Any, asked: _ParamsT) -> _AnswerT:
        try:
            return await handler(asked)
        except LandbridgeError as error:
            code = types.INTERNAL_ERROR if error.status >= 500 else types.INVALID_PARAMS
            raise MCPError(code, in_words(error), error.body()) from error
        except Exception as error:
            request_id = secrets.token_hex(8)
            log.exception("an agent's request failed", request_id=request_id)
            ours = LandbridgeError("Something went wrong here.", meta={"requestId": request_id})
            raise MCPError(types.INTERNAL_ERROR, in_words(ours), ours.body()) from error

    return guarded


def _described(tool: Tool) -> types.Tool:
    action = tool.action
    return types.Tool(
        name=tool.name,
        title=action.title,
        description=action.description,
        input_schema=tool.parameters(_FILE),
        annotations=types.ToolAnnotations(
            read_only_hint=action.effect == "reads",
            destructive_hint=action.effect == "changes",
            idempotent_hint=action.repeatable,
        ),
    )


def _answer(result: Result) -> types.CallToolResult:
    """Return a result as JSON, in words and as data, with links to the files in it."""
    said, links = result.as_json(), []
    for name, file in files_in(result).items():
        uri = _uri_of(file)
        said[name] = {"uri": uri, **file.model_dump(by_alias=True, exclude={"id"})}
        links.append(types.ResourceLink(uri=uri, name=file.name, mime_type=file.mime_type, size=file.size))
    text = types.TextContent(text=json.dumps(said, ensure_ascii=False, separators=(",", ":")))
    return types.CallToolResult(content=[text, *links], structured_content=said)


def _uri_of(file: File) -> str:
    return f"{_SCHEME}://{_HOST}/{file.id}?name={quote(file.name, safe='')}&type={quote(file.mime_type, safe='')}"


def _file_at(uri: str) -> File:
    """Return the file that a URI leads to; what it says of the file is checked when it is opened."""
    parts = urlsplit(uri)
    if (parts.scheme, parts.netloc) != (_SCHEME, _HOST):
        raise FileUnknown(f"“{uri[:100]}” is not the URI of a file that a tool gave.")
    said = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return File(
        id=parts.path.removeprefix("/"),
        name=said.get("name", "file"),
        mime_type=said.get("type", "application/octet-stream"),
        size=0,
        sha256="",
    )


def _contents(uri: str, mime_type: str, data: bytes) -> types.TextResourceContents | types.BlobResourceContents:
    try:
        return types.TextResourceContents(uri=uri, mime_type=mime_type, text=data.decode())
    except UnicodeDecodeError:
        blob = base64.b64encode(data).decode()
        return types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=blob)


def _of_length(scope: Scope, length: int) -> Scope:
    """Return the request's head, for a body that became shorter on the way."""
    kept = [(name, value) for name, value in scope["headers"] if name not in {b"content-length", b"transfer-encoding"}]
    return {**scope, "headers": [*kept, (b"content-length", str(length).encode())]}


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
