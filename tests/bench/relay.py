"""A door to the sandbox's Graph that both sides go through: `python -m tests.bench.relay PORT GRAPH_PORT`.

rclone has Microsoft's host names built in and comes to the sandbox through a proxy. So that nobody has the shorter way,
ours comes through here too: who begins with `CONNECT` is answered as by a proxy, anybody else is led on at once.
"""

import asyncio
import sys
from typing import cast

import uvloop

_HEAD_END = b"\r\n\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _End(asyncio.Protocol):
    """One end of a connection: what comes in goes out at the other end."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.other and self.other.transport:
            self.other.transport.close()


class _Door(_End):
    """The end at which a client came in; it is led on once it has said whether it wants a proxy."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._head = b""
        self._leading: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        wants_proxy = self._head.startswith(b"CONNECT ")
        if self._leading is None and (not wants_proxy or self._head.endswith(_HEAD_END)):
            self._leading = asyncio.get_running_loop().create_task(self._lead(wants_proxy))

    async def _lead(self, wants_proxy: bool) -> None:
        assert self.transport
        _, inner = await asyncio.get_running_loop().create_connection(_End, "127.0.0.1", self._port)
        inner.other, self.other = self, inner
        if wants_proxy:
            self.transport.write(_ESTABLISHED)
        elif inner.transport:
            inner.transport.write(self._head)


async def main(port: int, graph_port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Door(graph_port), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
