"""What can be done with OneDrive."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from landbridge.errors import InvalidRequest, ItemNotFound, NotOffered
from landbridge.integrations.onedrive.graph import (
    Graph,
    must_be_folder,
    must_be_on_one_drive,
    must_not_be_root,
    page_link,
)
from landbridge.integrations.onedrive.models import (
    CreateFolder,
    Deleted,
    DeleteFolder,
    DriveItem,
    FetchedFile,
    GetFile,
    GetFolderById,
    Items,
    ListFiles,
    MoveFolder,
    OneDriveRequest,
    Paged,
    Paging,
    RequestAnswer,
    SaveFile,
    SearchFolders,
)
from landbridge.integrations.onedrive.names import check_name
from landbridge.kit import Stream, action

_FULL_PAGE = 999
_SETTLED_BY_US = frozenset({"authorization", "host", "connection", "content-length", "transfer-encoding", "user-agent"})


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def save_file(graph: Graph, given: SaveFile) -> DriveItem:
    """Save a file into a folder.

    The folder is the drive's root unless another one is named. A file of the same name is replaced unless the conflict
    behaviour says otherwise; OneDrive keeps what was there as an older version.
    """
    name = check_name(given.name or given.file.name)
    contents = graph.context.files.open(given.file)
    folder = await graph.folder(given)
    answer = await graph.call(
        "PUT",
        f"{folder.child(name) / 'content'}?@microsoft.graph.conflictBehavior={given.conflict_behavior}",
        headers={"Content-Type": given.file.mime_type, "Content-Length": str(contents.size)},
        body=contents.chunks if contents.size else b"",
        repeatable=given.conflict_behavior == "replace",
    )
    return DriveItem.model_validate(answer.json())


@action(scopes={"Files.Read"}, repeatable=True)
async def get_file(graph: Graph, given: GetFile) -> FetchedFile:
    """Get a file: what is known about it and, unless told otherwise, its contents."""
    place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
    if item.is_folder:
        raise InvalidRequest(f"“{item.name}” is a folder, not a file.")
    fetched = FetchedFile.model_validate(item.as_json())
    if not given.with_content:
        return fetched
    if item.package is not None:
        raise NotOffered(f"“{item.name}” is a notebook, which has no contents of its own to fetch.")
    async with graph.stream("GET", place / "content") as stream:
        content = await graph.context.files.save(item.name or item.id, _mime_type(stream, item), stream.chunks())
    return fetched.model_copy(update={"content": content})


@action(scopes={"Files.Read"}, repeatable=True)
async def list_files(graph: Graph, given: ListFiles) -> Items:
    """List the files and folders that lie directly in a folder.

    The folder is the drive's root unless another one is named. All of them are given, however many pages that takes,
    unless a limit or a page size is set.
    """
    if given.page_cursor is not None:
        first = page_link(given.page_cursor, "children")
    else:
        first = f"{await graph.folder(given) / 'children'}?$top={given.page_size or _FULL_PAGE}"
    wanted = {"all": lambda _: True, "files": lambda item: not item.is_folder, "folders": lambda item: item.is_folder}
    return await _items(graph, first, given, wanted[given.kind])


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def create_folder(graph: Graph, given: CreateFolder) -> DriveItem:
    """Create a folder.

    It lies in the drive's root unless another folder is named.
    """
    name = check_name(given.name)
    folder = await graph.folder(given)
    asked = {"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": given.conflict_behavior}
    answer = await graph.call("POST", folder / "children", json=asked, repeatable=given.conflict_behavior == "replace")
    return DriveItem.model_validate(answer.json())


@action(scopes={"Files.Read"}, repeatable=True)
async def get_folder_by_id(graph: Graph, given: GetFolderById) -> DriveItem:
    """Get what is known about a folder.

    A shortcut leads to the folder on the other drive.
    """
    _, item = await graph.find(given.drive_id, given.folder_id, None)
    must_be_folder(item)
    return item


@action(scopes={"Files.Read"}, repeatable=True)
async def search_folders(graph: Graph, given: SearchFolders) -> Items:
    """Search for folders by words of their names.

    OneDrive searches an index that lags behind, by minutes and sometimes by hours: a folder that was just created may
    be missing, so this cannot tell whether one exists.
    """
    if given.page_cursor is not None:
        first = page_link(given.page_cursor, "search")
    else:
        query = quote(given.query.replace("'", "''"), safe="")
        first = f"{await graph.folder(given) / 'search'}(q='{query}')?$top={given.page_size or _FULL_PAGE}"
    name = given.query.casefold()

    def is_wanted(item: DriveItem) -> bool:
        return item.is_folder and not (given.is_exact and (item.name or "").casefold() != name)

    return await _items(graph, first, given, is_wanted)


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def move_folder(graph: Graph, given: MoveFolder) -> DriveItem:
    """Move a folder, with all that is in it, into another folder of the same drive.

    It can get a new name on the way. A shortcut is moved itself; what it leads to stays.
    """
    new_name = {"name": check_name(given.name)} if given.name is not None else {}
    place, item = await graph.find(given.drive_id, given.folder_id, given.folder_path, follow=False)
    must_be_folder(item)
    must_not_be_root(item)
    _, destination = await graph.find(given.drive_id, given.destination_id, given.destination_path)
    must_be_folder(destination)
    must_be_on_one_drive(item.parent_reference, destination.parent_reference)
    moved = {"parentReference": {"id": destination.id}, **new_name}
    answer = await graph.call("PATCH", place.path, json=moved, repeatable=True)
    return DriveItem.model_validate(answer.json())


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def delete_folder(graph: Graph, given: DeleteFolder) -> Deleted:
    """Delete a folder, with all that is in it.

    It goes into the drive's recycle bin. Of a shortcut only the shortcut is deleted; what it leads to stays.
    """
    place, item = await graph.find(given.drive_id, given.folder_id, given.folder_path, follow=False)
    must_be_folder(item)
    must_not_be_root(item)
    with contextlib.suppress(ItemNotFound):  # it was there a moment ago: the answer to an earlier try was lost
        await graph.call("DELETE", place.path)
    return Deleted(id=item.id, name=item.name)


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def onedrive_request(graph: Graph, given: OneDriveRequest) -> RequestAnswer:
    """Send a request of your own to Microsoft Graph, as the user.

    For what no other action does. Lists can be followed to their end, to a limit, or to the first item that meets a
    condition.
    """
    path = given.path + _query(given.path, given.query)
    if given.paging is not None:
        if given.method != "GET":
            raise InvalidRequest("Only a GET has pages to follow.")
        found = [item async for item in _following(graph, path, given.paging)]
        return RequestAnswer(status=200, headers={}, body={"value": found})
    headers = _headers(given)
    contents = graph.context.files.open(given.file) if given.file else None
    if contents is not None and given.file is not None:
        headers = {"Content-Type": given.file.mime_type, **headers, "Content-Length": str(contents.size)}
    text = given.body.encode() if isinstance(given.body, str) else None
    async with graph.stream(
        given.method,
        path,
        headers=headers,
        json=given.body if text is None else None,
        body=contents.chunks if contents else text,
        repeatable=given.method == "GET",
    ) as stream:
        return await _answer(graph, stream)


async def _items(graph: Graph, first: str, paged: Paged, is_wanted: Callable[[DriveItem], bool]) -> Items:
    """Return the wanted items of one page or of all, each once: pages overlap while others write."""
    found: dict[str, DriveItem] = {}
    async for page in graph.pages(first):
        items = map(DriveItem.model_validate, page["value"])
        found.update({item.id: item for item in items if is_wanted(item)})
        if paged.is_one_page:
            return Items(value=list(found.values())[: paged.limit], next_page_cursor=page.get("@odata.nextLink"))
        if paged.limit is not None and len(found) >= paged.limit:
            break
    return Items(value=list(found.values())[: paged.limit])


async def _following(graph: Graph, path: str, paging: Paging) -> AsyncIterator[Any]:  # Any: another system's JSON
    count = 0
    async for page in graph.pages(path):
        for item in page["value"]:
            if count == paging.limit or (paging.stop_when and paging.stop_when.holds(item)):
                return
            count += 1
            yield item


def _query(path: str, options: dict[str, str]) -> str:
    if not options:
        return ""
    written = "&".join(f"{quote(name, safe='$@.')}={quote(value, safe='')}" for name, value in options.items())
    return ("&" if "?" in path else "?") + written


def _headers(given: OneDriveRequest) -> dict[str, str]:
    if refused := [name for name in given.headers if name.lower() in _SETTLED_BY_US]:
        raise InvalidRequest(f"The header {refused[0]} is set by Landbridge itself; leave it out.")
    if broken := [name for name, value in given.headers.items() if not (name + value).isprintable()]:
        raise InvalidRequest(f"The header {broken[0][:50]!r} holds characters that no header may.")
    return dict(given.headers)


async def _answer(graph: Graph, stream: Stream) -> RequestAnswer:
    headers = {name.lower(): value for name, value in stream.headers.items() if name.lower() != "set-cookie"}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if stream.status == 204 or headers.get("content-length") == "0":
        return RequestAnswer(status=stream.status, headers=headers)
    if kind == "application/json":
        return RequestAnswer(status=stream.status, headers=headers, body=(await graph.whole(stream)).json())
    file = await graph.context.files.save("answer", kind or "application/octet-stream", stream.chunks())
    return RequestAnswer(status=stream.status, headers=headers, file=file)


def _mime_type(stream: Stream, item: DriveItem) -> str:
    known = item.file.mime_type if item.file else None
    return known or stream.headers.get("Content-Type") or "application/octet-stream"
