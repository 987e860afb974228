"""Landbridge as tests run it: in the test's own process, with a clock that jumps, or as the commands that users run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import uvicorn
from tests.ground.migrated import migrate
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import APP, Person

from landbridge import app
from landbridge.app import House
from landbridge.server import _uvicorn_config, rooms_of
from landbridge.settings import Settings
from landbridge.web import site
from landbridge.web.wire import Callers

PATIENCE = 60.0
"""Seconds after which something that a test waits for will not happen any more."""


class JumpingClock:
    """Goes as the machine's does until it jumps; whoever sleeps past the jump wakes."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._jumped = asyncio.Event()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def jump(self, ahead: timedelta) -> None:
        self._ahead += ahead
        self._jumped.set()
        self._jumped = asyncio.Event()

    async def sleep(self, duration: timedelta) -> None:
        until = self.now() + duration
        while (left := (until - self.now()).total_seconds()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._jumped.wait()


def settings_for(facts: dict[str, Any], folder: Path, **changes: object) -> Settings:
    """Return settings that point at a sandbox and keep everything in a folder."""
    usual: dict[str, object] = {
        "data_dir": folder,
        "port": 0,
        "sqlite_synchronous": "NORMAL",
        "microsoft_login_url": facts["login_url"],
        "microsoft_graph_url": facts["graph_url"],
        "outbound_allow": ("127.0.0.1",),
        "log_format": "json",
    }
    return Settings.from_environment(**{**usual, **changes})


@dataclass(frozen=True)
class Place:
    """One Landbridge: its settings, its rooms opened in this process, and the test's ways to it."""

    settings: Settings
    clock: JumpingClock
    house: House
    http: aiohttp.ClientSession
    microsoft: Microsoft
    url: str = ""

    async def project(self, **changes: Any) -> str:  # Any: settings of the integration
        """Return a project in which OneDrive is ready to be connected."""
        id_ = (await self.house.projects.create("Acme", [APP])).id
        facts = self.microsoft.facts
        given = {"client_id": facts["client_id"], "client_secret": facts["client_secret"], "is_active": True}
        await self.house.projects.set_integration(id_, "onedrive", **{**given, **changes})
        return id_

    async def person(
        self, project: str | None = None, *, email: str = "ada@contoso.example", id_: str | None = None
    ) -> Person:
        """Return a user of a project, by default of a new one, who has an account but has not connected it."""
        project, id_ = project or await self.project(), id_ or f"user-{uuid4().hex[:8]}"
        token = await self.token(project, id_)
        return Person(self.url, self.http, self.microsoft, project, id_, token, email)

    async def token(self, project: str, user: str) -> str:
        return await self.house.projects.user_token(project, user, timedelta(hours=2))

    async def connected(self, project: str | None = None, **who: str) -> tuple[Person, str]:
        """Return a user who has connected their account, and the connection's id."""
        person = await self.person(project, **who)
        return person, await person.connect()


@contextlib.asynccontextmanager
async def place(
    settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft, *, answers: bool = True
) -> AsyncIterator[Place]:
    """Open the rooms in this process, and serve them unless told otherwise."""
    clock = JumpingClock()
    await migrate(settings)
    if not answers:
        async with app.assemble(settings, clock) as house:
            yield Place(settings, clock, house, http, microsoft)
        return
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        async with app.assemble(settings, clock) as house:
            watching = asyncio.create_task(house.database.watch())
            async with answering(house, listening):
                yield Place(settings, clock, house, http, microsoft, settings.base_url)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


@contextlib.asynccontextmanager
async def answering(house: House, listening: socket.socket) -> AsyncIterator[None]:
    """Answer HTTP on a socket as `landbridge serve` does."""
    config = _uvicorn_config(site.build(rooms_of(house)), house.settings)
    config.timeout_graceful_shutdown = 2
    server = _Server(config)
    listening.listen(2048)
    listening.setblocking(False)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started)
    try:
        yield
    finally:
        server.leaving.set()
        await serving


class _Server(uvicorn.Server):
    """uvicorn's, without its naps: it ends as soon as it is told to and nobody waits for an answer."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Callers()
        self.leaving = asyncio.Event()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # as app's own
        return contextlib.nullcontext()

    async def main_loop(self) -> None:
        while not (self.leaving.is_set() or await self.on_tick(0)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.leaving.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state = self.server_state
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        if state.connections or state.tasks:
            await super().shutdown(sockets)


class Process:
    """A command of ours that runs: `landbridge serve`, `landbridge worker`."""

    def __init__(self, settings: Settings, *arguments: str, log: Path | None = None) -> None:
        folder = settings.data_dir
        self.log = log or folder / f"{arguments[0]}-{uuid4().hex[:6]}.log"
        with self.log.open("wb") as stderr:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "landbridge", *arguments, "--json"],
                env=environment(settings),
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.pid = self._popen.pid
        self.url = ""

    def ready(self) -> Process:
        """Wait until it answers. Raises if it ended instead."""
        assert self._popen.stdout
        line = self._popen.stdout.readline()
        assert line, self.log.read_text()
        self.url = json.loads(line)["url"]
        return self

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def ended(self, within: float = PATIENCE) -> int:
        """Wait until it ends, and return its exit code."""
        return self._popen.wait(within)

    def resident(self) -> int:
        """Return how many bytes of memory it holds."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Return how many bytes of memory it has held at most."""
        return self._memory("VmHWM")

    def _memory(self, kind: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"{kind}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in text.split()]

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(signal.SIGCONT)
                self._popen.terminate()
            try:
                self._popen.wait(5)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdout:
            self._popen.stdout.close()


def serve(settings: Settings, *options: str) -> Process:
    """Start `landbridge serve`; call `ready` on what comes back."""
    return Process(settings, "serve", "--no-worker", *options)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a command of ours reads these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LANDBRIDGE_")}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            kept[f"LANDBRIDGE_{name.upper()}"] = text
    return {**kept, "LANDBRIDGE_PORT": "0"}


async def run(settings: Settings, *arguments: str, stdin: str = "") -> Any:  # Any: what the command prints as JSON
    """Run a command to its end, and return the JSON that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "landbridge", *arguments, "--json"),
        env=environment(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def eventually(holds: Callable[[], bool] | Callable[[], Awaitable[bool]], within: float = PATIENCE) -> None:
    """Wait until something holds; fail if it does not in time."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert asyncio.get_running_loop().time() < deadline, "It did not happen in time."
        await asyncio.sleep(0.02)
