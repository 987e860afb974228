"""JSON shapes of drives and items, with the differences between personal and work accounts.

https://learn.microsoft.com/graph/api/resources/driveitem
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Actor, Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.http import Json

# What an item shows of itself on other drives.
_REMOTE = (
    "id",
    "name",
    "size",
    "file",
    "folder",
    "package",
    "fileSystemInfo",
    "createdBy",
    "createdDateTime",
    "lastModifiedBy",
    "lastModifiedDateTime",
    "webUrl",
    "parentReference",
)


def drive_json(drive: Drive, origin: str) -> Json:
    """Return a drive with its quota."""
    used = drive.root.size
    body: dict[str, Json] = {
        "@odata.context": f"{origin}/v1.0/$metadata#drives/$entity",
        "createdDateTime": time_text(drive.created, drive),
        "description": "",
        "id": drive.id,
        "lastModifiedDateTime": time_text(drive.root.modified, drive),
        "name": drive.name,
        "webUrl": web_url(drive, drive.root),
        "driveType": drive.kind,
        "createdBy": {"user": {"displayName": "System Account"}},
        "owner": _owner(drive),
        "quota": {
            "deleted": sum(item.size for item in drive.bin.values()),
            "remaining": max(drive.quota - used, 0),
            "state": _quota_state(drive.quota, used),
            "total": drive.quota,
            "used": used,
        },
    }
    if drive.personal:
        body["quota"]["storagePlanInformation"] = {"upgradeAvailable": True}
    return body


def _owner(drive: Drive) -> Json:
    if drive.kind == "documentLibrary":
        return {"group": {"id": drive.owner.id, "displayName": drive.owner.name}}
    return {"user": _user(drive.owner)}


def _quota_state(total: int, used: int) -> str:
    left = 1 - used / total if total else 0.0
    if left <= 0:
        return "exceeded"
    return "critical" if left < 0.01 else "nearing" if left < 0.1 else "normal"


def item_json(library: Library, drive: Drive, item: Item, *, with_path: bool = True) -> dict[str, Json]:
    """Return an item in full. `with_path` is off in delta pages, where Graph gives no `parentReference.path`."""
    body: dict[str, Json] = {}
    if item.blob is not None:
        body["@microsoft.graph.downloadUrl"] = library.download_url(drive, item)
    body |= {
        "createdDateTime": time_text(item.created, drive),
        "eTag": etag(drive, item),
        "id": item.id,
        "lastModifiedDateTime": time_text(item.modified, drive),
        "name": item.name,
        "webUrl": web_url(drive, item),
        "size": item.size,
        "createdBy": identity(item.created_by),
        "lastModifiedBy": identity(item.modified_by),
        "parentReference": parent_reference(drive, item, with_path=with_path),
        "fileSystemInfo": {
            "createdDateTime": time_text(item.client_created, drive),
            "lastModifiedDateTime": time_text(item.client_modified, drive),
        },
    }
    if item.blob is not None or drive.personal:
        body["cTag"] = ctag(drive, item)
    _add_facets(body, drive, item)
    if item.extras is not None and item.extras.remote is not None:
        body["remoteItem"] = _shortcut(library, *item.extras.remote)
    return body


def _shortcut(library: Library, drive_id: str, item_id: str) -> Json:
    """Return what a shortcut shows of its target, whose name it keeps though it may be renamed itself."""
    drive = library.drives.get(drive_id)
    target = drive.items.get(item_id) if drive is not None else None
    if drive is None or target is None:
        return {"id": item_id, "parentReference": {"driveId": drive_id}}
    return remote_item(library, drive, target)


def remote_item(library: Library, drive: Drive, item: Item) -> dict[str, Json]:
    """Return what an item shows of itself on another drive."""
    whole = item_json(library, drive, item, with_path=False)
    remote = {name: whole[name] for name in _REMOTE if name in whole}
    return remote | {"shared": {"scope": "users", "owner": {"user": _user(drive.owner)}}}


def _add_facets(body: dict[str, Json], drive: Drive, item: Item) -> None:
    extras = item.extras
    if item.parent is None:
        body["root"] = {}
    if extras is not None and extras.package:
        body["package"] = {"type": extras.package}
    elif item.children is not None:
        body["folder"] = {"childCount": len(item.children)}
    elif item.blob is not None:
        body["file"] = {"mimeType": mime_of(item), "hashes": {"quickXorHash": item.blob.hash}}
    if extras is not None:
        if extras.special:
            body["specialFolder"] = {"name": extras.special}
        if extras.description is not None and drive.personal:
            body["description"] = extras.description
        if extras.permissions:
            body["shared"] = {"scope": "users", "owner": {"user": _user(drive.owner)}}


def deleted_json(drive: Drive, item: Item) -> dict[str, Json]:
    """Return what delta says of a deleted item: work accounts leave out cTag and name, personal ones cTag and size."""
    body: dict[str, Json] = {
        "id": item.id,
        "parentReference": parent_reference(drive, item, with_path=False),
        "deleted": {"state": "deleted"},
    }
    if drive.personal:
        body["name"] = item.name
    else:
        body["size"] = 0
    if item.blob is not None or item.is_folder:
        body["folder" if item.is_folder else "file"] = {}
    return body


def parent_reference(drive: Drive, item: Item, *, with_path: bool) -> Json:
    """Return where an item is. The root says only which drive it is on; rclone reads the drive's type from it."""
    reference: dict[str, Json] = {"driveType": drive.kind, "driveId": drive.id}
    parent = item.parent
    if parent is None:
        return reference
    reference |= {"id": parent.id, "name": parent.name}
    if with_path:
        reference["path"] = f"/drives/{drive.id}/root:{_path_in_url(parent)}"
    return reference


