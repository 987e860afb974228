"""Our end of a caller's connection: what is written in one turn of the loop leaves in one packet.

Uvicorn writes an answer's head, each part of its body, and its end on their own, and the event loop sends each at once.
For a small answer that is three system calls, each of which wakes the caller, where one would do; it made up a fifth of
a proxied request's cost.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 64 << 10
"""From so many bytes on a request's head is not read to its end; the gate's own limit is lower, and says more."""

HEAD_WITHIN_SECONDS = 30
"""How long a caller may take for a request's head."""

_ENOUGH = 64 << 10
"""From so many bytes on, waiting for more saves nothing."""


class GatheredTransport:
    """A transport whose small writes wait for the end of the loop's turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:  # Any: whatever the transport has under that name
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` before the loop's next turn, or now if much is waiting."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Send what is waiting."""
        if self._waiting:
            waiting, self._waiting, self._size = self._waiting, [], 0
            self._transport.writelines(waiting)

    def close(self) -> None:
        """Send what is waiting, then close."""
        self.flush()
        self._transport.close()


class Wire(HttpToolsProtocol):
    """Uvicorn's HTTP protocol on such a transport, which waits for no request's head for ever, or to any length.

    Uvicorn itself collects a head until it ends: a header that never does would take all memory, and callers who send
    nothing would take every place (RFC 9112 §2.2 and RFC 6585 §5 leave the limits to the server).
    """

    _in_head = False
    _head_size = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn narrows it
        """Begin to serve a caller."""
        super().connection_made(GatheredTransport(transport, self.loop))  # type: ignore[arg-type]  # as good as one
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what the caller sent."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_size += len(data)
        if self._head_size > LONGEST_HEAD:
            self._refuse()
        elif self._deadline is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self._in_head, self._head_size = True, 0

    def on_headers_complete(self) -> None:
        """Answer a request whose head is here."""
        self._in_head = False
        self._expect_nothing()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a caller who is gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_WITHIN_SECONDS, self._refuse)

    def _expect_nothing(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or not self._in_head:  # nothing may stand in the middle of an answer, or where none is awaited
            self.transport.close()
        else:
            self.send_400_response("The head of the request is too long, or too long in coming.")
        self._in_head = False
