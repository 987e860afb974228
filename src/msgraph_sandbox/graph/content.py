"""Contents: a download is a redirect to another host; a simple upload is one request."""

from __future__ import annotations

from msgraph_sandbox.drive.blobs import Blob
from msgraph_sandbox.drive.drive import Conflict
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.names import check_name
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request, name_taken
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Response


async def get_content(visit: Visit) -> Response:
    """Redirect (302) to the pre-authenticated URL on the download host. `Range` belongs on the second request."""
    item = visit.item
    if item.blob is None:
        raise bad_request("The item has no content.")
    return Response(302, {"Location": visit.library.download_url(visit.drive, item)})


async def put_content(visit: Visit) -> Response:
    """Write a file: 201 if it is new, 200 if it replaced another."""
    conflict = visit.conflict({}, "replace")
    _replaced(visit, conflict)
    received = await receive(visit)
    # Others may have written there while the body came.
    existing = _replaced(visit, conflict)
    name = visit.address.path[-1] if visit.address.path else existing.name if existing is not None else ""
    blob = visit.library.arrived(visit.drive, name, received)
    if existing is not None and not visit.address.path:
        return visit.answer(visit.drive.replace_content(existing, blob, visit.actor))
    parent, name = visit.parent_and_name()
    item, new = visit.drive.put_file(parent, name, blob, conflict, visit.actor)
    if not new:
        return visit.answer(item)
    return visit.answer(item, 201, {"Location": visit.item_link(item)})


def _replaced(visit: Visit, conflict: Conflict) -> Item | None:
    """Return the file that there is at the address, or None, unless the caller must not write there."""
    existing = visit.existing()
    visit.check_if_match(existing)
    if existing is None:
        check_name(visit.address.path[-1])
        return None
    fails = conflict == "fail" and visit.address.path
    if existing.blob is None or fails or visit.is_named("if-none-match", existing):
        raise name_taken()
    return existing


async def receive(visit: Visit) -> Blob:
    """Return the body of the request as contents, refusing one that is too large before reading it where possible."""
    limit, request = visit.library.switches.max_simple_upload, visit.request
    if request.length is not None and request.length > limit:
        raise _too_large()
    visit.drive.check_room(request.length or 0)
    writer = visit.library.blobs.writer()
    try:
        async for chunk in request.chunks():
            writer.write(chunk)
            if writer.size > limit:
                raise _too_large()
    except BaseException:
        writer.discard()
        raise
    return writer.finish()


def _too_large() -> GraphRefused:
    return GraphRefused(
        413, "requestEntityTooLarge", "The request is too large; use an upload session.", inner="maxFileSizeExceeded"
    )
