"""Drives, and what has changed on them."""

from typing import Annotated

from pydantic import Field

from landbridge.integrations.onedrive.models.items import DriveItem, Facet
from landbridge.integrations.onedrive.models.places import OnDrive
from landbridge.kit import Given, Result


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


class ListRecent(OnDrive):
    """The form of List Recent."""

    limit: Annotated[int, Field(ge=1, le=1000)] = Field(default=25, description="How many files to give at most.")
