"""What OneDrive's benchmark plays on: one sandbox, rclone, and a process that runs our actions.

rclone and ours are servers that are already there when something is to be done, work for the same user, and come to the
sandbox through the same relay by the same TLS.
"""

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from asyncio import run as run_async
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.servers import (
    Sandbox,
    Seat,
    await_port,
    connect_someone,
    environment_of,
    relay,
    running,
    sandbox,
    settings_for,
)
from tests.ground.ports import free_port

from landbridge.settings import Settings
from msgraph_sandbox.client import Client

USER = "ada@contoso.example"
IN_FLIGHT = 4
"""What rclone does at once unless told otherwise."""

Json = Any  # what other programs say


class Steps:
    """The process that runs our actions."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid

    def obey(self, **order: Json) -> Json:
        """Have one order carried out, and return the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The process that runs actions has ended: {self._output.read_text()[-3000:]}")
        return json.loads(answer)

    def run(self, action: str, inputs: Sequence[tuple[str, Json]], in_flight: int = 1) -> tuple[float, int]:
        """Run an action once for each run and input, and return the seconds and how many items came of it."""
        done = self.obey(run=[[run, action, given] for run, given in inputs], in_flight=in_flight)
        return done["seconds"], done["items"]


class Rclone:
    """rclone as a server, told what to do through its remote control (https://rclone.org/rc/)."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self.pid = pid

    def run(self, command: str, **given: Json) -> tuple[float, Json]:
        """Have a command carried out, and return the seconds and its answer."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        with contextlib.closing(connection):
            connection.request("POST", f"/{command}", json.dumps(given), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"rclone failed: {body[:1000]!r}")
        return seconds, json.loads(body)


@dataclass(frozen=True)
class Stage:
    """Both sides, and what they work on."""

    sandbox: Sandbox
    control: Client
    steps: Steps
    rclone: Rclone
    folder: Path
    _leftovers: list[Callable[[], object]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def later(self, clean: Callable[[], object]) -> None:
        """Have something done by `clean_up`, when nobody measures."""
        self._leftovers.append(clean)

    def clean_up(self) -> None:
        """Remove what was made, so that it does not fill the disk."""
        while self._leftovers:
            self._leftovers.pop()()

    def new_name(self) -> str:
        """Return a name that nothing had before."""
        return f"new-{next(self._numbers):05}"

    def new_folder(self, name: str) -> str:
        """Make an empty folder on the drive, and return its id."""
        return str(self.control.make_folder(USER, name)["id"])

    def list(self, folder: str) -> Json:
        """Return what is in a folder of the drive, as rclone sees it."""
        return self.rclone.run("operations/list", fs="one:", remote=folder)[1]["list"]

    def forget(self, path: str) -> None:
        """Remove an item from the drive for good, so that its contents do not fill the disk."""
        parts = urlsplit(self.sandbox.facts["graph_url"])
        token = self.control.tokens(USER)["access_token"]
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        with contextlib.closing(connection):
            target = f"/v1.0/me/drive/root:/{path}:/permanentDelete"
            connection.request("POST", target, headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 204
        self.control.expire_uploads()


@contextlib.contextmanager
def set_up(folder: Path) -> Iterator[Stage]:
    """Start everything."""
    folder.mkdir()
    with (
        sandbox(folder / "sandbox", "--tls") as microsoft,
        relay(folder / "relay", microsoft.facts["graph_https_url"]) as door,
    ):
        control = Client(microsoft.facts["control_url"])
        token = control.tokens(USER)["access_token"]
        url = door.url.replace("http:", "https:")
        settings = settings_for(folder / "landbridge", url)
        seat = run_async(connect_someone(settings, token))
        drive = next(one for one in control.state()["drives"] if one["owner"] == USER)
        trusted = {"SSL_CERT_FILE": microsoft.facts["ca_file"]}
        with (
            _steps(folder / "steps", settings, seat, trusted) as steps,
            _rclone(folder / "rclone", _remote(token, drive), trusted | {"HTTPS_PROXY": door.url}) as rclone,
        ):
            yield Stage(microsoft, control, steps, rclone, folder)


@contextlib.contextmanager
def _steps(folder: Path, settings: Settings, seat: Seat, environment: dict[str, str]) -> Iterator[Steps]:
    folder.mkdir()
    command = (sys.executable, "-m", "tests.bench.steps", seat.project_id, "ann")
    with running(command, folder, environment_of(settings) | environment) as process:
        yield Steps(process, folder / "output")


@contextlib.contextmanager
def _rclone(folder: Path, remote: dict[str, str], environment: dict[str, str]) -> Iterator[Rclone]:
    folder.mkdir()
    port = free_port()
    program = Path(sys.executable).with_name("rclone")
    given = ("--rc-no-auth", "--rc-addr", f"127.0.0.1:{port}", "--transfers", IN_FLIGHT, "--config", folder / "none")
    configured = {f"RCLONE_CONFIG_ONE_{name.upper()}": value for name, value in remote.items()}
    with running((program, "rcd", *given), folder, environment | configured) as process:
        await_port(port, process)
        yield Rclone(port, process.pid)


def _remote(token: str, drive: Json) -> dict[str, str]:
    lasting = {"access_token": token, "token_type": "Bearer", "expiry": "2100-01-01T00:00:00Z"}
    return {"type": "onedrive", "drive_id": drive["id"], "drive_type": drive["kind"], "token": json.dumps(lasting)}
