"""What Graph says about people and sites: the signed-in user, and the lists of drives."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.graph.access import check_delegated, check_files, check_profile
from msgraph_sandbox.graph.shapes import drive_json, select_fields
from msgraph_sandbox.http import Request, Response, json_response
from msgraph_sandbox.identity.directory import Directory, User
from msgraph_sandbox.identity.tokens import AccessGrant

Answer = Callable[[Directory, Library, AccessGrant], Response]
_USER = re.compile(r"/(?:me|users/(?P<user>[^/]+))(?P<drives>/drives)?/?")


def find(request: Request, path: str) -> tuple[str, Answer]:
    """Return the name of the operation at a path that is about no drive, and what answers it."""
    match = _USER.fullmatch(path)
    if match is None or request.method != "GET":
        return "unknown", _unknown
    name = "drives.list" if match["drives"] else "user.get"

    def answer(directory: Directory, library: Library, grant: AccessGrant) -> Response:
        user = _user(directory, grant, match["user"])
        if match["drives"]:
            return _drives(request, library, grant, user)
        check_profile(grant)
        return json_response(select_fields(user_json(request, user), _select(request)))

    return name, answer


def _select(request: Request) -> str | None:
    return request.query.get("$select") or request.query.get("select")


def _user(directory: Directory, grant: AccessGrant, key: str | None) -> User:
    if key is None:
        check_delegated(grant)
        assert grant.user is not None
        return grant.user
    user = directory.user(key)
    if user is None or user.tenant.id != grant.tenant_id:
        raise GraphRefused(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
    return user


def user_json(request: Request, user: User) -> dict[str, object]:
    """Return a user. A personal account's id is the short one that its tokens do not show."""
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


def _drives(request: Request, library: Library, grant: AccessGrant, user: User) -> Response:
    check_files(grant, "read", in_app_folder=False)
    mine = [drive for drive in library.drives.values() if drive.owner.id == user.oid]
    value = [drive_json(drive, request.origin) for drive in mine]
    return json_response({"@odata.context": f"{request.origin}/v1.0/$metadata#drives", "value": value})


def _unknown(directory: Directory, library: Library, grant: AccessGrant) -> Response:
    raise GraphRefused(400, "BadRequest", "Resource not found for the segment.")
