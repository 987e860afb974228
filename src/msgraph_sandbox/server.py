"""A running sandbox: its sockets, its world, and the thread or process that serves them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from msgraph_sandbox.control import Control
from msgraph_sandbox.drive.library import Origins
from msgraph_sandbox.gateway import Gateway
from msgraph_sandbox.http import Json, Receive, Scope, Send
from msgraph_sandbox.identity.service import SignInService
from msgraph_sandbox.seed import Seed
from msgraph_sandbox.switches import Switches
from msgraph_sandbox.world import World

HOSTS = ("login", "graph", "control", "upload", "download", "monitor")


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application reach the connection, so that a fault can break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["sandbox.transport"] = self.transport  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


class Sandbox:
    """A local Microsoft.

    `async with Sandbox() as sandbox` serves it in the running loop; `with Sandbox() as sandbox` in a thread of its
    own, for tests that are not asynchronous. `sandbox.announcement` is what `msgraph-sandbox serve` prints.
    """

    def __init__(
        self, *, port: int = 0, drive: str = "business", seed: Seed | None = None, switches: Switches | None = None
    ) -> None:
        self._spool = tempfile.TemporaryDirectory(prefix="msgraph-sandbox-")
        self._sockets = open_sockets(port)
        self.ports = [sock.getsockname()[1] for sock in self._sockets]
        urls = {host: f"http://127.0.0.1:{number}" for host, number in zip(HOSTS, self.ports, strict=True)}
        self.urls = {f"{host}_url": urls[host] for host in HOSTS[:2]} | {"control_url": urls["control"] + "/_sandbox"}
        origins = Origins(**{host: url for host, url in urls.items() if host != "control"})
        self.world = World(seed or Seed(), switches or Switches(), origins, Path(self._spool.name))
        self.announcement: dict[str, Json] = {**self.urls, "ports": self.ports, **self.world.announcement(drive)}
        self._server = _Server(
            uvicorn.Config(
                self._dispatcher(),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    def _dispatcher(self) -> Any:  # uvicorn's type of an application is wider than ours
        services = {service.name: service for service in self.world.services()}
        apps: dict[int, Any] = {
            port: Gateway(self.world, services[host])
            for host, port in zip(HOSTS, self.ports, strict=True)
            if host in services
        }
        login = services["login"]
        assert isinstance(login, SignInService)
        apps[self.ports[2]] = Control(self.world, login.authorize, self.urls)

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            await apps[scope["server"][1]](scope, receive, send)

        return dispatch

    async def serve(self) -> None:
        """Serve until `stop` is called."""
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            self._spool.cleanup()

    def stop(self) -> None:
        """Ask the server to end; it does within a moment."""
        self._server.should_exit = True

    async def ended(self) -> None:
        """Wait until the server has ended."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def __aenter__(self) -> Sandbox:
        self._serving = asyncio.create_task(self.serve())
        await self._server.ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._serving is not None:
            await self._serving

    def __enter__(self) -> Sandbox:
        self._thread = threading.Thread(target=lambda: uvloop.run(self.serve()), name="msgraph-sandbox", daemon=True)
        self._thread.start()
        # The sockets already listen: a request sent now waits in their queue until the loop is up.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()


def open_sockets(port: int) -> list[socket.socket]:
    """Return a listening loopback socket for each host: free ports for 0, else `port` and those that follow it."""
    sockets = []
    for index in range(len(HOSTS)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port + index if port else 0))
        sock.listen(512)
        sockets.append(sock)
    return sockets
