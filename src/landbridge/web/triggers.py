"""Where host products start workflows: requests, app events, and users switching them on and off, as the SDK does."""

import asyncio
import re
from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from landbridge.clock import Clock
from landbridge.errors import InvalidRequest, RunFailed, StoreFailed
from landbridge.files import File, Files, RunFiles
from landbridge.store import runs as store
from landbridge.store.database import Database
from landbridge.store.runs import RunRow
from landbridge.web.forms import caller_of, json_object
from landbridge.web.rooms import Rooms
from landbridge.web.uploads import received
from landbridge.workflows.runs import Sealing, root_id
from landbridge.workflows.traces import HEADER
from landbridge.workflows.triggers import Incoming, Which

LONGEST_WAIT: Final = timedelta(seconds=55)
"""How long a request waits for its workflow's Response step; after that the answer is 542, and the run goes on."""

_LOOK_EVERY = timedelta(milliseconds=15)
_LATE = 542
_CREDENTIAL, _CONFIGURATION = "x-paragon-credential", "x-paragon-configuration-id"
_WITHOUT_BODY = frozenset({204, 205, 304})
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_PASSED_ON = frozenset({"authorization", "cookie", "proxy-authorization"})


def router(rooms: Rooms) -> APIRouter:
    """Return the routes that start workflows."""
    routes = APIRouter(include_in_schema=False)
    answers = Answers(rooms.database, rooms.clock)

    @routes.post("/projects/{project_id}/sdk/triggers/{workflow_id}")
    async def start(request: Request, workflow_id: str) -> Response:
        caller = await caller_of(rooms, request)
        async with rooms.triggers.ready(caller, workflow_id, _which(request)) as ready:
            row = await rooms.triggers.request(ready, await _incoming(request, ready.files))
        if not ready.deployed.plan.answers:
            return JSONResponse({"workflowExecutionId": row.id}, 202, headers=_marks(row))
        return await _answered(rooms, answers, row)

    @routes.post("/projects/{project_id}/sdk/events/trigger")
    @routes.post("/v2/projects/{project_id}/sdk/events/trigger")
    async def report(request: Request) -> JSONResponse:
        caller, body = await caller_of(rooms, request), await json_object(request)
        name, payload = body.get("name"), body.get("payload", {})
        if not isinstance(name, str) or not isinstance(payload, dict):
            raise InvalidRequest("An app event is `{name, payload}`: a text, and an object.")
        trace = request.headers.get(HEADER)
        begun = await rooms.triggers.event(caller, name, payload, _which(request), trace)
        marks = {"X-Landbridge-Trace": begun[0].trace_id} if begun else {}
        return JSONResponse({"workflowExecutionIds": [row.id for row in begun]}, 201, headers=marks)

    @routes.post("/projects/{project_id}/sdk/workflows/{workflow_id}")
    async def switch_on(request: Request, workflow_id: str) -> JSONResponse:
        await rooms.triggers.switch(await caller_of(rooms, request), workflow_id, _which(request), on=True)
        return JSONResponse({})

    @routes.delete("/projects/{project_id}/sdk/workflows/{workflow_id}")
    async def switch_off(request: Request, workflow_id: str) -> JSONResponse:
        await rooms.triggers.switch(await caller_of(rooms, request), workflow_id, _which(request), on=False)
        return JSONResponse({})

    return routes


def _marks(row: RunRow) -> dict[str, str]:
    """Return the headers by which the caller finds the run again, and what it led to."""
    return {"X-Landbridge-Run": row.id, "X-Landbridge-Trace": row.trace_id}


def _which(request: Request) -> Which:
    return Which(request.headers.get(_CREDENTIAL), request.headers.get(_CONFIGURATION))


async def _incoming(request: Request, files: RunFiles) -> Incoming:
    """Return the request as the workflow sees it: without what proves who calls."""
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON}
    got = await received(request, files)
    return Incoming(headers, dict(request.query_params), got.body, got.file, got.is_form)


async def _answered(rooms: Rooms, answers: "Answers", row: RunRow) -> Response:
    """Return what the workflow answers, or 542 if it takes too long, or `RunFailed`."""
    answered = await answers.of(row.id, LONGEST_WAIT)
    if answered is None:
        late = {
            "message": f"The workflow has not answered within {LONGEST_WAIT.seconds} s; it goes on.",
            "dateSubmitted": row.created_at.isoformat(),
            "projectId": row.project_id,
            "workflowId": row.workflow_id,
            "executionId": row.id,
        }
        return JSONResponse(late, _LATE, headers=_marks(row))
    return _response(answered, rooms.sealing, rooms.files)


def _response(row: RunRow, sealing: Sealing, files: Files) -> Response:
    answer = sealing.open(row, row.sealed_response)
    marks = _marks(row)
    if answer is None:
        if row.state != store.SUCCEEDED:
            raise RunFailed("The workflow failed before it answered.", meta={"executionId": row.id, "error": row.error})
        return JSONResponse({"workflowExecutionId": row.id}, headers=marks)
    headers = _headers(answer.get("headers") or {}) | marks
    status = answer["statusCode"]
    if answer["type"] == "FILE":
        file = File.model_validate(answer["file"])
        contents = files.of(row.project_id, root_id(row.id)).open(file)
        told = {"Content-Length": str(contents.size), "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(contents.chunks(), status, headers=headers | told, media_type=file.mime_type)
    if status in _WITHOUT_BODY:
        return Response(status_code=status, headers=headers)
    return JSONResponse(answer.get("body"), status, headers=headers)


def _headers(given: dict[str, Any]) -> dict[str, str]:  # Any: JSON
    """Return an author's headers without those that frame the message, and without line breaks in any.

    Their values come from templates, so from whoever sent the request.
    """
    texts = ((name, _BREAKS.sub(" ", str(value))) for name, value in given.items())
    return {
        name: text.encode("latin-1", "replace").decode("latin-1")
        for name, text in texts
        if name.lower() not in _FRAMING and _TOKEN.fullmatch(name)
    }


class Answers:
    """Waits for runs to answer: one look into the database for all that are waited for."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._awaited: dict[str, asyncio.Future[RunRow]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._known_version: int | None = None

    async def of(self, run_id: str, within: timedelta) -> RunRow | None:
        """Return the run once it has answered, or is over; or None if that takes longer."""
        answered = self._awaited.setdefault(run_id, asyncio.get_running_loop().create_future())
        self._known_version = None  # it may have been answered already
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        late = asyncio.create_task(self._clock.sleep(within))
        try:
            await asyncio.wait((answered, late), return_when=asyncio.FIRST_COMPLETED)
            return answered.result() if answered.done() else None
        finally:
            late.cancel()
            self._awaited.pop(run_id, None)

    async def _look(self) -> None:
        while self._awaited:
            try:
                version = self._database.data_version()
                if version is None or version != self._known_version:
                    self._known_version = version
                    await self._hand_out()
            except StoreFailed:  # whoever waits is told after a while, or once it is back
                self._known_version = None
            await self._clock.sleep(_LOOK_EVERY)

    async def _hand_out(self) -> None:
        async with self._database.read() as tx:
            rows = await store.responses(tx, self._awaited)
        for row in rows:
            waiting = self._awaited.get(row.id)
            if waiting and not waiting.done():
                waiting.set_result(row)
