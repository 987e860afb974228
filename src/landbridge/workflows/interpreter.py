"""Walks a definition: one leg of a run, from its beginning or from where the last leg had to wait.

A leg is run again from its start when its process died. What had effects is then in the journal, so all else here is
pure: the same outputs lead the same way. A step that has to wait ends the leg, and what the steps gave so far goes into
the carry, which the next leg begins with.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NoReturn, Protocol, cast

from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.errors import InvalidRequest, LandbridgeError, RunFailed, StepTimedOut
from landbridge.store import runs
from landbridge.workflows.conditions import decide
from landbridge.workflows.definition import (
    LONGEST_WAIT,
    ActionStep,
    ConditionalStep,
    DelayStep,
    FanOutStep,
    FunctionStep,
    RequestStep,
    ResponseStep,
    RunWorkflowStep,
    Step,
    StopStep,
)
from landbridge.workflows.expressions import resolve
from landbridge.workflows.history import StepRecord
from landbridge.workflows.outcomes import (
    Again,
    Failed,
    Gave,
    StepOutcome,
    Why,
    again_or_failed,
    as_json,
    of_json,
    outputs_of,
    told,
    writable,
)
from landbridge.workflows.plan import Plan
from landbridge.workflows.scope import Json, Names, Scope

MOST_ITEMS: Final = 10_000
"""How many entries a fan-out may have."""

_SECONDS = {"SECONDS": 1, "MINUTES": 60, "HOURS": 3_600, "DAYS": 86_400}
_LONGEST_DELAY = timedelta(seconds=LONGEST_WAIT)

EffectStep = ActionStep | RequestStep | FunctionStep


@dataclass(frozen=True, slots=True)
class Over:
    """The run is over. `state` is one of `runs.OVER`."""

    state: str
    output: JsonValue = None
    error: Json | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """The run goes on at `until`."""

    until: datetime
    why: Why


@dataclass(frozen=True, slots=True)
class Branches:
    """The run goes on when these are over: entries of a fan-out, or another workflow. `concurrency` run at a time.

    `attempt` is how often the step has tried, this time counted; `scope` is what they inherit.
    """

    step: FanOutStep | RunWorkflowStep
    inputs: list[JsonValue]
    concurrency: int
    attempt: int
    scope: Scope


LegOutcome = Over | Later | Branches


@dataclass(frozen=True, slots=True)
class Child:
    """What became of a run that a step started."""

    state: str
    output: JsonValue
    error: Json | None
    tasks: int = 0


class Journal(Protocol):
    """Runs an effect once, and remembers what it gave."""

    async def step(self, name: str, effect: Callable[[], Any]) -> JsonValue:
        """Return what the effect gives, or gave."""
        ...


Perform = Callable[[EffectStep, JsonValue, int, int, JsonValue], Awaitable[StepOutcome]]
"""Carries out a step: its resolved templates, the attempt, the pauses so far, and the token of the wait before."""


@dataclass
class Walk:
    """One leg. `carry` holds what became of the steps so far, and is added to; `records` is what people will read."""

    plan: Plan
    steps: tuple[Step, ...]
    scope: Scope
    carry: Json
    secrets: Mapping[str, str]
    journal: Journal
    perform: Perform
    respond: Callable[[ResponseStep, JsonValue], Awaitable[None]]
    children: Callable[[str], Awaitable[list[Child]]]
    is_cancelled: Callable[[], bool]
    clock: Clock
    may_retry: bool = True
    """Whether other workflows are run again that failed; not if somebody waits to see what became of them."""

    records: dict[str, StepRecord] = field(default_factory=dict)
    current: StepRecord | None = None
    tasks: int = 0
    answer: tuple[ResponseStep, JsonValue] | None = None

    def __post_init__(self) -> None:
        self._outputs: Json = outputs_of(self.carry)
        self._names = Names(self.scope, self._outputs, self.secrets)
        masked = dict.fromkeys(self.secrets, "•••")
        self._masked = Names(self.scope, self._outputs, masked) if masked else self._names

    async def to_its_end(self, result: JsonValue = None) -> LegOutcome:
        """Walk until the run is over or has to wait. `result` is the template of what the run gives.

        Without one it is what the last step gave.
        """
        try:
            await self._list(self.steps)
            last = self._outputs.get(self.steps[-1].id) if self.steps else None
            return Over(runs.SUCCEEDED, last if result is None else resolve(result, self._names))
        except _Ended as ended:
            return ended.outcome
        except LandbridgeError as error:  # of the result's template: all others are caught where their step is known
            return Over(runs.FAILED, error=told(error))

    async def _list(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if self.is_cancelled():
                raise _Ended(Over(runs.CANCELLED))
            self._must_be_in_time(step)
            try:
                await self._one(step)
            except LandbridgeError as error:
                await self._in_vain(step, told(error))

    def _must_be_in_time(self, step: Step) -> None:
        """Fail the run if nobody waits for it any more; a step that it waited in is told to have failed by that."""
        is_late = self.scope.until is not None and self.clock.now() >= self.scope.until
        kept = self.carry.get(step.id, {})
        if not is_late or isinstance(step, ConditionalStep) or _is_over(kept):
            return
        late = told(StepTimedOut("The workflow took longer than the step that runs it lets it."))
        if kept:
            self._note(step, runs.FAILED, error=late)
        raise _Ended(Over(runs.FAILED, error=late))

    async def _one(self, step: Step) -> None:
        match step:
            case ActionStep() | RequestStep() | FunctionStep():
                await self._effect(step)
            case ConditionalStep():
                await self._conditional(step)
            case FanOutStep():
                await self._fan_out(step)
            case RunWorkflowStep():
                await self._run_workflow(step)
            case DelayStep():
                self._delay(step)
            case ResponseStep():
                await self._response(step)
            case StopStep():
                self._stop(step)

    async def _effect(self, step: EffectStep) -> None:
        kept = self.carry.get(step.id, {})
        if not _is_over(kept):
            before = cast("Again", of_json(kept)) if kept else None
            attempt = before.attempt if before else 1
            kept = await self._journaled(step, before, attempt)
            self._record(step, kept, attempt)
            if "output" in kept:
                self.tasks += 1
        await self._settle(step, of_json({name: kept[name] for name in ("output", "error", "again") if name in kept}))

    async def _journaled(self, step: EffectStep, before: Again | None, attempt: int) -> Json:
        given = resolve(self.plan.templates[step.id], self._names)
        pauses, token = (before.pauses, before.token) if before else (0, None)

        async def effect() -> JsonValue:
            began = self.clock.now()
            self.current = self._under_way(step, attempt, began)
            try:
                outcome = await self.perform(step, given, attempt, pauses, token)
            finally:
                self.current = None
            return writable(as_json(outcome)) | {"began": began.isoformat(), "ended": self.clock.now().isoformat()}

        return cast("Json", await self.journal.step(f"{step.id}#{attempt}", effect))

    async def _settle(self, step: EffectStep | RunWorkflowStep, outcome: StepOutcome) -> None:
        """Go on after an effect as its outcome and the step's options say."""
        match outcome:
            case Gave(output):
                self._give(step, output)
            case Again(until, why):
                self.carry[step.id] = as_json(outcome)
                self._wait(until, why)
            case Failed(error):
                if not step.continue_on_error and step.on_error is None:
                    raise _Ended(Over(runs.FAILED, error={**error, "step": step.id}))
                self.carry[step.id] = as_json(outcome)
                self._outputs[step.id] = {"error": error}
                await self._list(step.on_error or ())

    async def _conditional(self, step: ConditionalStep) -> None:
        holds = decide(step.if_, self._names)
        self._give(step, {"selectedChoice": "Yes" if holds else "No"})
        self._note(step, runs.SUCCEEDED, output=self._outputs[step.id])
        await self._list(step.then if holds else step.else_)

    async def _fan_out(self, step: FanOutStep) -> None:
        kept = self.carry.get(step.id, {})
        if "output" in kept:
            return
        if "children" not in kept:
            items = resolve(step.over, self._names)
            if not isinstance(items, list):
                raise InvalidRequest(f"The fan-out needs a list, and got {type(items).__name__}: {str(items)[:80]}.")
            if len(items) > MOST_ITEMS:
                raise InvalidRequest(f"A fan-out takes up to {MOST_ITEMS:,} entries, and got {len(items):,}.")
            if items:
                self._branch(step, items, {"items": len(items)}, concurrency=step.concurrency)
        results = await self.children(step.id) if kept else []
        self.tasks += sum(child.tasks for child in results)
        failed = next((child for child in results if child.state != runs.SUCCEEDED), None)
        if failed and step.on_item_error == "fail":
            at = next((index for index, child in enumerate(results) if child.error), results.index(failed))
            self._fail(step, {**(results[at].error or {}), "fanOut": step.id, "item": at})
        given: list[JsonValue] = [
            child.output if child.state == runs.SUCCEEDED else {"error": child.error} for child in results
        ]
        self._note(step, runs.SUCCEEDED, output={"results": len(given)})
        self._give(step, {"results": given})

    async def _run_workflow(self, step: RunWorkflowStep) -> None:
        kept = self.carry.get(step.id, {})
        if not _is_over(kept):
            attempt = kept["again"]["attempt"] if "again" in kept else kept.get("attempt", 1)
            given = cast("Json", resolve(self.plan.templates[step.id], self._names))
            if "children" not in kept:
                self._branch(step, [given.get("input", {})], given, attempt=attempt)
            kept = as_json(await self._of_child(step, attempt))
            output, error = kept.get("output"), kept.get("error")
            self._note(step, _state_of(kept), attempts=attempt, given=given, output=output, error=error)
        await self._settle(step, of_json(kept))

    async def _of_child(self, step: RunWorkflowStep, attempt: int) -> StepOutcome:
        """Return what came of a step by what became of the workflow that it ran."""
        if not step.wait:
            return Gave({})
        *_, child = await self.children(step.id)
        self.tasks += child.tasks
        if child.state == runs.SUCCEEDED:
            return Gave({"result": child.output})
        if child.state == runs.CANCELLED:
            return Failed(told(RunFailed("The workflow was cancelled.")))
        error = child.error or {}
        may_retry = step.auto_retry and self.may_retry
        return again_or_failed(error, self.clock.now(), attempt=attempt) if may_retry else Failed(error)

    def _branch(
        self,
        step: FanOutStep | RunWorkflowStep,
        inputs: list[JsonValue],
        given: Json,
        *,
        concurrency: int = 1,
        attempt: int = 1,
    ) -> NoReturn:
        self.carry[step.id] = {"children": len(inputs), "attempt": attempt}
        self._note(step, runs.WAITING, attempts=attempt, given=given)
        raise _Ended(Branches(step, inputs, concurrency, attempt, self.scope))

    def _delay(self, step: DelayStep) -> None:
        kept = self.carry.get(step.id, {})
        if kept:
            self._note(step, runs.SUCCEEDED)
            self._give(step, {})
            return
        wait = _duration(resolve(step.value, self._names), step.unit)
        again = Again(self.clock.now() + wait, "delay", 1)
        self.carry[step.id] = as_json(again)
        self._note(step, runs.WAITING, given={"value": wait.total_seconds(), "unit": "SECONDS"})
        self._wait(again.until, again.why)

    async def _response(self, step: ResponseStep) -> None:
        if step.id in self.carry:
            return
        answer = resolve(self.plan.templates[step.id], self._names)
        if step is self.steps[-1]:
            self.answer = step, answer  # it is written with what came of the leg, which is next
        else:
            await self.respond(step, answer)
        self._note(step, runs.SUCCEEDED, given=answer)
        self._give(step, {})

    def _stop(self, step: StopStep) -> NoReturn:
        message = str(resolve(step.message, self._names))
        self._note(step, runs.SUCCEEDED, given={"message": message})
        if step.outcome == "succeeded":
            raise _Ended(Over(runs.SUCCEEDED, {"message": message}))
        error = {"step": step.id, "code": "stopped", "message": message or "The workflow stopped here."}
        raise _Ended(Over(runs.FAILED, error=error))

    def _wait(self, until: datetime, why: Why) -> NoReturn:
        raise _Ended(Later(min(until, self.scope.until or until), why))

    async def _in_vain(self, step: Step, error: Json) -> None:
        """Go on after a step that failed before it did anything, as its options say, if it has any."""
        self._note(step, runs.FAILED, error=error)
        if not isinstance(step, ActionStep | RequestStep | FunctionStep | RunWorkflowStep):
            raise _Ended(Over(runs.FAILED, error={"step": step.id, **error}))
        await self._settle(step, Failed(error))

    def _give(self, step: Step, output: JsonValue) -> None:
        self.carry[step.id] = {"output": output}
        self._outputs[step.id] = output

    def _fail(self, step: Step, error: Json) -> NoReturn:
        self._note(step, runs.FAILED, error=error)
        raise _Ended(Over(runs.FAILED, error={"step": step.id, **error}))

    def _under_way(self, step: EffectStep, attempt: int, began: datetime) -> StepRecord:
        return StepRecord(
            step=step.id,
            type=step.type,
            position=self.plan.positions[step.id],
            state=runs.RUNNING,
            attempts=attempt,
            began=began,
            ended=None,
            given=partial(resolve, self.plan.templates[step.id], self._masked),
            output=None,
            error=None,
        )

    def _record(self, step: EffectStep, kept: Json, attempt: int) -> None:
        """Note what became of an effect. What it was given is resolved anew, with masks where secrets were."""
        self.records[step.id] = StepRecord(
            step=step.id,
            type=step.type,
            position=self.plan.positions[step.id],
            state=_state_of(kept),
            attempts=attempt,
            began=datetime.fromisoformat(kept["began"]),
            ended=datetime.fromisoformat(kept["ended"]) if "again" not in kept else None,
            given=partial(resolve, self.plan.templates[step.id], self._masked),
            output=kept.get("output"),
            error=kept.get("error"),
        )

    def _note(
        self,
        step: Step,
        state: str,
        *,
        attempts: int = 1,
        given: JsonValue = None,
        output: JsonValue = None,
        error: Json | None = None,
    ) -> None:
        now = self.clock.now()
        self.records[step.id] = StepRecord(
            step=step.id,
            type=step.type,
            position=self.plan.positions[step.id],
            state=state,
            attempts=attempts,
            began=now,
            ended=None if state == runs.WAITING else now,
            given=lambda: given,
            output=output,
            error=error,
        )


class _Ended(Exception):
    """The leg ends here."""

    def __init__(self, outcome: LegOutcome) -> None:
        super().__init__()
        self.outcome = outcome


def _is_over(kept: Json) -> bool:
    return "output" in kept or "error" in kept


def _state_of(kept: Json) -> str:
    return runs.SUCCEEDED if "output" in kept else runs.FAILED if "error" in kept else runs.WAITING


def _duration(value: JsonValue, unit: str) -> timedelta:
    try:
        seconds = float(cast("Any", value)) * _SECONDS[unit]
        wait = timedelta(seconds=seconds)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(f"A delay needs a number, and got “{str(value)[:80]}”.") from None
    if not timedelta(0) <= wait <= _LONGEST_DELAY:
        raise InvalidRequest(f"A delay lasts up to {_LONGEST_DELAY.days} days, and not {value} {unit.lower()}.")
    return wait
