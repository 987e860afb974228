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

from landbridge.connections.tokens import Opened
from landbridge.errors import InvalidRequest, LandbridgeError
from landbridge.outbound import Stream
from landbridge.proxy import Body, Outgoing
from landbridge.web.answers import Headers
from landbridge.web.heads import HOP_BY_HOP, Head, Opening, nominated
from landbridge.web.rooms import Rooms

ROUTE = re.compile(rb"^/projects/([^/]{1,64})/sdk/proxy/([^/?]{1,64})(?:/(.*))?$", re.DOTALL)

_SENT_AGAIN_IF_NEEDED = 64 << 10
"""Bodies up to this many bytes are held, so that a request can be repeated with a renewed token."""

_OPENING, _CLOSING = b'{"output":', b"}"
_LONGEST_ERROR = 256 << 10
_SHORT = 256 << 10
_NOT_RETURNED = HOP_BY_HOP | {
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
        self._counted = rooms.metrics.proxied

    async def __call__(
        self,
        scope: Any,  # Any: ASGI's own types are open dicts
        route: re.Match[bytes],
        head: Head,
        receive: Any,
        send: Any,
    ) -> None:
        """Answer one request, whose path `ROUTE` matched; raise what the gate answers."""
        began = time.perf_counter()
        self._counted.in_flight += 1
        status = 500
        try:
            status = await self._answer(scope, route, head, receive, send)
        except CallerGone:
            status = 499
        except LandbridgeError as error:
            status = error.status
            raise
        finally:
            self._counted.in_flight -= 1
            self._counted.note(status, time.perf_counter() - began)

    async def _answer(self, scope: Any, route: re.Match[bytes], head: Head, receive: Any, send: Any) -> int:
        project_id, integration, path = _place(route, scope["query_string"])
        opened = await self._opened(project_id, integration, head)
        path = head.text(b"x-paragon-proxy-url") or path
        is_raw = head.wants_raw
        if head.has_body:
            body = await _body(head.named, receive)
            outgoing = Outgoing(scope["method"], path, head.forwarded(with_body=bool(body)), body)
        else:
            outgoing = Outgoing(scope["method"], path, head.without_body, None, head.lines_without_body)
        answer = await self._rooms.proxy.send_for(opened, outgoing)
        try:
            if scope["method"] == "HEAD" or _is_short(answer.named):
                return await _return(answer, send, is_plain=is_raw or scope["method"] == "HEAD")
            async with _while_caller_listens(receive):
                return await _return(answer, send, is_plain=is_raw)
        finally:
            answer.close()

    async def _opened(self, project_id: str, integration: str, head: Head) -> Opened:
        """Return the caller's connection: for half a minute the same as before, unless anything was changed."""
        rooms, opening = self._rooms, head.opening
        place, news, now = (project_id, integration), rooms.database.news, rooms.clock.now()
        if opening and opening.place == place and opening.holds(news, now):
            rooms.tokens.use_again(opening.opened)
            return opening.opened
        caller = await rooms.access.user(project_id, head.token, head.token_digest)
        opened = await rooms.tokens.open(caller, integration, head.text(b"x-paragon-credential"))
        head.opening = Opening(place, opened, min(caller.expires_at, opened.refresh_at), news)
        return opened


def _place(route: re.Match[bytes], query: bytes) -> tuple[str, str, str]:
    """Return the project and the integration that are called, and the path there with its query."""
    project_id, integration, path = route.groups(b"")
    try:
        whole = f"{path.decode('ascii')}?{query.decode('ascii')}" if query else path.decode("ascii")
        return project_id.decode("ascii"), integration.decode("ascii"), whole
    except UnicodeDecodeError:
        raise InvalidRequest("The path holds characters that must be percent-encoded.") from None


async def _body(named: dict[bytes, bytes], receive: Any) -> Body:
    """Return the request's body: bytes if it is small, else a stream."""
    length = named.get(b"content-length")
    stream = _incoming(receive)
    if length is not None and length.isdigit() and int(length) <= _SENT_AGAIN_IF_NEEDED:
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


def _is_short(told: dict[bytes, bytes]) -> bool:
    length = told.get(b"content-length", b"")
    return length.isdigit() and int(length) <= _SHORT


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


async def _return(answer: Stream, send: Any, *, is_plain: bool) -> int:
    """Send the provider's answer on, in an envelope unless it is to stay plain, and return its status."""
    told = answer.named
    headers, length = _returned(answer.fields, told), told.get(b"content-length")
    if is_plain or (answer.status < 400 and not _is_whole_json(answer.status, told)):
        if length is not None and answer.status not in {204, 304}:  # there it says how long a body would have been
            headers.append((b"content-length", length))
        await _stream(answer, send, headers)
    elif answer.status < 400:
        if length is not None and length.isdigit():
            grown = 0 if length == b"0" else len(_OPENING + _CLOSING)
            headers.append((b"content-length", b"%d" % (int(length) + grown)))
        await _stream(answer, send, headers, _OPENING, _CLOSING)
    else:
        await _send_whole(send, answer.status, headers, await _provider_error(answer))
    return answer.status


def _is_whole_json(status: int, told: dict[bytes, bytes]) -> bool:
    """Return whether the body is JSON that stays JSON when something is put around it: not a part, not compressed."""
    is_plain = told.get(b"content-encoding", b"identity").lower() == b"identity"
    return _is_json(told.get(b"content-type", b"")) and is_plain and status not in {204, 206, 304}


@lru_cache(maxsize=100)
def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


def _returned(fields: Headers, told: dict[bytes, bytes]) -> Headers:
    not_ours = nominated(fields) if b"connection" in told else frozenset()
    headers = [(name, value) for name, value in fields if _is_returned(name) and name not in not_ours]
    headers.append((b"x-content-type-options", b"nosniff"))
    return headers


@lru_cache(maxsize=1000)
def _is_returned(name: bytes) -> bool:
    """Return whether the caller gets the provider's header of that name."""
    return name not in _NOT_RETURNED and not name.startswith(b"access-control-")


async def _stream(answer: Stream, send: Any, headers: Headers, opening: bytes = b"", closing: bytes = b"") -> None:
    """Send the body on as it comes, between an opening and a closing; an empty one stays empty."""
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    rest = answer.rest()
    if rest is not None:  # as most are: the whole answer is one write
        await send({"type": "http.response.body", "body": opening + rest + closing if rest else b""})
        return
    await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head goes now, whenever the body
    async for chunk in answer.chunks():
        await send({"type": "http.response.body", "body": opening + chunk, "more_body": True})
        opening = b""
    await send({"type": "http.response.body", "body": b"" if opening else closing, "more_body": False})


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
