"""The outermost callable: what is too large or from a strange origin stops here, the proxy branches off, errors end.

CORS is decided by the project in the path. A page of an origin that the project does not allow gets an answer that says
so, and that it may read, but the request is not carried out.
"""

import re
import secrets
from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.exceptions import HTTPException

from landbridge.errors import InvalidRequest, LandbridgeError, NotFound, StoreFailed, TooLarge
from landbridge.settings import Settings
from landbridge.web.answers import Headers, error_answer, note_refusal
from landbridge.web.heads import HEAD, Head
from landbridge.web.proxied import ROUTE, Proxied
from landbridge.web.rooms import Rooms

log = structlog.get_logger(__name__)

MOST_HEADER_BYTES = 32 << 10
"""How much a request's headers and its address may hold together."""

MOST_BODY_BYTES = 1 << 20
"""How long a body may be that is read whole: every one but a proxied one."""

_PROJECT = re.compile(r"^/(?:v2/)?projects/([^/]{1,64})/")
_WITH_FILES = re.compile(r"^/projects/[^/]{1,64}/(actions|mcp|sdk/triggers/[^/]+)$")
"""Routes that bound their bodies themselves: files in them may have any size, and are not held."""

_METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD"


class OriginNotAllowed(InvalidRequest):
    """A page calls whose origin the project does not allow."""

    code = "origin_not_allowed"
    remedy = "Add the page's origin: `landbridge projects set ID --allow-origin ORIGIN`."


class OriginForbidden(OriginNotAllowed):
    """The same, to the page of an agent: its protocol asks for the status 403."""

    code = "origin_forbidden"
    status = 403


class Gate:
    """The ASGI application."""

    def __init__(self, rooms: Rooms, framework: Any) -> None:  # Any: an ASGI application
        self._rooms = rooms
        self._framework = framework
        self._proxied = Proxied(rooms)
        self._prefixes = _prefixes(rooms.settings)
        self._own_origins = _own_origins(rooms.settings)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI's own types are open dicts
        """Answer one request, or hand on what is not HTTP."""
        if scope["type"] != "http":
            await self._framework(scope, receive, send)
            return
        if self._prefixes:
            scope = self._without_prefix(scope)
        head = scope.get(HEAD) or Head(scope["headers"])
        named = head.named
        route = ROUTE.match(scope["raw_path"])
        # Only what lies in a project is for pages of other origins.
        project = route[1].decode("latin-1") if route else _project(scope["path"])
        origin = named.get(b"origin") if project else None
        answer = _Answer(send, origin)
        try:
            _check_head(scope, head)
            if project and origin:
                if scope["method"] == "OPTIONS" and b"access-control-request-method" in named:
                    await answer.preflight(named.get(b"access-control-request-headers", b""))
                    return
                await self._check_origin(project, origin.decode("latin-1"), scope["path"])
            if route:
                await self._proxied(scope, route, head, receive, answer)
            else:
                bounded = receive if _WITH_FILES.match(scope["path"]) else _bounded(receive)
                await self._framework(scope, bounded, answer)
        except LandbridgeError as error:
            note_refusal(scope.get("client"), error)
            await answer.fail(error)
        except Exception:
            request_id = secrets.token_hex(8)
            log.exception("request failed", request_id=request_id, route=scope["path"].split("/")[-1][:32])
            await answer.fail(LandbridgeError("Something went wrong here.", meta={"requestId": request_id}))

    def _without_prefix(self, scope: Any) -> Any:
        for prefix in self._prefixes:
            if scope["path"].startswith(f"{prefix}/"):
                path, raw = scope["path"][len(prefix) :], scope["raw_path"][len(prefix) :]
                return {**scope, "path": path, "raw_path": raw}
        return scope

    async def _check_origin(self, project_id: str, origin: str, path: str) -> None:
        """Raise for a stranger's page."""
        if origin in self._own_origins:
            return
        try:
            facts = await self._rooms.projects.facts(project_id)
        except NotFound:
            return  # the route says so itself
        if origin not in facts.allowed_origins:
            refused = OriginForbidden if path.endswith("/mcp") else OriginNotAllowed
            raise refused(f"This project does not allow pages of {origin[:200]}.")


class _Answer:
    """The way out of one request, which puts the CORS headers on whatever is sent."""

    def __init__(self, send: Any, origin: bytes | None) -> None:
        self.send = send
        self._cors: Headers = _cors(origin) if origin else []
        self._started = False

    def __call__(self, message: Any) -> Awaitable[None]:  # no coroutine of its own: this is called for every piece
        if message["type"] == "http.response.start":
            self._started = True
            if self._cors:
                message = {**message, "headers": [*message["headers"], *self._cors]}
        sent: Awaitable[None] = self.send(message)
        return sent

    async def preflight(self, asked: bytes) -> None:
        """Let the browser go on: who may really call is decided when it does."""
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", b"600"),
            (b"content-length", b"0"),
        ]
        await self({"type": "http.response.start", "status": 204, "headers": headers})
        await self({"type": "http.response.body", "body": b""})

    async def fail(self, error: LandbridgeError) -> None:
        """Send an error; once an answer has begun, leave it unfinished, so that nobody takes the part for the whole.

        The server breaks the connection off if an answer is left like that.
        """
        if self._started:
            log.warning("an answer was broken off", error=error.code, reason=error.message)
            return
        if isinstance(error, StoreFailed):
            log.error("the database failed", exc_info=error)
        status, headers, body = error_answer(error)
        headers.append((b"content-length", str(len(body)).encode()))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _check_head(scope: Any, head: Head) -> None:  # Any: ASGI's own types are open dicts
    """Raise for a request whose headers or address nobody sends who means well."""
    if len(scope["raw_path"]) + len(scope["query_string"]) + head.size > MOST_HEADER_BYTES:
        raise TooLarge(f"The headers and the address hold more than {MOST_HEADER_BYTES} bytes.")
    if b"%00" in scope["raw_path"] or b"%00" in scope["query_string"]:  # PostgreSQL keeps no such text
        raise InvalidRequest("The address holds a NUL character (%00).")


def _bounded(receive: Any) -> Any:  # Any: an ASGI callable, both
    """Return `receive` for a route that reads its body whole, and so must not be sent more than we want to hold."""
    taken = 0

    async def bounded() -> Any:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if (
            taken > MOST_BODY_BYTES
        ):  # the framework's own error, since it takes any other for a body that it cannot read
            raise HTTPException(413, f"The body is longer than {MOST_BODY_BYTES} bytes.")
        return message

    return bounded


def _project(path: str) -> str | None:
    found = _PROJECT.match(path)
    return found[1] if found else None


def _cors(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    ]


def _prefixes(settings: Settings) -> tuple[str, ...]:
    """Return the path prefixes of the public URLs, for a reverse proxy that does not strip them."""
    urls = (
        settings.base_url,
        settings.zeus_url,
        settings.connect_url,
        settings.passport_url,
        settings.hermes_public_url or "",
        settings.worker_proxy_public_url or "",
    )
    return tuple(sorted({path for url in urls if (path := urlsplit(url).path.rstrip("/"))}, key=len, reverse=True))


def _own_origins(settings: Settings) -> frozenset[str]:
    urls = (settings.base_url, settings.zeus_url, settings.connect_url, settings.passport_url)
    return frozenset(f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, urls))
