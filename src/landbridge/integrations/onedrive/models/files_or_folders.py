"""The forms of what is done with files and folders alike."""

from pydantic import Field

from landbridge.integrations.onedrive.models.places import Conflict, Id, Path, TheItem, exactly_one


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

    _one_destination = exactly_one("destination_id", "destination_path")


class RenameItem(TheItem):
    """The form of Rename Item."""

    name: str = Field(description="The new name, with its extension.")
