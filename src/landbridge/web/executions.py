"""The management API of runs: what became of workflows, what is becoming of them, and again."""

import base64
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, TypeAdapter
from starlette.responses import Response

from landbridge.errors import InvalidRequest
from landbridge.store import history
from landbridge.store.history import Filter
from landbridge.store.runs import RunRow
from landbridge.web.flow_shapes import ReplayIn, RunDetails, RunOut, RunPage
from landbridge.web.rooms import Rooms
from landbridge.workflows.history import Part

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1000)]
Place = TypeVar("Place")

_CREATED: Final = TypeAdapter(tuple[AwareDatetime, str])
_ENTRY: Final = TypeAdapter(tuple[str, int])


def add_routes(routes: APIRouter, rooms: Rooms) -> None:
    """Add the routes to the management API, whose router knows who may call."""
    _add_lists(routes, rooms)
    _add_single(routes, rooms)


def _add_lists(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/runs"

    @routes.get(base, tags=["runs"])
    async def list_runs(
        project_id: str,
        workflow_id: str | None = None,
        user_id: str | None = None,
        integration: str | None = None,
        state: Annotated[list[str] | None, Query(max_length=10)] = None,
        trace_id: str | None = None,
        after: AwareDatetime | None = None,
        before: AwareDatetime | None = None,
        is_test: bool = False,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> RunPage:
        """A project's runs, or with `is_test` its tests, newest first; `next_cursor` leads to the page after it."""
        await rooms.projects.get(project_id)
        states = tuple(state or ())
        wanted = Filter(project_id, workflow_id, user_id, integration, states, None, after, before, trace_id, is_test)
        beyond = _beyond(cursor, _CREATED)
        async with rooms.database.read() as tx:
            rows = await history.page(tx, wanted, limit=limit + 1, beyond=beyond)
        return _page(rows, limit, _CREATED, lambda last: (last.created_at, last.id))

    @routes.get(base + "/{run_id}/entries", tags=["runs"])
    async def list_entries(
        project_id: str,
        run_id: str,
        step: Annotated[str | None, Query(max_length=64)] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> RunPage:
        """The runs that a run started, entry by entry: those of a fan-out, or of another workflow."""
        await rooms.runs.get(project_id, run_id)
        beyond = _beyond(cursor, _ENTRY)
        async with rooms.database.read() as tx:
            rows = await history.entries(tx, run_id, step=step, limit=limit + 1, beyond=beyond)
        return _page(rows, limit, _ENTRY, lambda last: (last.parent_step or "", last.item_index or 0))


def _add_single(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/runs/{run_id}"

    @routes.get(base, tags=["runs"])
    async def get_run(project_id: str, run_id: str) -> RunDetails:
        """One run with what its steps were given and gave, without secrets."""
        row = await rooms.runs.get(project_id, run_id)
        async with rooms.database.read() as tx:
            steps = await history.steps_of(tx, row.id)
        return RunDetails.of_steps(row, await rooms.runs.given_to(row), steps)

    @routes.get(base + "/steps/{step}/{part}", tags=["runs"])
    async def get_whole_value(project_id: str, run_id: str, step: str, part: Part) -> Response:
        """All of what a step was given or gave, as JSON, without secrets: what a run's details cut."""
        row = await rooms.runs.get(project_id, run_id)
        return Response(await rooms.large_values.whole(row, step, part), media_type="application/json")

    @routes.post(base + "/cancel", tags=["runs"])
    async def cancel_run(project_id: str, run_id: str) -> RunOut:
        """End a run: at once if it waits, else before its next step."""
        await rooms.runs.cancel(project_id, run_id)
        return RunOut.of(await rooms.runs.get(project_id, run_id))

    @routes.post(base + "/replay", status_code=201, tags=["runs"])
    async def replay_run(project_id: str, run_id: str, given: ReplayIn) -> RunOut:
        """Run again what a run did, from the start or from a step, in the same version or the deployed one."""
        return RunOut.of(await rooms.runs.replay(project_id, run_id, version=given.version, step=given.step))


def _page(rows: list[RunRow], limit: int, kind: TypeAdapter[Place], place: Callable[[RunRow], Place]) -> RunPage:
    beyond = kind.dump_json(place(rows[limit - 1])) if len(rows) > limit else None
    cursor = beyond and base64.urlsafe_b64encode(beyond).decode()
    return RunPage(runs=[RunOut.of(row) for row in rows[:limit]], next_cursor=cursor)


def _beyond(cursor: str | None, kind: TypeAdapter[Place]) -> Place | None:
    try:
        return kind.validate_json(base64.urlsafe_b64decode(cursor)) if cursor else None
    except ValueError:
        raise InvalidRequest("cursor: this is not the `next_cursor` of a page of these.") from None
