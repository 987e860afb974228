"""Actions as tools, for language models and for programs, on the wire that Paragon's ActionKit has.

`GET /projects/{project}/actions` says what there is, `POST` does one of them, on behalf of the user of the token.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, get_args
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from landbridge.access import Caller
from landbridge.errors import InvalidRequest, NotFound, ProviderTimedOut, TooLarge
from landbridge.kit import Action, Context, File, Result, Wait
from landbridge.web.forms import caller_of, json_object
from landbridge.web.rooms import Rooms

LONGEST_CALL = timedelta(seconds=100)
"""How long a call of a tool may wait for what the provider does in the background."""

LARGEST_FILE = 8 << 20
"""Bytes of a file that a tool's answer may hold; larger ones are fetched through the proxy."""

_THEIR_NAMES = {"ONEDRIVE_GET_FILE": "ONEDRIVE_GET_FILE_BY_ID", "ONEDRIVE_LIST_FILES": "ONEDRIVE_LIST_CONTENTS"}
"""What ActionKit calls actions that have another name here; both names are understood."""

_ALSO = {"ONEDRIVE_DOWNLOAD_FILE": "ONEDRIVE_GET_FILE"}
_OURS = {theirs: ours for ours, theirs in _THEIR_NAMES.items()} | _ALSO
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
        caller = await caller_of(rooms, request)
        query = request.query_params
        form = query.get("format", "json_schema")
        if form not in {"json_schema", "paragon"}:
            raise InvalidRequest("The format is `json_schema` or `paragon`.")
        describe = _as_function if form == "json_schema" else _as_form
        asked = set(filter(None, query.get("integrations", "").split(",")))
        only_connected = query.get("limit_to_available", "false").lower() == "true"
        usable = await _usable(rooms, caller, only_connected=only_connected)
        return JSONResponse(
            {
                "actions": {
                    integration: [describe(integration, action) for action in rooms.actions.of(integration)]
                    for integration in usable
                    if not asked or integration in asked
                },
                "errors": [f"{name} is not set up in this project" for name in sorted(asked - set(usable))],
            }
        )

    @routes.post("/projects/{project_id}/actions")
    async def run_tool(request: Request) -> Response:
        caller = await caller_of(rooms, request)
        body = await json_object(request)
        integration, action = _find(rooms, body.get("action"))
        values = _values(action, body.get("parameters") or {})
        run_id = f"call:{uuid4()}"
        context = rooms.workbench.context(
            caller, integration, request.headers.get("x-paragon-credential"), run_id=run_id, step="call"
        )
        try:
            result = await _to_its_end(action, context, values)
            return Response(await _on_the_wire(result, context), media_type="application/json")
        finally:
            await rooms.workbench.clear(caller.project_id, run_id)

    return routes


def tool_name(integration: str, action: Action) -> str:
    """Return the name of an action as a tool: ActionKit's, if it has one."""
    name = f"{integration}_{action.name.removeprefix(f'{integration}_')}".upper()
    return _THEIR_NAMES.get(name, name)


async def _usable(rooms: Rooms, caller: Caller, *, only_connected: bool) -> list[str]:
    """Return the integrations that are active in the project, or those of them that the user has connected."""
    active = [row.type for row in await rooms.projects.integrations(caller.project_id) if row.is_active]
    if not only_connected:
        return active
    connected = {one.connection.integration for one in await rooms.accounts.list(caller)}
    return [integration for integration in active if integration in connected]


def _find(rooms: Rooms, name: object) -> tuple[str, Action]:
    asked = str(name).upper()
    asked = _OURS.get(asked, asked)
    for integration, action in rooms.actions:
        if asked in {tool_name(integration, action), _OURS.get(tool_name(integration, action))}:
            return integration, action
    raise NotFound(f"There is no action “{str(name)[:64]}”. GET this address for those that there are.")


def _values(action: Action, parameters: object) -> dict[str, Any]:  # Any: JSON
    """Return the action's input: the parameters, those on pagination among the others."""
    if not isinstance(parameters, dict):
        raise InvalidRequest("`parameters` is an object.")
    values = {name: value for name, value in parameters.items() if name != "paginationParameters"}
    paging = parameters.get("paginationParameters") or {}
    if not isinstance(paging, dict):
        raise InvalidRequest("`paginationParameters` is an object.")
    if paging and "page_cursor" not in action.given.model_fields:
        raise InvalidRequest(f"{action.title} has no pages.")
    names = {"pageToken": "pageCursor"}
    return values | {names.get(name, name): value for name, value in paging.items()}


async def _to_its_end(action: Action, context: Context, values: Mapping[str, Any]) -> Result:  # Any: JSON
    """Run an action, called again after each wait."""
    give_up_at = context.clock.now() + LONGEST_CALL
    given = await action.receive(values, context.files)
    while isinstance(outcome := await action.run(context, given), Wait):
        now = context.clock.now()
        if outcome.until > give_up_at:
            raise ProviderTimedOut("The provider still works on it, for longer than a call may take.")
        await context.clock.sleep(max(outcome.until - now, timedelta(0)))
    return outcome


async def _on_the_wire(result: Result, context: Context) -> bytes:
    """Return a result as JSON, the contents of files in it in hexadecimal."""
    values = {field.alias or name: getattr(result, name) for name, field in type(result).model_fields.items()}
    files = {name: value for name, value in values.items() if isinstance(value, File)}
    if not files:
        return result.to_json()
    inline = {name: await _hex(file, context) for name, file in files.items()}
    return json.dumps(result.as_json() | inline, ensure_ascii=False).encode()


async def _hex(file: File, context: Context) -> dict[str, Any]:  # Any: JSON
    if file.size > LARGEST_FILE:
        raise TooLarge(f"“{file.name}” has more than {LARGEST_FILE} bytes; fetch it through the proxy.")
    contents = b"".join([chunk async for chunk in context.files.open(file).chunks()])
    return {
        "dataType": "FILE",
        "name": file.name,
        "mimeType": file.mime_type,
        "size": file.size,
        "encoding": "hex",
        "data": contents.hex(),
    }


def _as_function(integration: str, action: Action) -> dict[str, Any]:  # Any: JSON Schema
    schema = action.given.model_json_schema(by_alias=True)
    if "File" in schema.get("$defs", {}):
        schema["$defs"]["File"] = _ON_THE_WIRE
    schema.pop("description", None)
    return {
        "type": "function",
        "function": {
            "name": tool_name(integration, action),
            "description": action.description,
            "parameters": schema,
        },
    }


def _as_form(integration: str, action: Action) -> dict[str, Any]:  # Any: JSON
    return {
        "name": tool_name(integration, action),
        "title": action.title,
        "description": action.summary,
        "inputs": [_input(name, field) for name, field in action.given.model_fields.items()],
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
    is_structured = any(isinstance(kind, type) and issubclass(kind, (BaseModel, dict, list)) for kind in kinds)
    return described | {"type": "CODE" if is_structured and File not in kinds else "FILE" if File in kinds else "TEXT"}


def _plain(annotation: Any) -> Iterator[Any]:  # Any: a type expression
    """Yield the types in an annotation, its unions taken apart."""
    if getattr(annotation, "__origin__", None) is Literal or not get_args(annotation):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _plain(inner)
