"""Contents on their way in: gathered into blocks, each of which one thread hashes while another writes it.

What comes from the network is copied into blocks that are used again and again: that costs less than what the allocator
takes for chunks that one thread makes and another frees.
"""

import asyncio
import contextlib
import hashlib
import mmap
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore.store import ObjectStore

from landbridge.disk import append
from landbridge.errors import FilesFailed
from landbridge.files.contents import Piece
from landbridge.files.stores import translated

PIECE = 64 << 20
"""Bytes of contents that are made safe at once, if whoever keeps them is to begin again behind them."""

Note = Callable[[Sequence[Piece]], Awaitable[None]]

_BLOCK = 2 << 20
_BLOCKS = 4
_WORTH_A_THREAD = 64 << 10
_PART = 5 << 20  # the least that S3 takes as one part of many
_SIDE_BY_SIDE = 2


async def blocks(chunks: AsyncIterable[bytes]) -> AsyncGenerator[memoryview, None]:
    """Yield the same bytes in blocks of 2 MiB. They are used again: the fourth after one is in its place."""
    room = memoryview(mmap.mmap(-1, _BLOCKS * _BLOCK))  # which is whole pages, as disks want them
    places = cycle([room[first : first + _BLOCK] for first in range(0, len(room), _BLOCK)])
    filling, filled = next(places), 0
    async for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            taken, rest = rest[: _BLOCK - filled], rest[_BLOCK - filled :]
            filling[filled : filled + len(taken)] = taken
            filled += len(taken)
            if filled == _BLOCK:
                yield filling
                filling, filled = next(places), 0
    if filled:
        yield filling[:filled]


class Digest:
    """A running SHA-256, computed beside the event loop where that is worth a thread."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._turn = asyncio.Lock()
        self.length = 0

    async def update(self, block: bytes | memoryview) -> None:
        """Add what comes next, behind what is being added."""
        self.length += len(block)
        async with self._turn:
            if len(block) < _WORTH_A_THREAD:
                self._digest.update(block)
            else:
                await asyncio.to_thread(self._digest.update, block)

    def hex(self) -> str:
        """Return the digest of all that was added."""
        return self._digest.hexdigest()


async def write(target: "Target", coming: AsyncIterator[memoryview], most: float, digest: Digest) -> int:
    """Keep blocks that come until they are `most` bytes, or end, and return their length."""
    size = 0
    block: memoryview | None = await anext(coming, memoryview(b""))
    under_way: deque[asyncio.Future[Any]] = deque()  # Any: nothing is made of what they return
    try:
        while block is not None:
            size += len(block)
            under_way.append(asyncio.gather(digest.update(block), target.add(block)))
            if len(under_way) == _BLOCKS:
                await under_way.popleft()
            block = await anext(coming, None) if size < most else None
        while under_way:
            await under_way.popleft()
        await target.finish()
    except BaseException:
        await asyncio.gather(*under_way, return_exceptions=True)
        await target.discard()
        raise
    return size


class Target(Protocol):
    """New contents at one place of a store. The first block may be empty, and is then the only one."""

    async def add(self, block: memoryview) -> None:
        """Add what comes next, behind what is being added."""

    async def finish(self) -> None:
        """Have all that was added in place."""

    async def discard(self) -> None:
        """Leave nothing behind, as far as that is possible."""


class InFolder:
    """A file. Nothing holds it open between two blocks, so that nothing is left open whatever happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._adding: asyncio.Future[None] | None = None

    async def add(self, block: memoryview) -> None:
        """Add what comes next, behind what is being added."""
        self._adding = asyncio.ensure_future(self._append(block, self._adding))
        with translated(FilesFailed):
            await asyncio.shield(self._adding)  # a thread goes on whoever is cancelled

    async def _append(self, block: memoryview, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await before  # and fail with it: nothing is written behind a gap
        await asyncio.to_thread(append, self._path, block, is_new=before is None)

    async def finish(self) -> None:
        """Nothing is left to do."""

    async def discard(self) -> None:
        """Delete the file, if there is one: what went wrong before says more than that this goes wrong too."""
        if self._adding:
            await asyncio.gather(self._adding, return_exceptions=True)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._path.unlink)


class InObjectStore:
    """An object, sent in parts, which is not there before it is finished."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        with translated():
            self._writer = obstore.open_writer_async(store, path, buffer_size=_PART, max_concurrency=_SIDE_BY_SIDE)
        self._turn = asyncio.Lock()

    async def add(self, block: memoryview) -> None:
        """Add what comes next, behind what is being added."""
        async with self._turn:
            with translated(FilesFailed):
                await self._writer.write(bytes(block))

    async def finish(self) -> None:
        """Make one object of the parts."""
        with translated(FilesFailed):
            await self._writer.close()

    async def discard(self) -> None:
        """Leave the parts to the store: buckets have a rule for uploads that nobody ends."""
