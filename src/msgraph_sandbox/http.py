"""The small HTTP kernel under every origin of the sandbox: a request, a response, a refusal, and how to send them.

It is raw ASGI and not a framework, for two reasons: addresses such as `/root:/a%2Fb:/content` follow Microsoft's
grammar and no router's, and bodies of a gigabyte must pass at constant memory.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic_core import to_json

# The five ASGI types. ASGI messages are dictionaries of mixed values, hence `Any`.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# A decoded JSON value; its shape is checked where it is used.
Json = Any

JSON_LIMIT = 4 * 1024 * 1024
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}")


class Disconnected(Exception):
    """The client went away before its body was complete."""


class Refusal(Exception):
    """An answer other than success, in the shape that the service it comes from gives to errors."""

    status: int = 400

    def response(self, request: Request) -> Response:
        """Return the answer as Microsoft would phrase it."""
        raise NotImplementedError


class BadRequest(Refusal):
    """The bytes of the request make no sense, before any service looks at their meaning."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    def response(self, request: Request) -> Response:
        error = {"code": "invalidRequest", "message": self.message, "innerError": request.inner_error()}
        return json_response({"error": error}, self.status)


@dataclass(slots=True)
class Response:
    """A status, headers and a body: bytes, or an iterator of them when `headers` says how long it is."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


class Request:
    """One HTTP request, read lazily."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        # How a batch carries out its parts; the gateway sets it.
        self.again: Callable[[Request], Awaitable[Response]] = _nowhere
        self.id = str(uuid.uuid4())
        self.received = 0
        self.asked_at = ""

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded exactly once, so that `%2525` is the name `%25` (some servers decode twice)."""
        try:
            return unquote_to_bytes(self.scope["raw_path"]).decode()
        except UnicodeDecodeError:
            raise BadRequest("The path is not valid UTF-8.") from None

    @property
    def raw_target(self) -> str:
        """The path and query as they arrived, for the ledger."""
        query = self.scope["query_string"]
        target: bytes = self.scope["raw_path"] + (b"?" + query if query else b"")
        return target.decode("latin-1")

    @property
    def query_string(self) -> str:
        """The query as it arrived, without the question mark."""
        text: str = self.scope["query_string"].decode("latin-1")
        return text

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the first counts."""
        return parse_form(self.scope["query_string"])

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; of a repeated one the last counts."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, _, value in pairs if name}

    @property
    def host(self) -> str:
        """The host and port that the client believes it talks to."""
        named: str | None = self.headers.get("host")
        return named if named else f"127.0.0.1:{self.scope['server'][1]}"

    @property
    def origin(self) -> str:
        """The origin that the client used. Microsoft's links are absolute; ours must work for whoever follows them."""
        return f"{self.scope['scheme']}://{self.host}"

    @property
    def client_request_id(self) -> str:
        """The caller's own id for the request, echoed, or ours when it sent none that a header can carry."""
        given = self.headers.get("client-request-id", "")
        return given if _PRINTABLE.fullmatch(given) else self.id

    def inner_error(self) -> dict[str, str]:
        """Return the `innerError` that closes each of Graph's errors."""
        return {"date": self.asked_at, **self.ids()}

    def ids(self) -> dict[str, str]:
        """Return the headers by which a request is known to both sides."""
        return {"request-id": self.id, "client-request-id": self.client_request_id}

    @property
    def length(self) -> int | None:
        """The announced length of the body, or None when it comes in chunks."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, and raise `Disconnected` if it ends too soon."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            if body := message.get("body", b""):
                self.received += len(body)
                yield body

    async def gone(self) -> None:
        """Wait until the connection is closed."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def body(self, limit: int = JSON_LIMIT) -> bytes:
        """Return the whole body, refusing one beyond `limit` bytes with 413."""
        parts: list[bytes] = []
        async for chunk in self.chunks():
            parts.append(chunk)
            if self.received > limit:
                raise BadRequest("The request body is too large.", 413)
        return b"".join(parts)

    async def json_object(self) -> dict[str, Json]:
        """Return the body as a JSON object, `{}` when there is none; anything else is the client's error."""
        body = await self.body()
        return parse_json_object(body) if body.strip() else {}

    @property
    def transport(self) -> Any:
        """The connection itself (an asyncio transport), for faults that break it."""
        return self.scope["sandbox.transport"]


async def _nowhere(request: Request) -> Response:
    raise BadRequest("A request inside a request is not possible here.")


def parse_form(raw: bytes) -> dict[str, str]:
    """Return the fields of a query or form; the first of a name counts, `+` is a space, and bad UTF-8 is refused."""
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise BadRequest("The query or form is malformed.") from None
    return dict(reversed(pairs))


def parse_json_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object in `body`. Nesting, numbers and surrogates that not every peer can hold are refused."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("Unable to read JSON request payload.") from None
    if not isinstance(value, dict):
        raise BadRequest("Unable to read JSON request payload: an object is expected.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def json_response(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a compact JSON answer."""
    return Response(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, to_json(value))


def html_response(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a page. It is never cached and never framed, as a sign-in page must not be."""
    fixed = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Frame-Options": "DENY",
    }
    return Response(status, {**fixed, **(headers or {})}, text.encode())


def redirect(location: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a 302 to `location`."""
    return Response(302, {"Location": location, "Cache-Control": "no-store", **(headers or {})})


async def send_response(response: Response, send: Send) -> int:
    """Send `response` and return how many bytes its body had."""
    body = response.body
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    if isinstance(body, bytes) and response.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
        return len(body)
    sent = 0
    async for chunk in body:
        sent += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return sent
