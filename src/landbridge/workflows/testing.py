"""Tests of drafts: what is not deployed yet is run as a preview user, whole or one step of it alone.

A test is a run as any other, done by a worker with everything that it does in the world. What tells it apart is its
row: lists leave it out, no step is retried, and what it runs is kept with it and goes when it does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

from pydantic import JsonValue

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.connections.accounts import Accounts, choose
from landbridge.errors import Conflict, FileUnknown, InvalidRequest, NotConnected, NotFound
from landbridge.files import Files, RunFiles
from landbridge.store import runs as runs_store
from landbridge.store import workflows as store
from landbridge.store.database import Database
from landbridge.store.runs import RunRow
from landbridge.store.workflows import VersionRow, WorkflowRow
from landbridge.workflows.checking import Problem
from landbridge.workflows.definition import (
    ActionStep,
    AppEventTrigger,
    ConditionalStep,
    FanOutStep,
    FunctionStep,
    RequestStep,
    RequestTrigger,
    RunWorkflowStep,
    SchedulerTrigger,
    Step,
    Workflow,
)
from landbridge.workflows.deployments import Deployed, Deployments, missing_settings, must_have_none, own_settings
from landbridge.workflows.expressions import instead
from landbridge.workflows.outcomes import outputs_of
from landbridge.workflows.plan import Plan
from landbridge.workflows.runs import FAN_OUT, Cause, Runs, Sealing, Whose, root_id, settled
from landbridge.workflows.scope import Json
from landbridge.workflows.traces import trace_of
from landbridge.workflows.triggers import Incoming, Which, must_be_valid, received

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to test, as whom, and with what.

    The saved draft unless there is a `definition`. With a `step` it is that one alone: `outputs` are what steps before
    it gave, and `items` the entries of the fan-outs that it lies in, by their ids. What is not given of these and of
    the trigger is taken from the run `run_id` of the same workflow. `settings` go before the user's own.
    """

    user_id: str
    which: Which = field(default_factory=Which)
    definition: Workflow | None = None
    trigger: Json | None = None
    settings: Json = field(default_factory=dict)
    step: str | None = None
    outputs: Json = field(default_factory=dict)
    items: Json = field(default_factory=dict)
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Test:
    """A test that is about to begin: of a whole draft, or of one step, in those `around` it, outermost first."""

    wanted: Wanted
    workflow: WorkflowRow
    draft: Workflow
    step: Step | None
    around: tuple[Step, ...]
    run_id: str
    files: RunFiles

    def concerns(self, problem: Problem) -> bool:
        """Return whether a problem of the draft is one of what is to be tested."""
        return self.step is None or problem.step in {self.step.id, *(one.id for one in _within(self.step))}

    def definition(self) -> Json:
        """Return what is to be run."""
        tested = self.draft.model_copy(update={"steps": (_alone(self.step),)}) if self.step else self.draft
        return tested.as_json()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run that was before knew: `items` by fan-out, each with its `index` and `value`."""

    trigger: Json | None = None
    outputs: Json = field(default_factory=dict)
    items: Json = field(default_factory=dict)


class Testing:
    """Begins tests."""

    def __init__(
        self,
        database: Database,
        sealing: Sealing,
        accounts: Accounts,
        deployments: Deployments,
        runs: Runs,
        files: Files,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sealing = sealing
        self._accounts = accounts
        self._deployments = deployments
        self._runs = runs
        self._files = files
        self._clock = clock

    async def start(self, project_id: str, workflow_id: str, wanted: Wanted) -> RunRow:
        """Put a test on the agenda, and return its run.

        Raises `InvalidRequest` with the problems that the draft has, of a step those that concern it, and naming what
        is wrong or missing of what it is to be tested with; `NotFound`, `NotConnected`; `Conflict` if files of the
        run before are no longer kept.
        """
        workflow = await self._deployments.get(project_id, workflow_id)
        draft = wanted.definition or Workflow.parse(workflow.draft)
        if draft.integration != workflow.integration:
            raise Conflict(f"This workflow is for {workflow.integration}, and what is to be tested is not.")
        run_id = str(uuid4())
        test = _Test(wanted, workflow, draft, *_step(draft, wanted), run_id, self._files.of(project_id, run_id))
        found = await self._deployments.problems(project_id, draft, workflow.id)
        must_have_none([problem for problem in found if test.concerns(problem)])
        try:
            row = await self._row(test, await self._known(test))
            async with self._database.begin() as tx:
                await runs_store.insert_runs(tx, [row])
                await store.insert_tested_draft(tx, run_id, test.definition())
        except BaseException:
            await test.files.clear()
            raise
        return row

    async def _row(self, test: _Test, known: _Known) -> RunRow:
        """Return the run, which pins what it is to run as if that were a version."""
        definition, project_id = test.definition(), test.workflow.project_id
        version = VersionRow(test.run_id, project_id, test.workflow.id, 0, definition, self._clock.now())
        deployed = Deployed(test.workflow, version, Plan.of(definition))
        whose = await self._whose(deployed, test.wanted)
        trigger = await received(await self._trigger(test, known), test.files)
        if test.step is None:
            await _must_be_complete(deployed, whose, trigger, test.files)
        cause = Cause(test.draft.trigger.type, trigger, trace_of(None), test.run_id)
        given = settled(deployed, whose, cause) | {"items": await received(_items(test, known), test.files)}
        outputs = await received(_outputs(test, known), test.files)
        carry = {id_: {"output": output} for id_, output in outputs.items()}
        return replace(
            self._runs.row(deployed, whose, cause),
            id=test.run_id,
            is_test=True,
            sealed_input=self._sealing.seal(project_id, test.run_id, given),
            sealed_carry=self._sealing.seal(project_id, test.run_id, cast("JsonValue", carry)),
        )

    async def _whose(self, deployed: Deployed, wanted: Wanted) -> Whose:
        """Return the preview user, on the oldest of their connections that can be used unless another is meant."""
        integration = deployed.workflow.integration
        caller = Caller(deployed.workflow.project_id, wanted.user_id, _NEVER)
        connected = await self._accounts.list(caller, integration)
        connection = choose([one.connection for one in connected], wanted.which.connection)
        if connection is None:
            which = "such a connection with" if wanted.which.connection else "connected"
            raise NotConnected(f"The preview user “{wanted.user_id[:64]}” has not {which} {integration}.")
        (chosen,) = (one for one in connected if one.connection is connection)
        configuration = chosen.configuration(wanted.which.configuration)
        filled = {"settings": own_settings(deployed, configuration) | wanted.settings}
        workflow_settings = configuration.workflow_settings | {deployed.workflow.id: filled}
        user = await self._accounts.user(caller)
        return Whose(user, connection, replace(configuration, workflow_settings=workflow_settings))

    async def _trigger(self, test: _Test, known: _Known) -> Json:
        """Return what `{{ trigger }}` leads to: what is given, or else what there is without anybody's giving it."""
        given = test.wanted.trigger if test.wanted.trigger is not None else known.trigger
        match test.draft.trigger:
            case RequestTrigger():
                return {"request": _request((given or {}).get("request", {}))}
            case AppEventTrigger(event=event) if given is None:
                events = await self._deployments.events(test.workflow.project_id)
                return {"event": next((one.example for one in events if one.name == event), {})}
            case SchedulerTrigger() if given is None:
                return {"scheduledAt": self._clock.now().isoformat()}
        return given or {}

    async def _known(self, test: _Test) -> _Known:
        """Return what a run knew, its files copied."""
        run_id, project_id = test.wanted.run_id, test.workflow.project_id
        if run_id is None:
            return _Known()
        row = await self._runs.get(project_id, run_id)
        if row.workflow_id != test.workflow.id:
            raise NotFound("This workflow has no such run.")
        known = await self._of_run(row)
        theirs = self._files.of(project_id, root_id(run_id))
        try:
            adopted = [await test.files.adopt(value, theirs) for value in (known.trigger, known.outputs, known.items)]
        except FileUnknown:
            raise Conflict("This run cannot be gone on from: files that it had are no longer kept.") from None
        return _Known(*cast("list[Json]", adopted))

    async def _of_run(self, row: RunRow) -> _Known:
        """Return what a run knows; an entry of a fan-out also knows what the run around it does."""
        given = self._sealing.open(row, row.sealed_input)
        outputs = outputs_of(self._sealing.open(row, row.sealed_carry) or {})
        if row.trigger != FAN_OUT:
            return _Known(given["trigger"], outputs, {one["fan_out"]: one for one in given.get("items", ())})
        fan_out = cast("str", row.parent_step)
        around = await self._of_run(await self._runs.get(row.project_id, cast("str", row.parent_id)))
        item = {"fan_out": fan_out, "index": row.item_index, "value": given["item"]}
        return _Known(around.trigger, around.outputs | outputs, around.items | {fan_out: item})


