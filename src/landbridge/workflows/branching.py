"""The runs that a step starts: one for each entry of a fan-out, or one of another workflow."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID, uuid5

from pydantic import JsonValue

from landbridge.errors import InvalidRequest, LandbridgeError, NotConnected, NotFound, StoreFailed
from landbridge.store import connections
from landbridge.store import runs as store
from landbridge.store.database import Database
from landbridge.store.runs import RunRow
from landbridge.workflows.definition import AppEventTrigger, FanOutStep, RequestTrigger, RunWorkflowStep, Workflow
from landbridge.workflows.deployments import Deployed, Deployments, all_settings, missing_settings
from landbridge.workflows.interpreter import Branches
from landbridge.workflows.outcomes import told
from landbridge.workflows.runs import FAN_OUT, Sealing
from landbridge.workflows.scope import Json, Scope

MOST_DEEP: Final = 10
"""How many runs may lie within each other."""

RUN_WORKFLOW = "runWorkflow"
"""The trigger of a run that another workflow's step started."""

_LONGEST_ID = 200
_NAMESPACE = UUID("8e1a7c55-8b4c-4f0e-9a37-6c1f2d7b3e02")


class Branching:
    """Makes the rows of runs that a step starts: the same again if the leg is written again."""

    def __init__(self, database: Database, sealing: Sealing, deployments: Deployments) -> None:
        self._database = database
        self._sealing = sealing
        self._deployments = deployments

    async def rows(self, parent: RunRow, branches: Branches, now: datetime) -> list[RunRow]:
        """Return the runs to start: the first `concurrency` of them due, the others held until one is over."""
        step = branches.step
        if isinstance(step, RunWorkflowStep):
            return [await self._of_workflow(parent, step, branches, now)]
        return [self._entry(parent, step, index, item, now) for index, item in enumerate(branches.inputs)]

    def _entry(self, parent: RunRow, step: FanOutStep, index: int, item: JsonValue, now: datetime) -> RunRow:
        begins = index < step.concurrency
        state, due_at = (store.QUEUED, now) if begins else (store.HELD, None)
        row = _child(parent, step.id, index, now, trigger=FAN_OUT, state=state, due_at=due_at)
        return self._with_input(row, {"item": item})

    async def _of_workflow(self, parent: RunRow, step: RunWorkflowStep, branches: Branches, now: datetime) -> RunRow:
        row = _child(parent, step.id, branches.attempt - 1, now, trigger=RUN_WORKFLOW, state=store.QUEUED, due_at=now)
        row = row if step.wait else replace(row, parent_step=None)  # then its end is not the parent's business
        try:
            if parent.depth >= MOST_DEEP:
                raise NotFound(f"Workflows run each other more than {MOST_DEEP} levels deep.")
            deployed = await self._deployments.find(parent.project_id, step.workflow)
            settings = await self._settings(parent, deployed)
        except StoreFailed:
            raise
        except LandbridgeError as error:
            return self._with_input(
                replace(row, state=store.FAILED, due_at=None, finished_at=now, error=told(error)), {}
            )
        trigger = _as_trigger(deployed.plan.workflow, branches.inputs[0])
        own = replace(row, workflow_id=deployed.workflow.id, version_id=deployed.version.id)
        given = {"trigger": trigger, "settings": settings, "user": branches.scope.user}
        until = _until(step, branches.scope, now)
        return self._with_input(own, given | ({"until": until.isoformat()} if until else {}))

    async def _settings(self, parent: RunRow, deployed: Deployed) -> Json:
        """Return what whoever the run is for has filled in. Raises `InvalidRequest` if the workflow needs more."""
        async with self._database.read() as tx:
            found = await connections.configurations_of(tx, [parent.connection_id] if parent.connection_id else [])
        configuration = next((one for one in found if one.id == parent.configuration_id), None)
        if configuration is None:
            raise NotConnected("The account that this run is for has been disconnected.")
        if missing := missing_settings(deployed, configuration):
            raise InvalidRequest(f"Fill in first what the workflow needs: {', '.join(missing)}.")
        return all_settings(deployed, configuration)

    def _with_input(self, row: RunRow, given: Json) -> RunRow:
        return replace(row, sealed_input=self._sealing.seal(row.project_id, row.id, given))


def _until(step: RunWorkflowStep, scope: Scope, now: datetime) -> datetime | None:
    """Return when another workflow must be over: by the step's own time, and by that of whoever waits for its run."""
    if not step.wait:
        return None
    own = now + timedelta(seconds=step.timeout) if step.timeout else scope.until
    return min(own, scope.until or own) if own else None


def child_id(parent_id: str, step: str, index: int) -> str:
    """Return the id of a run that a step starts: `parent:step:index`, or a short one in place of a very long one."""
    id_ = f"{parent_id}:{step}:{index}"
    return id_ if len(id_) <= _LONGEST_ID else f"{parent_id.partition(':')[0]}:{uuid5(_NAMESPACE, id_)}:{index}"


def _child(parent: RunRow, step: str, index: int, now: datetime, **changes: Any) -> RunRow:  # Any: columns
    return replace(
        parent,
        id=child_id(parent.id, step, index),
        parent_id=parent.id,
        parent_step=step,
        item_index=index,
        depth=parent.depth + 1,
        replay_of=None,
        open_children=0,
        waits_for=None,
        leg=0,
        worker_id=None,
        is_cancelling=False,
        tasks=0,
        sealed_carry=None,
        sealed_output=None,
        sealed_response=None,
        error=None,
        is_cleared=False,
        created_at=now,
        started_at=None,
        finished_at=None,
        **changes,
    )


def _as_trigger(workflow: Workflow, given: JsonValue) -> JsonValue:
    """Return what a workflow's trigger gives when another workflow starts it."""
    match workflow.trigger:
        case RequestTrigger():
            return cast("JsonValue", {"request": {"body": given, "headers": {}, "params": {}, "file": None}})
        case AppEventTrigger():
            return {"event": given}
    return given
