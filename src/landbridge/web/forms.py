"""Reading what comes in: bounded, and parsed before it is believed."""

import json
from typing import Any

from starlette.requests import Request

from landbridge.access import Caller, bearer
from landbridge.errors import InvalidRequest, TooLarge
from landbridge.web.rooms import Rooms

MOST_JSON_BYTES = 1 << 20


async def caller_of(rooms: Rooms, request: Request) -> Caller:
    """Return the connected user that calls a `/projects/{project_id}/…` route, or raise `Unauthenticated`."""
    token = bearer(request.headers.get("authorization"))
    return await rooms.access.user(request.path_params["project_id"], token)


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; an empty body, as the SDK sends with a JSON content type, is an empty one."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON_BYTES:
            raise TooLarge(f"The body is longer than {MOST_JSON_BYTES} bytes.")
    return parsed_object(bytes(body), "The body")


def parsed_object(text: str | bytes, name: str) -> dict[str, Any]:
    """Return JSON text as an object, or raise `InvalidRequest` naming what it was."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{name} is not JSON.") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} is not a JSON object.")
    return value