def _path_in_url(item: Item) -> str:
    """Return an item's path, encoded, with its leading slash; the root's is empty."""
    return f"{_path_in_url(item.parent)}/{_encoded(item.name)}" if item.parent is not None else ""


_encoded = lru_cache(maxsize=10_000)(quote)


def identity(actor: Actor) -> Json:
    """Return an identity set."""
    body: dict[str, Json] = {}
    if actor.application_id:
        body["application"] = {"id": actor.application_id, "displayName": actor.application}
    body["user"] = _user(actor)
    return body


def _user(actor: Actor) -> Json:
    return {"email": actor.email, "id": actor.id, "displayName": actor.name}


def etag(drive: Drive, item: Item) -> str:
    """Return the tag that changes with anything about the item."""
    if drive.personal:
        return "a" + base64.b64encode(f"{item.id}.{item.version}".encode()).decode()
    return f'"{{{_guid(item)}}},{item.version}"'


def ctag(drive: Drive, item: Item) -> str:
    """Return the tag that changes with the item's content only."""
    if drive.personal:
        return "a" + base64.b64encode(f"c:{item.id}.{item.content_version}".encode()).decode()
    return f'"c:{{{_guid(item)}}},{item.content_version}"'


def _guid(item: Item) -> str:
    digest = hashlib.md5(item.id.encode(), usedforsecurity=False).hexdigest().upper()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def web_url(drive: Drive, item: Item) -> str:
    """Return the address for a browser; nothing answers there."""
    if drive.personal:
        return f"{drive.web_url}?id={quote(item.id)}"
    return drive.web_url + _path_in_url(item)


def mime_of(item: Item) -> str:
    """Return the media type that was set, or that the name suggests."""
    if item.extras is not None and item.extras.mime:
        return item.extras.mime
    _, dot, suffixes = item.name.partition(".")
    return _suggested(dot + suffixes)


@lru_cache(maxsize=1000)
def _suggested(suffixes: str) -> str:
    return mimetypes.guess_type(f"name{suffixes}", strict=False)[0] or "application/octet-stream"


def time_text(moment: datetime, drive: Drive) -> str:
    """Return a time as the drive's kind writes it: whole seconds for work accounts, milliseconds for personal ones."""
    text = moment.isoformat(timespec="milliseconds" if drive.personal else "seconds")
    return text.removesuffix("+00:00").removesuffix(".000") + "Z"


def select_fields(body: dict[str, Json], select: str | None) -> dict[str, Json]:
    """Return what `$select` asks for; OData's own annotations stay."""
    if not select:
        return body
    wanted = {name.strip() for name in select.split(",")}
    if "content.downloadUrl" in wanted:
        wanted.add("@microsoft.graph.downloadUrl")
    return {name: value for name, value in body.items() if name in wanted or name.startswith("@odata.")}
