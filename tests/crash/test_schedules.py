"""Workers that keep a schedule are killed, and each of its times starts one run."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime, timedelta

from tests.crash.conftest import Forked
from tests.crash.doomed import Doom
from tests.integrations.workflows.crew import Crew

from landbridge.store import appointments
from landbridge.store.runs import SUCCEEDED

EACH_SECOND = """
name: Every second
trigger: {type: scheduler, cron: "* * * * * *"}
steps: [{id: end, type: stop, message: "{{ trigger.scheduledAt }}"}]
"""


async def test_each_time_of_a_schedule_starts_one_run_whichever_worker_dies_of_it(crew: Crew, forked: Forked) -> None:
    settings = crew.place.settings
    await crew.deploy(EACH_SECOND)
    before = forked(settings, "dies before it is written down", Doom("children half written", 1))
    assert await asyncio.to_thread(before.ended, 60) == -signal.SIGKILL
    assert (await _is_any_due(crew), await crew.runs()) == (True, [])
    after = forked(settings, "dies after it is written down", Doom("schedule kept", 1))
    assert await asyncio.to_thread(after.ended, 60) == -signal.SIGKILL
    assert await crew.runs()

    racing = [forked(settings, name) for name in ("one", "another")]
    await crew.until(lambda: _are(crew, 4))
    runs = [await crew.ended(run.id) for run in await crew.runs()]

    assert {run.state for run in runs} == {SUCCEEDED}
    assert all(worker.process.is_alive() for worker in racing)
    times = [datetime.fromisoformat((await crew.output(run.id))["message"]) for run in runs]
    assert len(set(times)) == len(times)
    assert all(time <= run.created_at < time + timedelta(seconds=10) for time, run in zip(times, runs, strict=True))


async def _are(crew: Crew, number: int) -> bool:
    return len(await crew.runs()) >= number


async def _is_any_due(crew: Crew) -> bool:
    async with crew.place.house.database.read() as tx:
        return await appointments.is_any_due(tx, crew.place.clock.now())
