"""Our end of a caller's connection: what is written in one turn of the loop leaves in one packet.

Uvicorn writes an answer's head, each part of its body, and its end on their own, and the event loop sends each at once.
For a small answer that is three system calls, each of which wakes the caller, where one would do; it made up a fifth of
a proxied request's cost.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
    """Uvicorn's HTTP protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn narrows it
        """Begin to serve a caller."""
        super().connection_made(GatheredTransport(transport, self.loop))  # type: ignore[arg-type]  # as good as one
