"""Our end of a caller's connection: HTTP/1.1 as a server, one exchange at a time, handed to the application as ASGI.

It stands in the place of Uvicorn's protocol, whose parser (httptools), server and settings it uses. Of what Uvicorn
does for a small answer it keeps half: an answer's headers are looked at once instead of four times, its head leaves
with the first piece of its body, and a connection has one timer instead of one for each request. And it waits
for no request's head for ever, or to any length, as Uvicorn would (RFC 9112 §2.2 and RFC 6585 §5 leave that to us).
"""

import asyncio
import logging
import math
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl, service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from landbridge.errors import InvalidRequest
from landbridge.turn import turn_of
from landbridge.web.answers import Headers, error_answer
from landbridge.web.heads import HEAD, Head

log = logging.getLogger(__name__)

LONGEST_HEAD = 64 << 10
"""From so many bytes on a request's head is not read to its end; the gate's own limit is lower, and says more.

What comes between pieces of a body and behind it (extensions of chunks, trailers) is held to the same.
"""

HEAD_WITHIN_SECONDS = 30
"""How long a caller may take for a request's head."""

_ENOUGH = 64 << 10
"""From so many bytes on, copying a piece costs more than another system call."""

_CONTROLS = bytes([*range(9), *range(10, 32), 127])


