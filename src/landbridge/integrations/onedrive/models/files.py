"""The forms of what is done with files."""

from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime, Field

from landbridge.integrations.onedrive.models.places import Conflict, InFolder, Into, Permanently, Search, TheFile
from landbridge.kit import File


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


class CreateTextFile(InFolder):
    """The form of Create Text File."""

    name: str = Field(description="The file's name, with its extension, such as `Notes.txt`.")
    text: str = Field(description="What is to stand in it; it is written in UTF-8.")
    conflict_behavior: Conflict = Field(
        default="fail", description="If a file of that name is there: `fail`, `rename` the new one, or `replace` it."
    )


class GetFile(TheFile):
    """The form of Get File."""

    with_content: bool = Field(default=True, description="Whether to fetch the contents too.")


class DownloadFile(TheFile):
    """The form of Download File."""


class UpdateFile(TheFile):
    """The form of Update File."""

    file: File = Field(description="The new contents: what an earlier step gave, or `{name, data, mimeType}`.")


class MoveFile(Into, TheFile):
    """The form of Move File."""


class DeleteFile(TheFile):
    """The form of Delete File."""

    permanently: Permanently = False


class SearchFiles(Search):
    """The form of Search Files."""


class GetThumbnail(TheFile):
    """The form of Get Thumbnail."""

    size: Literal["small", "medium", "large"] = Field(default="medium", description="About 96, 176 or 800 pixels.")
