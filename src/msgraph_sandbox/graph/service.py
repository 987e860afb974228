"""The Graph host: from an address to the operation that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, access_denied, not_found
from msgraph_sandbox.graph import content, items, people
from msgraph_sandbox.graph.access import (
    Need,
    authenticate,
    check_delegated,
    check_files,
    only_app_folder,
)
from msgraph_sandbox.graph.address import Address, DriveRef, parse_address, parse_call, strip_version
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Refusal, Request, Response
from msgraph_sandbox.identity.directory import Directory
from msgraph_sandbox.identity.tokens import AccessGrant, Issuer
from msgraph_sandbox.operation import Operation

Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation on a drive or item: its name, whether it reads or writes, and who carries it out."""

    name: str
    need: Need
    handler: Handler


# By method and the shape of what follows the item in the address; `*` stands for an identifier.
ITEM_ROUTES: dict[tuple[str, tuple[str, ...]], Route] = {
    ("GET", ()): Route("item.get", "read", items.get_item),
    ("PATCH", ()): Route("item.update", "write", items.update_item),
    ("DELETE", ()): Route("item.delete", "write", items.delete_item),
    ("GET", ("children",)): Route("children.list", "read", items.list_children),
    ("POST", ("children",)): Route("children.create", "write", items.create_child),
    ("GET", ("content",)): Route("content.get", "read", content.get_content),
    ("PUT", ("content",)): Route("content.put", "write", content.put_content),
}
DRIVE_ROUTES: dict[tuple[str, tuple[str, ...]], Route] = {
    ("GET", ()): Route("drive.get", "read", items.get_drive),
}

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
    name: str = "graph"

    async def route(self, request: Request) -> Operation:
        """Return what the request asks for. Who asks is looked up first, so that faults can be meant for a user."""
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
        name, answer = people.find(request, path)

        async def call() -> Response:
            return answer(self.directory, self.library, _granted(grant))

        return Operation(name, call)

    def _drive_operation(self, request: Request, grant: AccessGrant | GraphRefused, address: Address) -> Operation:
        address = self._through_children(request, address)
        route = self._find(request, address)

        async def call() -> Response:
            given = _granted(grant)
            drive = self._drive(address.drive, given)
            if route is None:
                raise not_found("Resource not found for the segment.")
            visit = Visit(request, given, self.library, drive, address)
            self._check(visit, route)
            return await route.handler(visit)

        return Operation(route.name if route else "unknown", call)

    def _find(self, request: Request, address: Address) -> Route | None:
        routes = DRIVE_ROUTES if address.item is None else ITEM_ROUTES
        head = tuple(parse_call(segment, request.query).name for segment in address.tail[:1])
        for shape in (head + address.tail[1:], (*head, "*", *address.tail[2:])):
            if found := routes.get((request.method, shape)):
                return found
        return None

    def _through_children(self, request: Request, address: Address) -> Address:
        """Follow `children('name')` and `children/name`, an older way to address by name."""
        while address.tail and address.tail[0].startswith("children"):
            call = parse_call(address.tail[0], request.query)
            if name := call.arguments.get(""):
                rest = address.tail[1:]
            elif call.name == "children" and len(address.tail) > 1:
                name, rest = address.tail[1], address.tail[2:]
            else:
                return address
            address = replace(address, path=(*address.path, name), tail=rest)
        return address

    def _drive(self, reference: DriveRef, grant: AccessGrant) -> Drive:
        if reference.by == "me":
            check_delegated(grant)
            assert grant.user is not None
            return self._drive_of(grant.user.drive_id)
        if reference.by == "user":
            user = self.directory.user(reference.key)
            if user is None:
                raise GraphRefused(404, "Request_ResourceNotFound", f"Resource '{reference.key}' does not exist.")
            drive = self._drive_of(user.drive_id)
        elif reference.by == "drive":
            drive = self.library.drive(reference.key)
        else:
            raise not_found()
        self._check_drive(drive, grant)
        return drive

    def _drive_of(self, drive_id: str | None) -> Drive:
        if drive_id is None:
            raise GraphRefused(404, "ResourceNotFound", "User's mysite not found.")
        return self.library.drive(drive_id)

    def _check_drive(self, drive: Drive, grant: AccessGrant) -> None:
        owner = self.directory.users.get(drive.owner.id)
        if grant.user is not None and grant.user is not owner:
            raise access_denied()
        if grant.user is None and (owner is None or owner.tenant.id != grant.tenant_id):
            raise not_found()

    def _check(self, visit: Visit, route: Route) -> None:
        in_app_folder = visit.address.item == "special:approot"
        if only_app_folder(visit.grant) and visit.address.item is not None and not in_app_folder:
            approot = visit.library.app_folder(visit.drive, visit.grant.application.name)
            existing = visit.existing()
            in_app_folder = approot is not None and existing is not None and existing.inside(approot)
        check_files(visit.grant, route.need, in_app_folder=in_app_folder or visit.address.item is None)

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
        headers["request-id"] = request.id
        headers["client-request-id"] = request.client_request_id
        headers["x-ms-ags-diagnostic"] = _DIAGNOSTIC
        headers.setdefault("Cache-Control", "no-store")
        if headers.get("Content-Type", "").startswith("application/json"):
            headers["OData-Version"] = "4.0"
            headers["Content-Type"] = _ODATA


_DIAGNOSTIC = (
    '{"ServerInfo":{"DataCenter":"Sandbox","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"SANDBOX"}}'
)
_ODATA = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


def _granted(grant: AccessGrant | GraphRefused) -> AccessGrant:
    if isinstance(grant, GraphRefused):
        raise grant
    return grant
