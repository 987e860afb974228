"""Reading what comes in, parsed before it is believed. How long a body may be is the gate's to say."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from landbridge.access import Caller, Operator, bearer
from landbridge.errors import InvalidRequest
from landbridge.web.rooms import Rooms

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


async def caller_of(rooms: Rooms, request: Request, *, for_tools: bool = False) -> Caller:
    """Return the connected user that calls a `/projects/{project_id}/…` route.

    Raises `Unauthenticated`, and `Forbidden` for a token that is for tools alone on a route that is not `for_tools`.
    """
    token = bearer(request.headers.get("authorization"))
    return await rooms.access.user(request.path_params["project_id"], token, for_tools=for_tools)


def for_operators(rooms: Rooms) -> type[APIRoute]:
    """Return the kind of route that reads nothing of a body before it knows its operator, whom `operator_of` tells.

    The framework's own dependencies are called when it has read the body already, and so would wait for a stranger's.
    An operator of another project may not manage the one that the path names.
    """

    class ForOperators(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_for_operator(request: Request) -> Response:
                found = await rooms.access.operator(bearer(request.headers.get("authorization")))
                if project_id := request.path_params.get("project_id"):
                    found.must_manage(project_id)
                request.state.operator = found
                return await handle(request)

            return handle_for_operator

    return ForOperators


async def operator_of(request: Request) -> Operator:
    """Return the operator that calls a route that is for operators."""
    operator: Operator = request.state.operator
    return operator


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; an empty body, as the SDK sends with a JSON content type, is an empty one."""
    return parsed_object(await request.body(), "The body")


def parsed_object(text: str | bytes, name: str) -> dict[str, Any]:
    """Return JSON text as an object, an empty text as an empty one; or raise `InvalidRequest` naming what it was."""
    value = parsed(text, name)
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} is not a JSON object.")
    return value


def parsed(text: str | bytes, name: str) -> Any:  # Any: JSON
    """Return what a JSON text holds, of an empty one an empty object; or raise `InvalidRequest` naming what it was.

    Refused is also what Python reads and nobody can be sent again: `NaN`, `1e999`, half of a surrogate pair. And NUL,
    which PostgreSQL takes in no text.
    """
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
        written = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{name} is not JSON.") from None
    if _NUL.search(written):
        raise InvalidRequest(f"{name} holds a NUL character.")
    return value


def referring_origin(request: Request) -> str | None:
    """Return the origin of the page that sent the browser here, as far as the browser tells."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # no page of a browser's has such an address
        return None
    return f"{page.scheme}://{page.netloc}"
