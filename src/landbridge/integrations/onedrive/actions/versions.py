"""Earlier versions of a file."""

from landbridge.integrations.onedrive.graph import Graph, must_be_file
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.models.versions import (
    FetchedVersion,
    GetVersion,
    ListVersions,
    RestoreVersion,
    Versions,
)
from landbridge.integrations.onedrive.names import encoded
from landbridge.kit import action


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_versions(graph: Graph, given: ListVersions) -> Versions:
    """List the versions of a file, the present one first."""
    place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    found = [said async for page in graph.pages(place / "versions") for said in page["value"]]
    return Versions.model_validate({"value": found})


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def get_version(graph: Graph, given: GetVersion) -> FetchedVersion:
    """Get the contents of a version of a file."""
    place, item = await graph.find(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    async with graph.stream("GET", f"{place / 'versions'}/{encoded(given.version_id)}/content") as stream:
        mime_type = (item.file and item.file.mime_type) or "application/octet-stream"
        content = await graph.context.files.save(item.name or item.id, mime_type, stream.chunks())
    return FetchedVersion(id=given.version_id, content=content)


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def restore_version(graph: Graph, given: RestoreVersion) -> DriveItem:
    """Make an earlier version of a file the present one.

    What is present now is kept as an earlier version, so nothing is lost.
    """
    place, item = await graph.find_once(given.drive_id, given.file_id, given.file_path)
    must_be_file(item)
    path = f"{place / 'versions'}/{encoded(given.version_id)}/restoreVersion"
    await graph.call("POST", path, headers={"Content-Length": "0"}, repeatable=True)
    return await graph.item(place)
