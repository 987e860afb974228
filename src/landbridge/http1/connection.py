"""One connection: an exchange at a time, whose answer is handed on as it comes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Protocol, cast

import httptools
from multidict import CIMultiDict, CIMultiDictProxy

from landbridge.http1.requests import Body, Host
from landbridge.turn import Turn

LONGEST_HEAD = 64 << 10
"""How long an answer's head may be, with the preliminary ones before it; or what comes between and behind a body."""

_READ_AHEAD = 512 << 10
_LARGE = 64 << 10


class Malformed(ConnectionError):
    """What came is not HTTP."""


class BrokenOff(ConnectionError):
    """The other side hung up before the end."""


Fields = list[tuple[bytes, bytes]]
"""Headers as they came, but for their names, which are in lower case."""


class Pool(Protocol):
    """Where connections are kept."""

    loop: asyncio.AbstractEventLoop
    turn: Turn

    def take_back(self, connection: "Connection") -> None:
        """Keep a connection for the next exchange, unless this one was not ended properly."""

    def forget(self, connection: "Connection") -> None:
        """Note that a connection is lost."""


class Incoming:
    """An answer: its head, and its body as it comes. Close it, or its connection is not used again."""

    __slots__ = ("_connection", "_headers", "_is_closed", "fields", "named", "status")

    def __init__(self, status: int, fields: Fields, named: dict[bytes, bytes], connection: "Connection") -> None:
        self.status = status
        self.fields = fields
        self.named = named
        self._headers: CIMultiDictProxy[str] | None = None
        self._connection = connection
        self._is_closed = False

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers as text, by name; made when first asked for, since that costs more than all the rest here."""
        if self._headers is None:
            text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.fields]
            self._headers = CIMultiDictProxy(CIMultiDict(text))
        return self._headers

    def rest(self) -> bytes | None:
        """Return what is left of the body if it is little and all here already, else None."""
        return self._connection.rest()

    async def next_chunk(self) -> bytes:
        """Return what came of the body since the last time, or b"" at its end; reading slowly slows the sender down."""
        return await self._connection.next_chunk()

    def close(self) -> None:
        """Give the connection back if all was said on both sides, else close it."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.pool.take_back(self._connection)


