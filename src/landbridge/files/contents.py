"""Contents, read back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
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

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to but not including `end`, some 256 KiB at a time.

        Much is read at once, and the next while this is being used: the store's own streams are of 8 KiB each.
        """
        end = self.size if end is None else end
        coming = self._read(start, end)
        try:
            while coming is not None:
                with translated():
                    read = memoryview(await coming)
                start += len(read)
                coming = self._read(start, end)
                for at in range(0, len(read), _CHUNK):
                    yield bytes(read[at : at + _CHUNK])
        finally:
            if coming is not None:
                coming.cancel()

    def _read(self, start: int, end: int) -> "asyncio.Future[obstore.Bytes] | None":
        """Begin to read what is at `start`, as far as it lies in one piece, if there is anything."""
        end = min(start + _READ_AT_ONCE, end)
        for path, size in self._pieces:
            if start < min(size, end):
                return asyncio.ensure_future(
                    obstore.get_range_async(self._store, path, start=start, end=min(size, end))
                )
            start, end = start - size, end - size
        return None
