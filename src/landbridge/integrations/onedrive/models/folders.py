"""The forms of what is done with folders."""

from typing import Literal

from pydantic import Field

from landbridge.integrations.onedrive.models.places import (
    Conflict,
    Id,
    InFolder,
    Into,
    OnDrive,
    Paged,
    Path,
    Permanently,
    Search,
    TheFolder,
)


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


class CreateFolderPath(InFolder):
    """The form of Create Folder Path."""

    path: Path = Field(description="The folders, such as `Reports/2026/May`, below the folder that is named, or root.")


class GetFolderById(OnDrive):
    """The form of Get Folder by ID."""

    folder_id: Id = Field(description="The folder's id.")


class SearchFolders(Search):
    """The form of Search Folders."""

    is_exact: bool = Field(default=False, description="Give only folders of exactly this name, in either case.")


class MoveFolder(Into, TheFolder):
    """The form of Move Folder."""


class DeleteFolder(TheFolder):
    """The form of Delete Folder."""

    permanently: Permanently = False
