"""Contents, read back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import obstore
from obstore.store import ObjectStore

from landbridge.files.stores import translated

_READ_AT_ONCE = 2 << 20
_CHUNK = 256 << 10  # small enough to be still in the processor's cache when it is hashed and encrypted

Piece = tuple[str, int]
"""Where a piece of contents lies, and its length in bytes."""


@dataclass(frozen=True)
class Contents:
    """What a File leads to."""

    size: int
    sha256: str
    _store: ObjectStore
    _pieces: Sequence[Piece]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield all bytes, some 256 KiB at a time."""
        with closing(Reading(self)) as reading:
            async for chunk in reading.chunks(0, self.size):
                yield chunk

    def _read(self, start: int) -> "asyncio.Future[obstore.Bytes] | None":
        """Begin to read what is at `start`, some 2 MiB as far as they lie in one piece; None at the end."""
        for path, size in self._pieces:
            if start < size:
                end = min(start + _READ_AT_ONCE, size)
                return asyncio.ensure_future(obstore.get_range_async(self._store, path, start=start, end=end))
            start -= size
        return None


class Reading:
    """Contents that are read span by span. Close it in the end.

    Much is read at once, since a store's own streams are of 8 KiB each; and what follows it, be it in the next span, is
    read while this is being used.
    """

    def __init__(self, contents: Contents) -> None:
        self.size = contents.size
        self._contents = contents
        self._at = 0
        self._here = memoryview(b"")
        self._coming: asyncio.Future[obstore.Bytes] | None = None

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to but not including `end`, some 256 KiB at a time."""
        if start >= end:  # what was read ahead stays
            return
        if start != self._at:
            self.close()
            self._at = start
        while self._at < end:
            if not self._here:
                await self._go_on()
            chunk = bytes(self._here[: min(_CHUNK, end - self._at)])
            self._here = self._here[len(chunk) :]
            self._at += len(chunk)
            yield chunk

    async def _go_on(self) -> None:
        coming, self._coming = self._coming or self._contents._read(self._at), None
        assert coming, "nobody reads on past the end"
        with translated():
            self._here = memoryview(await coming)
        self._coming = self._contents._read(self._at + len(self._here))

    def close(self) -> None:
        """Read no more."""
        self._here = memoryview(b"")
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None