def _step(draft: Workflow, wanted: Wanted) -> tuple[Step | None, tuple[Step, ...]]:
    """Return the one step that is to be tested, if it is one, with those around it, outermost first."""
    if wanted.step is None:
        if wanted.outputs or wanted.items:
            raise InvalidRequest("`outputs` and `items` are for one step alone: name it as `step`.")
        return None, ()
    for step, around in draft.walk():
        if step.id == wanted.step:
            return step, around
    raise NotFound(f"The workflow has no step “{wanted.step[:64]}”. {instead(wanted.step, _ids(draft))}")


def _ids(draft: Workflow) -> list[str]:
    return [step.id for step, _ in draft.walk()]


def _within(step: Step) -> Iterator[Step]:
    for branch in _alone(step).branches().values():
        for inner in branch:
            yield inner
            yield from _within(inner)


def _alone(step: Step) -> Step:
    """Return a step without those that come after it: the ways of a conditional, and what is done if it fails."""
    match step:
        case ConditionalStep():
            return step.model_copy(update={"then": (), "else_": ()})
        case ActionStep() | RequestStep() | FunctionStep() | RunWorkflowStep():
            return step.model_copy(update={"on_error": None, "continue_on_error": False})
    return step


def _request(given: JsonValue) -> Json:
    request: Json = {"headers": {}, "params": {}, "body": None, "file": None} | (
        given if isinstance(given, dict) else {}
    )
    if not (isinstance(given, dict) and isinstance(request["headers"], dict) and isinstance(request["params"], dict)):
        raise InvalidRequest("trigger.request: this is an object, and so are its `headers` and `params`.")
    return request


