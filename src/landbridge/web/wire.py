"""Our end of a caller's connection: HTTP/1.1 as a server, one exchange at a time, handed to the application as ASGI.

It stands in the place of Uvicorn's protocol, whose parser (httptools), server and settings it uses. Of what Uvicorn
does for a small answer it keeps half: an answer's headers are looked at once instead of four times, its head leaves
with the first piece of its body, and a connection has one timer instead of one for each request. And it waits for no
caller for ever, nor takes heads of any length, as Uvicorn would (RFC 9112 §2.2 and RFC 6585 §5 leave that to us).
"""

import asyncio
import logging
import math
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl, service_unavailable
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from landbridge.errors import InvalidRequest
from landbridge.turn import turn_of
from landbridge.web.answers import Headers, error_answer
from landbridge.web.exchange import Exchange, head_of
from landbridge.web.heads import HEAD, Head

log = logging.getLogger(__name__)

LONGEST_HEAD = 64 << 10
"""From so many bytes on a request's head is not read to its end; the gate's own limit is lower, and says more.

What comes between pieces of a body and behind it (extensions of chunks, trailers) is held to the same.
"""

HEAD_WITHIN_SECONDS = 30
"""How long a caller may take for a request's head."""

SILENT_SECONDS = 60
"""How long a caller may send nothing of a body that somebody waits for, and take nothing of an answer."""


_TOLD_EVERY_SECONDS = 60


class Callers(ServerState):
    """Who is connected to a server."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at = -math.inf

    def tell_full(self, most: float, now: float) -> None:
        """Say now and then, for the operator, that callers are refused for want of room."""
        if now >= self._told_at + _TOLD_EVERY_SECONDS:
            self._told_at = now
            log.warning("There is no room for more than %d callers.", most)


class Wire(asyncio.Protocol):
    """A caller's connection. Requests that come before their turn (pipelining) wait for it."""

    def __init__(
        self,
        config: Config,
        server_state: Callers,
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
        self._deadline: float | None = None  # until when the caller may be silent
        self._take_by: float | None = None  # and until when take nothing
        self._untaken = 0
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
        if len(self.state.connections) > self._most:  # those with a request are told so in more words
            self.state.tell_full(self._most, self.loop.time())
            self.write(head_of(503, [(b"content-length", b"0"), (b"connection", b"close")]))
            self.close()

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
        self._await_taking()

    def resume_writing(self) -> None:
        """Send on."""
        self._take_by = None
        self.flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who answers a caller that the caller is gone."""
        self.state.connections.discard(self)
        self._ready = b""
        self._deadline = self._take_by = None
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

    def await_body(self) -> None:
        """Have the caller send on, and soon."""
        self.flow.resume_reading()
        self._expect_within(SILENT_SECONDS)

    def await_nothing(self) -> None:
        """Let the caller be silent: it is not their turn."""
        self._deadline = None

    def write(self, data: bytes) -> None:
        """Send something now. Whoever is given something may go on being silent meanwhile."""
        self._flush()
        self.transport.write(data)
        if self._deadline is not None:
            self._deadline = self.loop.time() + SILENT_SECONDS

    def write_soon(self, data: bytes) -> None:
        """Send something with what other connections send in this turn of the event loop."""
        if not self._ready:
            self._turn.at_end(self._flush)
        self._ready += data

    def close(self) -> None:
        """Hang up, once all is sent."""
        self._flush()
        self.transport.close()
        self._await_taking()

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

    def _begin(self, exchange: Exchange) -> None:
        is_full = max(len(self.state.connections), len(self.state.tasks)) >= self._most
        if is_full:
            self.state.tell_full(self._most, self.loop.time())
        application = service_unavailable if is_full else self._application
        exchange.task = self.loop.create_task(exchange.run(application))
        self.state.tasks.add(exchange.task)

    def _refuse(self, why: str) -> None:
        """Say what is wrong with a request if its turn to be answered has come, and close."""
        if self._exchange is None or (self._exchange.awaits_refusal and not self._waiting):
            _, headers, body = error_answer(InvalidRequest(why))
            headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            self.write(head_of(400, headers) + body)
        self._is_in_head = False
        if self._exchange:
            self._exchange.lose_caller()
        self.close()

    # The one timer, which is not set anew for each request: when it rings it looks whether it is time.

    def _expect_within(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer(self._deadline)

    def _await_taking(self) -> None:
        self._untaken = self.transport.get_write_buffer_size()
        if self._untaken:
            self._take_by = self.loop.time() + SILENT_SECONDS
            if self._timer is None or self._timer.when() > self._take_by:
                self._set_timer(self._take_by)

    def _set_timer(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        if self._take_by is not None and self._take_by <= now:
            if self._untaken <= self.transport.get_write_buffer_size():
                self.transport.abort()
                return
            self._await_taking()
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            self._end_silence()
        ends = [when for when in (self._deadline, self._take_by) if when is not None]
        if ends:
            self._set_timer(min(ends))

    def _end_silence(self) -> None:
        if self._is_in_head or (self._exchange and self._exchange.lacks_body):
            self._refuse("The rest of the request is too long in coming.")
        else:
            self.close()


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request's address, which the parser has found good."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path or b"/", parsed.query or b""
