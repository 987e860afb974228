"""What OneDrive says of files and folders."""

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator

from landbridge.kit import File, Result


class WithContents(Result):
    """Something that has contents, as Graph describes it."""

    @model_validator(mode="after")
    def _without_annotations(self) -> Self:
        """Leave out OData's annotations; one of them is a URL that gives the contents to whoever has it."""
        extra = self.__pydantic_extra__ or {}
        for name in [name for name in extra if name.startswith("@")]:
            del extra[name]
        return self


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


class RemoteItem(WithContents):
    """The item that a shortcut leads to, on another drive."""

    id: str = Field(description="Its id, on its own drive.")
    name: str | None = Field(default=None, description="Its own name.")
    size: int | None = Field(default=None, description="Its size in bytes.")
    file: FileFacet | None = Field(default=None, description="Present if it is a file.")
    folder: FolderFacet | None = Field(default=None, description="Present if it is a folder.")
    parent_reference: ItemReference | None = Field(default=None, description="Where it lies.")


class DriveItem(WithContents):
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


class Thumbnail(Result):
    """A small picture of a file."""

    id: str = Field(description="The file's id.")
    content: File = Field(description="The picture, for a later step.")


class Deleted(Result):
    """What was deleted. It lies in the drive's recycle bin."""

    id: str = Field(description="The id that it had.")
    name: str | None = Field(default=None, description="The name that it had.")
