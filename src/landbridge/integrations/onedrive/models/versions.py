"""Earlier versions of a file."""

from datetime import datetime

from pydantic import Field

from landbridge.integrations.onedrive.models.items import WithContents
from landbridge.integrations.onedrive.models.places import Id, TheFile
from landbridge.kit import File, Result


class Version(WithContents):
    """A version of a file."""

    id: str = Field(description="The version's id, such as `2.0`.")
    size: int | None = Field(default=None, description="Its length in bytes.")
    last_modified_date_time: datetime | None = Field(default=None, description="When it was made.")


class Versions(Result):
    """The versions of a file."""

    value: list[Version] = Field(description="The versions, the present one first.")


class FetchedVersion(Result):
    """A version's contents."""

    id: str = Field(description="The version's id.")
    content: File = Field(description="The contents, for a later step.")


class ListVersions(TheFile):
    """The form of List Versions."""


class TheVersion(TheFile):
    """A version of a file."""

    version_id: Id = Field(description="The version's id, as List Versions gives it.")


class GetVersion(TheVersion):
    """The form of Get Version."""


class RestoreVersion(TheVersion):
    """The form of Restore Version."""
