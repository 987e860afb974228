"""One leg of a run, from the row that was claimed to the row that says what came of it.

What came of a leg is one transaction: the run's new state, the runs that it started, what people will read, and the
parent that waited for it. Whoever lost the claim meanwhile writes nothing of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar, cast

import structlog
from cachetools import LRUCache
from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.errors import LandbridgeError, NotFound, StoreFailed
from landbridge.store import history as history_store
from landbridge.store import runs as store
from landbridge.store.database import WAIT_FOR_DATABASE, Database, Transaction
from landbridge.store.history import StepRow
from landbridge.store.runs import RunRow
from landbridge.workflows.branching import Branching
from landbridge.workflows.definition import ResponseStep, RunWorkflowStep, Step
from landbridge.workflows.deployments import Deployments
from landbridge.workflows.effects import Effects
from landbridge.workflows.history import shown, tell
from landbridge.workflows.interpreter import Branches, Child, Journal, Later, LegOutcome, Over, Walk
from landbridge.workflows.large_values import LargeValues
from landbridge.workflows.masking import Mask
from landbridge.workflows.outcomes import outputs_of, told
from landbridge.workflows.plan import Plan
from landbridge.workflows.runs import FAN_OUT, Sealing
from landbridge.workflows.scope import Item, Json, Scope

log = structlog.get_logger(__name__)

_SCOPES: Final = 200
_LONG: Final = timedelta(milliseconds=250)
_T = TypeVar("_T")

DEFECT_PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 600, 3600))
"""How long a run that met a defect of ours waits before it goes on; once more, and it fails."""

_DEFECTS: Final = "$defects"  # in the carry, where no step has such a name


class _Unknown(Exception):
    """A leg came to a step of which its journal knows nothing."""


@dataclass(frozen=True)
class _Remembered:
    """A journal of a leg that is over: it gives what it holds, and does nothing."""

    gave: Mapping[str, JsonValue]

    async def step(self, name: str, effect: Callable[[], object]) -> JsonValue:
        """Return what a step gave."""
        if name not in self.gave:
            raise _Unknown
        return self.gave[name]


@dataclass(frozen=True)
class _Opened:
    """A run's row with what was sealed in it."""

    row: RunRow
    plan: Plan
    scope: Scope
    carry: Json


@dataclass
class _UnderWay:
    """A leg that is being walked, and what of it people can read already."""

    row: RunRow
    walk: Walk
    began: datetime
    shown: tuple[object, ...] = ()

    @property
    def told(self) -> tuple[object, ...]:
        """What there is to read, to be compared with what was."""
        current = self.walk.current
        return (len(self.walk.records), current and current.step, current and current.attempts)

    async def rows(self, mask: Mask) -> list[StepRow]:
        """Return what there is to read; large values are kept at the end of the leg."""
        records = self.walk.records | ({self.walk.current.step: self.walk.current} if self.walk.current else {})
        return [told.row for told in await tell(records.values(), self.row.id, mask)]


