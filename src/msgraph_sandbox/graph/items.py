"""Items: reading, listing, creating folders, renaming, moving, deleting."""

from __future__ import annotations

import base64
import heapq
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import unquote

from msgraph_sandbox.drive.drive import Conflict, Drive
from msgraph_sandbox.drive.items import Children, Item
from msgraph_sandbox.drive.names import check_name
from msgraph_sandbox.drive.refusals import bad_request, not_found, not_supported
from msgraph_sandbox.graph.address import parse_address
from msgraph_sandbox.graph.filtering import parse_filter
from msgraph_sandbox.graph.shapes import drive_json, etag, select_fields
from msgraph_sandbox.graph.sharing import role_of
from msgraph_sandbox.graph.versions import thumbnail_set
from msgraph_sandbox.graph.visit import Visit, object_of, parse_time, text_of
from msgraph_sandbox.http import Json, Response, json_response

_PAGE_LIMIT = 1000
_EXPAND = re.compile(r"([A-Za-z]+)(?:\(\$?select=([^()]*)\))?")
_ORDERS: dict[str, Callable[[Item], str | int | datetime]] = {
    "name": lambda item: item.name.casefold(),
    "url": lambda item: item.path(),
    "size": lambda item: item.size,
    "lastmodifieddatetime": lambda item: item.modified,
    "createddatetime": lambda item: item.created,
}


async def get_drive(visit: Visit) -> Response:
    """Return the drive."""
    return json_response(select_fields(drive_json(visit.drive, visit.request.origin), visit.query.get("select")))


async def get_item(visit: Visit) -> Response:
    """Return the item, or 304 if the caller has it already."""
    item = visit.item
    if unchanged(visit, item):
        return Response(304, {"ETag": etag(visit.drive, item)})
    body = {"@odata.context": visit.context, **visit.shape(item), **expanded(visit, item)}
    return json_response(body, headers={"ETag": etag(visit.drive, item)})


def expanded(visit: Visit, item: Item) -> dict[str, Json]:
    """Return what `$expand` adds to an item: its children (the first page of them) and its thumbnails."""
    body: dict[str, Json] = {}
    for name, select in _EXPAND.findall(visit.query.get("expand", "")):
        if name == "thumbnails":
            body[name] = thumbnail_set(visit, item)
        elif name == "children" and item.children is not None:
            page, following = item.children.page(None, visit.library.switches.page_size)
            body[name] = [select_fields(visit.shape_of(visit.drive, child), select) for child in page]
            if following is not None:
                body["children@odata.nextLink"] = f"{visit.item_link(item)}/children?$skiptoken={_token(following)}"
    return body


def unchanged(visit: Visit, item: Item) -> bool:
    """Tell whether `If-None-Match` names the item as it is."""
    return visit.is_named("if-none-match", item)


async def list_children(visit: Visit) -> Response:
    """Return a page of a folder's children and, unless it is the last, the link to the next."""
    folder = visit.item
    if folder.children is None:
        raise bad_request("The item is not a folder.") if visit.drive.personal else not_found()
    if unchanged(visit, folder):
        return Response(304, {"ETag": etag(visit.drive, folder)})
    children = _filtered(visit, folder.children)
    page, following = _page(visit, children, page_size(visit), visit.query.get("orderby", ""))
    body: dict[str, Json] = {
        "@odata.context": f"{visit.context.removesuffix('/$entity')}('{folder.id}')/children",
        "@odata.count": len(children),
        "value": [{**visit.shape(item), **expanded(visit, item)} for item in page],
    }
    if following is not None:
        body["@odata.nextLink"] = visit.link(skiptoken=following)
    return json_response(body)


def _filtered(visit: Visit, children: Children) -> Children:
    """Return the children that `$filter` lets through."""
    if not (text := visit.query.get("filter", "")):
        return children
    test, kept = parse_filter(text, personal=visit.drive.personal), Children()
    for item in filter(test, children):
        kept.add(visit.drive.fold(item.name), item)
    return kept


def page_size(visit: Visit) -> int:
    """Return the size of page that `$top` asks for."""
    text = visit.query.get("top", "")
    if not text:
        return visit.library.switches.page_size
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise bad_request("The $top query option must be a positive number.")
    return min(int(text), _PAGE_LIMIT)


def _page(visit: Visit, children: Children, size: int, order: str) -> tuple[list[Item], str | None]:
    after = _read_token(visit.query.get("skiptoken"))
    if order.strip().lower() in ("", "name", "name asc"):
        page, following = children.page(after, size)
        return page, _token(following) if following is not None else None
    start = int(after) if after and after.isdigit() and len(after) < 10 else 0
    items = sorted_children(children, order)
    more = start + size < len(items)
    return items[start : start + size], _token(str(start + size)) if more else None


def sorted_children(children: Children, order: str) -> list[Item]:
    """Return all children in the order that `$orderby` names; the least significant key sorts first."""
    items = list(children)
    for part in reversed(order.split(",")):
        name, _, direction = part.strip().partition(" ")
        key = _ORDERS.get(name.lower().rpartition("/")[2])
        if key is None or direction.strip().lower() not in ("", "asc", "desc"):
            raise bad_request("The $orderby query option is not supported.")
        items.sort(key=key, reverse=direction.strip().lower() == "desc")
    return items


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read_token(token: str | None) -> str | None:
    if token is None:
        return None
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise bad_request("The $skiptoken query option is not valid.") from None


