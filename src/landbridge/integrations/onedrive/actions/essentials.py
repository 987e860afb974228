"""Files and folders, and requests of one's own."""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from landbridge.errors import InvalidRequest, ItemNotFound, NotOffered, OutcomeUnknown
from landbridge.integrations.onedrive.downloads import fetched
from landbridge.integrations.onedrive.graph import (
    FULL_PAGE,
    Graph,
    Place,
    must_be_file,
    must_be_folder,
    must_be_on_one_drive,
    must_not_be_root,
    must_take,
    page_link,
)
from landbridge.integrations.onedrive.models.files import DownloadFile, GetFile, SaveFile
from landbridge.integrations.onedrive.models.folders import (
    CreateFolder,
    DeleteFolder,
    GetFolderById,
    ListFiles,
    MoveFolder,
    SearchFolders,
)
from landbridge.integrations.onedrive.models.items import Deleted, DriveItem, FetchedFile, Items
from landbridge.integrations.onedrive.models.places import TheFile
from landbridge.integrations.onedrive.models.requests import OneDriveRequest, Paging, RequestAnswer
from landbridge.integrations.onedrive.names import check_name
from landbridge.integrations.onedrive.traces import mark, written
from landbridge.integrations.onedrive.transfers import saved
from landbridge.kit import Start, Stream, Wait, action

_SETTLED_BY_US = frozenset({"authorization", "host", "connection", "content-length", "transfer-encoding", "user-agent"})
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-unmodified-since"})


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def save_file(graph: Graph, given: SaveFile) -> DriveItem | Wait:
    """Save a file into a folder.

    The folder is the drive's root unless another one is named. A file of the same name is replaced unless the conflict
    behaviour says otherwise; OneDrive keeps what was there as an older version. An Office document, a PDF or a picture
    that replaces none has a time of creation that is up to a minute early, by which the step knows it again.
    """
    return await save(graph, given)


async def save(graph: Graph, given: SaveFile) -> DriveItem | Wait:
    """Save a file as a form says."""
    name = check_name(given.name or given.file.name)

    async def place() -> Place:
        return (await graph.folder(given, name)).child(name)

    return await saved(graph, given.file, place, given.conflict_behavior, given.times())


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def get_file(graph: Graph, given: GetFile) -> FetchedFile:
    """Get a file: what is known about it and, unless told otherwise, its contents."""
    return await _fetched(graph, given, with_content=given.with_content)


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def download_file(graph: Graph, given: DownloadFile) -> FetchedFile:
    """Download a file: its contents, and what is known about it."""
    return await _fetched(graph, given, with_content=True)


async def _fetched(graph: Graph, given: TheFile, *, with_content: bool) -> FetchedFile:
    place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    known = FetchedFile.model_validate(item.as_json())
    if not with_content:
        return known
    if item.package is not None:
        raise NotOffered(f"“{item.name}” is a notebook, which has no contents of its own to fetch.")
    return known.model_copy(update={"content": await fetched(graph, place, item)})


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_files(graph: Graph, given: ListFiles) -> Items:
    """List the files and folders that lie directly in a folder.

    The folder is the drive's root unless another one is named. All of them are given, however many pages that takes,
    unless a limit or a page size is set.
    """
    if given.page_cursor is not None:
        first = page_link(given.page_cursor, "children")
    else:
        first = f"{await graph.folder(given) / 'children'}?$top={given.page_size or FULL_PAGE}"
    wanted = {"all": lambda _: True, "files": lambda item: not item.is_folder, "folders": lambda item: item.is_folder}
    return await graph.items(first, given, wanted[given.kind])


