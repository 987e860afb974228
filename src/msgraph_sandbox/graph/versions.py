"""Versions of a file, and its thumbnails."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from msgraph_sandbox.drive.items import Item, Version
from msgraph_sandbox.drive.refusals import bad_request, not_found
from msgraph_sandbox.graph.shapes import identity, mime_of, time_text
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Json, Response, json_response

_SIZES = {"small": 96, "medium": 176, "large": 800}
_CUSTOM = re.compile(r"c(\d{1,4})x(\d{1,4})(?:_crop)?")


def _versions(item: Item) -> list[Version]:
    """Return all versions, the newest (current) first."""
    if item.blob is None:
        raise bad_request("The item has no versions.")
    current = Version(item.version_name, item.blob, item.modified, item.modified_by)
    return [current, *reversed(item.extras.versions if item.extras else [])]


def _one(visit: Visit) -> Version:
    found = next((one for one in _versions(visit.item) if one.name == visit.address.tail[1]), None)
    if found is None:
        raise not_found()
    return found


def _json(visit: Visit, version: Version) -> Json:
    return {
        "id": version.name,
        "lastModifiedDateTime": time_text(version.modified, visit.drive),
        "lastModifiedBy": identity(version.by),
        "size": version.blob.size,
    }


async def list_versions(visit: Visit) -> Response:
    """Return the versions, newest first."""
    return json_response({"value": [_json(visit, one) for one in _versions(visit.item)]})


async def get_version(visit: Visit) -> Response:
    """Return one version."""
    return json_response(_json(visit, _one(visit)))


async def get_version_content(visit: Visit) -> Response:
    """Redirect to the contents of a version."""
    version = _one(visit)
    return Response(302, {"Location": visit.library.download_url(visit.drive, visit.item, version.name)})


async def restore_version(visit: Visit) -> Response:
    """Make a version's contents current again, as a new version (204)."""
    visit.drive.replace_content(visit.item, _one(visit).blob, visit.actor)
    return Response(204)


async def delete_version(visit: Visit) -> Response:
    """Delete a former version (204); personal drives do not offer that."""
    version = _one(visit)
    if visit.drive.personal or version not in visit.item.more.versions:
        raise bad_request("This version cannot be deleted.", "notSupported")
    visit.item.more.versions.remove(version)
    visit.drive.note(visit.item)
    return Response(204)


def _has_thumbnail(item: Item) -> bool:
    return item.blob is not None and mime_of(item).startswith(("image/", "video/", "application/pdf"))


def thumbnail_set(visit: Visit, item: Item) -> list[Json]:
    """Return the thumbnail sets of an item: one for what can be pictured, none for the rest."""
    if not _has_thumbnail(item):
        return []
    sizes: dict[str, Json] = {name: _thumbnail(visit, item, side, side) for name, side in _SIZES.items()}
    for name in (visit.query.get("select") or "").split(","):
        if match := _CUSTOM.fullmatch(name.strip()):
            sizes[name.strip()] = _thumbnail(visit, item, int(match[1]), int(match[2]))
    return [{"id": "0", **sizes}]


def _thumbnail(visit: Visit, item: Item, width: int, height: int) -> Json:
    width, height = max(1, min(width, 2048)), max(1, min(height, 2048))
    query = urlencode({"id": item.id, "width": width, "height": height})
    return {"height": height, "width": width, "url": f"{visit.library.origins.download}/thumbnail?{query}"}


async def list_thumbnails(visit: Visit) -> Response:
    """Return the thumbnail sets."""
    return json_response({"value": thumbnail_set(visit, visit.item)})


async def get_thumbnail(visit: Visit) -> Response:
    """Return a set, a size of it, or redirect to its picture, as deep as the address goes."""
    _, number, *rest = visit.address.tail
    sets = thumbnail_set(visit, visit.item)
    if number != "0" or not sets:
        raise not_found()
    if not rest:
        return json_response(sets[0])
    match = _CUSTOM.fullmatch(rest[0])
    size = _thumbnail(visit, visit.item, int(match[1]), int(match[2])) if match else sets[0].get(rest[0])
    if not isinstance(size, dict):
        raise not_found()
    return json_response(size) if len(rest) == 1 else Response(302, {"Location": size["url"]})
