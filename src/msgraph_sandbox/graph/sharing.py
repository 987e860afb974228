"""Sharing: links, invitations, permissions, and what others shared with you."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import access_denied, bad_request, not_found
from msgraph_sandbox.graph.shapes import remote_item, time_text, web_url
from msgraph_sandbox.graph.visit import Visit, parse_time, text_of
from msgraph_sandbox.http import Json, Response, json_response
from msgraph_sandbox.identity.tokens import AccessGrant

_LINK_TYPES = ("view", "edit", "embed")
_SCOPES = ("anonymous", "organization", "users")
_NO_LINK = "The sharing link no longer exists, or you do not have permission to access it."


@dataclass(slots=True)
class Permission:
    """One way that others have to an item: a link, or an invitation."""

    id: str
    roles: list[str]
    kind: str = ""
    scope: str = ""
    token: str = ""
    password: bool = False
    expires: datetime | None = None
    invited: list[str] = field(default_factory=list)

    @property
    def is_link(self) -> bool:
        """Whether it is a link."""
        return bool(self.kind)

    def good(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires is None or self.expires > now


def permission_json(visit: Visit, permission: Permission, drive: Drive) -> Json:
    """Return a permission; who was granted it is spelt differently for personal and work accounts."""
    body: dict[str, Json] = {"id": permission.id, "roles": permission.roles, "hasPassword": permission.password}
    if permission.expires:
        body["expirationDateTime"] = time_text(permission.expires, drive)
    if permission.is_link:
        url = share_url(drive, permission)
        link = {"type": permission.kind, "scope": permission.scope, "webUrl": url, "preventsDownload": False}
        return body | {"shareId": share_token(url), "link": link}
    people = [{"user": {"email": email, "displayName": email, "id": email}} for email in permission.invited]
    if drive.personal:
        return body | {"grantedTo": people[0] if people else {}, "invitation": {"email": permission.invited[0]}}
    return body | {"grantedToV2": people[0] if people else {}, "grantedTo": people[0] if people else {}}


def share_url(drive: Drive, permission: Permission) -> str:
    """Return the address that a link has in a browser."""
    host = "1drv.example" if drive.personal else urlsplit(drive.web_url).netloc.replace("-my.", ".")
    return f"https://{host}/:x:/g/{permission.token}"


def share_token(url: str) -> str:
    """Return the share id of a sharing URL: `u!` and its base64url without padding."""
    return "u!" + base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode()


def find_share(library: Library, token: str) -> tuple[Drive, Item, Permission]:
    """Return what a share id (or encoded sharing URL) leads to, or refuse with 404, as once it has expired."""
    try:
        raw = token.removeprefix("u!")
        url = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise not_found(_NO_LINK) from None
    now = library.clock.now()
    for drive in library.drives.values():
        for item in drive.shared:
            for permission in item.more.permissions.values():
                if permission.is_link and share_url(drive, permission) == url and permission.good(now):
                    return drive, item, permission
    raise not_found(_NO_LINK)


def check_link(grant: AccessGrant, drive: Drive, item: Item, link: Permission, now: datetime) -> None:
    """Refuse with 403 whom a link is not meant for: strangers to the organization, or to the people it was sent to."""
    outside = link.scope == "organization" and grant.tenant_id != drive.tenant_id
    user = grant.user
    known = user is not None and (user.oid == drive.owner.id or role_of(item, user.email.lower(), now) is not None)
    if outside or (link.scope == "users" and not known):
        raise access_denied()


def role_of(item: Item, email: str, now: datetime) -> str | None:
    """Return `write`, `read` or None: what an invitation to the item or a folder above it gives to that person."""
    roles = {
        role
        for one in (item, *item.ancestors())
        if one.extras is not None
        for permission in one.extras.permissions.values()
        if email in permission.invited and permission.good(now)
        for role in permission.roles
    }
    return "write" if "write" in roles else "read" if roles else None


async def create_link(visit: Visit) -> Response:
    """Create a sharing link (201), or return the one that there is (200)."""
    body, item = await visit.request.json_object(), visit.item
    kind, scope = text_of(body, "type") or "view", text_of(body, "scope") or "anonymous"
    if kind not in _LINK_TYPES or scope not in _SCOPES:
        raise bad_request("The type or scope of the link is not supported.")
    password = text_of(body, "password")
    if not visit.drive.personal and (kind == "embed" or password):
        raise bad_request("This kind of link is only supported on personal drives.")
    for known in item.more.permissions.values():
        if (known.kind, known.scope) == (kind, scope) and known.good(visit.library.clock.now()):
            return json_response(permission_json(visit, known, visit.drive))
    permission = Permission(
        id=secrets.token_hex(8),
        roles=["write" if kind == "edit" else "read"],
        kind=kind,
        scope=scope,
        token=secrets.token_urlsafe(16),
        password=bool(password),
        expires=_expiry(body),
    )
    _add(visit, item, permission)
    return json_response(permission_json(visit, permission, visit.drive), 201)


async def invite(visit: Visit) -> Response:
    """Give people access by their addresses; nobody is sent a message."""
    body, item = await visit.request.json_object(), visit.item
    recipients, roles = body.get("recipients"), body.get("roles", ["read"])
    if not isinstance(recipients, list) or not recipients or len(recipients) > 100:
        raise bad_request("The recipients are missing.")
    if not isinstance(roles, list) or not roles or any(role not in ("read", "write") for role in roles):
        raise bad_request("The roles must be read or write.")
    made = []
    for recipient in recipients:
        email = _address(visit, recipient) if isinstance(recipient, dict) else None
        if not email:
            raise bad_request("A recipient needs an email address, or the objectId of somebody here.")
        made.append(Permission(secrets.token_hex(8), list(roles), invited=[email.lower()], expires=_expiry(body)))
    for permission in made:
        _add(visit, item, permission)
    return json_response({"value": [permission_json(visit, one, visit.drive) for one in made]})


def _address(visit: Visit, recipient: dict[str, Json]) -> str | None:
    """Return the e-mail address of a recipient, who may be named by it or by object id."""
    user = visit.directory.user(text_of(recipient, "objectId") or "")
    return text_of(recipient, "email") or text_of(recipient, "alias") or (user.email if user is not None else None)


def _expiry(body: dict[str, Json]) -> datetime | None:
    given = body.get("expirationDateTime")
    return parse_time(given) if given else None


def _add(visit: Visit, item: Item, permission: Permission) -> None:
    item.more.permissions[permission.id] = permission
    visit.drive.permit(item)


def _line(item: Item) -> Iterator[tuple[Item, Permission]]:
    """Yield the permissions on an item and on the folders above it, each with where it was given."""
    for one in (item, *item.ancestors()):
        for permission in one.extras.permissions.values() if one.extras is not None else ():
            yield one, permission


def _find(visit: Visit) -> tuple[Item, Permission]:
    for found in _line(visit.item):
        if found[1].id == visit.address.tail[1]:
            return found
    raise not_found()


def _own(visit: Visit) -> Permission:
    """Return the permission that was given on the item itself; only there it can be changed."""
    item, permission = _find(visit)
    if item is not visit.item:
        raise bad_request("An inherited permission can only be changed where it was given.")
    return permission


def _seen(visit: Visit, item: Item, permission: Permission) -> Json:
    body = permission_json(visit, permission, visit.drive)
    return body if item is visit.item else body | {"inheritedFrom": visit.reference(item)}


async def list_permissions(visit: Visit) -> Response:
    """Return the item's permissions, the owner's first."""
    owner = visit.drive.owner
    user = {"user": {"id": owner.id, "email": owner.email, "displayName": owner.name}}
    first = {"id": "owner", "roles": ["owner"], "grantedTo": user, "grantedToV2": user}
    others = [_seen(visit, *found) for found in _line(visit.item)]
    return json_response({"value": [first, *others]})


async def get_permission(visit: Visit) -> Response:
    """Return one permission."""
    return json_response(_seen(visit, *_find(visit)))


async def update_permission(visit: Visit) -> Response:
    """Change the roles or the expiry of a permission."""
    body, permission = await visit.request.json_object(), _own(visit)
    roles = body.get("roles", permission.roles)
    if not isinstance(roles, list) or not roles or any(role not in ("read", "write") for role in roles):
        raise bad_request("The roles must be read or write.")
    permission.roles, permission.expires = list(roles), _expiry(body) or permission.expires
    visit.drive.permit(visit.item)
    return json_response(permission_json(visit, permission, visit.drive))


async def delete_permission(visit: Visit) -> Response:
    """Take a permission away (204)."""
    permission = _own(visit)
    del visit.item.more.permissions[permission.id]
    visit.drive.permit(visit.item)
    return Response(204)


async def get_share(visit: Visit) -> Response:
    """Return what a sharing link leads to, seen from outside: its name and whose it is."""
    item, owner = visit.item, visit.drive.owner
    body: dict[str, Json] = {
        "@odata.context": f"{visit.request.origin}/v1.0/$metadata#shares/$entity",
        "id": visit.address.drive.key,
        "name": item.name,
        "webUrl": web_url(visit.drive, item),
        "owner": {"user": {"id": owner.id, "displayName": owner.name, "email": owner.email}},
    }
    if "driveitem" in visit.query.get("expand", "").lower():
        body["driveItem"] = visit.shape_of(visit.drive, item)
    return json_response(body)


async def get_share_permission(visit: Visit) -> Response:
    """Return the permission that a sharing link is."""
    _, _, link = find_share(visit.library, visit.address.drive.key)
    return json_response(permission_json(visit, link, visit.drive))


async def shared_with_me(visit: Visit) -> Response:
    """Return what others invited you to, each as a remote item. Microsoft is ending this call."""
    if visit.grant.user is None:
        raise access_denied()
    if not visit.library.switches.shared_with_me:
        return json_response({"value": []})
    email, now = visit.grant.user.email.lower(), visit.library.clock.now()
    value = [
        _shared_json(visit, drive, item)
        for drive in visit.library.drives.values()
        for item in drive.shared
        if any(email in one.invited and one.good(now) for one in item.more.permissions.values())
    ]
    return json_response({"value": value})


def _shared_json(visit: Visit, drive: Drive, item: Item) -> dict[str, Json]:
    remote = remote_item(visit.library, drive, item)
    return {name: remote[name] for name in ("id", "name", "size", "webUrl")} | {"remoteItem": remote}
