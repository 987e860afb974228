"""What steps do in the world: an action, a request, a function. One attempt, and what it came to."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import structlog
from multidict import CIMultiDict
from pydantic import JsonValue

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.errors import LandbridgeError, StepTimedOut, StoreFailed
from landbridge.kit import Actions, Context, Stream, Wait, Workbench
from landbridge.proxy import Outgoing
from landbridge.store.database import WAIT_FOR_DATABASE
from landbridge.store.runs import RunRow
from landbridge.workflows.definition import ActionStep, FunctionStep, RequestStep, Workflow
from landbridge.workflows.interpreter import EffectStep
from landbridge.workflows.jail import Jail, Limits
from landbridge.workflows.outcomes import Again, Gave, StepOutcome, after_failure
from landbridge.workflows.requests import Requests, ResolvedRequest
from landbridge.workflows.runs import root_id
from landbridge.workflows.scope import Json
from landbridge.workflows.traces import HEADER, traceparent

log = structlog.get_logger(__name__)

_Body = bytes | AsyncIterator[bytes] | None
_NEVER = datetime.max.replace(tzinfo=UTC)


class Effects:
    """Carries out steps on behalf of a run's user."""

    def __init__(self, actions: Actions, workbench: Workbench, requests: Requests, jail: Jail, clock: Clock) -> None:
        self._actions = actions
        self._workbench = workbench
        self._requests = requests
        self._jail = jail
        self._clock = clock

    async def perform(
        self,
        row: RunRow,
        workflow: Workflow,
        until: datetime | None,
        step: EffectStep,
        given: JsonValue,
        attempt: int,
        pauses: int,
        token: JsonValue,
    ) -> StepOutcome:
        """Return what one attempt at a step came to, if there is time by `until`, and by its own timeout.

        Raises nothing but what ends this process.
        """
        seconds: float = step.timeout
        if until:
            seconds = min(seconds, (until - self._clock.now()).total_seconds())
        try:
            async with asyncio.timeout(seconds):
                return await self._despite_the_database(row, workflow, step, cast("Json", given), attempt, token)
        except TimeoutError:
            error: LandbridgeError = StepTimedOut(f"The step took longer than its {seconds:.0f} seconds.")
        except LandbridgeError as known:
            error = known
        except Exception:
            log.exception("a step met a defect of ours", run=row.id, step=step.id)
            error = LandbridgeError("The step met a defect in Landbridge; its log says which.")
        now, auto_retry = self._clock.now(), step.auto_retry and not row.is_test  # whoever tests waits for the answer
        return after_failure(error, now, attempt=attempt, pauses=pauses, token=token, auto_retry=auto_retry)

    async def _despite_the_database(
        self, row: RunRow, workflow: Workflow, step: EffectStep, given: Json, attempt: int, token: JsonValue
    ) -> StepOutcome:
        """Do it, as often as our own database fails meanwhile: as another process would, had this one died."""
        while True:
            try:
                return await self._once(row, workflow, step, given, attempt, token)
            except StoreFailed as error:
                log.warning("a step waits for the database", run=row.id, step=step.id, reason=error.message)
                await self._clock.sleep(WAIT_FOR_DATABASE)

    async def _once(
        self, row: RunRow, workflow: Workflow, step: EffectStep, given: Json, attempt: int, token: JsonValue
    ) -> StepOutcome:
        match step:
            case ActionStep():
                return await self._action(row, workflow, step, given, attempt, token)
            case RequestStep():
                return await self._request(row, workflow, step, given)
            case FunctionStep():
                return await self._function(step, given)

    async def _request(self, row: RunRow, workflow: Workflow, step: RequestStep, given: Json) -> StepOutcome:
        request = ResolvedRequest.of(step.method, given, timedelta(seconds=step.timeout))
        integration = getattr(step.auth, "integration", None) or workflow.integration
        if not any(name.lower() == HEADER for name in request.headers):
            headers = {**request.headers, HEADER: traceparent(row.trace_id, row.id, step.id)}
            request = replace(request, headers=headers)
        context = self._context(row, workflow, integration, step.id)

        async def through(method: str, url: str, headers: CIMultiDict[str], body: _Body) -> Stream:
            outgoing = Outgoing(method, url, headers, body)
            return await context.proxy.send(context.caller, integration, context.selector, outgoing)

        return Gave(await self._requests.send(request, context.files, key=f"{row.id}:{step.id}", through=through))

    async def _function(self, step: FunctionStep, given: Json) -> StepOutcome:
        limits = Limits(step.limits.seconds, step.limits.memory_mb)
        fetch = self._requests.fetch if step.fetch else None
        done = await self._jail.run(step.code, given.get("parameters", {}), limits, fetch)
        return Gave({"result": done.result, **({"logs": done.logs} if done.logs else {})})

    async def _action(
        self, row: RunRow, workflow: Workflow, step: ActionStep, given: Json, attempt: int, token: JsonValue
    ) -> StepOutcome:
        integration = step.integration or workflow.integration
        action = self._actions.get(integration, step.action)
        context = replace(self._context(row, workflow, integration, step.id), token=token)
        outcome = await action.run(context, action.parse(given.get("input", {})))
        if isinstance(outcome, Wait):
            return Again(outcome.until, "provider", attempt, token=outcome.token)
        return Gave({"result": outcome.as_json()})

    def _context(self, row: RunRow, workflow: Workflow, integration: str, step: str) -> Context:
        """Return what a step works with; files are the whole run's, whichever entry of a fan-out made them."""
        return self._workbench.context(
            Caller(row.project_id, row.user_id, _NEVER),
            integration,
            row.connection_id if integration == workflow.integration else None,
            run_id=root_id(row.id),
            step=f"{row.id}/{step}",
        )
