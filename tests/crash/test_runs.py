"""Workers are killed at every turn, and no run is lost or does anything twice that must be done once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from tests.integrations.landbridge import Place, Process, eventually
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, Peer, peer
from tests.integrations.workflows.crew import Crew

from landbridge.store import runs as store
from landbridge.store.runs import SUCCEEDED, RunRow
from landbridge.workflows.agenda import BEAT_EVERY, DEAD_AFTER
from landbridge.workflows.deployments import Deployed

FOLDERS = """
name: Two folders, with a pause between them
trigger: {type: request}
steps:
  - id: first
    type: action
    action: create_folder
    input: {name: first, conflictBehavior: rename}
  - {id: pause, type: delay, value: 1, unit: SECONDS}
  - id: second
    type: action
    action: create_folder
    input: {name: second, conflictBehavior: rename}
"""

TELL = """
name: Tell somebody
trigger: {type: request}
steps: [{id: tell, type: request, method: POST, url: "%s/{{ run.id }}"}]
"""


@pytest.fixture
def workers() -> Iterator[Any]:
    """Starts `landbridge worker` processes, and ends them with the test."""
    with ExitStack() as closing:

        def start(place: Place) -> Process:
            process = Process(place.settings, "worker")
            closing.callback(process.close)
            return process

        yield start


async def test_a_worker_that_is_killed_at_any_moment_leaves_nothing_undone_and_nothing_done_twice(
    crew: Crew, workers: Any
) -> None:
    deployed = await crew.deploy(FOLDERS)
    worker = workers(crew.place)
    runs = []
    for beat in range(6):
        runs.append(await crew.start(deployed, key=f"run {beat}"))
        await asyncio.sleep(0.25 * (beat + 1))
        worker.signal(signal.SIGKILL)
        worker = workers(crew.place)
    for run in runs:
        ended = await crew.ended(run.id)
        assert (ended.state, ended.error) == (SUCCEEDED, None)
    names = await crew.names()
    assert len([name for name in names if name.startswith("first")]) == len(runs)
    assert len([name for name in names if name.startswith("second")]) == len(runs)


async def test_a_worker_that_stops_and_comes_back_finds_that_its_runs_are_anothers(crew: Crew, workers: Any) -> None:
    """On SQLite a stopped process may hold the lock of the whole file; then nobody goes on until it does."""
    deployed, microsoft = await crew.deploy(FOLDERS), crew.place.microsoft
    held = await microsoft.plant(method="POST", path="/children", effect="delay", delay=3, count=4)
    zombie = workers(crew.place)
    runs = [await crew.start(deployed) for _ in range(4)]
    await crew.until(lambda: _are_struck(microsoft, held, len(runs)))
    zombie.signal(signal.SIGSTOP)  # all four have asked by now, and are answered later
    workers(crew.place)
    if crew.place.settings.effective_database_url.startswith("sqlite"):
        await asyncio.sleep(DEAD_AFTER.total_seconds() + 2)
        zombie.signal(signal.SIGCONT)
    for run in runs:
        assert (await crew.ended(run.id)).state == SUCCEEDED
    zombie.signal(signal.SIGCONT)
    await asyncio.sleep(1.5)
    names = await crew.names()
    assert len([name for name in names if name.startswith("first")]) == len(runs)
    assert len([name for name in names if name.startswith("second")]) == len(runs)


async def test_runs_of_a_worker_that_is_killed_are_anothers_within_ten_seconds(crew: Crew, workers: Any) -> None:
    """Within what we wait for ourselves, that is: a machine that stands still delays whatever we promise."""
    may_end = asyncio.Event()

    async def answer_another(one: Asked) -> None:
        if one is stranger.asked[0]:
            await may_end.wait()
        await asyncio.sleep(0.3)
        await one.answer(200, b"{}")

    async with peer() as stranger:
        stranger.script = answer_another
        deployed = await crew.deploy(TELL % stranger.url)
        run = await crew.start(deployed)
        worker = workers(crew.place)
        await crew.until(lambda: _is_asked(stranger, run, 1))
        workers(crew.place)
        await crew.until(lambda: _have_runs(crew, deployed, 2))  # so that the heir needs no time to open its engine
        worker.signal(signal.SIGKILL)
        await eventually(lambda: _is_asked(stranger, run, 2), within=30)
        assert (await crew.ended(run.id)).state == SUCCEEDED
        may_end.set()

    noticed, handed_out = DEAD_AFTER + 2 * BEAT_EVERY, timedelta(seconds=1)
    assert noticed + handed_out < timedelta(seconds=10)


async def _is_asked(stranger: Peer, run: RunRow, times: int) -> bool:
    return [one.target for one in stranger.asked].count(f"/{run.id}") == times


async def _have_runs(crew: Crew, deployed: Deployed, number: int) -> bool:
    """Start one more run, and return whether so many workers have some soon after."""
    await crew.start(deployed)
    await asyncio.sleep(0.2)
    async with crew.place.house.database.read() as tx:
        return len(await store.workers_with_runs(tx)) == number


async def _are_struck(microsoft: Microsoft, fault: str, number: int) -> bool:
    return await microsoft.struck(fault) == number
