"""How a step whose answer was lost knows again what it made: never by a name alone.

Before its first try it notes what is there under the names in question; that it has not made. Of what is new since
then, or has changed, its own bears its contents or its mark.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from landbridge.errors import ItemNotFound
from landbridge.integrations.onedrive.graph import FULL_PAGE, Graph, Place, query
from landbridge.integrations.onedrive.hashes import QuickXorHash
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.models.places import Conflict

Noted = dict[str, JsonValue]
"""What was there before the first try: ids, each with a tag of the contents."""


async def called(graph: Graph, place: Place, conflict: Conflict, **options: str) -> AsyncIterator[DriveItem]:
    """Yield what is at a place by now, and if the drive may number a name that is taken, under the names it gives."""
    if conflict != "rename":
        try:
            yield await graph.item(place, **options)
        except ItemNotFound:
            return
        return
    *folder, name = place.names
    stem, dot, extension = name.rpartition(".")
    ours = re.compile(re.escape(stem or name) + r"( \d+)?" + re.escape(dot + extension if stem else ""), re.IGNORECASE)
    whole = re.compile(re.escape(name) + r"( \d+)?", re.IGNORECASE)  # as a folder's name is numbered
    children = Place(place.drive, place.start, tuple(folder)) / "children"
    async for page in graph.pages(children + query(top=str(FULL_PAGE), **options)):
        for said in page["value"]:
            if ours.fullmatch(str(said.get("name"))) or whole.fullmatch(str(said.get("name"))):
                yield DriveItem.model_validate(said)


async def noted(graph: Graph, place: Place, conflict: Conflict) -> Noted:
    """Return what is there under the names in question."""
    return {item.id: _tag(item) async for item in called(graph, place, conflict, select="id,name,cTag,eTag")}


def is_fresh(item: DriveItem, there: Noted, conflict: Conflict) -> bool:
    """Tell whether an item was not there before, or, if it was to be replaced, has other contents since then."""
    return item.id not in there or (conflict == "replace" and there[item.id] != _tag(item))


def has_contents(item: DriveItem, hashed: QuickXorHash) -> bool:
    """Tell whether an item has the contents that were hashed: by its digest, or its size while it has none."""
    digest = item.file.hashes.quick_xor_hash if item.file and item.file.hashes else None
    return digest == hashed.digest() if digest is not None and hashed.length else item.size == hashed.length


def mark(graph: Graph, began: datetime) -> datetime:
    """Return the time of creation by which a step knows again what it made.

    It is some time before the step began; how long depends on the step, so that others are unlikely to have it.
    """
    return began - timedelta(seconds=1 + UUID(graph.context.checkpoint.id).int % 60)


def written(moment: datetime) -> str:
    """Return a time as Graph takes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tag(item: DriveItem) -> str | None:
    return item.c_tag or item.e_tag
