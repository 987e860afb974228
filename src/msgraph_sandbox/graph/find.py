"""Search: by words in names and in small texts, behind an index that may lag."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import bad_request
from msgraph_sandbox.graph.address import parse_call
from msgraph_sandbox.graph.items import page_size
from msgraph_sandbox.graph.shapes import mime_of
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Response, json_response


async def search(visit: Visit) -> Response:
    """Return what matches below the item, a page at a time; an empty query is refused."""
    call = parse_call(visit.address.tail[0], visit.request.query)
    words = (call.arguments.get("q") or visit.query.get("q") or "").casefold().split()
    if not words:
        raise bad_request("The search query is missing or its quotes are not doubled.")
    folder = visit.item if visit.address.item else visit.drive.root
    start = visit.query.get("skiptoken", "0")
    if not (start.isascii() and start.isdigit() and len(start) < 10):
        raise bad_request("The $skiptoken query option is not valid.")
    found = sorted(_matches(visit, folder, words), key=lambda item: (item.name.casefold(), item.id))
    first, size = int(start), page_size(visit)
    body = {
        "@odata.context": f"{visit.request.origin}/v1.0/$metadata#Collection(driveItem)",
        "value": [{**visit.shape(item), "searchResult": {}} for item in found[first : first + size]],
    }
    if first + size < len(found):
        body["@odata.nextLink"] = visit.link(skiptoken=str(first + size))
    # A search reads the whole drive; let others have their turn between two.
    await asyncio.sleep(0)
    return json_response(body)


def _matches(visit: Visit, folder: Item, words: list[str]) -> Iterator[Item]:
    newest = visit.library.clock.now() - timedelta(seconds=visit.library.switches.search_lag_seconds)
    lag = visit.library.switches.search_lag_seconds > 0
    for item in visit.drive.items.values():
        if item.parent is None or (lag and item.modified > newest):
            continue
        if (folder is visit.drive.root or item.inside(folder)) and _matching(item, words):
            yield item


def _matching(item: Item, words: list[str]) -> bool:
    name = item.name.casefold()
    if all(word in name for word in words):
        return True
    data = item.blob.data if item.blob is not None else None
    if not data or not mime_of(item).startswith("text/"):
        return False
    text = data.decode(errors="ignore").casefold()
    return all(word in text for word in words)
