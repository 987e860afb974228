"""A visit: one authenticated request at one place, with what handlers ask of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import cast, get_args
from urllib.parse import quote

from msgraph_sandbox.drive.drive import Conflict, Drive
from msgraph_sandbox.drive.items import Actor, Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import access_denied, bad_request, changed, not_found
from msgraph_sandbox.graph.address import Address
from msgraph_sandbox.graph.shapes import ctag, etag, item_json, select_fields
from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.directory import Directory
from msgraph_sandbox.identity.tokens import AccessGrant

# A tag in quotes (a comma may be in it), or one without.
_TAG = re.compile(r'"[^"]*"|[^\s,"]+')
CONFLICT_KEYS = ("@microsoft.graph.conflictBehavior", "@name.conflictBehavior")


@dataclass
class Visit:
    """One request to a drive on behalf of somebody."""

    request: Request
    grant: AccessGrant
    library: Library
    directory: Directory
    drive: Drive
    address: Address
    writable: bool = True
    # What the sharing link in the address lets its bearer do, if the address is one.
    link_role: str | None = None

    @property
    def query(self) -> Mapping[str, str]:
        """Query options by name; Graph takes OData's with and without the dollar sign."""
        return {name.removeprefix("$").lower(): value for name, value in self.request.query.items()}

    @cached_property
    def actor(self) -> Actor:
        """Who acts."""
        user, app = self.grant.user, self.grant.application
        if user is None:
            return Actor(app.client_id, app.name, "", app.client_id, app.name)
        return Actor(user.oid, user.name, user.email, app.client_id, app.name)

    # The two below are looked up anew each time: while a body is read, others may delete, move or replace.

    @property
    def start(self) -> Item:
        """The item that the address begins at, before its relative path."""
        where = self.address.item or "root"
        if where.startswith("special:"):
            return self._special(where.removeprefix("special:"))
        return self.drive.item(where)

    def _special(self, name: str) -> Item:
        folder = special_folders(self).get(name.lower())
        if folder is None:
            raise not_found()
        return find_special(self, folder)

    @property
    def item(self) -> Item:
        """The item that is at the address now, or 404."""
        return self.drive.walk_to(self.start, list(self.address.path))

    def parent_and_name(self) -> tuple[Item, str]:
        """Return the folder and name that a path address means, for writing; missing folders on the way are created.

        https://learn.microsoft.com/graph/api/driveitem-put-content
        """
        names = self.address.path
        if not names:
            raise bad_request("A file name is required to create a file.")
        folder = self.start
        for name in names[:-1]:
            found = self.drive.child(folder, name)
            folder = found or self.drive.create_folder(folder, name, "fail", self.actor)
        return folder, names[-1]

    def existing(self) -> Item | None:
        """Return the item at the address, or None."""
        item: Item | None = self.start
        for name in self.address.path:
            item = self.drive.child(item, name) if item is not None else None
        return item

    def conflict(self, body: Mapping[str, Json], default: Conflict) -> Conflict:
        """Return the conflict behaviour asked for in the body or the query, in either of its spellings."""
        given = [source[key] for source in (body, self.request.query) for key in CONFLICT_KEYS if key in source]
        if not given:
            return default
        value = given[0].lower() if isinstance(given[0], str) else ""
        if value not in get_args(Conflict):
            raise bad_request("The conflictBehavior must be fail, replace or rename.")
        return cast("Conflict", value)

    def check_if_match(self, item: Item | None) -> None:
        """Refuse with 412 if the caller's `If-Match` is not about this item, or if there is none."""
        if "if-match" in self.request.headers and not self.is_named("if-match", item):
            raise changed()

    def is_named(self, header: str, item: Item | None) -> bool:
        """Tell whether a header such as `If-None-Match` names an item's eTag or cTag, or any item by an asterisk."""
        if item is None:
            return False
        tags = _TAG.findall(self.request.headers.get(header, ""))
        return not {"*", etag(self.drive, item), ctag(self.drive, item)}.isdisjoint(tags)

    def prefers(self, what: str) -> bool:
        """Tell whether the caller asks for something in a `Prefer` header."""
        return prefers(self.request, what)

    def answer(self, item: Item, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Return an item, as `$select` wants it."""
        body = {"@odata.context": self.context, **self.shape(item)}
        return json_response(body, status, {"ETag": etag(self.drive, item), **(headers or {})})

    @property
    def context(self) -> str:
        """The `@odata.context` of an item."""
        return f"{self.request.origin}/v1.0/$metadata#drives('{self.drive.id}')/items/$entity"

    def shape(self, item: Item, *, with_path: bool = True) -> dict[str, Json]:
        """Return the JSON of an item of this drive."""
        body = item_json(self.library, self.drive, item, with_path=with_path)
        self._bend(body, item)
        return select_fields(body, self.query.get("select"))

    def _bend(self, body: dict[str, Json], item: Item) -> None:
        """Make an item look as it sometimes does, where the switches say so."""
        switches = self.library.switches
        if switches.short_drive_ids and self.drive.personal:
            body["parentReference"]["driveId"] = self.drive.id.lower().lstrip("0")
        if switches.former_root_ids and self.drive.personal and item.parent is self.drive.root:
            body["parentReference"]["id"] = f"{self.drive.id}!101"
        if switches.encoded_names:
            body["name"] = quote(item.name)
        if switches.hash_delay_seconds and "file" in body:
            age = self.library.clock.now() - item.modified
            if age.total_seconds() < switches.hash_delay_seconds:
                del body["file"]["hashes"]

    def shape_of(self, drive: Drive, item: Item) -> dict[str, Json]:
        """Return the JSON of an item of any drive, in full."""
        return item_json(self.library, drive, item)

    def link(self, **replaced: str) -> str:
        """Return this request's address with query options replaced, on the host that the client used."""
        path, _, query = self.request.raw_target.partition("?")
        kept = [part for part in query.split("&") if part and _option(part) not in replaced]
        return f"{self.request.origin}{path}?" + "&".join(
            [*kept, *(f"${name}={value}" for name, value in replaced.items())]
        )

    def reference(self, item: Item) -> Json:
        """Return where an item of this drive is, as others refer to it."""
        path = item.path()
        place = f"/drives/{self.drive.id}/root:" + (f"/{quote(path)}" if path else "")
        return {"driveId": self.drive.id, "id": item.id, "path": place}

    def item_link(self, item: Item) -> str:
        """Return an item's address, for a `Location` header."""
        return f"{self.request.origin}/v1.0/drives/{self.drive.id}/items/{item.id}"


_SPECIAL_NAMES = {"Documents": "documents", "Pictures": "photos", "Camera Roll": "cameraRoll", "Music": "music"}


def special_folders(visit: Visit) -> dict[str, tuple[str, ...]]:
    """Return where each special folder lies, by its name in lower case."""
    app = visit.grant.application.name or "App"
    return {
        "approot": ("Apps", app),
        "documents": ("Documents",),
        "photos": ("Pictures",),
        "cameraroll": ("Pictures", "Camera Roll"),
        "music": ("Music",),
    }


def find_special(visit: Visit, names: tuple[str, ...]) -> Item:
    """Return a special folder, creating it on first use."""
    folder = visit.drive.root
    for name in names:
        found = visit.drive.child(folder, name)
        if found is None and not visit.writable:
            raise access_denied()
        folder = found or visit.drive.create_folder(folder, name, "fail", visit.actor)
        folder.more.special = folder.more.special or _SPECIAL_NAMES.get(name)
        visit.drive.note(folder)
    return folder


def prefers(request: Request, what: str) -> bool:
    """Tell whether a request asks for something in its `Prefer` header."""
    return what in (part.strip().lower() for part in request.headers.get("prefer", "").split(","))


def _option(part: str) -> str:
    return part.partition("=")[0].replace("%24", "$").removeprefix("$").lower()


def parse_time(value: Json) -> datetime:
    """Return the moment in an ISO 8601 text with any number of fractional digits, or refuse with 400."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise bad_request("The date and time is not valid.") from None


def text_of(body: Mapping[str, Json], name: str) -> str | None:
    """Return a text from a JSON object, None if it is absent or null, or refuse with 400 if it is something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"The property '{name}' must be a string.")
    return value


def object_of(body: Mapping[str, Json], name: str) -> dict[str, Json]:
    """Return an object from a JSON object, `{}` if it is absent or null, or refuse with 400 if it is something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise bad_request(f"The property '{name}' must be an object.")
    return value or {}
