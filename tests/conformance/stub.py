"""A stub of a product: a server that answers as its integration's module says, and meets the troubles planted."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from aiohttp import web
from tests.conformance.product import Asked, Product, Trouble

from msgraph_sandbox.server import Sandbox

Json = Any  # another system's JSON

EMAILS = {"work": "ada@contoso.example", "personal": "mary@outlook.example"}
_STATUSES = {Trouble.BUSY: 429, Trouble.VERY_BUSY: 429, Trouble.STALE: 401, Trouble.FAILING: 503}
_WAITS = {Trouble.BUSY: "2", Trouble.VERY_BUSY: "120"}
_DONE = frozenset({Trouble.LOST, Trouble.WITHHELD})
_UNANSWERED = frozenset({Trouble.HANGING, Trouble.WITHHELD})


@dataclass(frozen=True)
class Call:
    """A request that a good token came with."""

    method: str
    path: str
    body: Json
    scopes: Set[str]

    def has(self, scope: str) -> bool:
        """Whether the user has consented to a scope."""
        return scope in self.scopes


class Stub:
    """A product without its own rules: `lay_out`, `state` and `answer` are its integration's."""

    email = ""
    api_url: str | None = None

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._troubles: deque[tuple[int, Trouble]] = deque()
        self._unspoilt = 0
        self._has_struck = False
        self._scenes = count(1)

    def answer(self, call: Call) -> tuple[int, Json]:
        """Return the status and body of the answer to a call."""
        raise NotImplementedError

    def scopes(self, scopes: Set[str]) -> Set[str]:
        return scopes

    def lay_out(self) -> str:
        raise NotImplementedError

    def state(self, scene: str) -> object:
        raise NotImplementedError

    def new_scene(self) -> str:
        """Return a name that no scene has had."""
        return f"Scene {next(self._scenes)}"

    def asked(self) -> Sequence[Asked]:
        return self._asked

    def spoil(self, number: int, trouble: Trouble) -> None:
        self._troubles.append((number, trouble))

    def has_struck(self) -> bool:
        return self._has_struck

    def heal(self) -> None:
        self._asked, self._unspoilt, self._has_struck = [], 0, False
        self._troubles.clear()

    @asynccontextmanager
    async def served(self, kind: str, sandbox: Sandbox) -> AsyncIterator[Product]:
        """Serve it, for tokens that the sandbox gave."""

        async def answered(request: web.Request) -> web.StreamResponse:
            return await self._answered(request, sandbox)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answered)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.email, self.api_url = EMAILS[kind], f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answered(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self._asked.append(Asked(request.method, scheme == "Bearer"))
        is_spoilt = bool(self._troubles) and self._troubles[0][0] == self._unspoilt
        self._unspoilt += not is_spoilt
        grant = sandbox.world.issuer.access.get(token)
        if grant is None or grant.expires <= sandbox.world.clock.now():
            return web.json_response({"error": {"code": "InvalidAuthenticationToken"}}, status=401)
        body = await request.read()
        call = Call(request.method, request.path, json.loads(body) if body else None, grant.scopes)
        if is_spoilt:
            _, trouble = self._troubles.popleft()
            return await self._spoilt(request, call, trouble)
        status, said = self.answer(call)
        return web.json_response(said, status=status)

    async def _spoilt(self, request: web.Request, call: Call, trouble: Trouble) -> web.StreamResponse:
        if trouble in _DONE:
            self.answer(call)
        self._has_struck = True
        if trouble in _STATUSES:
            headers = {"Retry-After": _WAITS[trouble]} if trouble in _WAITS else {}
            return web.json_response({"error": {}}, status=_STATUSES[trouble], headers=headers)
        if trouble in _UNANSWERED:
            await asyncio.Event().wait()  # until the caller leaves, which cancels this
        assert request.transport
        request.transport.abort()
        return web.Response()


def serving(stub: Callable[[], Stub]) -> Callable[[str, Sandbox], AbstractAsyncContextManager[Product]]:
    """Return what a subject calls `product`: it serves a new stub."""
    return lambda kind, sandbox: stub().served(kind, sandbox)
