"""Drives, and what has changed on them."""

import heapq
from datetime import UTC, datetime

from landbridge.errors import ProviderFailed
from landbridge.integrations.onedrive.graph import Graph, page_link, place_of
from landbridge.integrations.onedrive.models.drives import (
    Changes,
    Drive,
    Drives,
    GetDrive,
    ListChanges,
    ListDrives,
    ListRecent,
)
from landbridge.integrations.onedrive.models.items import DriveItem, Items
from landbridge.kit import action


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_drives(graph: Graph, given: ListDrives) -> Drives:
    """List the drives of the user, their own OneDrive first."""
    own = Drive.model_validate((await graph.call("GET", "/me/drive")).json())
    found = [Drive.model_validate(said) async for page in graph.pages("/me/drives") for said in page["value"]]
    return Drives(value=[own, *(drive for drive in found if drive.id != own.id)])  # which Graph may leave out


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def get_drive(graph: Graph, given: GetDrive) -> Drive:
    """Get what is known about a drive, and how much room it has."""
    return Drive.model_validate((await graph.call("GET", place_of(given.drive_id, None, None).drive)).json())


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_changes(graph: Graph, given: ListChanges) -> Changes:
    """List what has changed on a drive since the time before.

    Without a cursor nothing is given but a cursor, from which to list what changes from now on. After a month or so
    a cursor may be too old; the error says so, and the list begins anew without one.
    """
    if given.cursor is not None:
        first = page_link(given.cursor, "delta")
    else:
        first = place_of(given.drive_id, None, None) / "delta" + ("" if given.from_beginning else "?token=latest")
    changed: dict[str, DriveItem] = {}
    cursor = None
    async for page in graph.pages(first):
        for item in map(DriveItem.model_validate, page["value"]):
            changed.pop(item.id, None)  # the last word on an item counts, and is in its place
            changed[item.id] = item
        cursor = page.get("@odata.deltaLink")
    if not isinstance(cursor, str):
        raise ProviderFailed("OneDrive's list of changes ended without a cursor.")
    is_start = given.cursor is None and not given.from_beginning
    return Changes(value=[] if is_start else list(changed.values()), cursor=cursor)


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_recent(graph: Graph, given: ListRecent) -> Items:
    """List the files of a drive that changed last, the newest first.

    Microsoft ended its own list of recent files in November 2026, so the whole drive is looked through: on one of many
    thousand files that takes a while, and a search or List Changes is quicker.
    """
    newest: dict[str, DriveItem] = {}
    async for page in graph.pages(place_of(given.drive_id, None, None) / "delta"):
        for item in map(DriveItem.model_validate, page["value"]):
            newest.pop(item.id, None)  # the last word on an item counts
            if item.file is not None and item.deleted is None:
                newest[item.id] = item
        spare = heapq.nlargest(2 * given.limit, newest.values(), key=_changed)  # some may turn out to be deleted
        newest = {item.id: item for item in spare}
    return Items(value=heapq.nlargest(given.limit, newest.values(), key=_changed))


def _changed(item: DriveItem) -> datetime:
    return item.last_modified_date_time or datetime.min.replace(tzinfo=UTC)
