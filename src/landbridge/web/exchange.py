"""A request on a caller's connection and its answer, as ASGI sees them."""

import asyncio
import logging
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from landbridge.web.answers import Headers

log = logging.getLogger(__name__)

_ENOUGH = 64 << 10
"""From so many bytes on, copying a piece costs more than another system call."""

_CONTROLS = bytes([*range(9), *range(10, 32), 127])


class Wire(Protocol):
    """The connection that an exchange is on."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def state(self) -> ServerState:
        """Who is connected, and what is under way."""

    def next(self) -> None:
        """Go on to the next request, now that one is answered."""

    def await_body(self) -> None:
        """Have the caller send on, and soon."""

    def await_nothing(self) -> None:
        """Let the caller be silent: it is not their turn."""

    def write(self, data: bytes) -> None:
        """Send something now."""

    def write_soon(self, data: bytes) -> None:
        """Send something with what other connections send in this turn of the event loop."""

    def close(self) -> None:
        """Hang up, once all is sent."""


class Exchange:
    """One request and its answer, as ASGI sees them."""

    __slots__ = (
        "_expects_continue",
        "_has_begun",
        "_has_news",
        "_is_chunked",
        "_is_gone",
        "_left",
        "_more",
        "_news",
        "_pieces",
        "_scope",
        "_unsent",
        "_waiting_size",
        "_wire",
        "is_over",
        "keeps_alive",
        "task",
    )
    task: asyncio.Task[None]

    def __init__(
        self,
        wire: Wire,
        scope: dict[str, Any],  # Any: ASGI's dicts are open
        *,
        keeps_alive: bool,
        expects_continue: bool,
    ) -> None:
        self._wire = wire
        self._scope = scope
        self.keeps_alive = keeps_alive
        self.is_over = False
        self._expects_continue = expects_continue
        self._is_gone = False
        self._pieces: list[bytes] = []
        self._waiting_size = 0
        self._more = True
        self._has_news = False
        self._news: asyncio.Event | None = None  # made when somebody waits, as for few requests somebody does
        self._has_begun = False
        self._is_chunked = False
        self._left: int | None = 0  # None where no length was told
        self._unsent = b""

    @property
    def awaits_refusal(self) -> bool:
        """Whether what is wrong with what came last may be said now: in the place of this answer, or behind it."""
        return self.is_over or (self._more and not self._has_begun)

    @property
    def lacks_body(self) -> bool:
        """Whether the request has not come to its end, and is not answered either."""
        return self._more and not self.is_over

    async def run(self, application: Any) -> None:  # Any: an ASGI application
        """Let the application answer. What it leaves unfinished ends with the connection, to be taken for no whole."""
        try:
            await application(self._scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            self._wire.state.tasks.discard(self.task)
            if not self.is_over:
                self._wire.close()

    # What comes of the request.

    def take(self, piece: bytes) -> None:
        """Keep a piece of the body; a caller who is faster than the application is slowed down."""
        if self.is_over:
            return
        self._pieces.append(piece)
        self._waiting_size += len(piece)
        if self._waiting_size > HIGH_WATER_LIMIT:
            self._wire.flow.pause_reading()
        self._tell()

    def take_end(self) -> None:
        """Note that the body has ended."""
        self._more = False
        self._tell()

    def lose_caller(self) -> None:
        """Note that the caller hung up."""
        self._is_gone = not self.is_over
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        if self._news:
            self._news.set()
            if not self.is_over:
                self._wire.await_nothing()

    async def receive(self) -> dict[str, Any]:  # Any: an ASGI message
        """Return what came of the body, or that the caller is gone or answered."""
        if self._expects_continue and not self._has_begun and not self._wire.transport.is_closing():
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        if not self._has_news and not self._is_gone and not self.is_over:
            if self._more:
                self._wire.await_body()
            else:
                self._wire.flow.resume_reading()
            self._news = self._news or asyncio.Event()
            await self._news.wait()
            self._news.clear()
        if self._is_gone or self.is_over:
            return {"type": "http.disconnect"}
        pieces, self._pieces, self._waiting_size, self._has_news = self._pieces, [], 0, False
        return {"type": "http.request", "body": b"".join(pieces), "more_body": self._more}

    # The answer.

    async def send(self, message: Any) -> None:  # Any: an ASGI message
        """Take the answer's head, or send a part of its body, the first one with the head.

        To a caller who is gone nothing is sent, and nobody told.
        """
        if self._wire.flow.write_paused and not self._is_gone:
            await self._wire.flow.drain()
        if self._is_gone:
            return
        if message["type"] == "http.response.start":
            self._send_head(message["status"], message.get("headers", ()))
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    def _send_head(self, status: int, given: Any) -> None:  # Any: an iterable of pairs of bytes
        if self._has_begun:
            raise RuntimeError("The answer has begun already.")
        self._has_begun = True
        headers = [*self._wire.state.default_headers, *given]
        told = dict(headers)
        if b"content-length" in told:
            self._left = int(told[b"content-length"])
        elif self._scope["method"] != "HEAD" and status not in {204, 304}:
            self._left = None
            if self._scope["http_version"] != "1.0":  # else it ends with the connection (RFC 9112 §6.1)
                self._is_chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
        if b"connection" in told:  # nobody says anything there but that it closes
            self.keeps_alive = False
        elif not self.keeps_alive:
            headers.append((b"connection", b"close"))
        self._unsent = head_of(status, headers)

    def _send_body(self, body: bytes, more: bool) -> None:
        if self.is_over or not self._has_begun:
            raise RuntimeError("A body has its place between an answer's head and its end.")
        if self._scope["method"] == "HEAD":
            self._left, body = 0, b""
        elif self._is_chunked:
            body = _chunk(body, more)
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("The answer's body is longer than was told.")
        self._write(body)
        if not more:
            self._end()

    def _write(self, piece: bytes) -> None:
        """Send the head with the first piece of the body: a write wakes the caller, which costs more than writing."""
        head, self._unsent = self._unsent, b""
        if head and len(piece) < _ENOUGH:
            self._wire.write_soon(head + piece)
        else:
            for part in filter(None, (head, piece)):
                self._wire.write(part)

    def _end(self) -> None:
        if self._left:
            raise RuntimeError("The answer's body is shorter than was told.")
        self.is_over = True
        self._tell()
        if not self.keeps_alive:
            self._wire.close()
        self._wire.next()


def head_of(status: int, headers: Headers) -> bytes:
    """Return the head of an answer as it is sent."""
    lines = b"\r\n".join(map(b": ".join, headers))
    if len(lines) - len(lines.translate(None, _CONTROLS)) != 2 * len(headers) - 2:  # the lines' ends, and no others
        raise RuntimeError("A header holds what no header may hold.")
    return b"%b%b\r\n\r\n" % (STATUS_LINE[status], lines)


def _chunk(body: bytes, more: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk if more else chunk + b"0\r\n\r\n"
