"""The servers of a benchmark, each in a process of its own that ends with its `with` block."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from scripts.setup import BIN, TREE
from tests.bench import processes
from tests.ground.ports import free_port

from landbridge import app
from landbridge.connections.accounts import new_configuration
from landbridge.providers.microsoft import Grant
from landbridge.settings import Settings
from landbridge.store.connections import ConnectionRow, insert_connection

CONFIGURATIONS = Path(__file__).parent / "nginx"
ORIGIN = "https://app.example"
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers, and the process whose time and memory count."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that answers: what it printed, and its process."""

    facts: dict[str, str]
    pid: int


@contextlib.contextmanager
def nginx(configuration: str, folder: Path, **words: object) -> Iterator[Server]:
    """Run nginx with a committed configuration, in whose text `@port@` and each other word is filled in."""
    program = BIN / "nginx"
    if not program.exists():
        raise RuntimeError("There is no nginx yet: run `python3 scripts/setup.py nginx`.")
    folder.mkdir()
    port = free_port()
    text = (CONFIGURATIONS / configuration).read_text(encoding="utf-8")
    for name, value in {"port": port, **words}.items():
        text = text.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    # A worker of root's would become nobody, who may not read our folder.
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    command = (program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf", *user)
    with running(command, folder) as process:
        await_port(port, process)
        while not (workers := processes.children(process.pid)):
            time.sleep(0.01)
        yield Server(f"http://127.0.0.1:{port}", workers[0])


@contextlib.contextmanager
def sink(folder: Path) -> Iterator[Server]:
    """Run what takes uploads."""
    folder.mkdir()
    port = free_port()
    with running((sys.executable, "-m", "tests.bench.sink", port), folder) as process:
        await_port(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)


@dataclass(frozen=True, slots=True)
class Seat:
    """A connected user of a project, as a host product knows them."""

    project_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What the user's browser sends along."""
        return {"Authorization": f"Bearer {self.token}", "Origin": ORIGIN}

    def path(self, path: str) -> str:
        """Return the path of Landbridge that leads to a path of the provider's API."""
        return f"/projects/{self.project_id}/sdk/proxy/onedrive{path}"


def settings_for(folder: Path, upstream: str) -> Settings:
    """Return the settings of a Landbridge with everything at its default but the place of things."""
    return Settings(
        data_dir=folder,
        port=0,
        microsoft_login_url=upstream,
        microsoft_graph_url=upstream,
        outbound_allow=("127.0.0.1",),
    )


async def connect_someone(settings: Settings, access_token: str = "a" * 1600) -> Seat:
    """Create a project with an active integration and a user whose sealed tokens last, and return their seat."""
    async with app.assemble(settings) as house:
        project = await house.projects.create("Bench", [ORIGIN])
        await house.projects.set_integration(
            project.id, "onedrive", client_id="bench", client_secret="bench-secret", is_active=True
        )
        now = house.clock.now()
        row = ConnectionRow(
            id=str(uuid4()),
            project_id=project.id,
            user_id="ann",
            integration="onedrive",
            external_id=None,
            status="valid",
            account_id="tenant:ann",
            tenant_id="tenant",
            account={"email": "ann@example.com"},
            scopes=["Files.ReadWrite"],
            client_id="bench",
            sealed_tokens=None,
            token_version=1,
            expires_at=now + timedelta(days=1),
            refreshed_at=now,
            used_at=now,
            created_at=now,
            updated_at=now,
        )
        grant = Grant(access_token, "r" * 1200, None, now + timedelta(days=1), ("Files.ReadWrite",))
        sealed = house.tokens.seal(project.id, row.id, grant)
        async with house.database.begin() as tx:
            configuration = new_configuration(row.id, house.clock, is_default=True)
            await insert_connection(tx, dataclasses.replace(row, sealed_tokens=sealed), configuration)
        return Seat(project.id, await house.projects.user_token(project.id, "ann", timedelta(hours=12)))


@dataclass(frozen=True, slots=True)
class Landbridge(Server):
    """A Landbridge that answers, as its operator starts it, with its worker beside it."""

    seconds_to_ready: float


@contextlib.contextmanager
def landbridge(settings: Settings) -> Iterator[Landbridge]:
    """Run `landbridge serve` until it says that it is ready."""
    settings.data_dir.mkdir(exist_ok=True)
    began = time.perf_counter()
    command = (sys.executable, "-m", "landbridge", "serve", "--json")
    with running(command, settings.data_dir, environment_of(settings)) as process:
        assert process.stdout
        ready = process.stdout.readline()
        took = time.perf_counter() - began
        if not ready:
            raise RuntimeError(f"Landbridge did not start: {(settings.data_dir / 'output').read_text()[-2000:]}")
        yield Landbridge(json.loads(ready)["url"], process.pid, took)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the settings as a process reads them."""
    changed = settings.model_dump(mode="json", exclude_unset=True)
    lists = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in changed.items()}
    return {f"LANDBRIDGE_{name.upper()}": value for name, value in lists.items()}


@contextlib.contextmanager
def sandbox(folder: Path, *options: str) -> Iterator[Sandbox]:
    """Run `msgraph-sandbox serve`. Its tokens outlast the run."""
    folder.mkdir()
    given = ("--set", "access_token_seconds=86400", *options)
    with running((sys.executable, "-m", "msgraph_sandbox.cli", "serve", *given), folder) as process:
        assert process.stdout
        yield Sandbox(json.loads(process.stdout.readline()), process.pid)


@contextlib.contextmanager
def relay(folder: Path, graph_url: str) -> Iterator[Server]:
    """Run the door through which both sides come to the sandbox's Graph."""
    folder.mkdir()
    port = free_port()
    with running((sys.executable, "-m", "tests.bench.relay", port, urlsplit(graph_url).port), folder) as process:
        await_port(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)


@contextlib.contextmanager
def running(
    command: tuple[object, ...], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in pipes, with what it says on standard error kept in `folder/output`, and end it gracefully."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDBRIDGE_")}
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=TREE,
            env=inherited | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        finally:
            process.kill()
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once the process answers at the port."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"Nothing answers at port {port}.")
