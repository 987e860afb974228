"""The proxy's way in: a raw ASGI callable, dispatched before the framework, since the framework halves its speed.

`ANY /projects/{project}/sdk/proxy/{integration}/{path}`. Both bodies are streamed. A JSON answer is wrapped as
`{"output": …}` unless the caller asks for the raw one; a provider's error keeps its status, in the documented shape.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from multidict import CIMultiDict

from landbridge.access import bearer
from landbridge.errors import InvalidRequest, LandbridgeError, NotFound
from landbridge.outbound import Stream
from landbridge.proxy import Body, Outgoing
from landbridge.web.answers import Headers, header
from landbridge.web.rooms import Rooms

ROUTE = re.compile(rb"^/projects/([^/]{1,64})/sdk/proxy/([^/?]{1,64})(?:/(.*))?$", re.DOTALL)

_SENT_AGAIN_IF_NEEDED = 64 << 10
"""Bodies up to this many bytes are held, so that a request can be repeated with a renewed token."""

_LONGEST_ERROR = 256 << 10
_SHORT = 256 << 10
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
}
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"cookie",
    b"origin",
    b"referer",
    b"user-agent",
    b"accept-encoding",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"dnt",
    b"x-request-id",
}
_NOT_FORWARDED_PREFIXES = (b"x-paragon-", b"x-forwarded-", b"sec-", b"access-control-")
_NOT_RETURNED = _HOP_BY_HOP | {
    b"set-cookie",
    b"content-length",
    b"strict-transport-security",
    b"alt-svc",
    b"public-key-pins",
    b"date",
    b"server",
    b"nel",
    b"report-to",
    b"content-security-policy",
    b"x-frame-options",
    b"clear-site-data",
    b"vary",
    b"x-content-type-options",
}


class CallerGone(Exception):
    """The caller hung up before its body had ended, so the provider must not take what came for the whole."""


class Proxied:
    """Serves proxied requests."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._in_flight = 0
        rooms.metrics.proxy_in_flight.set_function(lambda: self._in_flight)
        self._seconds = rooms.metrics.proxy_seconds
        self._counted: dict[int, Any] = {}  # the counters by status, looked up once; Any: prometheus' child type

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI's own types are open dicts
        """Answer one request, or raise what the gate answers."""
        began = time.perf_counter()
        self._in_flight += 1
        status = 500
        try:
            status = await self._answer(scope, receive, send)
        except CallerGone:
            status = 499
        except LandbridgeError as error:
            status = error.status
            raise
        finally:
            self._in_flight -= 1
            self._seconds.observe(time.perf_counter() - began)
            self._count(status)

    def _count(self, status: int) -> None:
        counter = self._counted.get(status)
        if counter is None:
            counter = self._counted[status] = self._rooms.metrics.proxy_requests.labels(str(status))
        counter.inc()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> int:
        project_id, integration, path = _route(scope)
        headers = scope["headers"]
        caller = await self._rooms.access.user(project_id, bearer(header(headers, b"authorization")))
        path = header(headers, b"x-paragon-proxy-url") or path
        is_raw = (header(headers, b"x-paragon-use-raw-response") or "").lower() in {"1", "true"}
        outgoing = Outgoing(scope["method"], path, _forwarded(headers, is_raw), await _body(headers, receive))
        _settle_content_type(outgoing)
        answer = await self._rooms.proxy.send(caller, integration, header(headers, b"x-paragon-credential"), outgoing)
        try:
            is_head = scope["method"] == "HEAD"
            if is_head or _is_short(answer):
                return await _return(answer, send, is_raw=is_raw, is_head=is_head)
            async with _while_caller_listens(receive):
                return await _return(answer, send, is_raw=is_raw, is_head=is_head)
        finally:
            answer.close()


def _route(scope: Any) -> tuple[str, str, str]:
    found = ROUTE.match(scope["raw_path"])
    if not found:
        raise NotFound("A proxied request goes to /projects/{project}/sdk/proxy/{integration}/{path}.")
    try:
        project_id, integration, path = (part.decode("ascii") for part in found.groups(default=b""))
        query = scope["query_string"].decode("ascii")
    except UnicodeDecodeError:
        raise InvalidRequest("The path holds characters that must be percent-encoded.") from None
    return project_id, integration, f"{path}?{query}" if query else path


def _forwarded(headers: Headers, is_raw: bool) -> CIMultiDict[str]:
    """Return the headers that the provider may see: not ours, not the connection's, none of a browser's."""
    nominated = {one.strip().lower() for name, value in headers if name == b"connection" for one in value.split(b",")}
    forwarded: CIMultiDict[str] = CIMultiDict()
    for given, value in headers:
        name = _forwarded_name(given)
        if name is not None and given not in nominated:
            forwarded.add(name, value.decode("latin-1"))
    forwarded["Accept-Encoding"] = (is_raw and header(headers, b"accept-encoding")) or "identity"
    return forwarded


@lru_cache(maxsize=1000)
def _forwarded_name(name: bytes) -> str | None:
    """Return the name of a header of the caller's as the provider gets it, or None if the provider gets no such one."""
    return None if name in _NOT_FORWARDED or name.startswith(_NOT_FORWARDED_PREFIXES) else name.decode("latin-1")


