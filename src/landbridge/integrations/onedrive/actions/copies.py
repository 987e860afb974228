"""Copying, which OneDrive does in the background."""

from datetime import datetime, timedelta
from typing import Any

from landbridge.errors import ItemNotFound, NameTaken, ProviderFailed, ProviderUnreachable
from landbridge.integrations.onedrive.graph import Graph, Place, must_be_folder, must_not_be_root
from landbridge.integrations.onedrive.models.files_or_folders import CopyItem
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.names import check_name
from landbridge.kit import Answer, Wait, action

_LOOK_AGAIN = timedelta(seconds=2)
_LOOKS = 3
_CLOCKS_DIFFER = timedelta(minutes=5)
_GONE = frozenset({401, 403, 404, 410})


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def copy_item(graph: Graph, given: CopyItem) -> DriveItem | Wait:
    """Copy a file, or a folder with all that is in it.

    OneDrive copies in the background and answers before the copy is done; the step waits for it, so that the next one
    can rely on it.
    """
    state = await graph.context.checkpoint.read() or {}
    if "result" in state:
        return DriveItem.model_validate(state["result"])
    if not state:
        state = await _begin(graph, given)
    elif "monitor" not in state:  # asked for, but the answer was lost: it may be under way
        return await _look(graph, state)
    if "monitor" not in state:
        state = await _ask(graph, given, state)
    return await _watch(graph, state)


async def _begin(graph: Graph, given: CopyItem) -> dict[str, Any]:  # Any: JSON
    name = check_name(given.name) if given.name is not None else None
    place, item = await graph.find(given.drive_id, given.item_id, given.item_path)
    must_not_be_root(item)
    drive = given.destination_drive_id or given.drive_id
    folder, destination = await graph.find(drive, given.destination_id, given.destination_path)
    must_be_folder(destination)
    return {
        "began": graph.context.clock.now().isoformat(),
        "from": [place.drive, place.start],
        "to": [folder.drive, folder.start],
        "drive": destination.parent_reference.drive_id if destination.parent_reference else None,
        "folder": destination.id,
        "name": name or item.name,
        "looks": 0,
    }


async def _ask(graph: Graph, given: CopyItem, state: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Begin the copy, noting before that it is asked for, and after it where to watch it."""
    checkpoint = graph.context.checkpoint
    await checkpoint.write(state)
    parent = {"driveId": state["drive"], "id": state["folder"]}
    answer = await graph.call(
        "POST",
        f"{Place(*state['from']) / 'copy'}?@microsoft.graph.conflictBehavior={given.conflict_behavior}",
        json={"parentReference": {key: value for key, value in parent.items() if value}, "name": state["name"]},
    )
    if not (monitor := answer.headers.get("Location")):
        raise ProviderFailed("OneDrive began a copy and does not say how to follow it.")
    state = {**state, "monitor": monitor}
    await checkpoint.write(state)
    return state


async def _watch(graph: Graph, state: dict[str, Any]) -> DriveItem | Wait:  # Any: JSON
    """Return the copy if it is done, or when to look again."""
    try:
        answer = await graph.call_signed("GET", state["monitor"])
    except ProviderUnreachable:
        return _later(graph)
    if answer.status in _GONE:
        return await _look(graph, state)
    said = answer.json() if isinstance(answer.json(), dict) else {}
    if said.get("status") == "failed" or (answer.status >= 400 and "errorCode" in said):
        await graph.context.checkpoint.clear()
        raise _failure(graph, answer, said)
    if item_id := said.get("resourceId"):
        return await _done(graph, await graph.item(Place(state["to"][0], str(item_id))))
    return _later(graph, graph.asked_to_wait(answer))


async def _look(graph: Graph, state: dict[str, Any]) -> DriveItem | Wait:  # Any: JSON
    """Return the copy if it is there, or when to look again; after some looks the step begins anew."""
    try:
        item = await graph.item(Place(*state["to"]).child(state["name"]))
    except ItemNotFound:
        item = None
    since = datetime.fromisoformat(state["began"]) - _CLOCKS_DIFFER
    if item is not None and item.created_date_time and item.created_date_time >= since:
        return await _done(graph, item)
    if state["looks"] < _LOOKS:
        await graph.context.checkpoint.write({**state, "looks": state["looks"] + 1})
    else:
        await graph.context.checkpoint.clear()
    return _later(graph)


async def _done(graph: Graph, item: DriveItem) -> DriveItem:
    await graph.context.checkpoint.write({"result": item.as_json()})
    return item


def _later(graph: Graph, asked: timedelta | None = None) -> Wait:
    return Wait(graph.context.clock.now() + (_LOOK_AGAIN if asked is None else asked), None)


def _failure(graph: Graph, answer: Answer, said: dict[str, Any]) -> Exception:  # Any: another system's JSON
    code = str(said.get("errorCode") or "")
    if code.lower().startswith("namealreadyexists"):
        return NameTaken("OneDrive: something of that name is there already, so nothing was copied.")
    return ProviderFailed(
        f"OneDrive could not copy it: {code or 'it does not say why'}.", meta={"providerCodes": [code]}
    )
