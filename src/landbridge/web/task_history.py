"""The Task History API in Paragon's form: runs are *workflow executions*, and what became of a step a *step execution*.

What a step was given and gave has no secrets in it. Entries of a fan-out are runs of their own here, and told by the
management API.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import JSONResponse

from landbridge.errors import NotFound
from landbridge.store import history, runs
from landbridge.store.history import Filter, StepRow
from landbridge.store.runs import RunRow
from landbridge.web.forms import for_operators
from landbridge.web.rooms import Rooms
from landbridge.workflows.branching import RUN_WORKFLOW
from landbridge.workflows.history import is_cut
from landbridge.workflows.runs import FAN_OUT

PAGE: Final = 100
"""Executions on a page."""

Status = Literal["QUEUED", "EXECUTING", "DELAYED", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED"]

_STATES: Final[dict[Status, tuple[tuple[str, ...], bool | None]]] = {
    "QUEUED": ((runs.QUEUED, runs.HELD), None),
    "EXECUTING": ((runs.RUNNING, runs.WAITING), True),
    "DELAYED": ((runs.WAITING,), False),
    "PAUSED": ((runs.PAUSED,), None),
    "SUCCEEDED": ((runs.SUCCEEDED,), None),
    "FAILED": ((runs.FAILED,), None),
    "CANCELLED": ((runs.CANCELLED,), None),
}
"""Our states for each status, and whether those that wait do so for runs that they started."""

_TRIGGER = "_trigger"  # no step has this id
_TYPES = {
    "request": "TRIGGER/ENDPOINT",
    "appEvent": "TRIGGER/EVENT",
    "scheduler": "TRIGGER/CRON",
    "integrationEnabled": "TRIGGER/OAUTH",
}
_PARENTS = {FAN_OUT, RUN_WORKFLOW}
_KINDS = {"conditional": "IFELSE", "fanOut": "MAP", "delay": "DELAY", "response": "RESPONSE"}


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


When = Annotated[datetime | None, AfterValidator(lambda given: given and _aware(given))]


def router(rooms: Rooms) -> APIRouter:
    """Return the routes, for operators."""
    base = "/projects/{project_id}/task-history/workflow-executions"
    routes = APIRouter(prefix=base, route_class=for_operators(rooms), include_in_schema=False)
    _add_list(routes, rooms)
    _add_single(routes, rooms)
    return routes


def _add_list(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("")
    async def executions(
        request: Request,
        project_id: str,
        workflow_id: Annotated[str | None, Query(alias="workflowId")] = None,
        user_id: Annotated[str | None, Query(alias="userId")] = None,
        integration: str | None = None,
        status: Status | None = None,
        before: Annotated[When, Query(alias="beforeDate")] = None,
        after: Annotated[When, Query(alias="afterDate")] = None,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        order: Annotated[Literal["ASC", "DESC"], Query(alias="sortBy")] = "DESC",
    ) -> JSONResponse:
        await rooms.projects.get(project_id)
        states, for_children = _STATES[status] if status else ((), None)
        wanted = Filter(project_id, workflow_id, user_id, integration, states, for_children, after, before)
        async with rooms.database.read() as tx:
            total = await history.count(tx, wanted)
            rows = await history.page(tx, wanted, limit=PAGE, offset=offset, ascending=order == "ASC")
        more = offset + len(rows) < total and bool(rows)
        next_ = urlencode({**request.query_params, "offset": offset + PAGE})
        link = f"{rooms.settings.zeus_url}{request.url.path}?{next_}" if more else None
        return JSONResponse({"workflowExecutions": [_execution(row) for row in rows], "nextLink": link, "total": total})


def _add_single(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/{execution_id}")
    async def execution(project_id: str, execution_id: str) -> JSONResponse:
        row = await rooms.runs.get(project_id, execution_id)
        trigger = await _trigger_of(rooms, row)
        async with rooms.database.read() as tx:
            steps = [trigger, *await history.steps_of(tx, row.id)]
        return JSONResponse({**_execution(row), "stepExecutions": _chain(steps)})

    @routes.get("/{execution_id}/step-executions/{step_id}")
    async def step_execution(project_id: str, execution_id: str, step_id: str) -> JSONResponse:
        row = await rooms.runs.get(project_id, execution_id)
        async with rooms.database.read() as tx:
            found = await history.step_of(tx, row.id, step_id)
        found = await _trigger_of(rooms, row) if step_id == _TRIGGER else found
        if found is None:
            raise NotFound("This execution has no such step execution.")
        output = found.output if found.error is None else {"error": found.error}
        large = {"isLargeInput": is_cut(found.input), "isLargeOutput": is_cut(output)}
        return JSONResponse({**large, "input": found.input, "output": output})

    @routes.post("/{execution_id}/replay")
    async def replay(project_id: str, execution_id: str) -> JSONResponse:
        row = await rooms.runs.replay(project_id, execution_id)
        names = ("id", "userId", "workflowId", "status", "dateStarted")
        told = _execution(row)
        return JSONResponse({name: told[name] for name in names}, 201)


def _execution(row: RunRow) -> dict[str, Any]:  # Any: JSON
    started = row.started_at or row.created_at
    return {
        "id": row.id,
        "userId": row.user_id,
        "taskCount": row.tasks,
        "runDuration": (row.finished_at - started) // timedelta(milliseconds=1) if row.finished_at else None,
        "workflowId": row.workflow_id,
        "status": _status(row.state, row.waits_for),
        "dateStarted": started.isoformat(),
        "dateEnded": row.finished_at and row.finished_at.isoformat(),
        "resumesAt": row.due_at and row.due_at.isoformat() if row.state in {runs.WAITING, runs.PAUSED} else None,
        "traceId": row.trace_id,
        "replayOf": row.replay_of,
    }


def _status(state: str, waits_for: str | None) -> Status:
    for status, (states, for_children) in _STATES.items():
        told_apart = state == runs.WAITING and for_children is not None
        if state in states and (not told_apart or (waits_for == "children") == for_children):
            return status
    raise AssertionError(state)


async def _trigger_of(rooms: Rooms, row: RunRow) -> StepRow:
    """Return what started the run as if it were a step."""
    at = row.created_at
    given = await rooms.runs.given_to(row)
    return StepRow(row.id, _TRIGGER, -1, row.trigger, runs.SUCCEEDED, 1, at, at, output=given)


def _chain(steps: Sequence[StepRow]) -> list[dict[str, Any]]:  # Any: JSON
    """Return the steps, each with those that came before and after it."""
    ids = [step.step for step in steps]
    return [
        {
            "id": step.step,
            "stepId": step.step,
            "status": _status(step.state, "children" if step.type in _PARENTS else None),
            "type": _type(step),
            "start": step.started_at.isoformat(),
            "end": step.finished_at and step.finished_at.isoformat(),
            "prev": ids[place - 1] if place else None,
            "next": ids[place + 1 : place + 2],
            "inputSize": _size(step.input),
            "outputSize": _size(step.output if step.error is None else {"error": step.error}),
        }
        for place, step in enumerate(steps)
    ]


def _type(step: StepRow) -> str:
    if step.step == _TRIGGER:
        return _TYPES.get(step.type, f"TRIGGER/{step.type.upper()}")
    return _KINDS.get(step.type, f"ACTION/{step.type.upper()}")


def _size(value: Any) -> int:  # Any: JSON
    if value is None:
        return 0
    return int(value["size"]) if is_cut(value) else len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