@action(scopes={"Files.ReadWrite"}, repeatable=False, effect="adds")
async def create_folder(graph: Graph, given: CreateFolder) -> DriveItem:
    """Create a folder.

    It lies in the drive's root unless another folder is named.
    """
    name = check_name(given.name)
    folder = await graph.folder(given, name, is_folder=True)

    async def create(began: datetime) -> DriveItem:
        asked = {
            "name": name,
            "folder": {},
            "fileSystemInfo": {
                "createdDateTime": written(mark(graph, began)),
                "lastModifiedDateTime": written(began),
            },
            "@microsoft.graph.conflictBehavior": given.conflict_behavior,
        }
        answer = await graph.call("POST", folder / "children", json=asked)
        return DriveItem.model_validate(answer.json())

    async def find(start: Start) -> DriveItem | None:
        """Return the folder that bears this step's mark."""
        async for page in graph.pages(f"{folder / 'children'}?$top={FULL_PAGE}"):
            for item in map(DriveItem.model_validate, page["value"]):
                if _is_marked(item, name, mark(graph, start.at)):
                    return item
        return None

    if given.conflict_behavior == "replace":
        return await create(graph.context.clock.now().replace(microsecond=0))
    return await graph.once(DriveItem, lambda start: create(start.at), find)


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def get_folder_by_id(graph: Graph, given: GetFolderById) -> DriveItem:
    """Get what is known about a folder.

    A shortcut leads to the folder on the other drive.
    """
    _, item = await graph.find(given.drive_id, given.folder_id, None)
    must_be_folder(item)
    return item


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def search_folders(graph: Graph, given: SearchFolders) -> Items:
    """Search for folders by words of their names.

    OneDrive searches an index that lags behind, by minutes and sometimes by hours: a folder that was just created may
    be missing, so this cannot tell whether one exists.
    """
    name = given.query.casefold()

    def is_wanted(item: DriveItem) -> bool:
        return item.is_folder and not (given.is_exact and (item.name or "").casefold() != name)

    return await graph.search(given, is_wanted)


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def move_folder(graph: Graph, given: MoveFolder) -> DriveItem:
    """Move a folder, with all that is in it, into another folder of the same drive.

    It can get a new name on the way. A shortcut is moved itself; what it leads to stays.
    """
    new_name = {"name": check_name(given.name)} if given.name is not None else {}
    place, item = await graph.find_once(given.drive_id, given.folder_id, given.folder_path)
    must_be_folder(item)
    must_not_be_root(item)
    _, destination = await graph.find(given.drive_id, given.destination_id, given.destination_path)
    must_be_folder(destination)
    must_be_on_one_drive(item.parent_reference, destination.parent_reference)
    must_take(destination, given.name or item.name or "", is_folder=True)
    moved = {"parentReference": {"id": destination.id}, **new_name}
    answer = await graph.call("PATCH", place.path, json=moved, repeatable=True)
    return DriveItem.model_validate(answer.json())


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def delete_folder(graph: Graph, given: DeleteFolder) -> Deleted:
    """Delete a folder, with all that is in it.

    It goes into the drive's recycle bin, unless it is to be deleted permanently, which personal accounts do not offer.
    Of a shortcut only the shortcut is deleted; what it leads to stays.
    """
    place, item = await graph.find_once(given.drive_id, given.folder_id, given.folder_path)
    must_be_folder(item)
    must_not_be_root(item)
    return await delete(graph, place, item, permanently=given.permanently)


async def delete(graph: Graph, place: Place, item: DriveItem, *, permanently: bool) -> Deleted:
    """Delete an item into the recycle bin, or past it. Raises `NotOffered` for the latter on personal accounts."""
    if permanently and item.parent_reference and item.parent_reference.drive_type == "personal":
        raise NotOffered("Personal accounts delete into the recycle bin only.")
    with contextlib.suppress(ItemNotFound):  # it was there when it was found: the answer to an earlier try was lost
        if permanently:
            await graph.call("POST", place / "permanentDelete", headers={"Content-Length": "0"}, repeatable=True)
        else:
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
        found = [item async for item in _following(graph, path, _headers(given), given.paging)]
        return RequestAnswer(status=200, headers={}, body={"value": found})
    if _is_repeatable(given, path):
        return await _asked(graph, given, path, repeatable=True)

    async def look(_: Start) -> RequestAnswer:
        if given.method != "DELETE":
            raise OutcomeUnknown(f"A {given.method} to {given.path[:200]} was sent, and no answer came.")
        try:
            return await _asked(graph, given, path, repeatable=False)
        except ItemNotFound:  # by now
            return RequestAnswer(status=204, headers={})

    return await graph.once(RequestAnswer, lambda _: _asked(graph, given, path, repeatable=False), look)


async def _asked(graph: Graph, given: OneDriveRequest, path: str, *, repeatable: bool) -> RequestAnswer:
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
        body=(contents.chunks if contents.size else b"") if contents else text,
        repeatable=repeatable,
    ) as stream:
        return await _answer(graph, stream)


def _is_marked(item: DriveItem, name: str, created: datetime) -> bool:
    """Tell whether a folder is the one that a step made with these times of its own.

    The second in which it was created is some time before the step began, how long depends on the step; it was changed
    later. What others make in that second has been created and changed at once.
    """
    info = item.file_system_info
    is_called = item.is_folder and (item.name or "").casefold().startswith(name.casefold())
    return is_called and info is not None and info.created_date_time == created != info.last_modified_date_time


async def _following(
    graph: Graph, path: str, headers: dict[str, str], paging: Paging
) -> AsyncIterator[Any]:  # Any: another system's JSON
    count = 0
    async for page in graph.pages(path, headers):
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


def _is_repeatable(given: OneDriveRequest, path: str) -> bool:
    """Tell whether a request may be sent twice: HTTP allows it for a PUT, but not one that depends on what is there."""
    if given.method != "PUT":
        return given.method == "GET"
    if any(name.lower() in _CONDITIONS for name in given.headers):
        return False
    body = given.body if isinstance(given.body, dict) else {}
    options = [*parse_qsl(urlsplit(path).query), *body.items()]
    return all(value == "replace" for name, value in options if name.lower().endswith(".conflictbehavior"))


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
    contents: AsyncIterable[bytes] | bytes = stream.chunks()
    if kind == "application/json":
        whole = await graph.whole(stream)
        if (body := whole.json()) is not None or whole.body.strip() == b"null":
            return RequestAnswer(status=stream.status, headers=headers, body=body)
        contents = whole.body  # which only claims to be JSON
    file = await graph.context.files.save("answer", kind or "application/octet-stream", contents)
    return RequestAnswer(status=stream.status, headers=headers, file=file)
