"""The trace that leads from whatever caused a run to everything that follows from it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.integrations.landbridge import eventually
from tests.integrations.peer import Peer, peer
from tests.integrations.workflows.crew import Crew

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

TELLS = "{name: Tell, trigger: %s, steps: [{id: tell, type: request, method: POST, url: '%s/'}]}"

FAMILY = """
name: Tell by others
trigger: %s
steps:
  - id: each
    type: fanOut
    over: [1, 2]
    steps: [{id: tell, type: request, method: POST, url: '%s/'}]
  - {id: ask, type: runWorkflow, workflow: %s}
"""


def _sent(receiver: Peer) -> set[str]:
    """Return the traces of what a peer was sent."""
    return {(asked.header("traceparent") or "").split("-")[1] for asked in receiver.asked}


@pytest.mark.parametrize("trigger", ["{type: scheduler, cron: '0 9 * * *'}", "{type: integrationEnabled}"])
async def test_a_run_that_starts_by_itself_is_found_by_the_trace_that_it_sends_on(crew: Crew, trigger: str) -> None:
    async with peer() as receiver:
        await crew.deploy(TELLS % (trigger, receiver.url))
        await crew.place.house.appointments.arrange()
        crew.place.clock.jump(timedelta(days=1))
        await eventually(lambda: len(receiver.asked) == 1)
        (trace,) = _sent(receiver)
    (run,) = (await crew.shown(f"/runs?trace_id={trace}"))["runs"]
    assert run["trace_id"] == trace


@pytest.mark.parametrize("trigger", ["{type: request}", "{type: appEvent, event: E}"])
async def test_a_trace_goes_on_to_entries_and_to_workflows_that_are_run(crew: Crew, trigger: str) -> None:
    await crew.place.house.deployments.put_event(crew.project, "E", {}, None)
    async with peer() as receiver:
        inner = await crew.deploy(TELLS % ("{type: request}", receiver.url))
        outer = await crew.deploy(FAMILY % (trigger, receiver.url, inner.workflow.id))
        path = "/events/trigger" if "appEvent" in trigger else f"/triggers/{outer.workflow.id}"
        answer = await crew.person.sdk("POST", path, json={"name": "E"}, headers={"traceparent": PARENT})
        assert answer.headers["X-Landbridge-Trace"] == TRACE
        (run,) = [row for row in await crew.runs() if row.parent_id is None]
        await crew.ended(run.id)
        assert _sent(receiver) == {TRACE}
        assert len(receiver.asked) == 3
    for id_ in (run.id, f"{run.id}:each:1", f"{run.id}:ask:0"):
        assert (await crew.row(id_)).trace_id == TRACE
