"""Actions as tools, for language models and for programs, on the wire that Paragon's ActionKit has.

`GET /projects/{project}/actions` says what there is, `POST` does one of them, on behalf of the user of the token.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from landbridge.errors import InvalidRequest
from landbridge.files import RunFiles
from landbridge.kit import File, Result
from landbridge.web.forms import caller_of
from landbridge.web.rooms import Rooms
from landbridge.web.toolbox import Tool, Toolbox, files_in, listed, wanted
from landbridge.web.uploads import Asked, asked

LARGEST_FILE = 8 << 20
"""Bytes of a file that a tool's JSON answer may hold; larger ones are asked for raw."""

FIRST_PAGE = 200
"""Items of a first page that is asked for without a size."""

_FROM_THE_START = {"offset": 0, "skip": 0, "page": 1, "pageNo": 1, "pageNumber": 1}
"""How programs count pages that there are only cursors for: the first one can be meant, and no other."""

_ON_THE_WIRE = {
    "title": "File",
    "type": "object",
    "description": "The file. `data` holds the contents in hexadecimal.",
    "properties": {"name": {"type": "string"}, "data": {"type": "string"}, "mimeType": {"type": "string"}},
    "required": ["name", "data"],
}


def router(rooms: Rooms) -> APIRouter:
    """Return the routes of tools."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/projects/{project_id}/actions")
    async def list_tools(request: Request) -> JSONResponse:
        toolbox = Toolbox(rooms, await caller_of(rooms, request, for_tools=True))
        query = request.query_params
        form = query.get("format", "json_schema")
        if form not in {"json_schema", "paragon"}:
            raise InvalidRequest("The format is `json_schema` or `paragon`.")
        if query.get("categories"):
            raise InvalidRequest("Integrations have no categories here: name them in `integrations`.")
        describe = _as_function if form == "json_schema" else _as_form
        integrations = listed(query, "integrations")
        only_connected = query.get("limit_to_available", "false").lower() == "true"
        found = await toolbox.tools(integrations, wanted(query), only_connected=only_connected)
        return JSONResponse(
            {
                "actions": {integration: [describe(tool) for tool in tools] for integration, tools in found.items()},
                "errors": [f"{name} is not set up in this project" for name in sorted(integrations - set(found))],
            }
        )

    @routes.post("/projects/{project_id}/actions")
    async def run_tool(request: Request) -> Response:
        toolbox = Toolbox(rooms, await caller_of(rooms, request, for_tools=True))
        is_raw = request.headers.get("x-paragon-use-raw-response", "").lower() in {"1", "true"}
        async with contextlib.AsyncExitStack() as closing:
            call = await closing.enter_async_context(toolbox.call())
            given = await asked(request, call.files)
            tool = toolbox.find(given.action, wanted(request.query_params))
            selector = request.headers.get("x-paragon-credential")
            result = await call.do(tool, selector, _values(tool, given), None if is_raw else LARGEST_FILE)
            if is_raw and (file := next(iter(files_in(result).values()), None)):
                return _Raw(file, call.files, closing.pop_all())
            return Response(await _on_the_wire(result, call.files), media_type="application/json")

    return routes


class _Raw(StreamingResponse):
    """A file's contents alone, whatever their size; what they lie in is closed after them."""

    def __init__(self, file: File, files: RunFiles, closing: contextlib.AsyncExitStack) -> None:
        headers = {
            "Content-Length": str(file.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
        }
        super().__init__(files.open(file).chunks(), media_type=file.mime_type, headers=headers)
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._closing:
            await super().__call__(scope, receive, send)


def _values(tool: Tool, given: Asked) -> dict[str, Any]:  # Any: JSON
    """Return the action's input: the parameters, those on pagination among the others, and the file beside them."""
    parameters = given.parameters
    if not isinstance(parameters, dict):
        raise InvalidRequest("`parameters` is an object.")
    values = {name: value for name, value in parameters.items() if name != "paginationParameters"}
    values |= _paged(tool, parameters.get("paginationParameters") or {}, values)
    return _read(tool, values | _with_file(tool, given, values))


def _paged(tool: Tool, paging: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return which page is wanted, in the action's own words: an empty cursor is the first one."""
    if not isinstance(paging, dict):
        raise InvalidRequest("`paginationParameters` is an object.")
    if paging and "page_cursor" not in tool.action.given.model_fields:
        raise InvalidRequest(f"{tool.action.title} has no pages.")
    paged = {"pageCursor" if name == "pageToken" else str(name): value for name, value in paging.items()}
    for name in paged.keys() & _FROM_THE_START.keys():
        if str(paged.pop(name)) != str(_FROM_THE_START[name]):
            raise InvalidRequest(
                f"{tool.action.title} counts no pages: for `{name}` give `nextPageCursor` as `pageCursor`."
            )
        paged.setdefault("pageCursor", "")
    if paged.get("pageCursor", values.get("pageCursor", True)) in ("", None):
        paged["pageCursor"] = None
        if not {"limit", "pageSize"} & {*values, *paged}:
            paged["pageSize"] = FIRST_PAGE
    return paged


def _read(tool: Tool, values: dict[str, Any]) -> dict[str, Any]:  # Any: JSON, or Files
    """Return values with lists and objects that were written into a form as JSON read."""
    for name, field in tool.action.given.model_fields.items():
        text = values.get(field.alias or name)
        if isinstance(text, str) and _is_structured(list(_plain(field.annotation))):
            with contextlib.suppress(ValueError, RecursionError):
                values[field.alias or name] = json.loads(text)
    return values


def _with_file(tool: Tool, given: Asked, values: dict[str, Any]) -> dict[str, File]:  # Any: JSON
    if given.file is None:
        return {}
    if tool.file_field is None or tool.file_field in values:
        raise InvalidRequest(f"{tool.action.title} takes no{' further' if tool.file_field else ''} file.")
    return {tool.file_field: given.file}


async def _on_the_wire(result: Result, files: RunFiles) -> bytes:
    """Return a result as JSON, the contents of files in it in hexadecimal."""
    inline = {name: await _hex(file, files) for name, file in files_in(result).items()}
    return json.dumps(result.as_json() | inline, ensure_ascii=False).encode() if inline else result.to_json()


async def _hex(file: File, files: RunFiles) -> dict[str, Any]:  # Any: JSON
    contents = b"".join([chunk async for chunk in files.open(file).chunks()])
    return {
        "dataType": "FILE",
        "name": file.name,
        "mimeType": file.mime_type,
        "size": file.size,
        "encoding": "hex",
        "data": contents.hex(),
    }


def _as_function(tool: Tool) -> dict[str, Any]:  # Any: JSON Schema
    described = {
        "name": tool.name,
        "description": tool.action.description,
        "parameters": tool.parameters(_ON_THE_WIRE),
    }
    return {"type": "function", "function": described}


def _as_form(tool: Tool) -> dict[str, Any]:  # Any: JSON
    return {
        "name": tool.name,
        "title": tool.action.title,
        "description": tool.action.summary,
        "inputs": [_input(name, field) for name, field in tool.action.given.model_fields.items()],
    }


def _input(name: str, field: FieldInfo) -> dict[str, Any]:  # Any: JSON
    described = {
        "id": field.alias or name,
        "title": name.replace("_", " ").capitalize(),
        "tooltip": field.description,
        "required": field.is_required(),
    }
    kinds = list(_plain(field.annotation))
    choices = [choice for kind in kinds for choice in get_args(kind) if isinstance(choice, str)]
    if choices:
        return described | {"type": "ENUM", "values": [{"label": one, "value": one} for one in choices]}
    if bool in kinds:
        return described | {"type": "SWITCH"}
    return described | {"type": "CODE" if _is_structured(kinds) else "FILE" if File in kinds else "TEXT"}


def _is_structured(kinds: list[Any]) -> bool:  # Any: types
    """Tell whether only JSON says what is meant."""
    return File not in kinds and any(
        isinstance(one, type) and issubclass(one, (BaseModel, dict, list)) for one in kinds
    )


def _plain(annotation: Any) -> Iterator[Any]:  # Any: a type expression
    """Yield the types in an annotation, its unions taken apart."""
    origin = get_origin(annotation)
    if origin in {list, dict}:
        yield origin
        return
    if origin is Literal or not get_args(annotation):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _plain(inner)