async def _body(headers: Headers, receive: Any) -> Body:
    """Return the request's body: nothing, bytes if it is small, else a stream."""
    length = header(headers, b"content-length")
    if length is None and header(headers, b"transfer-encoding") is None:
        return None
    stream = _incoming(receive)
    if length is not None and length.isdecimal() and int(length) <= _SENT_AGAIN_IF_NEEDED:
        return b"".join([chunk async for chunk in stream])
    return stream


async def _incoming(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


def _is_short(answer: Stream) -> bool:
    length = answer.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= _SHORT


@contextlib.asynccontextmanager
async def _while_caller_listens(receive: Any) -> AsyncIterator[None]:
    """End what is done inside with `CallerGone` as soon as the caller hangs up, so that nothing is fetched for nobody.

    Also while the provider is silent: its next bytes may be minutes away.
    """
    answering = asyncio.current_task()
    assert answering, "ASGI calls from a task"
    is_gone = False

    async def until_gone() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        answering.cancel()

    listening = asyncio.create_task(until_gone())
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and answering.uncancel() == 0:
            raise CallerGone from None
        raise
    finally:
        listening.cancel()


def _settle_content_type(outgoing: Outgoing) -> None:
    """Replace the SDK's `Content-Type: auto`, alone or in front of another, by what the body is."""
    given = ", ".join(outgoing.headers.popall("content-type", ()))
    named = ", ".join(part for part in map(str.strip, given.split(",")) if part and part.lower() != "auto")
    if named:
        outgoing.headers["Content-Type"] = named
    elif outgoing.body and given:
        outgoing.headers["Content-Type"] = "application/json"


async def _return(answer: Stream, send: Any, *, is_raw: bool, is_head: bool) -> int:
    """Send the provider's answer on, and return its status."""
    headers = _returned(answer)
    length = answer.headers.get("Content-Length")
    if is_raw or is_head or (answer.status < 400 and not _is_whole_json(answer)):
        await _stream(answer, send, headers, length)
    elif answer.status < 400:
        await _stream_enveloped(answer, send, headers, length)
    else:
        await _send_whole(send, answer.status, headers, await _provider_error(answer))
    return answer.status


def _is_whole_json(answer: Stream) -> bool:
    """Return whether the body is JSON that stays JSON when something is put around it: not a part, not compressed."""
    content_type = (answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    is_plain = answer.headers.get("Content-Encoding", "identity").lower() == "identity"
    return content_type == "application/json" and is_plain and answer.status not in {204, 206, 304}


def _returned(answer: Stream) -> Headers:
    nominated = {name.strip().lower() for name in answer.headers.get("Connection", "").split(",")}
    headers = [
        (name, value.encode("latin-1", "replace"))
        for given, value in answer.headers.items()
        if (name := _returned_name(given)) and given.lower() not in nominated
    ]
    headers.append((b"x-content-type-options", b"nosniff"))
    return headers


@lru_cache(maxsize=1000)
def _returned_name(name: str) -> bytes | None:
    """Return the name of a header of the provider's as the caller gets it, or None if the caller gets no such one."""
    lowered = name.lower().encode("latin-1")
    return None if lowered in _NOT_RETURNED or lowered.startswith(b"access-control-") else lowered


async def _stream(answer: Stream, send: Any, headers: Headers, length: str | None) -> None:
    if length is not None and answer.status not in {204, 304}:  # there it says how long a body would have been
        headers.append((b"content-length", length.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for chunk in answer.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _stream_enveloped(answer: Stream, send: Any, headers: Headers, length: str | None) -> None:
    """Send `{"output":` and the JSON and `}`; an empty body stays empty."""
    is_empty = length == "0"
    if length is not None and length.isdecimal():
        headers.append((b"content-length", str(int(length) + (0 if is_empty else 11)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    opening = b'{"output":'
    async for chunk in answer.chunks():
        await send({"type": "http.response.body", "body": opening + chunk, "more_body": True})
        opening = b""
    await send({"type": "http.response.body", "body": b"" if opening else b"}", "more_body": False})


async def _provider_error(answer: Stream) -> bytes:
    """Return the provider's error in the documented shape, with what it said under `output`."""
    text = await answer.read(_LONGEST_ERROR)
    try:
        said = json.loads(text)
    except ValueError:
        said = text.decode("utf-8", "replace")
    error = said.get("error") if isinstance(said, dict) else None
    error = error if isinstance(error, dict) else {}
    return json.dumps(
        {
            "message": str(error.get("message") or f"The provider answered {answer.status}."),
            "code": str(error.get("code") or "provider_error"),
            "status": answer.status,
            "meta": {"provider": True},
            "output": said,
        }
    ).encode()


async def _send_whole(send: Any, status: int, headers: Headers, body: bytes) -> None:
    kept = [(name, value) for name, value in headers if name not in {b"content-type", b"content-encoding", b"etag"}]
    kept += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": body, "more_body": False})
