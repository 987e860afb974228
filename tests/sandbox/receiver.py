"""An application's webhook, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Receiver:
    """An application's webhook."""

    url: str = ""
    echo: bool = True
    kind: str = "text/plain"
    statuses: list[int] = field(default_factory=list)
    delay: float = 0
    requests: int = 0
    # What happens while it is asked to echo a token.
    meanwhile: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
    received: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def answer(self, request: web.Request) -> web.Response:
        """Echo a validation token, or take notifications."""
        token = request.query.get("validationToken")
        if token is not None:
            await self.meanwhile()
            return web.Response(text=token if self.echo else "no", content_type=self.kind)
        await asyncio.sleep(self.delay)
        self.requests += 1
        status = self.statuses.pop(0) if self.statuses else 202
        if status < 300:
            for one in (await request.json())["value"]:
                self.received.put_nowait(one)
        return web.Response(status=status)

    async def next(self) -> dict[str, Any]:
        """The next notification."""
        return await asyncio.wait_for(self.received.get(), 60)
