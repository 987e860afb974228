"""What is done with a file or folder that is there."""

from landbridge.errors import InvalidRequest
from landbridge.integrations.onedrive.actions.essentials import delete, save
from landbridge.integrations.onedrive.graph import (
    Graph,
    Place,
    must_be_file,
    must_be_folder,
    must_be_on_one_drive,
    must_not_be_root,
    must_take,
    must_take_beside,
    place_by_id,
    remote_place,
)
from landbridge.integrations.onedrive.models.files import (
    CreateTextFile,
    DeleteFile,
    GetThumbnail,
    MoveFile,
    SaveFile,
    SearchFiles,
    UpdateFile,
)
from landbridge.integrations.onedrive.models.files_or_folders import RenameItem
from landbridge.integrations.onedrive.models.folders import CreateFolderPath
from landbridge.integrations.onedrive.models.items import Deleted, DriveItem, Items, Thumbnail
from landbridge.integrations.onedrive.names import check_name, segments
from landbridge.integrations.onedrive.transfers import saved
from landbridge.kit import Wait, action


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def rename_item(graph: Graph, given: RenameItem) -> DriveItem:
    """Rename a file or folder.

    Of a shortcut the shortcut is renamed; what it leads to keeps its name.
    """
    name = check_name(given.name)
    place, item = await graph.find_once(given.drive_id, given.item_id, given.item_path)
    must_not_be_root(item)
    must_take_beside(item, name)
    return DriveItem.model_validate(
        (await graph.call("PATCH", place.path, json={"name": name}, repeatable=True)).json()
    )


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def move_file(graph: Graph, given: MoveFile) -> DriveItem:
    """Move a file into another folder of the same drive.

    It can get a new name on the way.
    """
    new_name = {"name": check_name(given.name)} if given.name is not None else {}
    place, item = await graph.find_once(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    _, destination = await graph.find(given.drive_id, given.destination_id, given.destination_path)
    must_be_folder(destination)
    must_be_on_one_drive(item.parent_reference, destination.parent_reference)
    must_take(destination, given.name or item.name or "", is_folder=False)
    moved = {"parentReference": {"id": destination.id}, **new_name}
    return DriveItem.model_validate((await graph.call("PATCH", place.path, json=moved, repeatable=True)).json())


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def delete_file(graph: Graph, given: DeleteFile) -> Deleted:
    """Delete a file.

    It goes into the drive's recycle bin, unless it is to be deleted permanently, which personal accounts do not offer.
    """
    place, item = await graph.find_once(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    return await delete(graph, place, item, permanently=given.permanently)


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def search_files(graph: Graph, given: SearchFiles) -> Items:
    """Search for files by words of their names or contents.

    OneDrive searches an index that lags behind, by minutes and sometimes by hours: a file that was just saved may be
    missing, so this cannot tell whether one exists.
    """
    return await graph.search(given, lambda item: not item.is_folder)


@action(scopes={"Files.ReadWrite"}, repeatable=False)
async def create_text_file(graph: Graph, given: CreateTextFile) -> DriveItem | Wait:
    """Create a file of a text.

    It lies in the drive's root unless another folder is named.
    """
    name = check_name(given.name)
    file = await graph.context.files.save(name, "text/plain", given.text.encode())
    form = SaveFile(
        drive_id=given.drive_id,
        folder_id=given.folder_id,
        folder_path=given.folder_path,
        file=file,
        conflict_behavior=given.conflict_behavior,
    )
    return await save(graph, form)


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def update_file(graph: Graph, given: UpdateFile) -> DriveItem | Wait:
    """Replace the contents of a file.

    It keeps its id, name, place, links and permissions; OneDrive keeps the former contents as an older version.
    """

    async def place() -> Place:
        place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
        must_be_file(item)
        return place

    return await saved(graph, given.file, place, "replace", {})


@action(scopes={"Files.ReadWrite"}, repeatable=True, effect="adds")
async def create_folder_path(graph: Graph, given: CreateFolderPath) -> DriveItem:
    """Create a folder and those above it that are missing.

    What is there already is kept, so that the folder is there in the end, whoever made it.
    """
    names = segments(given.path)
    if not names:
        raise InvalidRequest("The path names no folder.")
    place = await graph.folder(given, *names, is_folder=True)
    for name in names:
        asked = {"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "replace"}
        answer = await graph.call("POST", place / "children", json=asked, repeatable=True)
        item = DriveItem.model_validate(answer.json())
        place = remote_place(item) or place_by_id(item, place.drive)
    return item


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def get_thumbnail(graph: Graph, given: GetThumbnail) -> Thumbnail:
    """Get a small picture of a file.

    OneDrive has none of some kinds of files, and none yet of files that were just saved.
    """
    place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    async with graph.stream("GET", f"{place / 'thumbnails'}/0/{given.size}/content") as stream:
        mime_type = stream.headers.get("Content-Type") or "image/jpeg"
        content = await graph.context.files.save(f"{item.name} ({given.size})", mime_type, stream.chunks())
    return Thumbnail(id=item.id, content=content)
