"""Items: files and folders, and the children of a folder in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgraph_sandbox.drive.blobs import Blob


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: a user and the application that they used."""

    id: str
    name: str
    email: str
    application_id: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """Former contents of a file."""

    name: str
    blob: Blob
    modified: datetime
    by: Actor


@dataclass(slots=True)
class Extras:
    """What few items have: kept apart so that the many stay small."""

    description: str | None = None
    special: str | None = None
    package: str | None = None
    mime: str | None = None
    versions: list[Version] = field(default_factory=list)
    # How many of its versions changed dates only.
    dated: int = 0
    # The ids of those who follow it.
    followers: list[str] = field(default_factory=list)
    # The numbers in the drive's log of the last change of its permissions, and of the last other change before.
    shared_number: int = 0
    number_before: int = 0
    permissions: dict[str, Any] = field(default_factory=dict)
    # A shortcut's target: (drive id, item id).
    remote: tuple[str, str] | None = None
    # When and from where it went to the recycle bin.
    deleted: datetime | None = None


class Children:
    """The children of a folder by the key of their names, and in that order; a page from anywhere costs only itself."""

    __slots__ = ("_by_key", "_keys")

    def __init__(self) -> None:
        self._by_key: dict[str, Item] = {}
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Item]:
        return (self._by_key[key] for key in self._keys)

    def get(self, key: str) -> Item | None:
        """Return the child whose name has that key, or None."""
        return self._by_key.get(key)

    def add(self, key: str, item: Item) -> None:
        """Add a child whose key is free."""
        self._by_key[key] = item
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
        else:
            insort(self._keys, key)

    def remove(self, key: str) -> None:
        """Remove the child with that key."""
        del self._by_key[key]
        del self._keys[bisect_left(self._keys, key)]

    def page(self, after: str | None, size: int) -> tuple[list[Item], str | None]:
        """Return the `size` children that follow the key `after`, and the key to go on from, or None at the end."""
        start = 0 if after is None else bisect_right(self._keys, after)
        keys = self._keys[start : start + size]
        more = start + size < len(self._keys)
        return [self._by_key[key] for key in keys], keys[-1] if more and keys else None


@dataclass(slots=True, eq=False)
class Item:
    """A file or folder. `number` is that of its last change in the drive's log, `own` that of the last of its own.

    A change below a folder is one of the folder, but not its own.
    """

    id: str
    name: str
    parent: Item | None
    created: datetime
    modified: datetime
    client_created: datetime
    client_modified: datetime
    created_by: Actor
    modified_by: Actor
    blob: Blob | None = None
    children: Children | None = None
    size: int = 0
    version: int = 1
    content_version: int = 1
    number: int = 0
    own: int = 0
    alive: bool = True
    extras: Extras | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it can have children."""
        return self.children is not None

    @property
    def more(self) -> Extras:
        """The extras, made when first needed."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    @property
    def version_name(self) -> str:
        """The name of a file's present version."""
        return f"{self.content_version + (self.extras.dated if self.extras else 0)}.0"

    def ancestors(self) -> Iterator[Item]:
        """Yield the parent, its parent, and so on to the root."""
        item = self.parent
        while item is not None:
            yield item
            item = item.parent

    def path(self) -> str:
        """Return the path from the root without a leading slash; the root's is empty."""
        names = [self.name, *(one.name for one in self.ancestors())]
        return "/".join(reversed(names[:-1]))

    def inside(self, folder: Item) -> bool:
        """Whether it is `folder` or somewhere below it."""
        return self is folder or any(one is folder for one in self.ancestors())

    def walk(self) -> Iterator[Item]:
        """Yield everything below, children before their folder, and last itself."""
        stack: list[tuple[Item, Iterator[Item]]] = [(self, iter(list(self.children or ())))]
        while stack:
            item, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                stack.pop()
                yield item
            else:
                stack.append((child, iter(list(child.children or ()))))
