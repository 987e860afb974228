"""Workers are killed at every turn, and no run is lost or does anything twice that must be done once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.integrations.landbridge import Place, Process
from tests.integrations.peer import Asked, peer
from tests.integrations.workflows.crew import Crew

from landbridge.store import runs as store
from landbridge.store.runs import SUCCEEDED
from landbridge.workflows.agenda import DEAD_AFTER

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
steps: [{id: tell, type: request, method: POST, url: "%s/"}]
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
    deployed = await crew.deploy(FOLDERS)
    zombie = workers(crew.place)
    runs = [await crew.start(deployed) for _ in range(4)]
    await crew.until(lambda: _has_begun(crew, runs[0].id))
    zombie.signal(signal.SIGSTOP)
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
    asked, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def answer_another(one: Asked) -> None:
        asked.release()
        if len(stranger.asked) == 1:
            await may_end.wait()
        await one.answer(200, b"{}")

    async with peer() as stranger:
        stranger.script = answer_another
        run = await crew.start(await crew.deploy(TELL % stranger.url))
        worker = workers(crew.place)
        await asked.acquire()
        workers(crew.place)
        await crew.until(lambda: _are_working(crew, 2))
        worker.signal(signal.SIGKILL)
        async with asyncio.timeout(10):
            await asked.acquire()
        assert (await crew.ended(run.id)).state == SUCCEEDED
        may_end.set()


async def _are_working(crew: Crew, number: int) -> bool:
    async with crew.place.house.database.read() as tx:
        return len(await store.all_workers(tx)) == number


async def _has_begun(crew: Crew, run_id: str) -> bool:
    return (await crew.row(run_id)).leg > 0