async def create_child(visit: Visit) -> Response:
    """Create a folder (201 and its `Location`)."""
    body = await visit.request.json_object()
    name = check_name(text_of(body, "name"))
    if "remoteItem" in body:
        return add_shortcut(visit, name, object_of(body, "remoteItem"), visit.conflict(body, "fail"))
    if "folder" not in body:
        raise bad_request("A folder facet is required to create a child; contents are uploaded.")
    object_of(body, "folder")
    item = visit.drive.create_folder(visit.item, name, visit.conflict(body, "fail"), visit.actor)
    if "fileSystemInfo" in body:
        created, modified = file_system_times(body)
        visit.drive.edit(item, visit.actor, created=created, modified=modified)
    return visit.answer(item, 201, {"Location": visit.item_link(item)})


async def update_item(visit: Visit) -> Response:
    """Rename, move or describe an item."""
    body = await visit.request.json_object()
    item, name = visit.item, text_of(body, "name")
    visit.check_if_match(item)
    parent = _new_parent(visit, item, object_of(body, "parentReference"))
    created, modified = file_system_times(body)
    visit.drive.edit(
        item,
        visit.actor,
        name=check_name(name) if name is not None and name != item.name else None,
        parent=parent,
        created=created,
        modified=modified,
        description=_description(body),
        conflict=visit.conflict(body, "fail"),
    )
    return visit.answer(item)


def _description(body: Mapping[str, Json]) -> str | None:
    """Return the new description, None if it stays as it is. `null` clears it, as an empty text does."""
    return (text_of(body, "description") or "") if "description" in body else None


def file_system_times(body: Mapping[str, Json]) -> tuple[datetime | None, datetime | None]:
    """Return the client's times of creation and modification in `fileSystemInfo`, each None if it is not given."""
    info = object_of(body, "fileSystemInfo")
    created, modified = info.get("createdDateTime"), info.get("lastModifiedDateTime")
    return parse_time(created) if created else None, parse_time(modified) if modified else None


def _new_parent(visit: Visit, item: Item, reference: Mapping[str, Json]) -> Item | None:
    drive, parent = find_reference(visit, reference)
    if drive is not visit.drive:
        raise bad_request("Items cannot be moved between drives.", "notSupported")
    return None if parent is item.parent else parent


def find_reference(visit: Visit, reference: Mapping[str, Json]) -> tuple[Drive, Item | None]:
    """Return the drive and folder that a `parentReference` means; the folder is None if it names none.

    A folder is named by its id or by its (percent-encoded) path; a path may begin at another drive, `/drives/{id}`.
    """
    drive_id, parent_id, path = (text_of(reference, name) for name in ("driveId", "id", "path"))
    drive = visit.library.drive(drive_id) if drive_id else visit.drive
    address = parse_address("/" + unquote(path).lstrip("/")) if path and not parent_id else None
    if address is not None and address.drive.by == "drive":
        begun = visit.library.drive(address.drive.key)
        if drive_id and begun is not drive:
            raise bad_request("The driveId and the path in parentReference disagree.")
        drive = begun
    if parent_id:
        return drive, drive.item(parent_id)
    if not path:
        return drive, None
    if address is None or address.drive.by not in ("me", "drive") or address.item is None or ":" in address.item:
        raise bad_request("The path in parentReference is not valid.")
    return drive, drive.walk_to(drive.item(address.item), list(address.path))


def add_shortcut(visit: Visit, name: str, remote: Mapping[str, Json], conflict: Conflict) -> Response:
    """Create a shortcut to a folder of another drive (201)."""
    drive = visit.library.drive(text_of(object_of(remote, "parentReference"), "driveId") or "")
    target = drive.item(text_of(remote, "id") or "")
    email = visit.actor.email.lower()
    if drive.owner.id != visit.actor.id and role_of(target, email, visit.library.clock.now()) is None:
        raise not_found()
    item = visit.drive.create_other(visit.item, name, conflict, visit.actor, remote=(drive.id, target.id))
    return visit.answer(item, 201, {"Location": visit.item_link(item)})


async def delete_forever(visit: Visit) -> Response:
    """Delete an item past the recycle bin (204); personal drives do not offer that."""
    if visit.drive.personal:
        raise not_supported("permanentDelete is not supported on personal drives.")
    visit.check_if_match(visit.item)
    visit.drive.delete(visit.item, forever=True)
    return Response(204)


async def restore(visit: Visit) -> Response:
    """Bring an item back from the recycle bin; only personal drives offer that."""
    if not visit.drive.personal:
        raise not_supported("restore is only supported on personal drives.")
    body = await visit.request.json_object()
    name = text_of(body, "name")
    drive, parent = find_reference(visit, object_of(body, "parentReference"))
    if drive is not visit.drive:
        raise bad_request("An item can only be restored to its own drive.")
    item = visit.drive.restore(visit.address.item or "", parent, check_name(name) if name else None, visit.actor)
    return visit.answer(item)


async def recent(visit: Visit) -> Response:
    """Return the files changed last, the newest first."""
    files = [item for item in visit.drive.items.values() if item.blob is not None]
    newest = heapq.nlargest(page_size(visit), files, key=lambda item: item.modified)
    return json_response({"value": [visit.shape(item) for item in newest]})


async def list_special(visit: Visit) -> Response:
    """Return the special folders that exist."""
    folders = [item for item in visit.drive.items.values() if item.extras is not None and item.extras.special]
    return json_response({"value": [visit.shape(item) for item in folders]})


async def nothing(visit: Visit) -> Response:
    """Return an empty list: the call exists, the sandbox keeps nothing for it."""
    return json_response({"value": []})


async def socket(visit: Visit) -> Response:
    """Return where a client could listen for changes by Socket.IO; nothing listens there."""
    return json_response({"id": "socket", "notificationUrl": f"{visit.library.origins.monitor}/socketio?token=sandbox"})


async def delete_item(visit: Visit) -> Response:
    """Send an item to the recycle bin (204)."""
    visit.check_if_match(visit.item)
    visit.drive.delete(visit.item)
    return Response(204)
