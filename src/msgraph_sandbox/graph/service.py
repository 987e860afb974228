"""The Graph host: from an address to the operation that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from msgraph_sandbox import cors
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, no_segment
from msgraph_sandbox.graph import (
    batch,
    collaboration,
    content,
    copies,
    delta,
    find,
    items,
    people,
    sharing,
    uploads,
    versions,
)
from msgraph_sandbox.graph.access import Need, authenticate, check_delegated, check_visit, may_write
from msgraph_sandbox.graph.address import Address, DriveRef, parse_address, parse_call, strip_version
from msgraph_sandbox.graph.sharing import check_link, find_share
from msgraph_sandbox.graph.sites import find_site
from msgraph_sandbox.graph.subscriptions import Subscriptions
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Refusal, Request, Response
from msgraph_sandbox.identity.directory import Directory
from msgraph_sandbox.identity.tokens import AccessGrant, Issuer
from msgraph_sandbox.notifier import Notifier
from msgraph_sandbox.operation import Operation

Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation on a drive or item: its name, what it needs, and who carries it out."""

    name: str
    need: Need
    handler: Handler


# By method and the shape of what follows the item in the address; `*` stands for an identifier.
ITEM_ROUTES: dict[tuple[str, tuple[str, ...]], Route] = {
    ("GET", ()): Route("item.get", "read", items.get_item),
    ("PATCH", ()): Route("item.update", "write", items.update_item),
    ("PUT", ()): Route("item.put", "write", uploads.put_item),
    ("DELETE", ()): Route("item.delete", "write", items.delete_item),
    ("POST", ("permanentDelete",)): Route("item.delete_forever", "write", items.delete_forever),
    ("POST", ("restore",)): Route("item.restore", "write", items.restore),
    ("POST", ("copy",)): Route("item.copy", "copy", copies.copy_item),
    ("GET", ("children",)): Route("children.list", "read", items.list_children),
    ("POST", ("children",)): Route("children.create", "write", items.create_child),
    ("GET", ("content",)): Route("content.get", "read", content.get_content),
    ("HEAD", ("content",)): Route("content.get", "read", content.get_content),
    ("PUT", ("content",)): Route("content.put", "write", content.put_content),
    ("POST", ("createUploadSession",)): Route("upload.create", "write", uploads.create_session),
    ("GET", ("delta",)): Route("delta", "read", delta.get_delta),
    ("GET", ("search",)): Route("search", "read", find.search),
    ("GET", ("versions",)): Route("versions.list", "read", versions.list_versions),
    ("GET", ("versions", "*")): Route("versions.get", "read", versions.get_version),
    ("DELETE", ("versions", "*")): Route("versions.delete", "write", versions.delete_version),
    ("GET", ("versions", "*", "content")): Route("versions.content", "read", versions.get_version_content),
    ("POST", ("versions", "*", "restoreVersion")): Route("versions.restore", "write", versions.restore_version),
    ("GET", ("thumbnails",)): Route("thumbnails.list", "read", versions.list_thumbnails),
    ("GET", ("thumbnails", "*")): Route("thumbnails.get", "read", versions.get_thumbnail),
    ("GET", ("thumbnails", "*", "*")): Route("thumbnails.get", "read", versions.get_thumbnail),
    ("GET", ("thumbnails", "*", "*", "*")): Route("thumbnails.get", "read", versions.get_thumbnail),
    ("POST", ("createLink",)): Route("link.create", "write", sharing.create_link),
    ("POST", ("invite",)): Route("invite", "write", sharing.invite),
    ("GET", ("permissions",)): Route("permissions.list", "read", sharing.list_permissions),
    ("GET", ("permissions", "*")): Route("permissions.get", "read", sharing.get_permission),
    ("PATCH", ("permissions", "*")): Route("permissions.update", "write", sharing.update_permission),
    ("DELETE", ("permissions", "*")): Route("permissions.delete", "write", sharing.delete_permission),
    ("POST", ("checkout",)): Route("item.check_out", "write", collaboration.check_out),
    ("POST", ("checkin",)): Route("item.check_in", "write", collaboration.check_in),
    ("POST", ("follow",)): Route("item.follow", "read", collaboration.follow),
    ("POST", ("unfollow",)): Route("item.unfollow", "read", collaboration.unfollow),
    ("POST", ("preview",)): Route("item.preview", "read", collaboration.preview),
    ("GET", ("listItem",)): Route("item.list_item", "read", collaboration.list_item),
    ("GET", ("analytics",)): Route("item.analytics", "read", collaboration.analytics),
    ("GET", ("analytics", "*")): Route("item.analytics", "read", collaboration.analytics),
    ("GET", ("activities",)): Route("item.activities", "read", items.nothing),
    ("GET", ("subscriptions", "socketIo")): Route("socket", "read", items.socket),
}
DRIVE_ROUTES: dict[tuple[str, tuple[str, ...]], Route] = {
    ("GET", ()): Route("drive.get", "read", items.get_drive),
    ("GET", ("recent",)): Route("recent", "read", items.recent),
    ("GET", ("sharedWithMe",)): Route("shared.list", "read", sharing.shared_with_me),
    ("GET", ("search",)): Route("search", "read", find.search),
    ("GET", ("special",)): Route("special.list", "read", items.list_special),
    ("GET", ("following",)): Route("following", "read", collaboration.following),
    ("GET", ("bundles",)): Route("bundles", "read", items.nothing),
}


