"""Microsoft Graph's drives: where things are, how lists continue, how contents travel."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from landbridge.errors import (
    InvalidRequest,
    ItemNotFound,
    LandbridgeError,
    NameNotAllowed,
    NotOffered,
    ProviderFailed,
)
from landbridge.integrations.onedrive import refusals
from landbridge.integrations.onedrive.models.items import DriveItem, ItemReference, Items
from landbridge.integrations.onedrive.models.places import Paged, Search
from landbridge.integrations.onedrive.names import check_path, encoded, is_kept_at_work, segments
from landbridge.kit import Answer, Client

FULL_PAGE = 999
"""Items in a page, when all of them are wanted."""

_AT_ONE_GO = 50
_OWN_DRIVE = "/me/drive"
_OF_A_DRIVE = re.compile(r"/drives?[/(]")
_NEXT_LINK = re.compile(rb'"@odata\.nextLink"\s*:\s*"([!#-\[\]-~]*)"')
_MARGIN = 4096

_Page = dict[str, Any]  # Any: another system's JSON


class _InFolder(Protocol):
    """A form that says which folder it means."""

    @property
    def drive_id(self) -> str | None: ...
    @property
    def folder_id(self) -> str | None: ...
    @property
    def folder_path(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item is in the API: `drive` is the drive's path, `start` the item's id or `root`, `names` lead on."""

    drive: str
    start: str = "root"
    names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The item's own path."""
        return self._base() + (f":/{encoded(*self.names)}:" if self.names else "")

    def __truediv__(self, segment: str) -> str:
        """Return the path of a collection or function of the item, such as `children`."""
        return f"{self.path}/{segment}"

    def child(self, name: str) -> "Place":
        """Return the place of a child by name."""
        return Place(self.drive, self.start, (*self.names, name))

    def _base(self) -> str:
        return f"{self.drive}/root" if self.start == "root" else f"{self.drive}/items/{encoded(self.start)}"


