"""How many runs are under way at once, for whom, and who comes next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing

import aiohttp
import pytest
from tests.crash import doomed
from tests.integrations.landbridge import Place, eventually, place
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, Peer, peer
from tests.integrations.workflows.crew import Crew, working

from landbridge.settings import Settings
from landbridge.store.runs import SUCCEEDED, RunRow
from landbridge.workflows import agenda
from landbridge.workflows.deployments import Deployed

CALL = """
name: Call somebody who takes long
trigger: {type: request}
steps: [{id: call, type: request, method: GET, url: "URL/{{ user.id }}"}]
"""


class Slow:
    """A service that answers nobody until it may, and knows who waits for it."""

    def __init__(self, running: Peer) -> None:
        self.url = running.url
        self.may_answer = asyncio.Semaphore(0)
        self.asked: list[str] = []
        self.waiting: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        running.script = self._hold

    def answer(self, times: int) -> None:
        for _ in range(times):
            self.may_answer.release()

    async def _hold(self, asked: Asked) -> None:
        who = asked.target.strip("/")
        self.asked.append(who)
        self.waiting[who] += 1
        self.most |= self.waiting
        await self.may_answer.acquire()
        self.waiting[who] -= 1
        await asked.answer()


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    async with peer() as running:
        yield Slow(running)


async def _crew(ours: Place, slow: Slow, project: str | None, user: str) -> tuple[Crew, Deployed]:
    person, connection_id = await ours.connected(project, id_=user)
    crew = Crew(ours, person, connection_id)
    deployments = ours.house.deployments
    known = await deployments.deployed(crew.project)
    return crew, known[0] if known else await crew.deploy(CALL.replace("URL", slow.url))


async def test_workers_together_keep_the_limits_of_each_connection_and_project(
    settings: Settings,
    http: aiohttp.ClientSession,
    microsoft: Microsoft,
    slow: Slow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agenda, "DEAD_AFTER", doomed.PATIENT)
    limited = settings.model_copy(update={"runs_per_project": 3, "runs_per_connection": 2})
    async with place(limited, http, microsoft) as ours:
        ann, deployed = await _crew(ours, slow, None, "ann")
        bob, _ = await _crew(ours, slow, ann.project, "bob")
        other, elsewhere = await _crew(ours, slow, None, "other")
        runs = [await crew.start(deployed) for crew in (ann, ann, ann, ann, bob, bob, bob)]
        with closing(doomed.start(limited, "another", patience=doomed.PATIENT)):
            async with working(ours):
                await eventually(lambda: sum(slow.waiting.values()) == 3)
                runs.append(await other.start(elsewhere))
                await eventually(lambda: slow.waiting["other"] == 1)  # by then all that may begin has begun
                assert sum(slow.waiting.values()) == 4
                slow.answer(len(runs))
                assert {(await _ended(ours, run)).state for run in runs} == {SUCCEEDED}
    assert Counter(slow.asked) == {"ann": 4, "bob": 3, "other": 1}
    assert max(slow.most["ann"], slow.most["bob"]) <= 2


async def test_whoever_has_much_to_do_keeps_nobody_waiting_for_all_of_it(
    settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft, slow: Slow
) -> None:
    async with place(settings.model_copy(update={"runs_at_once": 2}), http, microsoft) as ours:
        busy, deployed = await _crew(ours, slow, None, "busy")
        quiet, _ = await _crew(ours, slow, busy.project, "quiet")
        other, elsewhere = await _crew(ours, slow, None, "other")
        runs = [await busy.start(deployed) for _ in range(6)]
        async with working(ours):
            await eventually(lambda: slow.waiting["busy"] == 2)
            runs += [await quiet.start(deployed), await other.start(elsewhere)]
            for answered in (1, 2):
                slow.answer(1)
                await eventually(lambda: len(slow.asked) == 2 + answered)  # noqa: B023
            assert slow.asked == ["busy", "busy", "other", "quiet"]
            slow.answer(len(runs))
            assert {(await _ended(ours, run)).state for run in runs} == {SUCCEEDED}


async def _ended(ours: Place, run: RunRow) -> RunRow:
    async def is_over() -> bool:
        return (await ours.house.runs.get(run.project_id, run.id)).finished_at is not None

    await eventually(is_over)
    return await ours.house.runs.get(run.project_id, run.id)
