"""The command that tests a draft, and tells what becomes of each step while it does."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from landbridge.app import House
from landbridge.cli.terminal import AsJson, ProjectId, in_house, json_of, out, show
from landbridge.errors import InvalidRequest
from landbridge.store import history
from landbridge.store.runs import FAILED, OVER, PAUSED, QUEUED, RUNNING, SUCCEEDED, WAITING
from landbridge.web.flow_shapes import RunDetails, StepOut, TestIn
from landbridge.workflows.definition import Workflow
from landbridge.workflows.history import is_cut

LONGEST_TOLD: Final = 1_000
"""Characters of a value that are printed; of more the beginning is, and how many there are."""

_LOOK_EVERY = 0.2
_PATIENCE = timedelta(seconds=5)


def try_draft(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")],
    project: ProjectId,
    user: Annotated[str, typer.Option(help="The preview user: one who has connected their account.")],
    step: Annotated[str | None, typer.Option(metavar="STEP", help="This step alone; else the whole workflow.")] = None,
    definition: Annotated[
        typer.FileText | None, typer.Option(metavar="FILE", help="YAML or JSON, in place of the draft that is saved.")
    ] = None,
    trigger: Annotated[typer.FileText | None, typer.Option(help="JSON: what {{ trigger }} leads to.")] = None,
    settings: Annotated[typer.FileText | None, typer.Option(help="JSON: values that go before the user's own.")] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="What is not given is taken from this run.")] = None,
    outputs: Annotated[
        typer.FileText | None, typer.Option(help="JSON, for one step: what {{ steps.ID }} leads to, by ID.")
    ] = None,
    items: Annotated[
        typer.FileText | None, typer.Option(help="JSON, for one step in fan-outs: an entry of each, by its id.")
    ] = None,
    connection: Annotated[str | None, typer.Option(metavar="ID", help="Of the user's; else their oldest.")] = None,
    configuration: Annotated[
        str | None, typer.Option(metavar="ID", help="Of the connection's; else the first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a draft as a preview user, and tell what becomes of each step; the exit code is 1 if it does not succeed.

    Everything that it does is really done. A worker does it: `landbridge serve` has one.
    """
    given = {
        "user_id": user,
        "connection": connection,
        "configuration": configuration,
        "definition": Workflow.from_yaml(definition.read()).as_json() if definition else None,
        "trigger": json_of(trigger, "trigger"),
        "settings": json_of(settings, "settings") or {},
        "step": step,
        "outputs": json_of(outputs, "outputs") or {},
        "items": json_of(items, "items") or {},
        "run_id": run,
    }
    over = in_house(lambda house: _tested(house, project, workflow, _checked(given), quiet=as_json))
    if as_json:
        show(over, as_json)
    raise typer.Exit(0 if over.state == SUCCEEDED else 1)


def _checked(given: dict[str, Any]) -> TestIn:  # Any: JSON
    try:
        return TestIn.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


async def _tested(house: House, project: str, workflow: str, given: TestIn, *, quiet: bool) -> RunDetails:
    """Test, telling of the steps unless it is to be `quiet`, and return the run once it is over."""
    run_id = (await house.testing.start(project, workflow, given.wanted())).id
    telling = Telling()
    if not quiet:
        _tell(f"The test is run {run_id}. It goes on when you stop looking (Ctrl-C); `landbridge runs` tells of it.")
    while True:
        row = await house.runs.get(project, run_id)
        async with house.database.read() as tx:
            steps = await history.steps_of(tx, run_id)
        run = RunDetails.of_steps(row, await house.runs.given_to(row), steps)
        if not quiet:
            for line in telling.news(run, house.clock.now()):
                _tell(line)
        if run.state in OVER:
            return run
        await asyncio.sleep(_LOOK_EVERY)


def _tell(line: str) -> None:
    out.print(line, markup=False, highlight=False)


class Telling:
    """What was told of a run so far."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def news(self, run: RunDetails, now: datetime) -> Iterator[str]:
        """Yield what there is to say of a run that was not said before."""
        if run.state == QUEUED and now - run.created_at > _PATIENCE and self._is_new("queued"):
            yield "It still waits for a worker: does `landbridge serve` run, or `landbridge worker`?"
        for step in run.steps:
            if self._is_new(step.step, step.state, step.attempts):
                yield from _of_step(step, run)
        if run.state in (WAITING, PAUSED) and run.waits_for != "delay" and self._is_new(run.waits_for, run.due_at):
            yield f"It waits for {_CAUSES.get(run.waits_for or '', run.waits_for)}{_until(run)}."
        if run.state in OVER:
            took = f" after {_seconds(run.created_at, run.finished_at or now)}"
            yield f"The test {_WORDS[run.state]}{took}{_because(run.error)}"

    def _is_new(self, *what: object) -> bool:
        is_new = what not in self._told
        self._told.add(what)
        return is_new


_WORDS = {SUCCEEDED: "succeeded", FAILED: "failed", "cancelled": "was cancelled", RUNNING: "is under way"}
_CAUSES = {
    "children": "the runs that it started",
    "defect": "another try, after a defect that the worker's log tells of",
    "rate limit": "Microsoft, which asked for a pause",
    "provider": "Microsoft, which is still busy with it",
}


def _of_step(step: StepOut, run: RunDetails) -> Iterator[str]:
    if step.state == WAITING:
        yield f"{step.step}: waits{_until(run)}"
        return
    took = f" after {_seconds(step.started_at, step.finished_at)}" if step.finished_at else ""
    yield f"{step.step}: {_WORDS.get(step.state, step.state)}{took}{_because(step.error)}"
    if step.state in OVER:
        yield from (
            f"    {word} {_short(value)}" for word, value in (("given", step.input), ("gave", step.output)) if value
        )


def _because(error: dict[str, Any] | None) -> str:  # Any: JSON
    return f": {error.get('message', error)}" if error else "."


def _until(run: RunDetails) -> str:
    return f" until {run.due_at:%Y-%m-%d %H:%M:%S} UTC" if run.due_at else ""


def _seconds(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds():.1f} s"


def _short(value: Any) -> str:  # Any: JSON
    """Return a value as JSON: if it is long its beginning, marked as that, and how long all of it is."""
    text = str(value["preview"]) if is_cut(value) else json.dumps(value, ensure_ascii=False)
    size = int(value["size"]) if is_cut(value) else len(text)
    if size <= LONGEST_TOLD:
        return text
    return f"{text[:LONGEST_TOLD]}… (cut: the first {LONGEST_TOLD:,} of {size:,} characters)"