class Graph(Client):
    """Microsoft Graph on behalf of one account."""

    def refusal(self, answer: Answer, wait: timedelta | None) -> LandbridgeError:
        """Return what Graph's error means."""
        return refusals.refusal(answer, wait)

    async def item(self, place: Place, **options: str) -> DriveItem:
        """Return the item at a place as it is, a shortcut as a shortcut."""
        return DriveItem.model_validate((await self.call("GET", place.path + query(**options))).json())

    async def find(
        self, drive_id: str | None, item_id: str | None, path: str | None, *, follow: bool = True
    ) -> tuple[Place, DriveItem]:
        """Return an item, by id or by path from the root, and the place by its id.

        Shortcuts are followed to what they lead to on other drives; the last one only if `follow`. Raises
        `ItemNotFound`, `NameNotAllowed`.
        """
        place = place_of(drive_id, item_id, path)
        try:
            item = await self.item(place)
        except ItemNotFound:
            return await self._find_through_shortcuts(place, follow=follow)
        return await self._arrive(place, item, follow=follow)

    async def find_once(self, drive_id: str | None, item_id: str | None, path: str | None) -> tuple[Place, DriveItem]:
        """Return an item as `find` does without following it; and the same one when the step is run again.

        What a step moves or deletes is not where its path says any more, or something else is by then.
        """
        checkpoint = self.context.checkpoint
        if state := await checkpoint.read():
            return Place(state["drive"], state["start"]), DriveItem.model_validate(state["item"])
        place, item = await self.find(drive_id, item_id, path, follow=False)
        await checkpoint.write({"drive": place.drive, "start": place.start, "item": item.as_json()})
        return place, item

    async def folder(self, given: _InFolder, *new: str, is_folder: bool = False) -> Place:
        """Return the folder that a form means, by its id, or the root; a shortcut leads to its folder.

        Something `new` is to lie in it, perhaps a few folders deep. Raises what `find` raises, `InvalidRequest` if it
        is a file, and `NameNotAllowed`.
        """
        if given.folder_id is None and not (given.folder_path or "").strip("/"):
            place = Place(_drive(given.drive_id))
            if any(is_kept_at_work(name, in_root=True, is_folder=is_folder) for name in new):
                must_take(await self.item(place), *new, is_folder=is_folder)
            return place
        place, item = await self.find(given.drive_id, given.folder_id, given.folder_path)
        must_be_folder(item)
        if new:
            must_take(item, *new, is_folder=is_folder)
        return place

    async def pages(
        self, path: str, headers: Mapping[str, str] | None = None, *, ahead: bool = False
    ) -> AsyncGenerator[_Page, None]:
        """Yield the pages of a list until the end, each asked for with these headers.

        `ahead` has the next page on its way while one is parsed and looked at. Only a missing `@odata.nextLink` is the
        end; a page may be empty. Raises `ProviderFailed` if Graph leads in a circle, as it has done.
        """
        seen: set[str] = set()
        link: str | None = path
        coming: asyncio.Task[Answer] | None = None
        try:
            while link is not None:
                if link in seen:
                    raise ProviderFailed("OneDrive's list leads in a circle: a page names one before it as the next.")
                seen.add(link)
                answer = await (coming or self.call("GET", link, headers=headers or {}))
                coming, guess = None, _next_link(answer.body) if ahead else None
                if guess is not None:
                    coming = asyncio.create_task(self.call("GET", guess, headers=headers or {}))
                    await _sent()
                page = answer.json()
                if not isinstance(page, dict) or not isinstance(page.get("value"), list):
                    raise ProviderFailed("OneDrive answered with something that is no list.")
                link = page.get("@odata.nextLink")
                if link != guess:
                    await _given_up(coming)
                    coming = None
                yield page
        finally:
            await _given_up(coming)

    async def items(self, first: str, paged: Paged, is_wanted: Callable[[DriveItem], bool]) -> Items:
        """Return the wanted items of one page or of all, each once: pages overlap while others write."""
        found: dict[str, DriveItem] = {}
        wants_all = paged.limit is None and not paged.is_one_page
        async with contextlib.aclosing(self.pages(first, ahead=wants_all)) as pages:
            async for page in pages:
                async for items in _items(page):
                    found.update({item.id: item for item in items if is_wanted(item)})
                if paged.is_one_page:
                    cursor = page.get("@odata.nextLink")
                    return Items(value=list(found.values()), next_page_cursor=cursor)
                if paged.limit is not None and len(found) >= paged.limit:
                    break
        return Items(value=list(found.values())[: paged.limit])

    async def search(self, given: Search, is_wanted: Callable[[DriveItem], bool]) -> Items:
        """Return what OneDrive's index knows below a folder, or on the drive."""
        if given.page_cursor is not None:
            return await self.items(page_link(given.page_cursor, "search"), given, is_wanted)
        query = encoded(given.query.replace("'", "''"))
        first = f"{await self.folder(given) / 'search'}(q='{query}')?$top={given.page_size or FULL_PAGE}"
        return await self.items(first, given, is_wanted)

    async def _arrive(self, place: Place, item: DriveItem, *, follow: bool) -> tuple[Place, DriveItem]:
        if follow and (remote := remote_place(item)):
            return remote, await self.item(remote)
        return place_by_id(item, place.drive), item

    async def _find_through_shortcuts(self, place: Place, *, follow: bool) -> tuple[Place, DriveItem]:
        """Return an item by its path, one name after the other: Graph itself does not lead through a shortcut."""
        for length in range(1, len(place.names)):
            try:
                item = await self.item(Place(place.drive, place.start, place.names[:length]))
            except ItemNotFound:
                break
            if remote := remote_place(item):
                further = Place(remote.drive, remote.start, place.names[length:])
                try:
                    found = await self.item(further)
                except ItemNotFound:
                    return await self._find_through_shortcuts(further, follow=follow)
                return await self._arrive(further, found, follow=follow)
        where = f"“/{'/'.join(place.names)}”" if place.names else f"the id “{place.start}”"
        raise ItemNotFound(f"There is nothing at {where} on this drive.")


def _next_link(body: bytes) -> str | None:
    """Return what seems to be the link to the next page, where it stands before or behind the items."""
    found = _NEXT_LINK.search(body, 0, _MARGIN) or _NEXT_LINK.search(body, max(0, len(body) - _MARGIN))
    return found[1].decode() if found else None


async def _sent() -> None:
    """Let a task that was just made come to where its request leaves: two turns of the event loop."""
    for _ in range(2):
        await asyncio.sleep(0)


async def _given_up(coming: asyncio.Task[Answer] | None) -> None:
    """Cancel what nobody waits for any more."""
    if coming is not None:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _items(page: _Page) -> AsyncIterator[list[DriveItem]]:
    """Yield a page's items, some at a time: a full page takes 20 ms, in which others need not stand still."""
    said = page["value"]
    for first in range(0, len(said), _AT_ONE_GO):
        await asyncio.sleep(0)
        yield [DriveItem.model_validate(one) for one in said[first : first + _AT_ONE_GO]]


