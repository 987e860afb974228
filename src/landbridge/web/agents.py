"""The way in for agents: the Model Context Protocol over streamable HTTP, at `/projects/{project}/mcp`.

The protocol itself is in `web.mcp`. It is loaded when the first agent calls, since that takes a second and some 30 MB
that most installations need not spend.
"""

import asyncio
from importlib import import_module

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from landbridge.errors import LandbridgeError
from landbridge.web.answers import error_answer
from landbridge.web.forms import caller_of
from landbridge.web.rooms import Rooms
from landbridge.web.toolbox import Toolbox

_INVALID_REQUEST = -32600


def router(rooms: Rooms) -> APIRouter:
    """Return the agents' route: a POST for each message; nothing is kept from one to the next, so there is no GET."""
    routes = APIRouter(include_in_schema=False)

    @routes.post("/projects/{project_id}/mcp")
    async def talk(request: Request) -> Response:
        try:
            toolbox = Toolbox(rooms, await caller_of(rooms, request, for_tools=True))
        except LandbridgeError as error:
            return refused(error)
        mcp = await asyncio.to_thread(import_module, "landbridge.web.mcp")
        exchange: Response = mcp.Exchange(rooms, toolbox, request)
        return exchange

    return routes


def refused(error: LandbridgeError) -> Response:
    """Return an error before the protocol begins: in our shape, and in JSON-RPC's, which agents show to people."""
    status, headers, _ = error_answer(error)
    told = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": in_words(error)}}
    named = {name.decode(): value.decode() for name, value in headers}
    return JSONResponse({**error.body(), **told}, status, headers=named)


def in_words(error: LandbridgeError) -> str:
    """Return an error for a model to read: what is wrong, what to do, and the code."""
    return f"{error.message} {error.remedy} ({error.code})"
