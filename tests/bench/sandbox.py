"""The sandbox: whether a page costs what it shows and not what the drive holds, transfers beside nginx, and seeding.

Every later figure of ours is taken against the sandbox, so it must not be what is measured.
"""

import http.client
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import load
from tests.bench.bench import Bench, Pairs, in_turns
from tests.bench.processes import MIB, forget_most_resident, most_resident, resident
from tests.bench.records import Target, at_most, ratio_at_least
from tests.bench.servers import Sandbox, nginx, sandbox

from msgraph_sandbox.client import Client

SMALL, LARGE = 1_000, 100_000
PAGE = 200
FRAGMENT = 60 * MIB - 320 * 1024
OWNER, OTHER = "ada@contoso.example", "grace@contoso.example"


def measure(bench: Bench) -> None:
    """Record seeding, pages and transfers."""
    with sandbox(bench.folder / "sandbox") as running:
        control = Client(running.facts["control_url"])
        control.grow(OTHER, SMALL)
        _measure_seeding(bench, running, control)
        _measure_pages(bench, running, control)
        _measure_transfers(bench, running, control)


def _measure_seeding(bench: Bench, running: Sandbox, control: Client) -> None:
    before, began = resident(running.pid), time.perf_counter()
    control.grow(OWNER, LARGE, per_folder=LARGE)
    bench.records.record("sandbox: 100,000 items seeded", time.perf_counter() - began, "s", target=at_most(20))
    memory = (resident(running.pid) - before) / 1e6
    bench.records.record("sandbox: memory of 100,000 items", memory, "MB", target=at_most(500))


def _measure_pages(bench: Bench, running: Sandbox, control: Client) -> None:
    for name, path in (
        ("children", f"/me/drive/root:/folder-00000:/children?$top={PAGE}"),
        ("delta", f"/me/drive/root/delta?$top={PAGE}"),
    ):

        def rate(user: str, url: str = running.facts["graph_url"] + "/v1.0" + path) -> float:
            headers = {"Authorization": f"Bearer {control.tokens(user)['access_token']}"}
            return load.burst(url, headers, connections=1, seconds=bench.seconds).per_second

        pairs = Pairs(*in_turns(bench.pairs, lambda: rate(OWNER), lambda: rate(OTHER)))
        _record(bench, f"sandbox: pages of {name} at 100,000 items", "pages/s", pairs, ratio_at_least(0.8))


def _measure_transfers(bench: Bench, running: Sandbox, control: Client) -> None:
    size = (64 if bench.short else 1024) * MIB
    root = bench.folder / "sandbox-files"
    root.mkdir()
    content = root / "large.bin"
    with content.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    token = control.tokens(OWNER)["access_token"]
    with nginx("files.conf", bench.folder / "nginx-files", root=root) as reference:
        growth: list[float] = []

        def watched(transfer: Callable[[], object]) -> Callable[[], float]:
            def run() -> float:
                before = resident(running.pid)
                forget_most_resident(running.pid)
                rate = _rate(transfer, size)
                growth.append((most_resident(running.pid) - before) / MIB)
                return rate

            return run

        up = watched(lambda: _upload_session(running.facts["graph_url"], token, content))
        down = watched(lambda: _download(_download_url(running.facts["graph_url"], token), size))
        for name, ours, theirs in (
            ("upload session", up, lambda: _rate(lambda: _put(f"{reference.url}/put.bin", content), size)),
            ("download", down, lambda: _rate(lambda: _download(f"{reference.url}/large.bin", size), size)),
        ):
            pairs = Pairs(*in_turns(min(bench.pairs, 3), ours, theirs))
            _record(bench, f"sandbox: {name} of {size // MIB} MiB", "MB/s", pairs, ratio_at_least(0.3))
            bench.records.record(f"sandbox: growth by that {name}", max(growth), "MiB", target=at_most(64))
            growth.clear()


def _record(bench: Bench, name: str, unit: str, pairs: Pairs, target: Target) -> None:
    bench.records.record(name, pairs.value, unit, reference=pairs.reference, ratio=pairs.ratio, target=target)


def _rate(transfer: Callable[[], object], size: int) -> float:
    began = time.perf_counter()
    transfer()
    return size / (time.perf_counter() - began) / 1e6


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300), parts._replace(
        scheme="", netloc=""
    ).geturl()


def _put(url: str, content: Path, first: int = 0, length: int | None = None, **headers: str) -> bytes:
    connection, target = _connection(url)
    length = content.stat().st_size if length is None else length
    connection.putrequest("PUT", target)
    for name, value in {**headers, "Content-Length": str(length)}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    with content.open("rb") as file:
        connection.sock.sendfile(file, first, length)
    with connection.getresponse() as response:
        body = response.read()
        if response.status >= 300:
            raise RuntimeError(f"A bad answer: {response.status} {body[:300]!r}")
    connection.close()
    return body


def _upload_session(graph: str, token: str, content: Path) -> None:
    size = content.stat().st_size
    answer = _graph("POST", f"{graph}/v1.0/me/drive/root:/large.bin:/createUploadSession", token)
    for first in range(0, size, FRAGMENT):
        length = min(FRAGMENT, size - first)
        _put(answer["uploadUrl"], content, first, length, Content_Range=f"bytes {first}-{first + length - 1}/{size}")


def _download_url(graph: str, token: str) -> str:
    return _graph("GET", f"{graph}/v1.0/me/drive/root:/large.bin", token)["@microsoft.graph.downloadUrl"]


def _graph(method: str, url: str, token: str) -> dict[str, str]:
    connection, target = _connection(url)
    connection.request(method, target, headers={"Authorization": f"Bearer {token}"})
    with connection.getresponse() as response:
        answer: dict[str, str] = json.loads(response.read())
    connection.close()
    return answer


def _download(url: str, size: int) -> None:
    connection, target = _connection(url)
    connection.request("GET", target)
    buffer, missing = bytearray(MIB), size
    with connection.getresponse() as response:
        while missing > 0 and (taken := response.readinto(buffer)):
            missing -= taken
    connection.close()
    if missing:
        raise RuntimeError(f"{missing} bytes did not come.")
