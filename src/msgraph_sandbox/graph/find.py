"""Search: by words in names and in small texts, behind an index that may lag."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request, not_supported
from msgraph_sandbox.graph.access import check_files, is_guest
from msgraph_sandbox.graph.address import parse_call
from msgraph_sandbox.graph.items import page_size
from msgraph_sandbox.graph.shapes import item_json, mime_of
from msgraph_sandbox.graph.sharing import role_of
from msgraph_sandbox.graph.visit import Visit, object_of, text_of
from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.tokens import AccessGrant


async def search(visit: Visit) -> Response:
    """Return what matches below the item, a page at a time; an empty query is refused."""
    call = parse_call(visit.address.tail[0], visit.request.query)
    words = (call.arguments.get("q") or visit.query.get("q") or "").casefold().split()
    if not words:
        raise bad_request("The search query is missing or its quotes are not doubled.")
    if visit.query.get("filter"):
        raise not_supported()
    folder = visit.item if visit.address.item else visit.drive.root
    start = visit.query.get("skiptoken", "0")
    if not (start.isascii() and start.isdigit() and len(start) < 10):
        raise bad_request("The $skiptoken query option is not valid.")
    found = sorted(_matches(visit.library, visit.drive, folder, words), key=_by_name)
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


async def query(request: Request, library: Library, grant: AccessGrant) -> Response:
    """Answer `POST /search/query` for files: everything that the caller may read, on whatever drive.

    https://learn.microsoft.com/graph/api/search-query
    """
    check_files(grant, "read", in_app_folder=False)
    if grant.user is None or grant.user.personal:
        raise GraphRefused(403, "AccessDenied", "Access to DriveItem in Graph API requires a work or school account.")
    asked = (await request.json_object()).get("requests")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise GraphRefused(400, "BadRequest", "SearchRequest Invalid (Requests is required)")
    # A search reads every drive; let others have their turn between two.
    await asyncio.sleep(0)
    return json_response({"value": [_hits(library, grant, one) for one in asked]})


def _hits(library: Library, grant: AccessGrant, asked: dict[str, Json]) -> Json:
    kinds, start, size = asked.get("entityTypes"), asked.get("from", 0), asked.get("size", 25)
    text = text_of(object_of(asked, "query"), "queryString") or ""
    if not text or not isinstance(kinds, list) or not kinds:
        raise GraphRefused(400, "BadRequest", "SearchRequest Invalid (EntityTypes and Query are required)")
    if not isinstance(start, int) or not isinstance(size, int) or not 0 <= start < 10**9 or not 0 < size <= 500:
        raise GraphRefused(400, "BadRequest", "SearchRequest Invalid (From or Size)")
    words = [] if text.strip() == "*" else text.casefold().split()
    found = sorted(_reachable(library, grant, words), key=lambda one: _by_name(one[1])) if "driveItem" in kinds else []
    page = found[start : start + size]
    hits = [_hit(library, rank, *one) for rank, one in enumerate(page, start + 1)]
    more = start + size < len(found)
    container = {"hits": hits, "total": len(found), "moreResultsAvailable": more}
    return {"searchTerms": words, "hitsContainers": [container]}


def _hit(library: Library, rank: int, drive: Drive, item: Item) -> Json:
    resource = {"@odata.type": "#microsoft.graph.driveItem", **item_json(library, drive, item)}
    return {"hitId": item.id, "rank": rank, "summary": item.name, "resource": resource}


def _reachable(library: Library, grant: AccessGrant, words: list[str]) -> Iterator[tuple[Drive, Item]]:
    assert grant.user is not None
    for drive in library.drives.values():
        shared = _shared(drive, grant.user.email.lower(), library.clock.now())
        folders = [drive.root] if not is_guest(grant, drive) else shared
        seen: set[str] = set()
        for item in (item for folder in folders for item in _matches(library, drive, folder, words)):
            if item.id not in seen:
                seen.add(item.id)
                yield drive, item


def _shared(drive: Drive, email: str, now: datetime) -> list[Item]:
    return [item for item in drive.shared if role_of(item, email, now)]


def _by_name(item: Item) -> tuple[str, str]:
    return item.name.casefold(), item.id


def _matches(library: Library, drive: Drive, folder: Item, words: list[str]) -> Iterator[Item]:
    newest = library.clock.now() - timedelta(seconds=library.switches.search_lag_seconds)
    lag = library.switches.search_lag_seconds > 0
    for item in drive.items.values():
        if item.parent is None or (lag and item.modified > newest):
            continue
        if (folder is drive.root or item.inside(folder)) and _matching(item, words):
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