# What is asked of a sharing link and not of the item that it leads to.
SHARE_ROUTES: dict[tuple[str, tuple[str, ...]], Route] = {
    ("GET", ()): Route("share.get", "read", sharing.get_share),
    ("GET", ("permission",)): Route("share.permission", "read", sharing.get_share_permission),
}


def _folded(routes: dict[tuple[str, tuple[str, ...]], Route]) -> dict[tuple[str, tuple[str, ...]], Route]:
    return {(method, tuple(part.lower() for part in shape)): route for (method, shape), route in routes.items()}


_ITEM_ROUTES, _DRIVE_ROUTES, _SHARE_ROUTES = map(_folded, (ITEM_ROUTES, DRIVE_ROUTES, SHARE_ROUTES))


def _routes(address: Address) -> dict[tuple[str, tuple[str, ...]], Route]:
    """Return the table that an address is found in, where letters are small: to Graph case does not count."""
    if address.item is not None:
        return _ITEM_ROUTES
    return _SHARE_ROUTES if address.drive.by == "share" else _DRIVE_ROUTES


def _shapes(request: Request, address: Address) -> list[tuple[str, ...]]:
    """Return the shapes that an address may be found under in the tables, its identifiers replaced by `*`."""
    head = tuple(parse_call(segment, request.query).name.lower() for segment in address.tail[:1])
    rest = tuple(segment.lower() for segment in address.tail[1:])
    return [head + rest, (*head, *("*" for _ in rest)), (*head, "*", *rest[1:])]


_STATUS_CODES = {
    400: "invalidRequest",
    401: "InvalidAuthenticationToken",
    402: "paymentRequired",
    403: "accessDenied",
    404: "itemNotFound",
    405: "methodNotAllowed",
    409: "nameAlreadyExists",
    410: "resyncRequired",
    412: "resourceModified",
    413: "requestEntityTooLarge",
    416: "invalidRange",
    423: "resourceLocked",
    429: "activityLimitReached",
    501: "notSupported",
    503: "serviceNotAvailable",
    504: "timeout",
    507: "quotaLimitReached",
}


def graph_fault(status: int, code: str | None, message: str | None, inner: str | None) -> GraphRefused:
    """Return a planted failure as Graph would phrase it."""
    text = message or ("The request has been throttled" if status == 429 else "A planted fault of the sandbox.")
    return GraphRefused(status, code or _STATUS_CODES.get(status, "generalException"), text, inner=inner)


