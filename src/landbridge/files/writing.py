"""Contents on their way in."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from landbridge.files.contents import Piece

PIECE = 64 << 20
"""Bytes of contents that are made safe at once, if whoever keeps them is to begin again behind them."""

Note = Callable[[Sequence[Piece]], Awaitable[None]]

_HASHED_AT_ONCE = 1 << 20


class Digest:
    """A running SHA-256, computed beside the event loop once there is enough to be worth a thread."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._size = 0
        self.length = 0
        self._busy: asyncio.Future[None] | None = None

    async def update(self, chunk: bytes) -> None:
        """Add what comes next; wait while the thread is behind."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        self.length += len(chunk)
        if self._size >= _HASHED_AT_ONCE:
            await self._settle()
            waiting, self._waiting, self._size = self._waiting, [], 0
            self._busy = asyncio.get_running_loop().run_in_executor(None, self._add, waiting)

    async def hex(self) -> str:
        """Return the digest of all that was added."""
        await self._settle()
        self._add(self._waiting)
        return self._digest.hexdigest()

    async def _settle(self) -> None:
        if self._busy is not None:
            await self._busy

    def _add(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._digest.update(chunk)
