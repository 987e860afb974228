"""What actions are given, and what they give: the only schema there is."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, JsonValue, SecretStr, model_validator

from landbridge.kit import File, Given, Result

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$")

Conflict = Literal["fail", "rename", "replace"]
Id = Annotated[str, Field(min_length=1, max_length=500)]
Path = Annotated[str, Field(max_length=2000)]
Limit = Annotated[
    int | None,
    Field(ge=1, description="How many to give at most. Without it, all of them, however many pages that takes."),
]


# What Graph says of things


class Facet(Result):
    """A part of an item, as Graph describes it; what Graph adds to it is kept."""


class Hashes(Facet):
    """Digests of a file's contents. Right after an upload, and of an empty file, they may be missing."""

    quick_xor_hash: str | None = Field(default=None, description="QuickXorHash of the contents, in base64.")


class FileFacet(Facet):
    """What only files have."""

    mime_type: str | None = Field(default=None, description="What kind of contents it has, such as `text/plain`.")
    hashes: Hashes | None = Field(default=None, description="Digests of the contents.")


class FolderFacet(Facet):
    """What only folders have."""

    child_count: int | None = Field(default=None, description="How many items lie directly in it; may lag behind.")


class ItemReference(Facet):
    """Where an item lies."""

    drive_id: str | None = Field(default=None, description="The drive's id.")
    drive_type: str | None = Field(default=None, description="`personal`, `business` or `documentLibrary`.")
    id: str | None = Field(default=None, description="The folder's id.")
    name: str | None = Field(default=None, description="The folder's name.")
    path: str | None = Field(default=None, description="The folder's path, percent-encoded, from the drive's root.")


class FileSystemInfo(Facet):
    """The times that a user's own computer keeps, unlike those of the server."""

    created_date_time: datetime | None = Field(default=None, description="When the file was created.")
    last_modified_date_time: datetime | None = Field(default=None, description="When it was last changed.")


class RemoteItem(Facet):
    """The item that a shortcut leads to, on another drive."""

    id: str = Field(description="Its id, on its own drive.")
    name: str | None = Field(default=None, description="Its own name.")
    size: int | None = Field(default=None, description="Its size in bytes.")
    file: FileFacet | None = Field(default=None, description="Present if it is a file.")
    folder: FolderFacet | None = Field(default=None, description="Present if it is a folder.")
    parent_reference: ItemReference | None = Field(default=None, description="Where it lies.")


class DriveItem(Result):
    """A file, a folder, or a shortcut to one.

    https://learn.microsoft.com/graph/api/resources/driveitem
    """

    id: str = Field(description="The item's id, which counts on its own drive.")
    name: str | None = Field(default=None, description="The name, with its extension.")
    size: int | None = Field(default=None, description="Bytes; for a folder those of everything in it.")
    web_url: str | None = Field(default=None, description="Where a person can open it in a browser.")
    e_tag: str | None = Field(default=None, description="Changes with anything about the item.")
    c_tag: str | None = Field(default=None, description="Changes with the contents; work folders have none.")
    created_date_time: datetime | None = Field(default=None, description="When the server got it.")
    last_modified_date_time: datetime | None = Field(default=None, description="When it last changed on the server.")
    description: str | None = Field(default=None, description="The user's own words on it; personal accounts only.")
    file: FileFacet | None = Field(default=None, description="Present if it is a file.")
    folder: FolderFacet | None = Field(default=None, description="Present if it is a folder.")
    package: Facet | None = Field(default=None, description="Present if it is neither, such as a OneNote notebook.")
    root: Facet | None = Field(default=None, description="Present if it is the root of its drive.")
    parent_reference: ItemReference | None = Field(default=None, description="Where it lies.")
    file_system_info: FileSystemInfo | None = Field(default=None, description="Times of the user's own computer.")
    remote_item: RemoteItem | None = Field(default=None, description="What it leads to, if it is a shortcut.")
    deleted: Facet | None = Field(default=None, description="Present if it is gone; in lists of changes only.")

    @model_validator(mode="before")
    @classmethod
    def _without_annotations(cls, said: Any) -> Any:  # Any: another system's JSON
        """Leave out OData's annotations; one of them is a URL that gives the contents to whoever has it."""
        return {k: v for k, v in said.items() if not k.startswith("@")} if isinstance(said, dict) else said

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, or a shortcut to one."""
        return self.folder is not None or (self.remote_item is not None and self.remote_item.folder is not None)


class Items(Result):
    """Items, and where to go on."""

    value: list[DriveItem] = Field(description="The items.")
    next_page_cursor: str | None = Field(
        default=None, description="Give it back as `pageCursor` for the next page; missing after the last one."
    )


class FetchedFile(DriveItem):
    """A file and its contents."""

    content: File | None = Field(default=None, description="The contents, for a later step; missing if not asked for.")


class Deleted(Result):
    """What was deleted. It lies in the drive's recycle bin."""

    id: str = Field(description="The id that it had.")
    name: str | None = Field(default=None, description="The name that it had.")


