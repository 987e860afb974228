"""How a form says which drive, folder, file or item it means, and how much of a list."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from landbridge.kit import Given

Conflict = Literal["fail", "rename", "replace"]
Id = Annotated[str, Field(min_length=1, max_length=500)]
Path = Annotated[str, Field(max_length=2000)]
Permanently = Annotated[
    bool, Field(description="Whether to pass by the recycle bin; work accounts only. It cannot be undone.")
]
Limit = Annotated[
    int | None,
    Field(ge=1, description="How many to give at most. Without it, all of them, however many pages that takes."),
]

_FormT = TypeVar("_FormT", bound=Given)


def not_both(one: str, other: str) -> Any:  # Any: a pydantic validator, of a type that it keeps to itself
    """Return a form's validator: at most one of two fields is given."""

    def check(form: _FormT) -> _FormT:
        if getattr(form, one) is not None and getattr(form, other) is not None:
            raise ValueError(f"give {_alias(form, one)} or {_alias(form, other)}, not both")
        return form

    return model_validator(mode="after")(check)


def exactly_one(one: str, other: str) -> Any:  # Any: as above
    """Return a form's validator: one of two fields is given, and not both."""

    def check(form: _FormT) -> _FormT:
        if (getattr(form, one) is None) == (getattr(form, other) is None):
            both = "" if getattr(form, one) is None else ", not both"
            raise ValueError(f"give {_alias(form, one)} or {_alias(form, other)}{both}")
        return form

    return model_validator(mode="after")(check)


def _alias(form: Given, name: str) -> str:
    return type(form).model_fields[name].alias or name


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

    _one_way = not_both("folder_id", "folder_path")


class TheFolder(OnDrive):
    """A folder, by id or by path."""

    folder_id: Id | None = Field(default=None, description="The folder's id.")
    folder_path: Path | None = Field(
        default=None, description="The folder's path instead, such as `Reports/2026`, from the drive's root."
    )

    _one_way = exactly_one("folder_id", "folder_path")


class TheFile(OnDrive):
    """A file, by id or by path."""

    file_id: Id | None = Field(default=None, description="The file's id.")
    file_path: Path | None = Field(
        default=None, description="The file's path instead, such as `Reports/May.pdf`, from the drive's root."
    )

    _one_way = exactly_one("file_id", "file_path")


class TheItem(OnDrive):
    """A file or folder, by id or by path."""

    item_id: Id | None = Field(default=None, description="The id of the file or folder.")
    item_path: Path | None = Field(
        default=None, description="Its path instead, such as `Reports/May.pdf`, from the drive's root."
    )

    _one_way = exactly_one("item_id", "item_path")


class Into(Given):
    """A folder to move something into, on the same drive."""

    destination_id: Id | None = Field(default=None, description="The id of the folder to move it into.")
    destination_path: Path | None = Field(
        default=None, description="Its path instead, such as `Archive`, from the root of the same drive."
    )
    name: str | None = Field(default=None, description="A new name for it; without one it keeps its own.")

    _one_destination = exactly_one("destination_id", "destination_path")


class Paged(Given):
    """How much of a long list to give."""

    limit: Limit = None
    page_size: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Give one page of about this many, and a cursor for the next, instead of all."
    )
    page_cursor: Annotated[str, Field(max_length=8000)] | None = Field(
        default=None, description="The `nextPageCursor` of the page before, to go on from there."
    )

    _limit_or_size = not_both("limit", "page_size")
    _limit_or_cursor = not_both("limit", "page_cursor")

    @property
    def is_one_page(self) -> bool:
        """Whether one page is asked for, rather than all."""
        return self.page_size is not None or self.page_cursor is not None


class Search(InFolder, Paged):
    """What every search is told."""

    query: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="The words to search for.")
