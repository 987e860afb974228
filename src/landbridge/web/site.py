"""The whole web application: the gate in front, the framework with its routers behind it."""

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from landbridge import __version__
from landbridge.errors import InvalidRequest, LandbridgeError, NotFound, TooLarge
from landbridge.web import agents, api, oauth, sdk, task_history, tools, triggers
from landbridge.web.answers import error_answer, note_refusal
from landbridge.web.forms import referring_origin
from landbridge.web.gate import Gate
from landbridge.web.rooms import Rooms

_STATIC = files("landbridge.web") / "static"


def build(rooms: Rooms) -> Gate:
    """Return the ASGI application."""
    framework = FastAPI(
        title="Landbridge",
        version=__version__,
        summary="Manage projects, keys, integrations and connections.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    for router in (
        sdk.router(rooms),
        tools.router(rooms),
        agents.router(rooms),
        triggers.router(rooms),
        oauth.router(rooms),
        api.router(rooms),
        task_history.router(rooms),
    ):
        framework.include_router(router)
    _add_portal(framework, rooms)
    _add_health(framework, rooms)
    _add_error_handlers(framework)
    return Gate(rooms, framework)


def _add_portal(framework: FastAPI, rooms: Rooms) -> None:
    @framework.get("/ui", include_in_schema=False)
    async def portal(request: Request) -> Response:
        # Only the page that asks is named: a list of all would tell everybody whose pages they are.
        page = referring_origin(request)
        framer = page if page and await rooms.projects.is_trusted(page) else "'none'"
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'none'; "
            f"base-uri 'none'; form-action 'none'; frame-ancestors {framer}"
        )
        return FileResponse(
            str(_STATIC / "portal.html"),
            headers={
                "Content-Security-Policy": policy,
                "Cache-Control": "no-cache",
                "Referrer-Policy": "no-referrer",
                "Vary": "Referer",
            },
        )

    @framework.get("/ui/{name}", include_in_schema=False)
    async def portal_asset(name: str) -> Response:
        if name not in {"portal.js", "portal.css"}:
            raise NotFound("There is no such file.")
        return FileResponse(str(_STATIC / name), headers={"Cache-Control": "no-cache"})

    @framework.get("/integrations/{name}.svg", include_in_schema=False)
    async def icon(name: str) -> Response:
        return Response(rooms.catalog.get(name).icon, media_type="image/svg+xml", headers=_ICON_HEADERS)


_ICON_HEADERS = {
    "Cache-Control": "public, max-age=86400",
    "Access-Control-Allow-Origin": "*",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


def _add_health(framework: FastAPI, rooms: Rooms) -> None:
    @framework.get("/healthz", include_in_schema=False)
    async def alive() -> Response:
        return PlainTextResponse("ok")

    @framework.get("/readyz", include_in_schema=False)
    async def ready() -> Response:
        await rooms.database.check()
        return PlainTextResponse("ok")

    @framework.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(rooms.metrics.exposition(), media_type="text/plain; version=0.0.4")


def _add_error_handlers(framework: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, LandbridgeError)
        note_refusal(request.client, error)
        status, headers, body = error_answer(error)
        return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = [{"where": list(map(str, one["loc"])), "problem": one["msg"]} for one in error.errors()]
        where = ".".join(problems[0]["where"]) if problems else "the request"
        told = InvalidRequest(f"{where}: {problems[0]['problem']}" if problems else where, meta={"problems": problems})
        return await ours(request, told)

    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = {404: NotFound, 413: TooLarge}.get(error.status_code, InvalidRequest)
        body = kind(str(error.detail)).body()
        return JSONResponse({**body, "status": error.status_code}, error.status_code, headers=error.headers)

    async def unexpected(_request: Request, error: Exception) -> Response:
        raise error  # the gate says it in the documented shape, which the framework's own answer has not

    handlers: dict[Any, Any] = {
        LandbridgeError: ours,
        RequestValidationError: invalid,
        HTTPException: http,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        framework.add_exception_handler(kind, handler)
