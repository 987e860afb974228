"""Days on which more goes wrong than one process: clocks, databases, deployments, and orders to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from tests.crash.conftest import Forked
from tests.crash.doomed import PATIENT
from tests.crash.everything import Service
from tests.ground.postgres import running_postgres
from tests.integrations.landbridge import Process, eventually, place, settings_for
from tests.integrations.microsoft import Microsoft
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import CANCELLED, FAILED, RUNNING, SUCCEEDED, RunRow

TWICE = """
name: Tell, wait, tell
trigger: {type: request}
steps:
  - {id: first, type: request, method: POST, url: "SERVICE/first/{{ run.id }}"}
  - {id: pause, type: delay, value: 1, unit: SECONDS}
  - {id: second, type: request, method: POST, url: "SERVICE/second/{{ run.id }}"}
"""
ONCE = """
name: Tell
trigger: {type: request}
steps:
  - {id: tell, type: request, method: POST, url: "SERVICE/SLOW/{{ run.id }}"}
  - {id: give, type: function, code: "def run(parameters): return 'VERSION'"}
"""


def _requests(service: Service, runs: list[RunRow], *paths: str) -> list[tuple[str, str | None]]:
    """Return what the service must have been asked: each request once, or again with the same key."""
    return sorted((f"/{path}/{run.id}", f"{run.id}:{step}") for run in runs for path, step in map(_pair, paths))


def _pair(path: str) -> tuple[str, str]:
    before, _, step = path.partition(":")
    return before, step or before


@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_that_race_do_each_run_once_and_share_the_load(
    crew: Crew, service: Service, forked: Forked, workers: int
) -> None:
    deployed = await crew.deploy(ONCE.replace("SERVICE", service.url).replace("SLOW", "told"))
    racing = [forked(crew.place.settings, f"racer-{number}", patience=PATIENT) for number in range(workers)]
    runs = [await crew.start(deployed) for _ in range(200)]
    for run in runs:
        assert (await crew.ended(run.id)).state == SUCCEEDED
    assert sorted(service.asked) == _requests(service, runs, "told:tell")
    shares = [worker.crossed()["begun"] for worker in racing]
    assert sum(shares) == len(runs)
    assert min(shares) > len(runs) / workers / 4, shares


async def test_a_clock_that_jumps_loses_nothing_and_does_nothing_twice(
    crew: Crew, service: Service, forked: Forked
) -> None:
    deployed = await crew.deploy(TWICE.replace("SERVICE", service.url))
    worker = forked(crew.place.settings, "jumping")
    runs = []
    for hours in (1, -1, 24, -24, 48):  # what waits for an hour that was wrong waits until that hour comes
        runs += [await crew.start(deployed) for _ in range(3)]
        await asyncio.sleep(0.3)
        worker.jump(timedelta(hours=hours))
        await asyncio.sleep(0.3)
    for run in runs:
        assert (await crew.ended(run.id)).state == SUCCEEDED
    assert sorted(service.asked) == _requests(service, runs, "first", "second")


@pytest.fixture
def sturdy() -> Iterator[str]:
    """A PostgreSQL that loses no commit when it is killed."""
    with running_postgres("fsync=off") as url:
        yield url


async def test_a_database_that_is_restarted_or_killed_loses_no_run_and_fails_none(
    sturdy: str, microsoft: Microsoft, http: aiohttp.ClientSession, tmp_path: Path, service: Service, forked: Forked
) -> None:
    settings = settings_for(microsoft.facts, tmp_path, database_url=sturdy)
    data = Path(await _told(sturdy, "SHOW data_directory"))
    async with place(settings, http, microsoft) as ours:
        person, connection_id = await ours.connected()
        crew = Crew(ours, person, connection_id)
        deployed = await crew.deploy(TWICE.replace("SERVICE", service.url))
        forked(settings, "patient")
        forked(settings, "patient-too")
        runs = []
        for end in ("fast", "immediate", "kill"):
            before = len(service.asked)
            runs += [await crew.start(deployed) for _ in range(10)]
            await eventually(lambda: len(service.asked) > before + 3)  # noqa: B023
            await asyncio.to_thread(_restart, data, end)
        for run in runs:
            await eventually(_over(crew, run), within=90)
            row = await crew.row(run.id)
            assert (row.state, row.error) == (SUCCEEDED, None)
    assert sorted(set(service.asked)) == _requests(service, runs, "first", "second")


async def test_a_worker_ends_when_it_is_asked_to_although_its_database_is_away(
    sturdy: str, microsoft: Microsoft, http: aiohttp.ClientSession, tmp_path: Path, service: Service, forked: Forked
) -> None:
    settings = settings_for(microsoft.facts, tmp_path, database_url=sturdy)
    data = Path(await _told(sturdy, "SHOW data_directory"))
    async with place(settings, http, microsoft) as ours:
        person, connection_id = await ours.connected()
        crew = Crew(ours, person, connection_id)
        deployed = await crew.deploy(ONCE.replace("SERVICE", service.url).replace("SLOW", "slow1"))
        worker, log = forked(settings, "bereaved"), settings.data_dir / "bereaved.log"
        runs = [await crew.start(deployed) for _ in range(8)]
        await eventually(lambda: len(service.asked) == len(runs))
        with _away(data, "immediate"):
            await eventually(lambda: "the journal waits" in log.read_text())
            worker.signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.ended, 15) == 0


def _over(crew: Crew, run: RunRow):  # type: ignore[no-untyped-def]
    async def holds() -> bool:
        with contextlib.suppress(Exception):
            return (await crew.row(run.id)).state in {SUCCEEDED, FAILED, CANCELLED}
        return False

    return holds


async def _told(url: str, question: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        answer: str = await connection.fetchval(question)
        return answer
    finally:
        await connection.close()


@contextlib.contextmanager
def _away(data: Path, end: str) -> Iterator[None]:
    """End a server as it is told, or kill it with all that belong to it, and start it as it was in the end."""
    options = shlex.split((data / "postmaster.opts").read_text())
    owner = data.stat().st_uid
    control = [str(Path(options[0]).with_name("pg_ctl")), "--pgdata", str(data), "--log", str(data.parent / "log")]
    as_owner = {"user": owner} if os.geteuid() == 0 else {}

    def order(*words: str) -> bool:
        return not subprocess.run([*control, *words], check=False, cwd="/", stdout=-3, stderr=-3, **as_owner).returncode  # type: ignore[call-overload]

    if end == "kill":
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    else:
        assert order("stop", "--wait", "--mode", end)
    yield
    deadline = time.monotonic() + 30
    while not order("start", "--wait", "--options", shlex.join(options[1:])):
        assert time.monotonic() < deadline  # the backends that it leaves behind see that it is gone, and end
        time.sleep(0.2)


def _restart(data: Path, end: str) -> None:
    with _away(data, end):
        pass


async def test_a_run_ends_in_the_version_in_which_it_began(crew: Crew, service: Service, forked: Forked) -> None:
    deployments = crew.place.house.deployments
    text = TWICE.replace("SERVICE", service.url)
    deployed = await crew.deploy(text)
    forked(crew.place.settings, "deployed-to")
    old = await crew.start(deployed)
    await crew.until(lambda: _has_begun(crew, old))
    newer = type(deployed.plan.workflow).from_yaml(text.replace("/second/", "/newer/"))
    await deployments.save(crew.project, deployed.workflow.id, newer)
    await deployments.deploy(crew.project, deployed.workflow.id)
    new = await crew.start(await deployments.find(crew.project, deployed.workflow.id))
    assert [(await crew.ended(run.id)).state for run in (old, new)] == [SUCCEEDED, SUCCEEDED]
    expected = [*_requests(service, [old], "first", "second"), *_requests(service, [new], "first", "newer:second")]
    assert sorted(service.asked) == sorted(expected)


async def _has_begun(crew: Crew, run: RunRow) -> bool:
    return (await crew.row(run.id)).leg > 0


async def test_runs_of_a_workflow_that_is_deleted_come_to_an_end(crew: Crew, service: Service, forked: Forked) -> None:
    text = TWICE.replace("SERVICE", service.url)
    deployed = await crew.deploy(text)
    nested = text.partition("steps:")[0] + (
        "steps: [{id: each, type: fanOut, over: [1, 2, 3], concurrency: 2, "
        "steps: [{id: pause, type: delay, value: 1, unit: SECONDS}]}]"
    )
    fanned = await crew.deploy(nested)
    forked(crew.place.settings, "bereft")
    runs = [await crew.start(deployed), await crew.start(fanned)]
    for run in runs:
        await crew.until(lambda run=run: _has_begun(crew, run))  # type: ignore[misc]
    for gone in (deployed, fanned):
        await crew.place.house.deployments.undeploy(crew.project, gone.workflow.id)
        await crew.place.house.deployments.delete(crew.project, gone.workflow.id)
    for run in runs:
        ended = await crew.ended(run.id)
        assert (ended.state, (ended.error or {}).get("code")) in {(SUCCEEDED, None), (FAILED, "not_found")}


@pytest.mark.parametrize("slow", [0.5, 8.0])
async def test_a_worker_that_is_asked_to_end_finishes_what_it_can_and_leaves_the_rest(
    crew: Crew, service: Service, forked: Forked, slow: float
) -> None:
    """What it has time for is waited for, the rest is not: another worker asks anew then, with the same key."""
    deployed = await crew.deploy(ONCE.replace("SERVICE", service.url).replace("SLOW", f"slow{slow}"))
    worker = forked(crew.place.settings, "asked", drained_within=PATIENT if slow < 1 else timedelta(seconds=1))
    runs = [await crew.start(deployed) for _ in range(5)]
    await eventually(lambda: len(service.asked) == len(runs))
    worker.signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.ended, 60) == 0
    waiting = {(await crew.row(run.id)).state for run in runs}
    assert waiting == ({SUCCEEDED} if slow < 1 else {RUNNING})
    forked(crew.place.settings, "next", patience=PATIENT)
    for run in runs:
        ended = await crew.ended(run.id)
        assert (ended.state, ended.error) == (SUCCEEDED, None)
    assert sorted(set(service.asked)) == _requests(service, runs, f"slow{slow}:tell")
    assert len(service.asked) == len(runs) * (1 if slow < 1 else 2)


async def test_a_worker_beside_a_server_that_is_killed_again_and_again_loses_no_run(
    crew: Crew, service: Service
) -> None:
    deployed = await crew.deploy(TWICE.replace("SERVICE", service.url))
    with contextlib.closing(Process(crew.place.settings, "serve").ready()) as serving:
        runs = []
        for turn in range(3):
            runs += [await crew.start(deployed) for _ in range(3)]
            await eventually(lambda: len(service.asked) > 6 * turn)  # noqa: B023
            (worker,) = serving.children()
            os.kill(worker, signal.SIGKILL)
            await eventually(lambda: bool(serving.children()) and serving.children() != [worker])  # noqa: B023
        for run in runs:
            assert (await crew.ended(run.id)).state == SUCCEEDED
        serving.signal(signal.SIGTERM)
        assert await asyncio.to_thread(serving.ended) == 0
    assert sorted(set(service.asked)) == _requests(service, runs, "first", "second")
