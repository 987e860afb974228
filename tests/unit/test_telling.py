"""What the terminal says of a test that is under way."""

from datetime import timedelta
from typing import Any

from tests.clock import START

from landbridge.cli.testing import Telling
from landbridge.store.runs import PAUSED, QUEUED, RUNNING, SUCCEEDED, WAITING
from landbridge.web.flow_shapes import RunDetails, StepOut


def run(state: str, *steps: StepOut, **changes: Any) -> RunDetails:  # Any: columns
    empty: dict[str, Any] = dict.fromkeys(RunDetails.model_fields)
    usual = {"state": state, "created_at": START, "steps": list(steps)}
    return RunDetails.model_construct(**empty | usual | changes)


def step(state: str, **changes: Any) -> StepOut:  # Any: columns
    what: dict[str, Any] = {"step": "call", "type": "request", "state": state, "attempts": 1, "started_at": START}
    values: dict[str, Any] = {
        "finished_at": None,
        "input": None,
        "output": None,
        "error": None,
        "has_whole_input": True,
    }
    return StepOut(has_whole_output=True, **what | values | changes)


def test_each_thing_is_told_once_and_what_is_long_says_how_long_all_of_it_is() -> None:
    telling, soon, later = Telling(), START + timedelta(seconds=1), START + timedelta(seconds=6)
    done = {"finished_at": START + timedelta(seconds=2.5)}
    cut = {"truncated": True, "size": 123_456, "preview": "p" * 4096}

    assert list(telling.news(run(QUEUED), soon)) == []
    (hint,) = telling.news(run(QUEUED), later)
    assert "`landbridge worker`" in hint
    assert list(telling.news(run(QUEUED), later)) == []
    assert list(telling.news(run(RUNNING, step(RUNNING)), later)) == ["call: is under way."]
    paused = run(PAUSED, step(WAITING), waits_for="rate limit", due_at=later)
    assert list(telling.news(paused, later)) == [
        f"call: waits until {later:%Y-%m-%d %H:%M:%S} UTC",
        f"It waits for Microsoft, which asked for a pause until {later:%Y-%m-%d %H:%M:%S} UTC.",
    ]
    assert list(telling.news(paused, later)) == []
    over = run(SUCCEEDED, step(SUCCEEDED, input="x" * 2000, output=cut, **done), **done)
    assert list(telling.news(over, later)) == [
        "call: succeeded after 2.5 s.",
        f'    given "{"x" * 999}… (cut: the first 1,000 of 2,002 characters)',
        f"    gave {'p' * 1000}… (cut: the first 1,000 of 123,456 characters)",
        "The test succeeded after 2.5 s.",
    ]
