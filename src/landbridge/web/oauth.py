"""The browser's way through a sign-in: the nonce page before the provider, the callback after it."""

from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from landbridge.catalog import integration_id
from landbridge.connections.sign_ins import LIFETIME, cookie_name
from landbridge.errors import InstallFailed, LandbridgeError
from landbridge.store.sign_ins import SignInRow
from landbridge.web.forms import referring_origin
from landbridge.web.pages import CUT_OFF, connected_page, failed_page, nonce_page, refused_page
from landbridge.web.rooms import Rooms

_HOPPED = "landbridge_hop"


def router(rooms: Rooms) -> APIRouter:
    """Return the pages that a sign-in's window shows."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/projects/{project_id}/sdk/actions/oauth-nonce")
    async def nonce(request: Request, project_id: str) -> Response:
        query = request.query_params
        integration, app_origin = query.get("action", ""), query.get("originForPostMessage", "")
        try:
            facts = await rooms.projects.facts(project_id)
        except LandbridgeError as error:
            return refused_page(error.message, status=error.status)
        origins = facts.allowed_origins & {app_origin}
        try:
            caller = await rooms.access.user(project_id, query.get("userToken", ""))
        except LandbridgeError as error:
            return failed_page(error.body(), integration_id(project_id, integration), origins)
        name = _cookie(rooms, project_id, caller.user_id, integration)
        if refusal := _refusal(request, app_origin, origins):
            await rooms.sign_ins.refuse_nonce(caller, integration, refusal)
            response = failed_page(InstallFailed(refusal).body(), integration_id(project_id, integration), origins)
            response.delete_cookie(name, path="/", secure=_is_secure(rooms), httponly=True, samesite="lax")
            return response
        response = nonce_page(app_origin)
        response.set_cookie(
            name,
            await rooms.sign_ins.give_nonce(caller, integration),
            max_age=int(LIFETIME.total_seconds()),
            path="/",
            httponly=True,
            samesite="lax",
            secure=_is_secure(rooms),
        )
        return response

    @routes.get("/oauth")
    async def callback(request: Request) -> Response:
        query = request.query_params
        sign_in = await rooms.sign_ins.find(query.get("state", ""))
        if sign_in is None:
            return refused_page("This sign-in is over or unknown. Go back to the app and connect from there.")
        cookie = request.cookies.get(_cookie(rooms, sign_in.project_id, sign_in.user_id, sign_in.integration))
        if cookie is None and _must_hop(rooms, request):
            return RedirectResponse(f"{rooms.settings.zeus_url}/oauth?{request.url.query}&{_HOPPED}=1", 303)
        return await _finished(rooms, sign_in, cookie, request)

    return routes


def _cookie(rooms: Rooms, project_id: str, user_id: str, integration: str) -> str:
    """Return the cookie's name, which over https begins so that browsers take it from this very host and no other.

    Else whoever holds a host beside ours could plant a cookie of their own in a victim's browser (RFC 6265bis §4.1.3).
    """
    return ("__Host-" if _is_secure(rooms) else "") + cookie_name(project_id, user_id, integration)


def _is_secure(rooms: Rooms) -> bool:
    return rooms.settings.zeus_url.startswith("https:")


async def _finished(rooms: Rooms, sign_in: SignInRow, cookie: str | None, request: Request) -> Response:
    query = request.query_params
    outcome = await rooms.sign_ins.finish(sign_in, cookie, code=query.get("code"), error=query.get("error"))
    if outcome.failure is None:
        return connected_page(outcome.message)
    facts = await rooms.projects.facts(sign_in.project_id)
    id_ = integration_id(sign_in.project_id, sign_in.integration)
    return failed_page(outcome.failure, id_, facts.allowed_origins)


def _refusal(request: Request, app_origin: str, allowed: frozenset[str]) -> str | None:
    """Return why this browser gets no cookie, or None if the project's own page sent it here.

    Without this, an attacker could send a victim here with the attacker's own user token, and then to the attacker's
    sign-in. The browser says who sent it, in `Referer`, and a page can hide itself there but not pose as another; and
    what for, in `Sec-Fetch-Dest` (any browser of today, over https). That leaves what an attacker has put into the
    project's own page: a picture in a comment is no window, and a link in one opens a window without an opener.
    """
    if app_origin not in allowed:
        return "The page that opened this window is not one of the project's allowed origins."
    if request.headers.get("sec-fetch-dest", "document") != "document":
        return "This page was asked for as a part of another page. It is for a window of its own."
    if CUT_OFF in request.url.query.split("&"):
        return (
            "This window knows no page that opened it. Start from the app. Its developers: a page that is sent with "
            "Cross-Origin-Opener-Policy: same-origin cannot connect accounts, same-origin-allow-popups can."
        )
    if referring_origin(request) != app_origin:
        return (
            "This window was not opened by the app, or the app's page hides itself (Referrer-Policy: no-referrer). "
            "Start from the app; its developers can set Referrer-Policy: strict-origin-when-cross-origin."
        )
    return None


def _must_hop(rooms: Rooms, request: Request) -> bool:
    """Return whether the cookie may lie with another host of ours: the nonce page's, if the callback has its own."""
    hosts = {urlsplit(url).hostname for url in (rooms.settings.zeus_url, rooms.settings.passport_url)}
    return len(hosts) == 2 and _HOPPED not in request.query_params
