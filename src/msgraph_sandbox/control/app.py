"""The control API's door."""

from __future__ import annotations

import logging
import re

from msgraph_sandbox.control import base, description, drives, people
from msgraph_sandbox.control.bodies import Missing
from msgraph_sandbox.control.page import page
from msgraph_sandbox.description import graph, login
from msgraph_sandbox.http import (
    BadRequest,
    Disconnected,
    Json,
    Receive,
    Refusal,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    send_response,
)
from msgraph_sandbox.world import World

BASE = "/_sandbox"
ROUTES = (*base.ROUTES, *people.ROUTES, *drives.ROUTES)
_DESCRIPTION = re.compile(BASE + r"/openapi/(control|graph|login)")
log = logging.getLogger("msgraph_sandbox")


class Control:
    """Answers the control API."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request.asked_at = self._world.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = refusal.response(request)
        except Disconnected:
            return
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_target)
            response = BadRequest("The control API failed.", 500).response(request)
        self._world.keep(with_people=request.method != "GET")
        await send_response(response, send)

    async def _answer(self, request: Request) -> Response:
        if request.path == "/" and request.method == "GET":
            return page()
        if request.method == "GET" and (match := _DESCRIPTION.fullmatch(request.path)):
            return json_response(described(match[1], str(self._world.urls[f"{match[1]}_url"])))
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(BASE + pattern, request.path.rstrip("/"), re.DOTALL)
            if match and method == request.method:
                value = await handler(self._world, request, *match.groups())
                if isinstance(value, Response):
                    return value
                return Response(204) if value is None else json_response(value)
        raise Missing(f"There is no {request.method} {request.path}.")


def described(service: str, url: str) -> Json:
    """Return the description of a host at `url`: `control`, `graph` or `login`."""
    if service == "control":
        return description.describe(url, ROUTES)
    return (graph if service == "graph" else login).describe(url)
