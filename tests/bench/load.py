"""Load, and what it shows: many small requests by wrk, and one large body at a time by a client that costs little."""

import re
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scripts.setup import BIN
from tests.bench.processes import MIB


@dataclass(frozen=True, slots=True)
class Burst:
    """What wrk saw."""

    requests: int
    per_second: float
    median_ms: float


def burst(url: str, headers: Mapping[str, str], *, connections: int, seconds: float, post: Path | None = None) -> Burst:
    """Request `url` again and again over some connections. Raises unless every answer was a good one.

    `post` is a script for wrk that makes POSTs of the requests.
    """
    program = BIN / "wrk"
    if not program.exists():
        raise RuntimeError("There is no wrk yet: run `python3 scripts/setup.py wrk`.")
    sent = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    scripted = ("-s", str(post)) if post else ()
    whole = max(1, round(seconds))  # wrk counts in whole seconds
    command = [
        str(program),
        "-t1",
        f"-c{connections}",
        f"-d{whole}s",
        "--timeout=30s",
        "--latency",
        *scripted,
        *sent,
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=whole + 30)
    return read_wrk(done.stdout)


def read_wrk(output: str) -> Burst:
    """Return what a run of `wrk --latency` printed, or raise `RuntimeError` if any request failed."""
    if failures := re.search(r"(Non-2xx or 3xx responses|Socket errors): .*", output):
        raise RuntimeError(f"wrk says {failures[0]}")
    requests = re.search(r"(\d+) requests in ", output)
    rate = re.search(r"Requests/sec: +([\d.]+)", output)
    median = re.search(r" 50% +([\d.]+)(us|ms|s)\b", output)
    if not requests or not rate or not median:
        raise RuntimeError(f"wrk printed something else than usual: {output[:500]}")
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[median[2]]
    return Burst(int(requests[1]), float(rate[1]), float(median[1]) * unit)


def download(url: str, headers: Mapping[str, str], length: int) -> float:
    """Fetch a body of `length` bytes, and return MB/s. Raises unless all of it came."""
    began = time.perf_counter()
    with _connected(url) as connection:
        connection.sendall(_head("GET", url, headers))
        missing = length - len(_good_answer(connection))
        buffer = bytearray(MIB)
        while missing > 0 and (taken := connection.recv_into(buffer)):
            missing -= taken
    if missing:
        raise RuntimeError(f"{missing} of {length} bytes did not come.")
    return length / (time.perf_counter() - began) / 1e6


def upload(url: str, headers: Mapping[str, str], content: Path) -> float:
    """Send a file, and return MB/s, counted until the answer. Raises unless the answer is a good one."""
    began = time.perf_counter()
    length = content.stat().st_size
    with _connected(url) as connection, content.open("rb") as file:
        sized = {**headers, "Content-Type": "application/octet-stream", "Content-Length": str(length)}
        connection.sendall(_head("PUT", url, sized))
        connection.sendfile(file)
        _good_answer(connection)
    return length / (time.perf_counter() - began) / 1e6


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def _head(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _good_answer(connection: socket.socket) -> bytes:
    """Read the head of an answer, and return what came of its body with it. Raises unless its status is 2xx."""
    come = b""
    while b"\r\n\r\n" not in come:
        more = connection.recv(64 << 10)
        if not more:
            raise RuntimeError("The connection ended before the answer.")
        come += more
    head, _, body = come.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"A bad answer: {come[:500]!r}")
    return body
