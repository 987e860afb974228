"""A disk that is full for a while delays runs, and loses none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.everything import Service
from tests.integrations.landbridge import Process, eventually
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import SUCCEEDED

TWO_CALLS = """
name: Tell, and tell
trigger: {type: request}
steps:
  - {id: first, type: request, method: POST, url: "SERVICE/slow1/{{ run.id }}"}
  - {id: second, type: request, method: POST, url: "SERVICE/second/{{ run.id }}"}
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_disk_that_is_full_for_a_while_loses_no_run_and_repeats_nothing(crew: Crew, service: Service) -> None:
    deployed = await crew.deploy(TWO_CALLS.replace("SERVICE", service.url))
    reading, writing = os.pipe()
    worker = Process(crew.place.settings, "worker", log=Path(f"/dev/fd/{writing}"))
    with os.fdopen(reading) as told, os.fdopen(writing, "w"), contextlib.closing(worker):
        runs = [await crew.start(deployed) for _ in range(6)]
        await eventually(lambda: len([path for path, _ in service.asked if path.startswith("/slow1/")]) == len(runs))
        with _no_room(worker):
            await asyncio.to_thread(lambda: next(line for line in told if "the journal cannot be written" in line))
        ended = [await crew.ended(run.id) for run in runs]
    assert [(run.state, run.error) for run in ended] == [(SUCCEEDED, None)] * len(runs)
    assert len(service.asked) == len(set(service.asked)) == 2 * len(runs)


@contextlib.contextmanager
def _no_room(process: Process) -> Iterator[None]:
    """Let no file of a process grow, which it cannot tell from a disk that is full."""
    limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
