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

from msgraph_sandbox.client import Client
from msgraph_sandbox.control.app import Control
from msgraph_sandbox.disguise import Proxy, write_certificates
from msgraph_sandbox.drive.library import Origins
from msgraph_sandbox.gateway import Gateway
from msgraph_sandbox.http import Json, Receive, Scope, Send
from msgraph_sandbox.seed import Seed
from msgraph_sandbox.switches import Switches
from msgraph_sandbox.world import World

HOSTS = ("login", "graph", "control", "upload", "download", "monitor")
# With TLS all hosts but the control API have a second door, and a proxy leads Microsoft's names to these.
TLS_HOSTS = ("login", "graph", "upload", "download", "monitor", "proxy")


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application reach the connection, so that a fault can break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["sandbox.transport"] = self.transport  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to whoever runs it."""

    def __init__(self, app: Any, certificate: Path | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
                ssl_certfile=certificate,
            )
        )
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            # uvicorn sleeps between its ticks; waiting lets the end come at once.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.leaving.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A client that is idle, or does not answer when TLS is closed, must not keep us.
        state = self.server_state
        for connection in list(state.connections):
            if isinstance(connection, _Protocol) and (connection.cycle is None or connection.cycle.response_complete):
                connection.transport.abort()
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        await asyncio.sleep(0)  # in which aborted connections are lost
        if state.connections or state.tasks:
            await super().shutdown(sockets)  # waits for them, and sleeps before it looks

    def leave(self) -> None:
        """End within a moment."""
        self.should_exit = True
        self.leaving.set()

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
        self,
        *,
        port: int = 0,
        drive: str = "business",
        seed: Seed | None = None,
        switches: Switches | None = None,
        tls: bool = False,
        data: Path | None = None,
    ) -> None:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="msgraph-sandbox-")
        folder = Path(self._folder.name)
        self._sockets = open_sockets(port, len(HOSTS) + (len(TLS_HOSTS) if tls else 0))
        self.ports: list[int] = [sock.getsockname()[1] for sock in self._sockets]
        urls = {host: f"http://127.0.0.1:{number}" for host, number in zip(HOSTS, self.ports, strict=False)}
        self.urls: dict[str, Json] = {f"{host}_url": urls[host] for host in HOSTS[:2]}
        self.urls["control_url"] = urls["control"] + "/_sandbox"
        origins = Origins(**{host: url for host, url in urls.items() if host != "control"})
        self.world = World(seed or Seed(), switches or Switches(), origins, folder, data)
        application = self._dispatcher()
        self._servers = [_Server(application)]
        self._proxy: Proxy | None = None
        if tls:
            self._add_tls(application, folder)
        self.world.urls = self.urls
        self.announcement: dict[str, Json] = {**self.urls, "ports": self.ports, **self.world.announce(drive)}
        self.world.keep(with_people=True)
        self._serving: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def control(self) -> Client:
        """A client of the control API. It waits for each answer, so not from the loop that serves the sandbox."""
        return Client(self.urls["control_url"])

    def _add_tls(self, application: Any, folder: Path) -> None:
        authority, chain = write_certificates(folder)
        login, graph, *others, proxy = self.ports[len(HOSTS) :]
        self._servers.append(_Server(application, chain))
        self._proxy = Proxy(login, graph, others)
        self.urls |= {
            "login_https_url": f"https://localhost:{login}",
            "graph_https_url": f"https://localhost:{graph}",
            "proxy_url": f"http://127.0.0.1:{proxy}",
            "ca_file": str(authority),
        }

    def _dispatcher(self) -> Any:  # uvicorn's type of an application is wider than ours
        plain, secure = self.ports[: len(HOSTS)], self.ports[len(HOSTS) :]
        apps: dict[int, Any] = {plain[2]: Control(self.world)}
        apps |= self._gateways(dict(zip(HOSTS, plain, strict=True)), self.world.origins)
        if secure:
            # What is asked for over https leads on to https: some clients refuse a redirect to less.
            ports = dict(zip(TLS_HOSTS, secure, strict=True))
            urls = {host: f"https://127.0.0.1:{port}" for host, port in ports.items() if host != "proxy"}
            apps |= self._gateways(ports, Origins(**urls))

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            await apps[scope["server"][1]](scope, receive, send)

        return dispatch

    def _gateways(self, ports: dict[str, int], origins: Origins) -> dict[int, Any]:
        services = self.world.services(origins)
        return {ports[service.name]: Gateway(self.world, service) for service in services}

    async def serve(self) -> None:
        """Serve until `stop` is called."""
        self._loop = asyncio.get_running_loop()
        plain, secure = self._sockets[: len(HOSTS)], self._sockets[len(HOSTS) : -1]
        try:
            if self._proxy is not None:
                await self._proxy.start(self._sockets[-1])
            await asyncio.gather(
                *(server.serve(sockets=mine) for server, mine in zip(self._servers, (plain, secure), strict=False))
            )
        finally:
            if self._proxy is not None:
                self._proxy.stop()
            await self.world.close()
            self._folder.cleanup()

    def stop(self) -> None:
        """Ask the server to end; it does within a moment."""
        for server in self._servers:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(server.leave)

    async def ended(self) -> None:
        """Wait until the server has ended."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def __aenter__(self) -> Sandbox:
        self._serving = asyncio.create_task(self.serve())
        for server in self._servers:
            await server.ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await self.ended()

    def __enter__(self) -> Sandbox:
        started = threading.Event()

        async def serve() -> None:
            try:
                async with self:
                    started.set()
                    await self.ended()
            finally:
                started.set()

        self._thread = threading.Thread(target=lambda: uvloop.run(serve()), name="msgraph-sandbox", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()


def open_sockets(port: int, count: int) -> list[socket.socket]:
    """Return `count` listening loopback sockets: on free ports for 0, else on `port` and those that follow it."""
    sockets = []
    for index in range(count):
        # asyncio turns Nagle's algorithm off only where the protocol is named; else each answer waits 40 ms.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port + index if port else 0))
        sock.listen(512)
        sockets.append(sock)
    return sockets
