"""What it takes to be there: how long a start lasts, and how much memory server and worker occupy while idle."""

import asyncio
import statistics
import time

from tests.bench.bench import Bench
from tests.bench.processes import children, resident
from tests.bench.records import at_most
from tests.bench.servers import connect_someone, landbridge, settings_for

_SETTLED_SECONDS = 4


def measure(bench: Bench) -> None:
    """Record start and memory. The aims are for a database that is there already, as it is at every start but one."""
    settings = settings_for(bench.folder / "footprint", "http://127.0.0.1:9")
    with landbridge(settings) as first:
        bench.records.record("first start to ready", first.seconds_to_ready, "s")
    asyncio.run(connect_someone(settings))
    starts, memory = [], []
    for _ in range(bench.pairs):
        with landbridge(settings) as server:
            starts.append(server.seconds_to_ready)
            time.sleep(1 if bench.short else _SETTLED_SECONDS)
            memory.append(sum(map(resident, (server.pid, *children(server.pid)))) / 1e6)
    bench.records.record("start to ready", statistics.median(starts), "s", target=at_most(2))
    bench.records.record("idle memory of serve and worker", statistics.median(memory), "MB", target=at_most(200))
