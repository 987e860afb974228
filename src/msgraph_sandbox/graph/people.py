"""What Graph says about people: the signed-in user, and the lists of their drives."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, no_segment
from msgraph_sandbox.graph import sites
from msgraph_sandbox.graph.access import EVERYBODY, check_delegated, check_files, check_profile
from msgraph_sandbox.graph.shapes import drive_json, select_fields
from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.directory import Directory, User
from msgraph_sandbox.identity.tokens import AccessGrant

Answer = Callable[[Directory, Library, AccessGrant], Response]
_KNOWN = ("me", "users", "drives", "groups", "sites", "shares", "subscriptions", "search", "oidc")
_USER = re.compile(r"/(?:me|users/(?P<user>[^/]+))(?P<drives>/drives)?/?", re.IGNORECASE)


def find(request: Request, path: str) -> tuple[str, Answer]:
    """Return the name of the operation at a path that is about no drive, and what answers it."""
    key = request.method, path.lower().rstrip("/")
    if key in _FIXED:
        name, answer = _FIXED[key]
        return name, lambda people, library, grant: answer(request, people, library, grant)
    # OpenID Connect's own address has no version; a client may GET or POST it (OpenID Connect Core §5.3.1).
    if request.method in ("GET", "POST") and request.path == "/oidc/userinfo":
        return "userinfo", lambda people, library, grant: _userinfo(grant)
    if request.method == "GET" and (user := _USER.fullmatch(path)):
        if user["drives"]:
            return "drives.list", lambda people, library, grant: _drives(request, library, people, grant, user["user"])
        return "user.get", lambda people, library, grant: _profile(request, people, grant, user["user"])
    if request.method == "GET" and (site := sites.PATH.fullmatch(path)):
        site_key, drives = site["site"], bool(site["drives"])
        return "sites", lambda people, library, grant: sites.answer(request, library, grant, site_key, drives=drives)
    return "unknown", lambda people, library, grant: _unknown(path)


def _user(directory: Directory, grant: AccessGrant, key: str | None) -> User:
    if key is None:
        check_delegated(grant)
        assert grant.user is not None
        return grant.user
    user = directory.user(key)
    if user is None or user.tenant.id != grant.tenant_id:
        raise GraphRefused(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
    return user


def _profile(request: Request, directory: Directory, grant: AccessGrant, key: str | None) -> Response:
    user = _user(directory, grant, key)
    check_profile(grant)
    select = request.query.get("$select") or request.query.get("select")
    return json_response(select_fields(user_json(request, user), select))


def _list(request: Request, directory: Directory, library: Library, grant: AccessGrant) -> Response:
    """Return everybody in the caller's organization, which takes more than the permission to read one's own profile."""
    if not (grant.scopes | grant.roles) & EVERYBODY:
        raise GraphRefused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    select = request.query.get("$select") or request.query.get("select")
    here = [user for user in directory.users.values() if user.tenant.id == grant.tenant_id and not user.personal]
    value = [select_fields(user_json(request, user), select) for user in here]
    for one in value:
        one.pop("@odata.context", None)
    return json_response({"@odata.context": f"{request.origin}/v1.0/$metadata#users", "value": value})


def user_json(request: Request, user: User) -> dict[str, Json]:
    """Return a user. A personal account's id is short, unlike the `oid` in its tokens."""
    return {
        "@odata.context": f"{request.origin}/v1.0/$metadata#users/$entity",
        "id": user.oid.replace("-", "")[16:] if user.personal else user.oid,
        "displayName": user.name,
        "givenName": user.name.partition(" ")[0],
        "surname": user.name.partition(" ")[2] or None,
        "mail": user.email,
        "userPrincipalName": user.email,
        "businessPhones": [],
        "jobTitle": None,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
    }


def _drives(request: Request, library: Library, directory: Directory, grant: AccessGrant, key: str | None) -> Response:
    user = _user(directory, grant, key)
    check_files(grant, "read", in_app_folder=False)
    listed = library.switches.list_own_drives
    mine = [drive for drive in library.drives.values() if listed and drive.owner.id == user.oid]
    value = [drive_json(drive, request.origin) for drive in mine]
    return json_response({"@odata.context": f"{request.origin}/v1.0/$metadata#drives", "value": value})


def _revoke(request: Request, directory: Directory, library: Library, grant: AccessGrant) -> Response:
    """Invalidate the user's refresh tokens; not offered to personal accounts."""
    check_delegated(grant)
    assert grant.user is not None
    if grant.user.personal:
        raise GraphRefused(400, "BadRequest", "This operation is not supported for personal accounts.")
    grant.user.tokens_valid_from = library.clock.now()
    return json_response({"value": True})


def _userinfo(grant: AccessGrant) -> Response:
    check_delegated(grant)
    assert grant.user is not None
    user = grant.user
    return json_response({"sub": user.subject(grant.application.client_id), "name": user.name, "email": user.email})


def _unknown(path: str) -> Response:
    first, *rest = path.strip("/").split("/")
    raise no_segment(rest[-1] if rest and first in _KNOWN else first)


_FIXED: dict[tuple[str, str], tuple[str, Callable[[Request, Directory, Library, AccessGrant], Response]]] = {
    ("GET", "/users"): ("users.list", _list),
    ("POST", "/me/revokesigninsessions"): ("sessions.revoke", _revoke),
}