class Connection(asyncio.Protocol):
    """One connection, and the exchange that is under way on it."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self.pool = pool
        self.host = host
        self._loop = pool.loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._error: BaseException | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_paused = False
        self._is_usable = True
        self._was_used = False
        self._sending: asyncio.Task[None] | None = None
        self._request = b""
        self.was_stale = False
        self._fields: Fields = []
        self._begin("GET")
        self._has_end = True

    def _begin(self, method: str) -> None:
        self._method = method
        self._head: asyncio.Future[Incoming] | None = None
        self._more: asyncio.Future[None] | None = None
        self._fields.clear()  # of what came behind a body, which is no header of anything
        self._chunks: list[bytes] = []
        self._unread = 0  # bytes that came since the request or a piece of a body
        self._waiting_size = 0
        self._come = 0
        self._length: int | None = None
        self._missing: int | None = None  # of a body that needs no parser, since its length was told
        self._ends_by_closing = False
        self._has_head = False
        self._has_end = False
        self.quiet_since = self._loop.time()

    # What the pool asks.

    @property
    def is_idle(self) -> bool:
        """Whether a new exchange may begin: all was said on both sides, and the other side means to go on."""
        is_done = self._has_end and self._sending is None and not self._is_paused
        return is_done and self._is_usable and self._error is None

    @property
    def waits(self) -> bool:
        """Whether it is the other side's turn."""
        return not self._has_end and not self._is_paused

    def touch(self) -> None:
        """Count silence from now on."""
        self.quiet_since = self._loop.time()

    def abort(self, error: BaseException) -> None:
        """Close at once; whoever waits gets the error."""
        self._fail(error)
        if self._transport is not None:
            self._transport.abort()

    # The exchange.

    async def exchange(self, method: str, head: bytes, body: Body, *, is_chunked: bool) -> Incoming:
        """Send a request, and return the answer once its head is here. Closes if that is not to be."""
        assert self._transport, "the pool gives out open connections"
        was_used, self._was_used = self._was_used, True
        self._begin(method)
        self._head = self._loop.create_future()
        if body is None or isinstance(body, bytes):
            self._request = head + body if body else head
            self.pool.turn.at_end(self._write)
        else:
            self._transport.write(head)
            self._sending = self._loop.create_task(self._send(body, is_chunked))
        try:
            return await self._head
        except BaseException as error:
            self.was_stale = isinstance(error, BrokenOff) and was_used and not self._unread
            self.abort(BrokenOff("The exchange was given up."))
            raise

    def _write(self) -> None:
        """Write the request, unless the connection was lost meanwhile: whoever waits knows already."""
        if self._transport is not None:
            self._transport.write(self._request)

    async def _send(self, body: AsyncIterator[bytes], is_chunked: bool) -> None:
        """Send a body as it comes; its reader's failures become the exchange's."""
        assert self._transport
        try:
            async for chunk in body:
                if is_chunked:
                    self._transport.writelines([b"%x\r\n" % len(chunk), chunk, b"\r\n"])
                else:
                    self._transport.write(chunk)
                self.touch()
                if not self._may_write.is_set():
                    await self._may_write.wait()
                if self._error is not None:
                    return
            if is_chunked:
                self._transport.write(b"0\r\n\r\n")
            self._sending = None
        except Exception as error:
            self.abort(error)

    async def next_chunk(self) -> bytes:
        """Return what came of the body since the last time, or b"" at its end."""
        while True:
            if self._chunks:
                return self._taken()
            if self._has_end:
                return b""
            if self._error is not None:
                raise self._error
            self._more = self._loop.create_future()
            await self._more

    def rest(self) -> bytes | None:
        """Return what is left of the body if it is little and all here already."""
        if not self._has_end or self._waiting_size >= _LARGE:
            return None
        return self._taken() if self._chunks else b""

    def _taken(self) -> bytes:
        """Take large pieces one by one, since joining copies them, and small ones together."""
        if self._waiting_size < _LARGE:
            chunks, self._chunks = self._chunks, []
            taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        else:
            taken = self._chunks.pop(0)
        self._waiting_size -= len(taken)
        if self._is_paused and self._waiting_size < _READ_AHEAD // 2 and self._transport:
            self._is_paused = False
            self.touch()
            self._transport.resume_reading()
        return taken

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self.quiet_since = self._loop.time()
        if self._missing is not None:
            self._take_plain(data)
            return
        if self._has_end:
            self.abort(Malformed("An answer came that nobody asked for."))
            return
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort(Malformed("What came is not HTTP."))
            return
        if self._unread > LONGEST_HEAD:
            self.abort(Malformed(f"More than {LONGEST_HEAD} bytes came that are no body."))
        elif self._has_head and not self._has_end and self._length is not None:
            self._missing = self._length - self._come  # from here on the parser would only copy

    def _take_plain(self, data: bytes) -> None:
        assert self._missing is not None
        self._missing -= len(data)
        if self._missing < 0:
            self.abort(Malformed("More came than was told."))
            return
        self._add(data)
        if self._missing == 0:
            self._missing = None
            self._parser = httptools.HttpResponseParser(self)
            self._end()

    def pause_writing(self) -> None:
        """Wait before sending more."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Send on."""
        self.touch()
        self._may_write.set()

    def eof_received(self) -> bool:
        """Close when the other side does."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End; some bodies do so properly."""
        self._transport = None
        if self._has_head and self._ends_by_closing and exc is None and self._error is None:
            self._is_usable = False
            self._end()
        self._fail(exc if isinstance(exc, ssl.SSLError) else BrokenOff("The other side hung up."))
        self.pool.forget(self)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        if self._sending is not None and self._sending is not _current_task():
            self._sending.cancel()
        self._may_write.set()
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, None
        if more is not None and not more.done():
            more.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Refuse an answer that nobody asked for: it must never answer the next request."""
        if self._has_end:
            raise Malformed("An answer came that nobody asked for.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand on the head, unless it only says that another is to come."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._fields.clear()
            return
        fields, self._fields = self._fields, []
        named = dict(reversed(fields))
        has_coding, length = b"transfer-encoding" in named, named.get(b"content-length", b"")
        self._has_head = True
        self._is_usable = self._parser.should_keep_alive()
        self._length = int(length) if length.isdigit() and not has_coding else None
        self._ends_by_closing = self._length is None and not has_coding
        if self._method == "HEAD":
            self._parser = httptools.HttpResponseParser(self)  # the old one would wait for a body
            self._end()
        if self._head is not None and not self._head.done():
            self._head.set_result(Incoming(status, fields, named, self))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._unread = 0
        self._come += len(body)
        self._add(body)

    def _add(self, piece: bytes) -> None:
        self._chunks.append(piece)
        self._waiting_size += len(piece)
        if self._waiting_size > _READ_AHEAD and not self._is_paused and self._transport:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """End, unless only a preliminary answer has."""
        if self._has_head and not self._has_end:
            self._end()

    def _end(self) -> None:
        self._has_end = True
        self._wake()


def _current_task() -> asyncio.Task[object] | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.current_task()
    return None
