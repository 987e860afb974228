"""Runs that mostly wait: what many of them take of a worker's memory, and how much a second worker adds.

Runs are put on the agenda from here, as an app event that many users are concerned by does it, and workers do the rest.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from tests.bench.bench import Bench, Pairs, in_turns
from tests.bench.processes import MIB, forget_most_resident, most_resident, resident
from tests.bench.records import at_most, ratio_at_least
from tests.bench.servers import (
    Seat,
    await_port,
    connect_someone,
    environment_of,
    running,
    settings_for,
)
from tests.ground.migrated import migrate
from tests.ground.ports import free_port
from tests.ground.postgres import PostgresServer, running_postgres

from landbridge import app
from landbridge.app import House
from landbridge.settings import Settings
from landbridge.store import history
from landbridge.store.history import Filter
from landbridge.store.runs import SUCCEEDED, WAITING
from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed
from landbridge.workflows.runs import Cause, Whose

DELAYED = """
name: Wait for an hour
trigger: {type: request}
steps:
  - {id: wait, type: delay, value: 1, unit: HOURS}
  - {id: after, type: stop}
"""
SLOW = """
name: Ask somebody slow
trigger: {type: request}
steps:
  - {id: ask, type: request, method: GET, url: "http://127.0.0.1:@port@/"}
"""

_AT_ONCE = 4
_SLOW_SECONDS = 0.5
_STARTED_AT_ONCE = 500


def measure(bench: Bench) -> None:
    """Record memory and gain."""
    folder = bench.folder / "waiting"
    folder.mkdir()
    asyncio.run(_measure_delayed(bench, folder / "sqlite"))
    with (
        running_postgres() as url,
        contextlib.closing(PostgresServer(url)) as server,
        server.database() as database,
        _slow(folder / "slow") as port,
    ):
        settings = settings_for(folder / "postgresql", "http://127.0.0.1:9").model_copy(
            update={"database_url": database, "runs_at_once": _AT_ONCE, "runs_per_connection": 2 * _AT_ONCE}
        )
        asyncio.run(migrate(settings))
        _measure_workers(bench, settings, port)


async def _measure_delayed(bench: Bench, folder: Path) -> None:
    """Let many runs come to a delay of an hour, and see what the worker occupies at most."""
    count = 100 if bench.short else 10_000
    settings = settings_for(folder, "http://127.0.0.1:9")
    seat = await connect_someone(settings)
    async with app.assemble(settings) as house:
        stage = await _Stage.of(house, seat, DELAYED)
        with _workers(settings, 1) as (worker,):
            await stage.start(1)
            await stage.until(WAITING, 1)
            idle = resident(worker)
            forget_most_resident(worker)
            await stage.start(count)
            await stage.until(WAITING, count + 1)
            grown = (most_resident(worker) - idle) / MIB
    bench.records.record(f"memory grown by {count:,} delayed runs", grown, "MiB", target=at_most(60))


def _measure_workers(bench: Bench, settings: Settings, port: int) -> None:
    """Let runs wait for somebody slow, with one worker and with two, each with as much room."""
    seat = asyncio.run(connect_someone(settings))
    count = 8 if bench.short else 120
    definition = SLOW.replace("@port@", str(port))

    def rate(workers: int) -> float:
        with _workers(settings, workers):
            return asyncio.run(_rate(settings, seat, definition, count))

    pairs = Pairs(*in_turns(1 if bench.short else 3, lambda: rate(2), lambda: rate(1)))
    bench.records.record(
        "runs that wait for somebody slow, two workers beside one",
        pairs.value,
        "runs/s",
        reference=pairs.reference,
        ratio=pairs.ratio,
        target=ratio_at_least(1.6),
    )


async def _rate(settings: Settings, seat: Seat, definition: str, count: int) -> float:
    async with app.assemble(settings) as house:
        stage = await _Stage.of(house, seat, definition)
        warm = 4 * _AT_ONCE
        await stage.start(warm)
        await stage.until(SUCCEEDED, warm)
        began = time.perf_counter()
        await stage.start(count)
        await stage.until(SUCCEEDED, warm + count)
        return count / (time.perf_counter() - began)


class _Stage:
    """A deployed workflow and the user for whom it runs."""

    def __init__(self, house: House, deployed: Deployed, whose: Whose) -> None:
        self._house = house
        self._deployed = deployed
        self._whose = whose

    @classmethod
    async def of(cls, house: House, seat: Seat, text: str) -> "_Stage":
        """Deploy a workflow."""
        row = await house.deployments.create(seat.project_id, Workflow.from_yaml(text))
        await house.deployments.set(seat.project_id, row.id, is_default_enabled=True)
        await house.deployments.deploy(seat.project_id, row.id)
        caller = await house.access.user(seat.project_id, seat.token)
        (connected,) = await house.accounts.list(caller)
        whose = Whose(await house.accounts.user(caller), connected.connection, connected.default)
        return cls(house, await house.deployments.find(seat.project_id, row.id), whose)

    async def start(self, count: int) -> None:
        """Put runs on the agenda."""
        for first in range(0, count, _STARTED_AT_ONCE):
            some = range(first, min(first + _STARTED_AT_ONCE, count))
            causes = [Cause("request", {"request": {"body": {}}}, uuid4().hex, str(uuid4())) for _ in some]
            await self._house.runs.start([(self._deployed, self._whose, cause) for cause in causes])

    async def until(self, state: str, count: int) -> None:
        """Wait until so many runs are in a state."""
        wanted = Filter(self._deployed.workflow.project_id, workflow_id=self._deployed.workflow.id, states=(state,))
        while True:
            async with self._house.database.read() as tx:
                if await history.count(tx, wanted) >= count:
                    return
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def _workers(settings: Settings, count: int) -> Iterator[tuple[int, ...]]:
    """Run workers, without a server, and give their processes."""
    settings.data_dir.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "landbridge", "worker", "--json")
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(running(command, settings.data_dir, environment_of(settings))) for _ in range(count)
        ]
        yield tuple(process.pid for process in started)


@contextlib.contextmanager
def _slow(folder: Path) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    with running((sys.executable, "-m", "tests.bench.slow", port, _SLOW_SECONDS), folder) as process:
        await_port(port, process)
        yield port