class Legs:
    """Walks legs, and writes down what came of them."""

    def __init__(
        self,
        database: Database,
        sealing: Sealing,
        deployments: Deployments,
        effects: Effects,
        large_values: LargeValues,
        clock: Clock,
        is_cancelled: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._sealing = sealing
        self._deployments = deployments
        self._effects = effects
        self._large_values = large_values
        self._branching = Branching(database, sealing, deployments)
        self._clock = clock
        self._is_cancelled = is_cancelled
        self._under_way: dict[str, _UnderWay] = {}
        self._outer: LRUCache[tuple[str, int], tuple[Plan, Scope, Json]] = LRUCache(_SCOPES)

    async def walk(self, row: RunRow, journal: Journal) -> bool:
        """Walk the leg that a row was claimed for, or return False: another worker has it by now.

        Raises nothing that is about the run: that is in its row.
        """
        try:
            opened = await self.persistently(self._open, row)
        except LandbridgeError as error:
            return await self._write(row, None, Over(store.FAILED, error=told(error)))
        walk = await self._walk(opened, journal)
        self._under_way[row.id] = under_way = _UnderWay(row, walk, self._clock.now())
        try:
            outcome = await walk.to_its_end(self._result(opened))
        finally:
            if self._under_way.get(row.id) is under_way:
                del self._under_way[row.id]
        return await self._write(row, walk, outcome)

    async def show(self) -> None:
        """Write what people read of legs that take long: what their steps gave so far, and which one is under way."""
        before = self._clock.now() - _LONG
        news = [one for one in self._under_way.values() if one.began < before and one.shown != one.told]
        if not news:
            return
        tellings = [(one, one.told, await one.rows(await self._mask(one.row, one.walk))) for one in news]
        async with self._database.begin() as tx:
            held = await store.held(tx, [one.row for one in news])
            await history_store.put_steps(tx, [row for _, _, rows in tellings for row in rows if row.run_id in held])
        for one, told_, _ in tellings:
            one.shown = told_

    async def walk_again(self, row: RunRow, gave: Mapping[str, JsonValue]) -> None:
        """Have a run go on later whose leg ended by a defect of ours, with what its steps gave: none is done again.

        After each of `DEFECT_PAUSES`; then the run fails. The log says which defect it was.
        """
        try:
            opened = await self.persistently(self._open, row)
        except LandbridgeError as error:
            await self._write(row, None, Over(store.FAILED, error=told(error)))
            return
        walk = await self._walk(opened, _Remembered(gave))
        try:
            outcome = await walk.to_its_end(self._result(opened))
        except Exception as error:
            outcome = self._after_defect(row, walk.carry, error)
        await self._write(row, walk, outcome)

    def _after_defect(self, row: RunRow, carry: Json, error: Exception) -> LegOutcome:
        times = carry.get(_DEFECTS, {}).get("times", 0)
        if times == len(DEFECT_PAUSES):
            given_up = LandbridgeError("The run met a defect in Landbridge; the worker's log says which.")
            return Over(store.FAILED, error=told(given_up))
        carry[_DEFECTS] = {"times": times + 1}
        until = self._clock.now() + DEFECT_PAUSES[times]
        known = None if isinstance(error, _Unknown) else error
        log.error("a run met a defect, and is tried again", run=row.id, at=until.isoformat(), exc_info=known)
        return Later(until, "defect")

    async def _walk(self, opened: _Opened, journal: Journal) -> Walk:
        row = opened.row
        return Walk(
            plan=opened.plan,
            steps=self._steps(opened),
            scope=opened.scope,
            carry=opened.carry,
            secrets=await self.persistently(self._deployments.secrets, row.project_id, opened.plan.secrets),
            journal=journal,
            perform=partial(self._effects.perform, row, opened.plan.workflow, opened.scope.until),
            respond=partial(self.persistently, self._respond, row),
            children=partial(self.persistently, self._children, row),
            is_cancelled=partial(self._is_cancelled, row.id),
            clock=self._clock,
            may_retry=not row.is_test,
        )

    def _steps(self, opened: _Opened) -> tuple[Step, ...]:
        if opened.row.trigger == FAN_OUT:
            return opened.plan.fan_out(cast("str", opened.row.parent_step)).steps
        return opened.plan.workflow.steps

    def _result(self, opened: _Opened) -> JsonValue:
        return (
            opened.plan.fan_out(cast("str", opened.row.parent_step)).result if opened.row.trigger == FAN_OUT else None
        )

    async def _open(self, row: RunRow) -> _Opened:
        plan = await self._deployments.plan(row.version_id)
        given = self._sealing.open(row, row.sealed_input)
        carry = self._sealing.open(row, row.sealed_carry) or {}
        if row.trigger != FAN_OUT:
            run = {"id": row.id, "startedAt": (row.started_at or row.created_at).isoformat()}
            items = tuple(Item(**one) for one in given.get("items", ()))  # of one step that is tested alone
            until = datetime.fromisoformat(given["until"]) if "until" in given else None
            scope = Scope(given["trigger"], given["settings"], given["user"], run, items, until=until)
            return _Opened(row, plan, scope, carry)
        scope = await self._around(row)
        item = Item(cast("str", row.parent_step), cast("int", row.item_index), given["item"])
        return _Opened(row, plan, replace(scope, items=(*scope.items, item)), carry)

    async def _around(self, row: RunRow) -> Scope:
        """Return what is known to all entries of a fan-out: what its run knew, and what that run's steps gave."""
        parent_id = cast("str", row.parent_id)
        async with self._database.read() as tx:
            parent = await store.run(tx, parent_id)
        if parent is None:
            raise NotFound("The run that this entry belongs to is gone.")
        key = (parent_id, parent.leg)
        if key not in self._outer:
            around = await self._open(parent)
            scope = replace(around.scope, outer={**around.scope.outer, **outputs_of(around.carry)})
            self._outer[key] = (around.plan, scope, around.carry)
        return self._outer[key][1]

    async def _children(self, row: RunRow, step: str) -> list[Child]:
        async with self._database.read() as tx:
            rows = await store.children(tx, row.id, step)
        opened = self._sealing.open
        return [Child(child.state, opened(child, child.sealed_output), child.error, child.tasks) for child in rows]

    async def _respond(self, row: RunRow, step: ResponseStep, answer: JsonValue) -> None:
        async with self._database.begin() as tx:
            await store.end_leg(tx, row, sealed_response=self._sealed_answer(row, step, answer))

    def _sealed_answer(self, row: RunRow, step: ResponseStep, answer: JsonValue) -> bytes:
        told = {"statusCode": step.status_code, "type": step.response_type, **cast("Json", answer)}
        return self._sealing.seal(row.project_id, row.id, told)

    async def _write(self, row: RunRow, walk: Walk | None, outcome: LegOutcome) -> bool:
        now = self._clock.now()
        mask = await self.persistently(self._mask, row, walk)
        told_ = await tell(walk.records.values(), row.id, mask) if walk else []
        records = [await self._large_values.kept(row, one) if one.large else one.row for one in told_]
        branches = isinstance(outcome, Branches)
        started = await self.persistently(self._branching.rows, row, outcome, now) if branches else []
        changes = self._changes(row, walk, outcome, started, now)
        changes["error"] = shown(changes.get("error"), mask)
        spoils = isinstance(outcome, Over) and await self.persistently(self._spoils_fan_out, row, outcome)

        async def commit() -> bool:
            async with self._database.begin() as tx:
                if row.parent_id:
                    await store.lock(tx, row.parent_id)
                if not await store.end_leg(tx, row, **changes):
                    log.info("a leg was another worker's by the time it ended", run=row.id, leg=row.leg)
                    return False
                await store.insert_runs(tx, started)
                await history_store.put_steps(tx, records)
                if isinstance(outcome, Over):
                    await self._tell_parent(tx, row, now, spoils=spoils)
                else:
                    await store.cancel_if_asked(tx, row.id, now)
                return True

        return await self.persistently(commit)

    async def _mask(self, row: RunRow, walk: Walk | None) -> Mask:
        """Return what hides the project's secrets, and those that the leg began with, should they have changed."""
        mask = await self._deployments.mask(row.project_id)
        return mask.with_(walk.secrets.values()) if walk else mask

    async def persistently(self, work: Callable[..., Awaitable[_T]], *given: object) -> _T:
        """Do something with the database however long it is away: a leg cannot be begun again in its middle."""
        while True:
            try:
                return await work(*given)
            except StoreFailed as error:
                log.warning("a leg waits for the database", reason=error.message)
                await self._clock.sleep(WAIT_FOR_DATABASE)

    def _changes(
        self, row: RunRow, walk: Walk | None, outcome: LegOutcome, started: list[RunRow], now: datetime
    ) -> Json:
        seal = partial(self._sealing.seal, row.project_id, row.id)
        changes: Json = {"worker_id": None}
        if walk:
            changes |= {"tasks": row.tasks + walk.tasks, "sealed_carry": seal(walk.carry)}
            if walk.answer:
                changes["sealed_response"] = self._sealed_answer(row, *walk.answer)
        match outcome:
            case Over(state, output, error):
                changes |= {"state": state, "error": error, "finished_at": now, "is_cancelling": False}
                changes["sealed_output"] = seal(output) if state == store.SUCCEEDED else None
            case Later(until, why):
                state = store.PAUSED if why == "rate limit" else store.WAITING
                changes |= {"state": state, "due_at": until, "waits_for": why}
            case Branches(step):
                waits = not isinstance(step, RunWorkflowStep) or step.wait
                open_ = sum(child.state not in store.OVER for child in started) if waits else 0
                changes |= {"state": store.WAITING, "waits_for": "children", "open_children": open_}
                changes["due_at"] = None if open_ else now
        return changes

    async def _spoils_fan_out(self, row: RunRow, outcome: Over) -> bool:
        """Return whether the entries of a fan-out that have not begun are given up because of this one."""
        if outcome.state == store.SUCCEEDED or row.trigger != FAN_OUT:
            return False
        try:
            plan = await self._deployments.plan(row.version_id)
        except NotFound:  # the workflow was deleted, and so no entry can succeed
            return True
        return plan.fan_out(cast("str", row.parent_step)).on_item_error == "fail"

    async def _tell_parent(self, tx: Transaction, row: RunRow, now: datetime, *, spoils: bool) -> None:
        if row.parent_id and row.parent_step:
            given_up = await store.give_up_items(tx, row.parent_id, row.parent_step, now) if spoils else 0
            await store.end_item(tx, row.parent_id, row.parent_step, now, ended=1 + given_up)