@dataclass(slots=True)
class GraphService:
    """Answers for `graph.microsoft.com`."""

    directory: Directory
    issuer: Issuer
    library: Library
    notifier: Notifier
    name: str = "graph"
    subscriptions: Subscriptions = field(init=False)

    def __post_init__(self) -> None:
        self.subscriptions = Subscriptions(self.notifier, self.library.switches, self._drive)

    async def route(self, request: Request) -> Operation:
        """Return what the request asks for. Who asks is looked up first, so that faults can be meant for a user."""
        if cors.is_preflight(request):
            return Operation("preflight", lambda: cors.preflight(request))
        try:
            grant: AccessGrant | GraphRefused = authenticate(request, self.issuer, self.library.origins.login)
        except GraphRefused as refused:
            grant = refused
        operation = self._operation(request, grant)
        if isinstance(grant, AccessGrant):
            operation.user = grant.user.email if grant.user else None
            operation.client_id = grant.application.client_id
        return operation

    def _operation(self, request: Request, grant: AccessGrant | GraphRefused) -> Operation:
        path = strip_version(request.path)
        address = parse_address(path)
        if address is not None:
            return self._drive_operation(request, grant, address)
        if request.method == "POST" and path in _WHOLE_BODIES:
            name, perform = _WHOLE_BODIES[path]

            async def many() -> Response:
                return await perform(request, self.library, _granted(grant))

            return Operation(name, many)
        if subscription := self.subscriptions.find(request, path):
            name, act = subscription

            async def subscribe() -> Response:
                return await act(_granted(grant))

            return Operation(name, subscribe)
        name, answer = people.find(request, path)

        async def call() -> Response:
            return answer(self.directory, self.library, _granted(grant))

        return Operation(name, call)

    def _drive_operation(self, request: Request, grant: AccessGrant | GraphRefused, address: Address) -> Operation:
        address = self._through_children(request, address)
        route = self._find(request, address)

        async def call() -> Response:
            given = _granted(grant)
            visit = self._visit(request, given, address)
            if route is None or route.name != "content.put":
                _check_media_type(request)
            if route is None:
                raise self._no_route(request, address)
            visit.writable = may_write(given)
            check_visit(visit, route.need)
            return await route.handler(visit)

        return Operation(route.name if route else "unknown", call)

    def _find(self, request: Request, address: Address) -> Route | None:
        routes = _routes(address)
        for shape in _shapes(request, address):
            if found := routes.get((request.method, shape)):
                return found
        return None

    def _no_route(self, request: Request, address: Address) -> GraphRefused:
        routes = _routes(address)
        shapes = _shapes(request, address)
        if any(shape in shapes for _, shape in routes):
            return GraphRefused(405, "methodNotAllowed", f"The method {request.method} is not allowed here.")
        return no_segment(address.tail[0] if address.tail else "")

    def _through_children(self, request: Request, address: Address) -> Address:
        """Follow `children('name')` and `children/name`, an older way to address by name."""
        while address.tail and address.tail[0].lower().startswith("children"):
            call = parse_call(address.tail[0], request.query)
            if name := call.arguments.get(""):
                rest = address.tail[1:]
            elif call.name.lower() == "children" and len(address.tail) > 1:
                name, rest = address.tail[1], address.tail[2:]
            else:
                return address
            address = replace(address, path=(*address.path, name), tail=rest)
        return address

    def _visit(self, request: Request, grant: AccessGrant, address: Address) -> Visit:
        """Return the visit to an address; whether it may happen is checked later."""
        if address.drive.by == "share":
            drive, item, link = find_share(self.library, address.drive.key)
            check_link(grant, drive, item, link, self.library.clock.now())
            here = replace(address, item=item.id)
            return Visit(request, grant, self.library, self.directory, drive, here, link_role=link.roles[0])
        drive = self._drive(address.drive, grant)
        return Visit(request, grant, self.library, self.directory, drive, address)

    def _drive(self, reference: DriveRef, grant: AccessGrant) -> Drive:
        if reference.by == "drive":
            return self.library.drive(reference.key)
        if reference.by == "me":
            check_delegated(grant)
            user = grant.user
        elif reference.by == "site":
            return self.library.drive(find_site(self.library, grant, reference.key).drive_id)
        else:
            user = self.directory.user(reference.key) if reference.by == "user" else None
        if user is None:
            raise GraphRefused(404, "Request_ResourceNotFound", f"Resource '{reference.key}' does not exist.")
        if user.drive_id is None:
            raise GraphRefused(404, "ResourceNotFound", "User's mysite not found.")
        return self.library.drive(user.drive_id)

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Return the refusal in Graph's shape."""
        return refusal.response(request)

    def fault(
        self, request: Request, status: int, code: str | None, message: str | None, inner: str | None
    ) -> Response:
        """Return a planted failure in Graph's shape."""
        return graph_fault(status, code, message, inner).response(request)

    def decorate(self, request: Request, response: Response) -> None:
        """Add the headers that every answer of Graph carries."""
        headers = response.headers
        headers |= request.ids()
        headers["x-ms-ags-diagnostic"] = _DIAGNOSTIC
        headers.setdefault("Cache-Control", "no-store")
        cors.expose(request, response)
        if headers.get("Content-Type", "").startswith("application/json"):
            headers["OData-Version"] = "4.0"
            headers["Content-Type"] = _ODATA


_DIAGNOSTIC = (
    '{"ServerInfo":{"DataCenter":"Sandbox","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"SANDBOX"}}'
)
_ODATA = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


# Operations whose question is in their body.
_WHOLE_BODIES: dict[str, tuple[str, Callable[[Request, Library, AccessGrant], Awaitable[Response]]]] = {
    "/$batch": ("batch", batch.perform),
    "/search/query": ("search.query", find.query),
}


def _check_media_type(request: Request) -> None:
    """Refuse contents where JSON belongs, as when a colon in a path makes it end early."""
    kind = request.headers.get("content-type", "")
    if request.method in ("POST", "PUT", "PATCH") and request.length != 0 and kind and "json" not in kind.lower():
        raise GraphRefused(400, "BadRequest", "Entity only allows writes with a JSON Content-Type header.")


def _granted(grant: AccessGrant | GraphRefused) -> AccessGrant:
    if isinstance(grant, GraphRefused):
        raise grant
    return grant
