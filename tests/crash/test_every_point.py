"""A run of every kind of step is killed at every point; another worker ends it, and nobody can tell the difference.

`make soak` kills it at all of them. `make test` kills it at some, chosen by the seed that pytest prints first.
"""

from __future__ import annotations

import asyncio
import random
import signal

import pytest
from tests.crash.conftest import EVERYWHERE, Forked
from tests.crash.doomed import Doom, Doomed
from tests.crash.everything import Scene, Service, Told
from tests.integrations.workflows.crew import Crew

SAMPLE = 2


@pytest.fixture
async def scene(crew: Crew, service: Service) -> Scene:
    """A connected user with the workflow, and no worker."""
    await crew.place.microsoft.switch(copy_seconds=0.3)
    return await Scene.of(crew, service)


@pytest.mark.timeout(7200 if EVERYWHERE else 600)
async def test_killed_at_any_point_a_run_ends_as_if_nothing_had_happened(scene: Scene, forked: Forked) -> None:
    settings = scene.crew.place.settings
    calm = forked(settings, "calm")
    expected = await _run(scene, "calm", calm)
    assert expected.answer["statusCode"] == 201
    dooms = [Doom(point, n + 1) for point, times in calm.crossed().items() for n in range(times)]
    calm.close()
    chosen = dooms if EVERYWHERE else random.sample(dooms, SAMPLE)
    wrong, spared = [], []
    for number, doom in enumerate(chosen):
        told, was_killed = await _killed(scene, f"killed-{number:03}", doom, forked)
        spared += [] if was_killed else [str(doom)]
        if told != expected:
            wrong.append(f"{doom}: {_difference(expected, told)}")
            print(wrong[-1], flush=True)
    print(f"killed at {len(chosen) - len(spared)} of {len(dooms)} points: {', '.join(map(str, chosen))}")
    print(f"not come to, since how often one looks is a matter of time: {', '.join(spared)}")
    assert not wrong
    assert len(spared) <= len(chosen) / 10 + 1


async def _run(scene: Scene, name: str, worker: Doomed) -> Told:
    run = await scene.start(name)
    told = await scene.told(run, name)
    assert worker.process.is_alive()
    return told


async def _killed(scene: Scene, name: str, doom: Doom, forked: Forked) -> tuple[Told, bool]:
    """Return what became of a run whose worker was to be killed, once another one has ended it, and whether it was."""
    settings = scene.crew.place.settings
    first = forked(settings, name, doom)
    run = await scene.start(name)
    is_over = scene.all_over(run)
    while (code := first.ended(0)) is None and not await is_over():
        await asyncio.sleep(0.02)
    assert code in {None, -signal.SIGKILL}, doom
    second = forked(settings, f"{name}-again") if code else first
    try:
        return await scene.told(run, name), code is not None
    finally:
        second.close()


def _difference(expected: Told, told: Told) -> str:
    return "; ".join(
        f"{name}: {getattr(expected, name)} became {getattr(told, name)}"
        for name in Told.__dataclass_fields__
        if getattr(told, name) != getattr(expected, name)
    )
