"""What work drives have beside files: checking out and in, following, list items, figures: as far as clients look.

https://learn.microsoft.com/graph/api/resources/driveitem
"""

from __future__ import annotations

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import bad_request, not_found, not_supported
from msgraph_sandbox.graph.shapes import etag, identity, time_text, web_url
from msgraph_sandbox.graph.visit import Visit, text_of
from msgraph_sandbox.http import Json, Response, json_response

_NO_ACCESS: Json = {"access": {"actionCount": 0, "actorCount": 0}}
_ANALYTICS: Json = {"allTime": _NO_ACCESS, "lastSevenDays": _NO_ACCESS}


def _on_work_drive(visit: Visit) -> Item:
    if visit.drive.personal:
        raise not_supported("The operation is not supported on personal drives.")
    return visit.item


async def check_out(visit: Visit) -> Response:
    """Check a file out (204); nobody else is kept from writing to it."""
    if _on_work_drive(visit).blob is None:
        raise bad_request("Only files can be checked out.")
    return Response(204)


async def check_in(visit: Visit) -> Response:
    """Check a file in (204)."""
    body = await visit.request.json_object()
    text_of(body, "comment")
    return await check_out(visit)


async def follow(visit: Visit) -> Response:
    """Follow an item, and return it."""
    item = _on_work_drive(visit)
    if visit.actor.id not in item.more.followers:
        item.more.followers.append(visit.actor.id)
        visit.drive.note(item)
    return visit.answer(item)


async def unfollow(visit: Visit) -> Response:
    """Follow an item no longer (204)."""
    item = _on_work_drive(visit)
    if visit.actor.id in item.more.followers:
        item.more.followers.remove(visit.actor.id)
        visit.drive.note(item)
    return Response(204)


async def following(visit: Visit) -> Response:
    """Return the items that the caller follows, on whatever drive."""
    value = [
        visit.shape_of(drive, item)
        for drive in visit.library.drives.values()
        for item in drive.items.values()
        if item.extras is not None and visit.actor.id in item.extras.followers
    ]
    return json_response({"value": value})


async def list_item(visit: Visit) -> Response:
    """Return an item as the list behind the library has it."""
    item = _on_work_drive(visit)
    return json_response(
        {
            "@odata.context": f"{visit.request.origin}/v1.0/$metadata#drives/items/listItem/$entity",
            "id": item.id,
            "eTag": etag(visit.drive, item),
            "webUrl": web_url(visit.drive, item),
            "createdDateTime": time_text(item.created, visit.drive),
            "lastModifiedDateTime": time_text(item.modified, visit.drive),
            "createdBy": identity(item.created_by),
            "lastModifiedBy": identity(item.modified_by),
            "contentType": {"name": "Folder" if item.is_folder else "Document"},
            "fields": {"FileLeafRef": item.name, "ContentType": "Folder" if item.is_folder else "Document"},
        }
    )


async def analytics(visit: Visit) -> Response:
    """Return how often an item was looked at: never, for nobody counts."""
    _on_work_drive(visit)
    if len(visit.address.tail) == 1:
        return json_response(_ANALYTICS)
    figures = _ANALYTICS.get(visit.address.tail[1])
    if figures is None:
        raise not_found()
    return json_response(figures)


async def preview(visit: Visit) -> Response:
    """Return where a browser could look at a file; nothing answers there."""
    if visit.item.blob is None:
        raise bad_request("Only files can be previewed.")
    return json_response({"getUrl": web_url(visit.drive, visit.item), "postUrl": None, "postParameters": None})