def _outputs(test: _Test, known: _Known) -> Json:
    """Return what the steps before the one to be tested gave."""
    if test.step is None:
        return {}
    ids = _ids(test.draft)
    before = ids[: ids.index(test.step.id)]
    if wrong := next((id_ for id_ in test.wanted.outputs if id_ not in before), None):
        said = f"outputs: “{wrong[:64]}” is no step before “{test.step.id}”. {instead(wrong, before)}"
        raise InvalidRequest(said)
    return {id_: output for id_, output in known.outputs.items() if id_ in before} | test.wanted.outputs


def _items(test: _Test, known: _Known) -> list[Json]:
    """Return the entries of the fan-outs that the step lies in, the innermost last."""
    fan_outs = [one.id for one in test.around if isinstance(one, FanOutStep)]
    if wrong := next((id_ for id_ in test.wanted.items if id_ not in fan_outs), None):
        raise InvalidRequest(f"items: the step lies in no fan-out “{wrong[:64]}”. {instead(wrong, fan_outs)}")
    given = {id_: {"fan_out": id_, "index": 0, "value": value} for id_, value in test.wanted.items.items()}
    items = known.items | given
    if missing := next((id_ for id_ in fan_outs if id_ not in items), None):
        said = f"items: the step lies in the fan-out “{missing}”. Give an entry of it, or the run of one."
        raise InvalidRequest(said)
    return [items[id_] for id_ in fan_outs]


async def _must_be_complete(deployed: Deployed, whose: Whose, trigger: Json, files: RunFiles) -> None:
    """Raise `InvalidRequest` if the workflow would not have begun with this."""
    if missing := missing_settings(deployed, whose.configuration):
        raise InvalidRequest(f"settings: the preview user has not filled in {', '.join(missing)}. Give it here.")
    expected = deployed.plan.workflow.trigger
    if isinstance(expected, RequestTrigger):
        request = trigger["request"]
        file = await files.receive(request["file"]) if request["file"] else None
        must_be_valid(expected, Incoming(request["headers"], request["params"], request["body"], file))
