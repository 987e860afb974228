"""A provider that answers as a test says, down to the bytes: for what no well-behaved server can be made to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Script = Callable[["Asked"], Awaitable[None]]


@dataclass
class Asked:
    """A request that came in, and the way to answer it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""
    is_whole: bool = False
    is_closed: bool = False
    sent: int = 0
    taken: int = 0

    def header(self, name: str) -> str | None:
        """Return the first header of a name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    async def read(self) -> None:
        """Read the body to its end; `is_whole` says whether the end came."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if length := self.header("Content-Length"):
                while self.taken < int(length):
                    self._take(await self._some(int(length) - self.taken))
            elif "chunked" in (self.header("Transfer-Encoding") or ""):
                while size := int(await self.reader.readline() or b"-1\r\n", 16):
                    if size < 0:
                        raise asyncio.IncompleteReadError(b"", None)
                    self._take(await self.reader.readexactly(size))
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            self.is_whole = True

    async def _some(self, most: int) -> bytes:
        chunk = await self.reader.read(min(most, 1 << 16))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", None)
        return chunk

    def _take(self, chunk: bytes) -> None:
        self.taken += len(chunk)
        if len(self.body) < 1 << 20:
            self.body += chunk

    async def answer(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        """Answer with a body of announced length; headers' names are written with `_` for `-`."""
        named = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        await self.head(status, named)
        await self.send(body)

    async def head(self, status: int, headers: dict[str, str]) -> None:
        """Send a status and headers, exactly these."""
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, as soon as the other side takes them."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def until_closed(self) -> None:
        """Wait until the other side closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        self.is_closed = True


async def obliging(asked: Asked) -> None:
    """Answer everything with an empty object."""
    await asked.read()
    await asked.answer()


@dataclass
class Peer:
    """The provider: what it was asked, oldest first, and how it answers from now on."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: Script = obliging

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        pairs = (line.partition(":") for line in head[1:] if line)
        asked = Asked(method, target, [(n.strip(), v.strip()) for n, _, v in pairs], reader, writer)
        self.asked.append(asked)
        try:
            await self.script(asked)
        except ConnectionError:
            asked.is_closed = True
            raise


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    """Run such a provider on a port, and so on an origin, of its own."""
    running = Peer()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(running.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 18)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