def query(**options: str) -> str:
    """Return OData's query options, such as `?$select=id,name`; nothing if there are none."""
    return "".join(f"{'&' if n else '?'}${name}={value}" for n, (name, value) in enumerate(options.items()))


def place_of(drive_id: str | None, item_id: str | None, path: str | None) -> Place:
    """Return the place that is meant by an id or by a path from the root. Raises `NameNotAllowed`."""
    return Place(_drive(drive_id), item_id or "root", () if item_id else segments(path or ""))


def place_by_id(item: DriveItem, drive: str) -> Place:
    """Return the place of an item by its id, which stays right when it is renamed or moved."""
    of = item.parent_reference
    return Place(_drive(of.drive_id) if of and of.drive_id else drive, item.id)


def remote_place(item: DriveItem) -> Place | None:
    """Return where a shortcut leads, or None if the item is none."""
    remote = item.remote_item
    if remote is None or remote.parent_reference is None or not remote.parent_reference.drive_id:
        return None
    return Place(_drive(remote.parent_reference.drive_id), remote.id)


def must_be_folder(item: DriveItem) -> None:
    """Raise `InvalidRequest` if the item is no folder."""
    if not item.is_folder:
        kind = "a notebook" if item.package is not None else "a file"
        raise InvalidRequest(f"“{item.name}” is {kind}, not a folder.")


def must_be_file(item: DriveItem) -> None:
    """Raise `InvalidRequest` if the item is a folder."""
    if item.is_folder:
        raise InvalidRequest(f"“{item.name}” is a folder, not a file.")


def must_not_be_root(item: DriveItem) -> None:
    """Raise `NotOffered` if the item is the root of its drive."""
    if item.root is not None:
        raise NotOffered("The root of a drive cannot be moved, renamed or deleted.")


def must_take(folder: DriveItem, *names: str, is_folder: bool) -> None:
    """Raise `NameNotAllowed` if what is to lie in a folder, perhaps some folders deep, may not be called so there."""
    above = folder.parent_reference or ItemReference()
    path = [] if folder.root is not None else [*_names_in(above), folder.name or ""]
    _must_fit(above, path, names, is_folder=is_folder)


def must_take_beside(item: DriveItem, name: str) -> None:
    """Raise `NameNotAllowed` if an item may not be called so where it is."""
    above = item.parent_reference or ItemReference()
    _must_fit(above, _names_in(above), (name,), is_folder=item.is_folder)


def _must_fit(at: ItemReference, path: list[str], names: Sequence[str], *, is_folder: bool) -> None:
    check_path(*path, *names)
    if at.drive_type in {None, "personal"}:
        return
    for depth, name in enumerate(names, len(path)):
        if is_kept_at_work(name, in_root=depth == 0, is_folder=is_folder):
            raise NameNotAllowed(f"“{name}” is a name that work drives keep for themselves.")


def _names_in(reference: ItemReference) -> list[str]:
    """Return the names in the path of where an item lies, as far as Graph tells it."""
    _, _, path = (reference.path or "").partition("root:")
    return unquote(path).strip("/").split("/") if path.strip("/") else []


def must_be_on_one_drive(one: ItemReference | None, other: ItemReference | None) -> None:
    """Raise `NotOffered` if two items are on different drives.

    Some endpoints give a personal drive's id in lower case or without its leading zero.
    """
    ids = {reference.drive_id.lower().lstrip("0") for reference in (one, other) if reference and reference.drive_id}
    if len(ids) > 1:
        raise NotOffered("OneDrive moves nothing from one drive to another: copy it there, then delete it here.")


def page_link(cursor: str, collection: str) -> str:
    """Return the link in a page cursor, or raise `InvalidRequest` if it leads to something else than such a list."""
    path = urlsplit(cursor).path.lower()
    is_such = path.endswith(f"/{collection}") or f"/{collection}(" in path
    if not is_such or not _OF_A_DRIVE.search(path):
        raise InvalidRequest("This is not a `pageCursor` that the same action gave.")
    return cursor


def _drive(drive_id: str | None) -> str:
    return f"/drives/{encoded(drive_id)}" if drive_id else _OWN_DRIVE
