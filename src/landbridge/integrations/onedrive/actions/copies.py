"""Copying, which OneDrive does in the background."""

import contextlib
from datetime import datetime, timedelta
from typing import Any

from landbridge.errors import (
    ActionRefused,
    CallerMistake,
    ItemNotFound,
    NameTaken,
    OutcomeUnknown,
    ProviderBusy,
    ProviderFailed,
    ProviderUnreachable,
)
from landbridge.integrations.onedrive.graph import Graph, Place, must_be_folder, must_not_be_root, must_take
from landbridge.integrations.onedrive.models.files_or_folders import CopyItem
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.names import check_name
from landbridge.integrations.onedrive.traces import called, is_fresh, noted
from landbridge.integrations.onedrive.transfers import may_be_rewritten
from landbridge.kit import Wait, action

_LOOK_AGAIN = timedelta(seconds=2)
_LOOKS = 3
_GONE = frozenset({401, 403, 404, 410})

_State = dict[str, Any]  # Any: JSON


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def copy_item(graph: Graph, given: CopyItem) -> DriveItem | Wait:
    """Copy a file, or a folder with all that is in it.

    OneDrive copies in the background and answers before the copy is done; the step waits for it, so that the next one
    can rely on it.
    """
    state = await graph.context.checkpoint.read()
    if state is None:
        state = await _ask(graph, given, await _begin(graph, given))
    elif "result" in state:
        return DriveItem.model_validate(state["result"])
    elif "monitor" not in state:  # asked for, but the answer was lost: it may be under way
        return await _look(graph, given, state)
    return await _watch(graph, given, state)


async def _begin(graph: Graph, given: CopyItem) -> _State:
    """Return what is to be copied where, and what is there already."""
    name = check_name(given.name) if given.name is not None else None
    place, item = await graph.find(given.drive_id, given.item_id, given.item_path)
    must_not_be_root(item)
    drive = given.destination_drive_id or given.drive_id
    folder, destination = await graph.find(drive, given.destination_id, given.destination_path)
    must_be_folder(destination)
    must_take(destination, name or item.name or "", is_folder=item.is_folder)
    state: _State = {
        "standstill": graph.context.clock.now().isoformat(),
        "from": [place.drive, place.start],
        "original": item.as_json(),
        "to": [folder.drive, folder.start],
        "drive": destination.parent_reference.drive_id if destination.parent_reference else None,
        "folder": destination.id,
        "name": name or item.name,
        "looks": 0,
    }
    return state | {"there": await noted(graph, _target(state), given.conflict_behavior)}


async def _ask(graph: Graph, given: CopyItem, state: _State) -> _State:
    """Begin the copy, noting before that it is asked for, and after it where to watch it."""
    checkpoint = graph.context.checkpoint
    await checkpoint.write(state)
    parent = {"driveId": state["drive"], "id": state["folder"]}
    named = {"name": given.name} if given.name is not None else {}
    try:
        answer = await graph.call(
            "POST",
            f"{Place(*state['from']) / 'copy'}?@microsoft.graph.conflictBehavior={given.conflict_behavior}",
            json={"parentReference": {key: value for key, value in parent.items() if value}, **named},
        )
    except (ActionRefused, CallerMistake, ProviderBusy):
        await checkpoint.clear()  # nothing was begun
        raise
    if not (monitor := answer.headers.get("Location")):
        raise ProviderFailed("OneDrive began a copy and does not say how to follow it.")
    state = {**state, "monitor": monitor}
    await checkpoint.write(state)
    return state


async def _watch(graph: Graph, given: CopyItem, state: _State) -> DriveItem | Wait:
    """Return the copy if it is done, or when to look again."""
    try:
        answer = await graph.call_signed("GET", state["monitor"])
    except ProviderUnreachable:
        return _later(graph, state)
    said = answer.json() if isinstance(answer.json(), dict) else {}
    if said.get("status") == "failed" or (answer.status >= 400 and "errorCode" in said):
        await graph.context.checkpoint.clear()
        raise _failure(said)
    if item_id := said.get("resourceId"):
        with contextlib.suppress(ItemNotFound):  # the id that a monitor gives has been seen to lead nowhere
            return await _done(graph, await graph.item(Place(state["to"][0], str(item_id))))
    if answer.status in _GONE or said.get("status") == "completed":
        return await _look(graph, given, state)
    if (done := said.get("percentageComplete")) not in (None, state.get("done")):
        state = {**state, "done": done, "standstill": graph.context.clock.now().isoformat()}
        await graph.context.checkpoint.write(state)
    return _later(graph, state, graph.asked_to_wait(answer))


async def _look(graph: Graph, given: CopyItem, state: _State) -> DriveItem | Wait:
    """Return the copy if it is there, or when to look again.

    After some looks the step begins anew, unless the copy had been begun for certain.
    """
    original, is_growing = DriveItem.model_validate(state["original"]), False
    async for item in called(graph, _target(state), given.conflict_behavior):
        if is_fresh(item, state["there"], given.conflict_behavior):
            if _is_equal(item, original):
                return await _done(graph, item)
            is_growing |= item.is_folder and original.is_folder
    if is_growing:  # the copy, most likely, which is not done yet
        return _later(graph, state)
    if state["looks"] < _LOOKS:
        await graph.context.checkpoint.write({**state, "looks": state["looks"] + 1})
    elif "monitor" in state:
        raise OutcomeUnknown("OneDrive began a copy, does not follow it any more, and there is no such item.")
    else:
        await graph.context.checkpoint.clear()
    return _later(graph, state)


def _target(state: _State) -> Place:
    return Place(*state["to"]).child(state["name"])


def _is_equal(copy: DriveItem, original: DriveItem) -> bool:
    """Tell whether an item may be the copy: a file by its digest, or else its size, a folder by what lies in it.

    Of what SharePoint rewrites neither is the same.
    """
    if copy.is_folder or original.is_folder:
        counts = {one.folder.child_count for one in (copy, original) if one.folder} - {None}
        return copy.is_folder == original.is_folder and len(counts) < 2
    if may_be_rewritten(copy):
        return True
    digests = {one.file.hashes.quick_xor_hash for one in (copy, original) if one.file and one.file.hashes} - {None}
    return len(digests) < 2 and copy.size == original.size


async def _done(graph: Graph, item: DriveItem) -> DriveItem:
    await graph.context.checkpoint.write({"result": item.as_json()})
    return item


def _later(graph: Graph, state: _State, asked: timedelta | None = None) -> Wait:
    wait = graph.later(datetime.fromisoformat(state["standstill"]), _LOOK_AGAIN if asked is None else asked)
    if wait is None:
        raise OutcomeUnknown("OneDrive began a copy, and has not told for a day that it gets on.")
    return wait


def _failure(said: dict[str, Any]) -> Exception:  # Any: another system's JSON
    code = str(said.get("errorCode") or "")
    if code.lower().startswith("namealreadyexists"):
        return NameTaken("OneDrive: something of that name is there already, so nothing was copied.")
    return ProviderFailed(
        f"OneDrive could not copy it: {code or 'it does not say why'}.", meta={"providerCodes": [code]}
    )
