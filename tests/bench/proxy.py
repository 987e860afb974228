"""The proxy against nginx's: small requests at once and one by one, and a gigabyte in each direction.

Everything is on: the user's token, the origin and the project's settings are checked, answers are wrapped for the SDK,
the caches are warm, and metrics are counted. Both sides stand before the same upstream, and are loaded in turns.
"""

import asyncio
import contextlib
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench import Bench, Pairs, in_turns
from tests.bench.load import burst, download, upload
from tests.bench.processes import MIB, cpu_seconds, forget_most_resident, most_resident, resident
from tests.bench.records import at_most, ratio_at_least
from tests.bench.servers import Seat, Server, connect_someone, landbridge, nginx, settings_for, sink

VERSION = "/v1.0"
LISTING = "/me/drive/root/children"
CONTENT = "/me/drive/items/1/content"


def measure(bench: Bench) -> None:
    """Record what the proxy costs."""
    size = 16 * MIB if bench.short else 1024 * MIB
    files = bench.folder / "files"
    content = _write_files(files, size)
    with (
        nginx("upstream.conf", bench.folder / "upstream", root=files) as upstream,
        _sides(bench.folder / "down", upstream) as sides,
    ):
        _measure_many(bench, sides)
        _measure_one(bench, sides, upstream)
        _measure_large(bench, sides, "GET", lambda url: download(url, sides.seat.headers, size))
    with sink(bench.folder / "sink") as upstream, _sides(bench.folder / "up", upstream) as sides:
        _measure_large(bench, sides, "PUT", lambda url: upload(url, sides.seat.headers, content))


@dataclass(frozen=True)
class Sides:
    """Landbridge and the reference, before one upstream, and the user who calls."""

    ours: Server
    theirs: Server
    seat: Seat

    def our_url(self, path: str) -> str:
        """Return where Landbridge has a path of the provider's API."""
        return self.ours.url + self.seat.path(path)

    def their_url(self, path: str) -> str:
        """Return where the reference has it."""
        return self.theirs.url + VERSION + path


@contextlib.contextmanager
def _sides(folder: Path, upstream: Server) -> Iterator[Sides]:
    folder.mkdir()
    settings = settings_for(folder / "landbridge", upstream.url)
    seat = asyncio.run(connect_someone(settings))
    host = upstream.url.removeprefix("http://")
    with (
        landbridge(settings) as ours,
        nginx("reference.conf", folder / "reference", upstream=host) as theirs,
    ):
        yield Sides(ours, theirs, seat)


def _write_files(root: Path, size: int) -> Path:
    """Write a listing of 2 KB and a content of `size` bytes, and return the content's place."""
    listing, content = root / (VERSION + LISTING).strip("/"), root / (VERSION + CONTENT).strip("/")
    for place in (listing, content):
        place.parent.mkdir(parents=True)
    item = {"id": "01ABCDEF", "name": "report.xlsx", "size": 48213, "webUrl": "https://example-my.sharepoint.com/p/1"}
    plain = json.dumps({"value": [item] * 14})
    listing.write_text(plain.ljust(2048))
    with content.open("wb") as file:
        file.truncate(size)
    return content


def _measure_many(bench: Bench, sides: Sides) -> None:
    """Sixteen at once: how many a second, and how long a core works for one."""

    def rate(url: str, server: Server, costs: list[float]) -> float:
        before = cpu_seconds(server.pid)
        seen = burst(url, sides.seat.headers, connections=16, seconds=bench.seconds)
        costs.append((cpu_seconds(server.pid) - before) * 1e6 / seen.requests)
        return seen.per_second

    costs: tuple[list[float], list[float]] = ([], [])
    burst(sides.our_url(LISTING), sides.seat.headers, connections=16, seconds=1)
    measured = in_turns(
        bench.pairs,
        lambda: rate(sides.our_url(LISTING), sides.ours, costs[0]),
        lambda: rate(sides.their_url(LISTING), sides.theirs, costs[1]),
    )
    _record_rates(bench, "GET of 2 KB, 16 connections", "requests/s", Pairs(*measured), 0.25)
    our_cost, their_cost = map(statistics.median, costs)
    bench.records.record("CPU of a GET of 2 KB, 16 connections", our_cost, "us", reference=their_cost or None)


def _measure_one(bench: Bench, sides: Sides, upstream: Server) -> None:
    """One after the other: how much longer than without a proxy half of them take, at least."""

    def median(url: str) -> Callable[[], float]:
        return lambda: burst(url, sides.seat.headers, connections=1, seconds=bench.seconds / 2).median_ms

    ours, theirs, direct = in_turns(
        bench.pairs, *map(median, (sides.our_url(LISTING), sides.their_url(LISTING), upstream.url + VERSION + LISTING))
    )
    added, added_by_theirs = Pairs(ours, direct).difference, Pairs(theirs, direct).difference
    name = "added to the median of a GET of 2 KB, 1 connection"
    bench.records.record(name, added, "ms", reference=added_by_theirs, target=at_most(0.6))


def _measure_large(bench: Bench, sides: Sides, method: str, transfer: Callable[[str], float]) -> None:
    """One large body at a time: how fast, and how much more memory that takes than being idle."""
    servers = (sides.ours, sides.theirs)
    before = [resident(server.pid) for server in servers]
    for server in servers:
        forget_most_resident(server.pid)
    measured = in_turns(
        bench.pairs, lambda: transfer(sides.our_url(CONTENT)), lambda: transfer(sides.their_url(CONTENT))
    )
    grown = [(most_resident(server.pid) - idle) / MIB for server, idle in zip(servers, before, strict=True)]
    _record_rates(bench, f"{method} of 1 GiB", "MB/s", Pairs(*measured), 0.9)
    bench.records.record(f"memory grown by {method} of 1 GiB", grown[0], "MiB", reference=grown[1], target=at_most(16))


def _record_rates(bench: Bench, name: str, unit: str, pairs: Pairs, least: float) -> None:
    bench.records.record(
        name, pairs.value, unit, reference=pairs.reference, ratio=pairs.ratio, target=ratio_at_least(least)
    )
