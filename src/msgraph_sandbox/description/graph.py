"""Graph, described: every operation on drives and items, at three of the many ways to write an address."""

from __future__ import annotations

from msgraph_sandbox.description.parts import TEXT, document, first_line, form, operation
from msgraph_sandbox.graph.service import DRIVE_ROUTES, ITEM_ROUTES, Route
from msgraph_sandbox.http import Json

_STARTS = ("/me/drive/root", "/me/drive/root:/{path}:", "/drives/{drive}/items/{item}")
_LISTED = ("$select", "$expand", "$top", "$orderby", "$skiptoken", "$filter")
_CONFLICT: Json = {"type": "string", "enum": ["fail", "replace", "rename"]}
_TIMES = form("createdDateTime", "lastModifiedDateTime")
_REFERENCE = form("driveId", "id", "path")
_FLAG: Json = {"type": "boolean"}
_NUMBER: Json = {"type": "integer"}


def _body(**fields: Json) -> Json:
    return {"type": "object", "properties": fields}


_ITEM = _body(name=TEXT, description=TEXT, fileSystemInfo=_TIMES, parentReference=_REFERENCE)
_CHILD = _body(name=TEXT, folder=_body(), **{"@microsoft.graph.conflictBehavior": _CONFLICT})
_SESSION = _body(item=_body(name=TEXT, fileSize=_NUMBER, fileSystemInfo=_TIMES), deferCommit=_FLAG)
_ROLES: Json = {"type": "array", "items": {"type": "string", "enum": ["read", "write"]}}
_RECIPIENTS: Json = {"type": "array", "items": form("email")}
_SUBSCRIPTION = form(
    "changeType", "resource", "notificationUrl", "lifecycleNotificationUrl", "expirationDateTime", "clientState"
)
_PART = _body(id=TEXT, method=TEXT, url=TEXT, headers=_body(), body=_body())
_SEARCH = _body(entityTypes={"type": "array", "items": TEXT}, query=form("queryString"), size=_NUMBER)
_SEARCH["properties"]["from"] = _NUMBER
# What operations take in their bodies, by their names.
_BODIES: dict[str, Json] = {
    "item.update": _ITEM,
    "item.restore": _ITEM,
    "item.copy": _body(name=TEXT, parentReference=_REFERENCE, childrenOnly=_FLAG, includeAllVersionHistory=_FLAG),
    "item.put": _body(name=TEXT, **{"@microsoft.graph.sourceUrl": TEXT}),
    "children.create": _CHILD,
    "upload.create": _SESSION,
    "link.create": form("type", "scope", "password", "expirationDateTime"),
    "invite": _body(recipients=_RECIPIENTS, roles=_ROLES, expirationDateTime=TEXT),
    "item.check_in": form("comment"),
    "permissions.update": _body(roles=_ROLES, expirationDateTime=TEXT),
}
_SUBSCRIPTIONS, _ONE = "/subscriptions", "/subscriptions/{subscription}"
_OTHERS: tuple[tuple[str, str, str, Json | None], ...] = (
    ("/me", "get", "The signed-in user.", None),
    ("/users", "get", "Everybody in the organization.", None),
    ("/users/{user}", "get", "A user.", None),
    ("/me/drives", "get", "The user's drives.", None),
    ("/me/revokeSignInSessions", "post", "Revoke the user's refresh tokens.", None),
    ("/sites", "get", "Sites.", None),
    ("/sites/{site}", "get", "A site.", None),
    ("/sites/{site}/drives", "get", "A site's libraries.", None),
    ("/shares/{share}", "get", "A sharing link: a name, and whose it is.", None),
    ("/shares/{share}/permission", "get", "The permission that a sharing link is.", None),
    ("/shares/{share}/driveItem", "get", "What a sharing link leads to.", None),
    ("/$batch", "post", "Several requests in one.", _body(requests={"type": "array", "items": _PART})),
    ("/search/query", "post", "Search every drive.", _body(requests={"type": "array", "items": _SEARCH})),
    (_SUBSCRIPTIONS, "get", "The caller's subscriptions.", None),
    (_SUBSCRIPTIONS, "post", "Subscribe.", _SUBSCRIPTION),
    (_ONE, "get", "A subscription.", None),
    (_ONE, "patch", "Renew.", form("expirationDateTime", "notificationUrl")),
    (_ONE, "delete", "Unsubscribe.", None),
    (_ONE + "/reauthorize", "post", "Vouch for a subscription again.", None),
)


def describe(url: str) -> Json:
    """Return the description of Graph at `url`."""
    paths: dict[str, Json] = {}
    for start, routes in (*((start, ITEM_ROUTES) for start in _STARTS), ("/me/drive", DRIVE_ROUTES)):
        for (method, tail), route in routes.items():
            path = start.removesuffix(":") if start.endswith(":") and not tail else start
            path += "".join("/" + _segment(part, number) for number, part in enumerate(tail))
            paths.setdefault(path, {})[method.lower()] = _operation(path, method, route)
    for path, method, summary, body in _OTHERS:
        query = {"search": TEXT} if path == "/sites" else None
        paths.setdefault(path, {})[method] = operation(path, summary, body=body, query=query)
    return document("Microsoft Graph's files, by msgraph-sandbox", f"{url}/v1.0", paths)


def _segment(part: str, number: int) -> str:
    if part == "*":
        return f"{{part{number}}}"
    return f"{part}(q='{{q}}')" if part == "search" else part


def _operation(path: str, method: str, route: Route) -> Json:
    summary = first_line(route.handler)
    if route.name == "content.put":
        query = {"@microsoft.graph.conflictBehavior": _CONFLICT}
        return operation(path, summary, query=query, body={"type": "string"}, media_type="application/octet-stream")
    query = dict.fromkeys(_LISTED, TEXT) if method == "GET" else {}
    query |= {"token": TEXT} if route.name == "delta" else {}
    return operation(path, summary, query=query, body=_BODIES.get(route.name))