class Wire(asyncio.Protocol):
    """A caller's connection. Requests that come before their turn (pipelining) wait for it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # Any: as Uvicorn calls it; our application keeps nothing there
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.state = server_state
        self._application = config.loaded_app
        self._most = config.limit_concurrency or math.inf
        self._idle_seconds = config.timeout_keep_alive
        self._parser = httptools.HttpRequestParser(self)
        # Else what comes behind a request that ends the connection would end it before the answer.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._exchange: Exchange | None = None  # the one whose request came last
        self._waiting: deque[Exchange] = deque()
        self._is_in_head = False
        self._is_whole = True
        self._unread: int | None = 0  # bytes since a head began or a piece of a body came; None where one just did
        self._fields: Headers = []
        self._head = Head([])  # of the request that came last: most callers send the same headers again and again
        self._turn = turn_of(self.loop)
        self._ready = b""
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve a caller."""
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport)
        self._facts = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "http",
            "root_path": "",
        }
        self.state.connections.add(self)  # type: ignore[arg-type]  # Uvicorn only calls our `shutdown`
        self._expect_within(HEAD_WITHIN_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take what the caller sent."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # which we never do; what follows may be in another protocol
            if self._exchange:
                self._exchange.keeps_alive = False
        except httptools.HttpParserError:
            self._refuse("This is no HTTP request.")
            return
        if self._is_whole:
            return
        if self._unread is None:  # what else is in `data` came before it
            self._unread = 0
            if self._is_in_head:
                self._expect_within(HEAD_WITHIN_SECONDS)
            return
        self._unread += len(data)
        if self._unread > LONGEST_HEAD:
            self._refuse("The head of the request is too long, or what comes with its body.")

    def pause_writing(self) -> None:
        """Wait before sending more."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """Send on."""
        self.flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who answers a caller that the caller is gone."""
        self.state.connections.discard(self)
        self._ready = b""
        self._deadline = None
        if self._timer:
            self._timer.cancel()
        for exchange in (self._exchange, *self._waiting):
            if exchange:
                exchange.lose_caller()
        self.flow.resume_writing()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self._url = b""
        self._fields.clear()  # of what came behind a body, which is no header of anything
        self._expects_continue = False
        self._is_in_head, self._is_whole, self._unread = True, False, None

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        name = name.lower()
        if name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Answer the request whose head is here, or let it wait for its turn."""
        self._is_in_head = False
        self._deadline = None
        fields, self._fields = self._fields, []
        if fields != self._head.fields:
            self._head = Head(fields)
        raw_path, query = _split(self._url)
        path = raw_path.decode("ascii")
        version = self._parser.get_http_version()
        scope = {
            **self._facts,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._head.fields,
            HEAD: self._head,
        }
        before = self._exchange
        self._exchange = Exchange(
            self,
            scope,
            keeps_alive=version != "1.0" and self._parser.should_keep_alive(),
            expects_continue=self._expects_continue,
        )
        if before is None or before.is_over:
            self._begin(self._exchange)
        else:
            self.flow.pause_reading()
            self._waiting.append(self._exchange)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body."""
        assert self._exchange
        self._unread = None
        self._exchange.take(body)

    def on_message_complete(self) -> None:
        """Tell who reads a body that it has ended."""
        assert self._exchange
        self._is_whole = True
        self._exchange.take_end()

    # What an exchange and the server call.

    def next(self) -> None:
        """Go on to the next request, now that one is answered."""
        self.state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._waiting:
            self._begin(self._waiting.popleft())
        elif not self._is_in_head:
            self._expect_within(self._idle_seconds)

    def write(self, data: bytes) -> None:
        """Send something now."""
        self._flush()
        self.transport.write(data)

    def write_soon(self, data: bytes) -> None:
        """Send something with what other connections send in this turn of the event loop."""
        if not self._ready:
            self._turn.at_end(self._flush)
        self._ready += data

    def close(self) -> None:
        """Hang up, once all is sent."""
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        if self._ready:
            ready, self._ready = self._ready, b""
            self.transport.write(ready)

    def shutdown(self) -> None:
        """Close after the answers under way."""
        if self._exchange is None or self._exchange.is_over:
            self.close()
        else:
            self._exchange.keeps_alive = False

    def _begin(self, exchange: "Exchange") -> None:
        is_full = max(len(self.state.connections), len(self.state.tasks)) >= self._most
        application = service_unavailable if is_full else self._application
        exchange.task = self.loop.create_task(exchange.run(application))
        self.state.tasks.add(exchange.task)

    def _refuse(self, why: str) -> None:
        """Say what is wrong with a request if its turn to be answered has come, and close."""
        if self._exchange is None or (self._exchange.awaits_refusal and not self._waiting):
            _, headers, body = error_answer(InvalidRequest(why))
            headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            self.write(_head(400, headers) + body)
        self._is_in_head = False
        if self._exchange:
            self._exchange.lose_caller()
        self.close()

    # The one timer, which is not set anew for each request: when it rings it looks whether it is time.

    def _expect_within(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer(self._deadline)

    def _set_timer(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._deadline > self.loop.time():
            self._set_timer(self._deadline)
        elif self._is_in_head:
            self._refuse("The head of the request is too long in coming.")
        else:
            self.close()


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request's address, which the parser has found good."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path or b"/", parsed.query or b""


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
        self._left = 0
        self._unsent = b""

    @property
    def awaits_refusal(self) -> bool:
        """Whether what is wrong with what came last may be said now: in the place of this answer, or behind it."""
        return self.is_over or (self._more and not self._has_begun)

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

    async def receive(self) -> dict[str, Any]:  # Any: an ASGI message
        """Return what came of the body, or that the caller is gone or answered."""
        if self._expects_continue and not self._has_begun and not self._wire.transport.is_closing():
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        if not self._has_news and not self._is_gone and not self.is_over:
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
            self._is_chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        if b"connection" in told:  # nobody says anything there but that it closes
            self.keeps_alive = False
        elif not self.keeps_alive:
            headers.append((b"connection", b"close"))
        self._unsent = _head(status, headers)

    def _send_body(self, body: bytes, more: bool) -> None:
        if self.is_over or not self._has_begun:
            raise RuntimeError("A body has its place between an answer's head and its end.")
        if self._scope["method"] == "HEAD":
            self._left, body = 0, b""
        elif self._is_chunked:
            body = _chunk(body, more)
        else:
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


def _head(status: int, headers: Headers) -> bytes:
    lines = b"\r\n".join(map(b": ".join, headers))
    if len(lines) - len(lines.translate(None, _CONTROLS)) != 2 * len(headers) - 2:  # the lines' ends, and no others
        raise RuntimeError("A header holds what no header may hold.")
    return b"%b%b\r\n\r\n" % (STATUS_LINE[status], lines)


def _chunk(body: bytes, more: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk if more else chunk + b"0\r\n\r\n"
