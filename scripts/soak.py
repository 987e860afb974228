"""`make soak`: an hour of use on a bad day at Microsoft, watching for what grows.

Eight users' worth of requests go through the proxy while tokens live for a minute, one request to Graph in a hundred
fails, and the token endpoint fails one time in three. Every minute the server's own metrics are read. It passes if
memory and open files stay where they settled, and if no answer was one that nobody planned. `MINUTES=5 make soak` is a
short one.
"""

import asyncio
import json
import os
import re
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count, cycle

import aiohttp
from examples import demo, stack
from examples.host.server import Product
from rich.console import Console

from scripts.setup import TREE

USERS = 8
MOST_GROWTH = 16 << 20
"""Bytes of memory that may be gained after settling."""
MOST_FILES = 16
"""Open files that may be gained after settling."""
PLANNED = frozenset({200, 201, 500, 502, 503})
"""Success, the failures that the sandbox is told to make, and what a broken connection to it becomes."""

FAULTS = (
    {"service": "graph", "rate": 0.01, "count": None, "effect": "respond", "status": 500},
    {"service": "graph", "rate": 0.001, "count": None, "effect": "reset"},
    {"operation": "token", "rate": 0.33, "count": None, "effect": "respond", "status": 503},
)

console = Console(highlight=False)


@dataclass(frozen=True)
class Sample:
    """What one minute looked like."""

    minute: int
    answers: dict[int, int]
    memory: int
    files: int


def complaints(samples: Sequence[Sample]) -> list[str]:
    """Return what is wrong with a run, in words; nothing if it was good.

    The first quarter is for settling: caches fill, and the allocator takes what it will keep.
    """
    quarter = max(1, len(samples) // 4)
    settled, last = samples[:quarter], samples[-quarter:]
    found = []
    for name, most in (("memory", MOST_GROWTH), ("files", MOST_FILES)):
        before, after = (statistics.median(getattr(sample, name) for sample in part) for part in (settled, last))
        if after - before > most:
            found.append(f"{name} grew from {before:,.0f} to {after:,.0f}")
    unplanned = Counter(status for sample in samples for status in sample.answers if status not in PLANNED)
    found += [f"{status} was answered, which nobody planned" for status in sorted(unplanned)]
    if not any(sample.answers.get(200) for sample in last):
        found.append("nothing succeeded in the end")
    return found


async def soak(product: Product, origin: str, minutes: float) -> list[Sample]:
    """Use the proxy for so many minutes, and return what each one looked like."""
    answers: Counter[int] = Counter()
    samples = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        headers = {"Authorization": f"Bearer {product.user_token('ada')}", "Origin": origin}
        await demo.connect(browser, product, origin, headers)
        users = [asyncio.create_task(_use(browser, product, origin, answers)) for _ in range(USERS)]
        ends = time.monotonic() + minutes * 60
        for minute in count(1):
            await asyncio.sleep(max(0.0, min(60.0, ends - time.monotonic())))
            memory, files = await _metrics(browser, product)
            samples.append(Sample(minute, dict(answers), memory, files))
            answers.clear()
            console.print(_line(samples[-1]))
            if time.monotonic() >= ends:
                break
        for user in users:
            user.cancel()
        await asyncio.gather(*users, return_exceptions=True)
    return samples


async def _use(browser: aiohttp.ClientSession, product: Product, origin: str, answers: Counter[int]) -> None:
    """List, upload and download in turn, for ever, as fast as the answers come."""
    drive = f"{product.landbridge_url}/projects/{product.project_id}/sdk/proxy/onedrive/me/drive"
    file = f"{drive}/root:/soak.bin:/content"
    body = os.urandom(256 << 10)
    for method, url, sent in cycle((("GET", f"{drive}/root/children", None), ("PUT", file, body), ("GET", file, None))):
        headers = {"Authorization": f"Bearer {product.user_token('ada')}", "Origin": origin}
        try:
            async with browser.request(method, url, headers=headers, data=sent) as answer:
                await answer.read()
                answers[answer.status] += 1
        except aiohttp.ClientPayloadError:
            answers[502] += 1  # the sandbox broke off in mid-body, and so did we


async def _metrics(browser: aiohttp.ClientSession, product: Product) -> tuple[int, int]:
    async with browser.get(f"{product.landbridge_url}/metrics") as answer:
        text = await answer.text()
    found = dict(re.findall(r"^(process_resident_memory_bytes|process_open_fds) (\S+)$", text, flags=re.MULTILINE))
    return int(float(found["process_resident_memory_bytes"])), int(float(found["process_open_fds"]))


def _line(sample: Sample) -> str:
    statuses = "  ".join(f"{status}: {number:,}" for status, number in sorted(sample.answers.items()))
    return f"  {sample.minute:>4} min   {sample.memory / (1 << 20):6.1f} MiB   {sample.files:4} files   {statuses}"


async def _plan(microsoft: stack.Microsoft) -> None:
    """Tell the sandbox to have a bad day."""
    async with aiohttp.ClientSession(raise_for_status=True) as control:
        await control.patch(f"{microsoft.control_url}/switches", json={"access_token_seconds": 60})
        for fault in FAULTS:
            await control.post(f"{microsoft.control_url}/faults", json=fault)


async def _run(product: Product, microsoft: stack.Microsoft, origin: str, minutes: float) -> list[Sample]:
    await _plan(microsoft)
    return await soak(product, origin, minutes)


def main() -> None:
    minutes = float(os.environ.get("MINUTES", "60"))
    origin = "http://127.0.0.1:1"
    console.print(f"\n[bold]{minutes:g} minutes of use[/] on a bad day at Microsoft\n")
    with stack.sandbox() as microsoft:
        data = TREE / "build" / "soak"
        shutil.rmtree(data, ignore_errors=True)
        settings = {"LANDBRIDGE_DATA_DIR": str(data), "LANDBRIDGE_PORT": "0", **microsoft.settings}
        with stack.landbridge(settings) as url:
            product = stack.set_up(settings, microsoft, landbridge_url=url, origin=origin)
            samples = asyncio.run(_run(product, microsoft, origin, minutes))
    (TREE / "build" / "soak.json").write_text(json.dumps([asdict(sample) for sample in samples], indent=2))
    found = complaints(samples)
    console.print("\n[green]Nothing grew.[/]\n" if not found else f"\n[red]{'; '.join(found)}[/]\n")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