# What actions are given


class OnDrive(Given):
    """What every action on a drive may be told."""

    drive_id: Id | None = Field(
        default=None, description="The drive, such as a shared library's. Without it, the user's own OneDrive."
    )


class InFolder(OnDrive):
    """A folder, by id or by path; the drive's root if by neither."""

    folder_id: Id | None = Field(default=None, description="The folder's id. Without id and path, the drive's root.")
    folder_path: Path | None = Field(
        default=None, description="The folder's path instead, such as `Reports/2026`, from the drive's root."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _not_both(self, "folder_id", "folder_path")
        return self


class SaveFile(InFolder):
    """The form of Save File."""

    file: File = Field(description="The file: what an earlier step gave, or `{name, data, mimeType}`, `data` in hex.")
    name: str | None = Field(default=None, description="The name to save it under, with its extension; else its own.")
    conflict_behavior: Conflict = Field(
        default="replace",
        description="If a file of that name is there: `replace` its contents (OneDrive keeps the former version), "
        "`rename` the new one, or `fail`.",
    )
    created_at: AwareDatetime | None = Field(default=None, description="When the user made it, if that is to be kept.")
    modified_at: AwareDatetime | None = Field(default=None, description="When the user last changed it, likewise.")

    def times(self) -> dict[str, str]:
        """Return the times to keep, as Graph takes them."""
        given = {"createdDateTime": self.created_at, "lastModifiedDateTime": self.modified_at}
        return {name: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z" for name, at in given.items() if at}


class TheFile(OnDrive):
    """A file, by id or by path."""

    file_id: Id | None = Field(default=None, description="The file's id.")
    file_path: Path | None = Field(
        default=None, description="The file's path instead, such as `Reports/May.pdf`, from the drive's root."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _exactly_one(self, "file_id", "file_path")
        return self


class GetFile(TheFile):
    """The form of Get File."""

    with_content: bool = Field(default=True, description="Whether to fetch the contents too.")


class Paged(Given):
    """How much of a long list to give."""

    limit: Limit = None
    page_size: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Give one page of about this many, and a cursor for the next, instead of all."
    )
    page_cursor: Annotated[str, Field(max_length=8000)] | None = Field(
        default=None, description="The `nextPageCursor` of the page before, to go on from there."
    )

    @property
    def is_one_page(self) -> bool:
        """Whether one page is asked for, rather than all."""
        return self.page_size is not None or self.page_cursor is not None


class ListFiles(InFolder, Paged):
    """The form of List Files."""

    kind: Literal["all", "files", "folders"] = Field(default="all", description="Which items to give.")


class CreateFolder(InFolder):
    """The form of Create Folder."""

    name: str = Field(description="The new folder's name.")
    conflict_behavior: Conflict = Field(
        default="fail",
        description="If a folder of that name is there: `fail`, `rename` the new one, or `replace`, which keeps the "
        "one that is there and gives it.",
    )


class TheFolder(OnDrive):
    """A folder, by id or by path."""

    folder_id: Id | None = Field(default=None, description="The folder's id.")
    folder_path: Path | None = Field(
        default=None, description="The folder's path instead, such as `Reports/2026`, from the drive's root."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _exactly_one(self, "folder_id", "folder_path")
        return self


class GetFolderById(OnDrive):
    """The form of Get Folder by ID."""

    folder_id: Id = Field(description="The folder's id.")


class Search(InFolder, Paged):
    """What every search is told."""

    query: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="The words to search for.")


class SearchFolders(Search):
    """The form of Search Folders."""

    is_exact: bool = Field(default=False, description="Give only folders of exactly this name, in either case.")


class MoveFolder(TheFolder):
    """The form of Move Folder."""

    destination_id: Id | None = Field(default=None, description="The id of the folder to move it into.")
    destination_path: Path | None = Field(
        default=None, description="Its path instead, such as `Archive`, from the root of the same drive."
    )
    name: str | None = Field(default=None, description="A new name for it; without one it keeps its own.")

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        _exactly_one(self, "destination_id", "destination_path")
        return self


class DeleteFolder(TheFolder):
    """The form of Delete Folder."""


class StopWhen(Given):
    """A condition on an item of a list: at the first item for which it holds, the list ends, without that item."""

    field: str = Field(description="The field to look at, such as `lastModifiedDateTime` or `file.mimeType`.")
    operator: Literal["equals", "notEquals", "greaterThan", "lessThan", "exists", "doesNotExist"] = Field(
        description="How to compare. Times are compared as times; things of different kinds are only unequal."
    )
    value: JsonValue = Field(default=None, description="What to compare with.")

    def holds(self, item: object) -> bool:
        """Return whether the condition holds for an item of a list."""
        for name in self.field.split("."):
            item = item.get(name) if isinstance(item, dict) else None
        left, right = _comparable(item), _comparable(self.value)
        match self.operator:
            case "exists" | "doesNotExist":
                return (item is not None) == (self.operator == "exists")
            case "equals" | "notEquals":
                same = type(left) is type(right) and left == right
                return same == (self.operator == "equals")
            case "lessThan":
                return _is_less(left, right)
            case "greaterThan":
                return _is_less(right, left)


class Paging(Given):
    """How to follow the pages of a list."""

    limit: Limit = None
    stop_when: StopWhen | None = Field(default=None, description="Where to stop, if not at the end.")


class OneDriveRequest(Given):
    """The form of OneDrive Request."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(default="GET", description="The HTTP method.")
    path: str = Field(
        min_length=1,
        description="The path, percent-encoded, such as `/me/drive/root/children`; or a whole URL of Microsoft Graph.",
    )
    query: dict[str, str] = Field(default_factory=dict, description="Query options, such as `$top`; not encoded.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers; authorization is added by itself.")
    body: JsonValue = Field(default=None, description="The body: JSON, or a text with its own `Content-Type`.")
    file: File | None = Field(default=None, description="A file to send as the body instead.")
    paging: Paging | None = Field(
        default=None, description="For lists: follow the pages, and give all items as one list."
    )

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        _not_both(self, "body", "file")
        return self


class RequestAnswer(Result):
    """What Graph answered."""

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="The headers, their names in lower case.")
    body: JsonValue = Field(default=None, description="The body, if it is JSON.")
    file: File | None = Field(default=None, description="The body, if it is anything else.")


class TheItem(OnDrive):
    """A file or folder, by id or by path."""

    item_id: Id | None = Field(default=None, description="The id of the file or folder.")
    item_path: Path | None = Field(
        default=None, description="Its path instead, such as `Reports/May.pdf`, from the drive's root."
    )

    @model_validator(mode="after")
    def _one_item(self) -> Self:
        _exactly_one(self, "item_id", "item_path")
        return self


class MoveFile(TheFile):
    """The form of Move File."""

    destination_id: Id | None = Field(default=None, description="The id of the folder to move it into.")
    destination_path: Path | None = Field(
        default=None, description="Its path instead, such as `Archive`, from the root of the same drive."
    )
    name: str | None = Field(default=None, description="A new name for it; without one it keeps its own.")

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        _exactly_one(self, "destination_id", "destination_path")
        return self


class RenameItem(TheItem):
    """The form of Rename Item."""

    name: str = Field(description="The new name, with its extension.")


class DeleteFile(TheFile):
    """The form of Delete File."""

    permanently: bool = Field(
        default=False, description="Whether to pass by the recycle bin; work accounts only. It cannot be undone."
    )


class CopyItem(TheItem):
    """The form of Copy Item."""

    destination_drive_id: Id | None = Field(
        default=None, description="The drive to copy it to. Without it, the drive that it is on."
    )
    destination_id: Id | None = Field(default=None, description="The id of the folder to copy it into.")
    destination_path: Path | None = Field(
        default=None, description="Its path instead, from the root of its drive; `/` is the root itself."
    )
    name: str | None = Field(default=None, description="The copy's name; without one it has the original's.")
    conflict_behavior: Conflict = Field(
        default="fail", description="If something of that name is there. Personal accounts always `fail`."
    )

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        _exactly_one(self, "destination_id", "destination_path")
        return self


class SearchFiles(Search):
    """The form of Search Files."""


class CreateTextFile(InFolder):
    """The form of Create Text File."""

    name: str = Field(description="The file's name, with its extension, such as `Notes.txt`.")
    text: str = Field(description="What is to stand in it; it is written in UTF-8.")
    conflict_behavior: Conflict = Field(
        default="fail", description="If a file of that name is there: `fail`, `rename` the new one, or `replace` it."
    )


class UpdateFile(TheFile):
    """The form of Update File."""

    file: File = Field(description="The new contents: what an earlier step gave, or `{name, data, mimeType}`.")


class CreateFolderPath(InFolder):
    """The form of Create Folder Path."""

    path: Path = Field(description="The folders, such as `Reports/2026/May`, below the folder that is named, or root.")


class GetThumbnail(TheFile):
    """The form of Get Thumbnail."""

    size: Literal["small", "medium", "large"] = Field(default="medium", description="About 96, 176 or 800 pixels.")


class Thumbnail(Result):
    """A small picture of a file."""

    id: str = Field(description="The file's id.")
    content: File = Field(description="The picture, for a later step.")


# Sharing, versions, drives


class Link(Facet):
    """A sharing link."""

    type: str | None = Field(default=None, description="`view`, `edit` or `embed`.")
    scope: str | None = Field(default=None, description="`anonymous`, `organization` or `users`.")
    web_url: str | None = Field(default=None, description="The address to give to others.")


class Permission(Result):
    """A way that somebody has to an item."""

    id: str = Field(description="The permission's id, to remove it.")
    roles: list[str] = Field(default_factory=list, description="`read`, `write` or `owner`.")
    link: Link | None = Field(default=None, description="Present if it is a link.")
    granted_to_v2: dict[str, Any] | None = Field(  # Any: JSON
        default=None, alias="grantedToV2", description="Who has it, if it is somebody's."
    )
    expiration_date_time: datetime | None = Field(default=None, description="When it ends, if it does.")

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, said: Any) -> Any:  # Any: another system's JSON
        """Personal accounts still say `grantedTo`."""
        if isinstance(said, dict) and "grantedTo" in said:
            return {"grantedToV2": said["grantedTo"], **{k: v for k, v in said.items() if k != "grantedTo"}}
        return said

    @property
    def email(self) -> str | None:
        """The e-mail address of whoever has it, in lower case."""
        user = (self.granted_to_v2 or {}).get("user")
        said = (user or {}).get("email") or ((self.model_extra or {}).get("invitation") or {}).get("email")
        return said.lower() if isinstance(said, str) else None


class Permissions(Result):
    """The ways that people have to an item."""

    value: list[Permission] = Field(description="The permissions.")


class CreateLink(TheItem):
    """The form of Create Link."""

    type: Literal["view", "edit", "embed"] = Field(
        default="view", description="What others may do with it; `embed` is for personal accounts."
    )
    scope: Literal["anonymous", "organization", "users"] = Field(
        default="anonymous", description="Who can use it: anybody, the user's organization, or people named otherwise."
    )
    expires_at: AwareDatetime | None = Field(default=None, description="When it ends.")
    password: SecretStr | None = Field(default=None, description="A password; personal accounts only.")


class InvitePeople(TheItem):
    """The form of Invite People."""

    emails: Annotated[list[str], Field(min_length=1, max_length=100)] = Field(description="Whom, by e-mail address.")
    role: Literal["read", "write"] = Field(default="read", description="What they may do.")
    message: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="What to write to them.")
    send_invitation: bool = Field(default=True, description="Whether Microsoft sends them an e-mail.")


class ListPermissions(TheItem):
    """The form of List Permissions."""


class RemovePermission(TheItem):
    """The form of Remove Permission."""

    permission_id: Id = Field(description="The permission's id, as List Permissions gives it.")


class Removed(Result):
    """What was removed."""

    id: str = Field(description="The id that it had.")


class Version(Result):
    """A version of a file."""

    id: str = Field(description="The version's id, such as `2.0`.")
    size: int | None = Field(default=None, description="Its length in bytes.")
    last_modified_date_time: datetime | None = Field(default=None, description="When it was made.")


class Versions(Result):
    """The versions of a file."""

    value: list[Version] = Field(description="The versions, the present one first.")


class ListVersions(TheFile):
    """The form of List Versions."""


class TheVersion(TheFile):
    """A version of a file."""

    version_id: Id = Field(description="The version's id, as List Versions gives it.")


class GetVersion(TheVersion):
    """The form of Get Version."""


class RestoreVersion(TheVersion):
    """The form of Restore Version."""


class FetchedVersion(Result):
    """A version's contents."""

    id: str = Field(description="The version's id.")
    content: File = Field(description="The contents, for a later step.")


class Quota(Facet):
    """How much room a drive has; libraries may say nothing of it, or zero."""

    total: int | None = Field(default=None, description="Bytes in all.")
    used: int | None = Field(default=None, description="Bytes in use.")
    remaining: int | None = Field(default=None, description="Bytes that are free.")
    state: str | None = Field(default=None, description="`normal`, `nearing`, `critical` or `exceeded`.")


class Drive(Result):
    """A drive: a user's OneDrive, or a library of a site."""

    id: str = Field(description="The drive's id.")
    drive_type: str | None = Field(default=None, description="`personal`, `business` or `documentLibrary`.")
    name: str | None = Field(default=None, description="The drive's name.")
    web_url: str | None = Field(default=None, description="Where a person can open it in a browser.")
    quota: Quota | None = Field(default=None, description="How much room it has.")


class Drives(Result):
    """Drives of a user."""

    value: list[Drive] = Field(description="The drives, the user's own OneDrive first.")


class ListDrives(Given):
    """The form of List Drives."""


class GetDrive(OnDrive):
    """The form of Get Drive."""


class ListChanges(OnDrive):
    """The form of List Changes."""

    cursor: Annotated[str, Field(max_length=8000)] | None = Field(
        default=None, description="The `cursor` of the time before: what has changed since then is given."
    )
    from_beginning: bool = Field(
        default=False, description="Without a cursor: whether to give everything there is, or only a cursor from now."
    )


class Changes(Result):
    """What has changed on a drive: each item as it is now; one that is gone has `deleted`."""

    value: list[DriveItem] = Field(description="The changed items, each once.")
    cursor: str = Field(description="Give it back for what changes from now on.")


def _comparable(value: object) -> object:
    """Return a value as what it is compared as: numbers as numbers, times as times."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _TIME.match(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _is_less(left: object, right: object) -> bool:
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left.timestamp() < right.timestamp()
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return isinstance(left, float) and isinstance(right, float) and left < right


def _alias(form: Given, name: str) -> str:
    return type(form).model_fields[name].alias or name


def _not_both(form: Given, one: str, other: str) -> None:
    if getattr(form, one) is not None and getattr(form, other) is not None:
        raise ValueError(f"give {_alias(form, one)} or {_alias(form, other)}, not both")


def _exactly_one(form: Given, one: str, other: str) -> None:
    if getattr(form, one) is None and getattr(form, other) is None:
        raise ValueError(f"give {_alias(form, one)} or {_alias(form, other)}")
    _not_both(form, one, other)
