"""A drive: the operations on its tree, each of which keeps names unique, sizes right and the change log complete."""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blob
from msgraph_sandbox.drive.changes import ChangeLog
from msgraph_sandbox.drive.items import Actor, Children, Extras, Item, Version
from msgraph_sandbox.drive.names import check_name, check_path, key_of, numbered
from msgraph_sandbox.drive.refusals import GraphRefused, access_denied, bad_request, name_taken, not_found

Kind = Literal["personal", "business", "documentLibrary"]
Conflict = Literal["fail", "replace", "rename"]
_VERSIONS_KEPT = 100


class Drive:
    """One OneDrive."""

    def __init__(
        self,
        key: str,
        kind: Kind,
        owner: Actor,
        clock: Clock,
        *,
        name: str = "OneDrive",
        tenant_id: str = "",
        web_url: str = "",
        quota: int = 5 * 1024**4,
    ) -> None:
        digest = hashlib.sha256(f"drive|{key}".encode()).digest()
        # Ids derive from the key, so that every run has the same ones.
        self.key = key
        self.id = digest[:8].hex().upper() if kind == "personal" else "b!" + _base64url(digest + digest[:16])
        self.name = name
        self.kind = kind
        self.owner = owner
        self.tenant_id = tenant_id
        # Where a browser would see the root; nothing answers there.
        self.web_url = web_url
        self.quota = quota
        self.created = clock.now()
        self.items: dict[str, Item] = {}
        self.bin: dict[str, Item] = {}
        self.shared: set[Item] = set()
        # Delta tokens are good for one epoch; ending it makes clients start afresh, in the way `resync_kind` names.
        self.epoch = secrets.token_hex(4)
        self.resync_kind = "resyncChangesApplyDifferences"
        self.log: ChangeLog[Item] = ChangeLog()
        # Who wants to know that something changed.
        self.on_change: Callable[[str], None] = _nobody
        # Who wants to know that permissions did.
        self.on_sharing: Callable[[str], None] = _nobody
        # What changed since it was saved, if anyone saves.
        self.dirty: set[Item] | None = None
        self._clock = clock
        # Of the last id that was made.
        self.last_number = 0
        self.root = self._new("root", None, owner, folder=True, item_id=self._root_id(digest))
        self._touch(self.root)

    @property
    def personal(self) -> bool:
        """Whether it belongs to a personal account."""
        return self.kind == "personal"

    def _root_id(self, digest: bytes) -> str:
        if self.personal:
            return f"{self.id}!sea8cc6beffdb43d7976fbc7da445c639"
        return "01" + base64.b32encode(digest).decode()[:6] + "V6Y2GOVW7725BZO354PWSELRRZ"[:26]

    def _next_id(self) -> str:
        self.last_number += 1
        digest = hashlib.sha1(f"{self.id}|{self.last_number}".encode(), usedforsecurity=False)
        if self.personal:
            return f"{self.id}!s{digest.hexdigest()[:32]}"
        return "01" + base64.b32encode(digest.digest()).decode()

    # Finding

    def item(self, item_id: str) -> Item:
        """Return the item of that id, or refuse with 404.

        `root` is an alias, and so is `{drive id}!101` on personal drives: what their root was called before they moved
        to SharePoint's storage, which some clients have kept.
        """
        old = self.personal and item_id == f"{self.id}!101"
        found = self.root if item_id == "root" or old else self.items.get(item_id)
        if found is None:
            raise not_found()
        return found

    def child(self, folder: Item, name: str) -> Item | None:
        """Return the child of that name, whatever its case, or None."""
        return folder.children.get(self.fold(name)) if folder.children is not None else None

    def fold(self, name: str) -> str:
        """Return what names that collide on this drive have in common."""
        return key_of(name, personal=self.personal)

    def walk_to(self, start: Item, names: list[str]) -> Item:
        """Return the item at a relative path, or refuse with 404."""
        item = start
        for name in names:
            found = self.child(item, name)
            if found is None:
                raise not_found()
            item = found
        return item

    # Changing

    def create_folder(self, parent: Item, name: str, conflict: Conflict, by: Actor) -> Item:
        """Return a new folder, or the existing one if `conflict` is `replace`."""
        self._check_place(parent, name)
        taken = self.child(parent, name)
        if taken is not None and conflict == "replace" and taken.is_folder:
            return taken
        if taken is not None and conflict != "rename":
            raise name_taken()
        item = self._new(self.free_name(parent, name, folder=True), parent, by, folder=True)
        self._attach(item, parent)
        return item

    def create_other(
        self,
        parent: Item,
        name: str,
        conflict: Conflict,
        by: Actor,
        *,
        remote: tuple[str, str] | None = None,
        package: str | None = None,
    ) -> Item:
        """Return a new item that is no file and no folder.

        It stands for an item of another drive (drive id, item id), or is a package, such as a notebook of `oneNote`.
        """
        self._check_place(parent, name)
        if self.child(parent, name) is not None and conflict != "rename":
            raise name_taken()
        item = self._new(self.free_name(parent, name, folder=True), parent, by)
        item.more.remote, item.more.package = remote, package
        self._attach(item, parent)
        return item

    def put_file(self, parent: Item, name: str, blob: Blob, conflict: Conflict, by: Actor) -> tuple[Item, bool]:
        """Return the file that now has the contents, and whether it is new."""
        self._check_place(parent, name)
        taken = self.child(parent, name)
        if taken is not None and conflict != "rename":
            if conflict == "fail" or taken.blob is None:
                raise name_taken()
            return self.replace_content(taken, blob, by), False
        self.check_room(blob.size)
        item = self._new(self.free_name(parent, name, folder=False), parent, by, blob=blob)
        item.size = blob.size
        self._attach(item, parent)
        return item, True

    def replace_content(self, item: Item, blob: Blob, by: Actor) -> Item:
        """Give a file new contents, keeping the former ones as a version."""
        if item.blob is None:
            raise bad_request("Content can only be written to a file.")
        _check_alive(item)
        self.check_room(blob.size - item.size)
        now = self._clock.now()
        self._keep_version(item, item.blob)
        grown = blob.size - item.size
        item.blob, item.size = blob, blob.size
        item.content_version += 1
        item.client_modified = now
        self._resize(item, grown)
        self._changed(item, by, now)
        return item

    def edit(
        self,
        item: Item,
        by: Actor,
        *,
        name: str | None = None,
        parent: Item | None = None,
        created: datetime | None = None,
        modified: datetime | None = None,
        description: str | None = None,
        conflict: Conflict = "fail",
    ) -> Item:
        """Rename, move or describe an item."""
        _check_alive(item)
        if name is not None or parent is not None:
            self._move(item, parent or item.parent, name or item.name, conflict)
        if (created or modified) and item.blob is not None and not self.personal:
            # Work drives count a change of a file's dates as a version, though its contents stay.
            self._keep_version(item, item.blob)
            item.more.dated += 1
        self.describe(item, created=created, modified=modified, text=description)
        self._changed(item, by, self._clock.now())
        return item

    def describe(
        self, item: Item, *, created: datetime | None = None, modified: datetime | None = None, text: str | None = None
    ) -> None:
        """Set the client's times and the description, as part of the change that is being made."""
        item.client_created = created or item.client_created
        item.client_modified = modified or item.client_modified
        if text is not None:
            item.more.description = text or None

    def permit(self, item: Item) -> None:
        """Take note that an item's permissions changed."""
        _check_alive(item)
        self._list_shared(item)
        if item.number != item.more.shared_number:
            item.more.number_before = item.number
        self._log(item)
        item.more.shared_number = item.number
        self.on_sharing(self.id)

    def stub(self, item: Item) -> None:
        """Change an item's eTag and nothing else."""
        item.version += 1
        self.note(item)

    def delete(self, item: Item, *, forever: bool = False) -> None:
        """Send an item and everything below it to the recycle bin, or out of the world."""
        if item is self.root:
            raise access_denied("The root folder cannot be deleted.")
        _check_alive(item)
        parent = item.parent
        assert parent is not None
        self._detach(item)
        for one in item.walk():
            one.alive = False
            self.shared.discard(one)
            del self.items[one.id]
            self._touch(one)
        if not forever:
            item.more.deleted = self._clock.now()
            self.bin[item.id] = item
        self._touch_line(parent)

    def restore(self, item_id: str, parent: Item | None, name: str | None, by: Actor) -> Item:
        """Bring an item back from the recycle bin."""
        item = self.bin.get(item_id)
        if item is None:
            raise not_found()
        home = parent or item.parent
        assert home is not None
        self._check_place(home, name or item.name)
        if self.child(home, name or item.name) is not None:
            raise name_taken()
        del self.bin[item_id]
        item.name, item.more.deleted = name or item.name, None
        for one in item.walk():
            one.alive = True
            self.items[one.id] = one
            self._list_shared(one)
            self._touch(one)
        self._attach(item, home)
        return item

    def copy(
        self, source: Item, parent: Item, name: str, conflict: Conflict, by: Actor, *, versions: bool = False
    ) -> Item:
        """Return a copy of `source` (of this drive or another) with all that is below it; contents are shared.

        Former versions come along if asked for.
        """
        _check_alive(source)
        if parent.inside(source):
            raise bad_request("A folder cannot be copied into itself.")
        if source.blob is not None:
            copied = self._copy_file(source, source.blob, parent, name, conflict, by, versions=versions)
        elif source.children is None:
            return self.create_other(parent, name, conflict, by, remote=source.more.remote, package=source.more.package)
        else:
            copied = self.create_folder(parent, name, conflict, by)
            self.copy_children(source, copied, conflict, by, versions=versions)
        copied.client_created, copied.client_modified = source.client_created, source.client_modified
        return copied

    def copy_children(
        self, source: Item, target: Item, conflict: Conflict, by: Actor, *, versions: bool = False
    ) -> Item:
        """Copy what is in a folder into another, which is returned."""
        _check_alive(source)
        if target.inside(source):
            raise bad_request("A folder cannot be copied into itself.")
        for child in list(source.children or ()):
            self.copy(child, target, child.name, conflict, by, versions=versions)
        return target

    def _copy_file(
        self, source: Item, blob: Blob, parent: Item, name: str, conflict: Conflict, by: Actor, *, versions: bool
    ) -> Item:
        copied, new = self.put_file(parent, name, blob, conflict, by)
        if source.extras is not None and new:
            copied.extras = Extras(description=source.extras.description, mime=source.extras.mime)
            if versions:
                copied.extras.versions = list(source.extras.versions)
                copied.extras.dated, copied.content_version = source.extras.dated, source.content_version
        return copied

    def end_epoch(self, kind: str = "resyncChangesApplyDifferences") -> None:
        """Make every delta token of before invalid."""
        self.epoch, self.resync_kind = secrets.token_hex(4), kind
        self.note(self.root)

    def adopt(self, items: dict[str, Item]) -> None:
        """Take in the items of an earlier run, dead and alive, instead of those that there are."""
        self.root = items[self.root.id]
        self.items = {item.id: item for item in items.values() if item.alive}
        self.bin = {item.id: item for item in items.values() if not item.alive and item.extras and item.extras.deleted}
        self.shared = {item for item in self.items.values() if item.extras is not None and item.extras.permissions}

    def watch(self) -> None:
        """Remember what changes from now on, and that nothing is saved yet."""
        self.dirty = set(self.items.values())

    def note(self, item: Item) -> None:
        """Remember that an item is to be saved, though others need not know."""
        if self.dirty is not None:
            self.dirty.add(item)

    def check_room(self, more: int) -> None:
        """Refuse with 507 if `more` bytes do not fit into the quota."""
        if more > 0 and self.root.size + more > self.quota:
            raise GraphRefused(507, "quotaLimitReached", "Insufficient Space Available")

    def free_name(self, parent: Item, name: str, *, folder: bool) -> str:
        """Return `name`, or with the first number that makes it free."""
        if self.child(parent, name) is None:
            return name
        tries = (numbered(name, number, folder=folder) for number in itertools.count(1))
        return next(free for free in tries if self.child(parent, free) is None)

    # Inside

    def _keep_version(self, item: Item, blob: Blob) -> None:
        versions = item.more.versions
        versions.append(Version(item.version_name, blob, item.modified, item.modified_by))
        del versions[:-_VERSIONS_KEPT]

    def _list_shared(self, item: Item) -> None:
        if item.extras is not None and item.extras.permissions:
            self.shared.add(item)
        else:
            self.shared.discard(item)

    def _check_place(self, parent: Item, name: str) -> None:
        _check_alive(parent)
        if parent.children is None:
            raise bad_request("The parent is not a folder.")
        check_name(name, in_root=parent is self.root, business=not self.personal)
        above = parent.path()
        check_path(f"{above}/{name}" if above else name)

    def _new(
        self,
        name: str,
        parent: Item | None,
        by: Actor,
        *,
        folder: bool = False,
        blob: Blob | None = None,
        item_id: str | None = None,
    ) -> Item:
        now = self._clock.now()
        item = Item(item_id or self._next_id(), name, parent, now, now, now, now, by, by, blob)
        if folder:
            item.children = Children()
        self.items[item.id] = item
        return item

    def _move(self, item: Item, parent: Item | None, name: str, conflict: Conflict) -> None:
        if parent is None:
            raise access_denied("The root folder cannot be renamed or moved.")
        self._check_place(parent, name)
        if parent.inside(item):
            raise bad_request("A folder cannot be moved into itself.")
        taken = self.child(parent, name)
        if taken is not None and taken is not item:
            if conflict == "fail" or (conflict == "replace" and taken.is_folder):
                raise name_taken()
            if conflict == "replace":
                self.delete(taken)
            name = self.free_name(parent, name, folder=item.is_folder)
        old = item.parent
        self._detach(item)
        item.name = name
        self._attach(item, parent)
        if old is not None and old is not parent:
            self._touch_line(old)

    def _attach(self, item: Item, parent: Item) -> None:
        assert parent.children is not None
        item.parent = parent
        parent.children.add(self.fold(item.name), item)
        parent.modified = self._clock.now()
        self._resize(item, item.size)
        self._touch_line(parent)
        self._touch(item)

    def _detach(self, item: Item) -> None:
        assert item.parent is not None
        assert item.parent.children is not None
        item.parent.children.remove(self.fold(item.name))
        item.parent.modified = self._clock.now()
        self._resize(item, -item.size)

    def _resize(self, item: Item, by: int) -> None:
        for folder in item.ancestors():
            folder.size += by

    def _changed(self, item: Item, by: Actor, now: datetime) -> None:
        item.version += 1
        item.modified, item.modified_by = now, by
        if item.parent is not None:
            self._touch_line(item.parent)
        self._touch(item)

    def _touch_line(self, folder: Item) -> None:
        # A change shows in every folder above it: delta reports them, and on personal drives their cTag changes.
        for one in reversed([folder, *folder.ancestors()]):
            one.content_version += 1
            self._log(one)
            self.on_change(self.id)

    def _touch(self, item: Item) -> None:
        self._log(item)
        item.own = item.number
        self.on_change(self.id)

    def _log(self, item: Item) -> None:
        self.log.touch(item, self._clock.timestamp())
        self.note(item)


def _check_alive(item: Item) -> None:
    """Refuse what was meant for an item that somebody has deleted meanwhile."""
    if not item.alive:
        raise not_found()


def _nobody(drive_id: str) -> None:
    """Pay no attention to a change."""


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
