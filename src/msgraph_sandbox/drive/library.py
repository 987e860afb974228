"""All drives of the sandbox, and the signed URLs that lead to their contents without a token."""

from __future__ import annotations

import copy
import hmac
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blob, Blobs
from msgraph_sandbox.drive.copies import Copies
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused, not_found
from msgraph_sandbox.drive.uploads import UploadSessions
from msgraph_sandbox.switches import Switches

_TEMPAUTH = re.compile(r"(?:^|&)tempauth=v1\.([0-9a-f]{1,16}):([0-9a-f]{64})%3D(?:&|$)")
_SIGNING_KEY = b"The sandbox protects nothing; this only makes an altered URL fail as a real one does."


@dataclass(slots=True)
class Origins:
    """The origins of the sandbox's hosts."""

    login: str
    graph: str
    upload: str
    download: str
    monitor: str


@dataclass(slots=True)
class Site:
    """A SharePoint site. Its id is in three parts, the first its host, as Microsoft's are."""

    host: str
    path: str
    name: str
    tenant_id: str
    drive_id: str = ""

    @property
    def url(self) -> str:
        """Its address; nothing answers there."""
        return f"https://{self.host}" + (f"/{self.path}" if self.path else "")

    @property
    def id(self) -> str:
        """Its id."""
        parts = (uuid.uuid5(uuid.NAMESPACE_URL, f"{part}|{self.url}") for part in ("site", "web"))
        return ",".join((self.host, *map(str, parts)))


@dataclass(slots=True)
class Library:
    """The drives by id."""

    clock: Clock
    switches: Switches
    blobs: Blobs
    origins: Origins
    drives: dict[str, Drive] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    copies: Copies = field(init=False)
    uploads: UploadSessions = field(init=False)
    on_change: Callable[[str], None] = field(default=lambda drive_id: None)
    on_sharing: Callable[[str], None] = field(default=lambda drive_id: None)

    def __post_init__(self) -> None:
        self.uploads = UploadSessions(self.clock)
        self.copies = Copies(self.clock)

    def seen_from(self, origins: Origins) -> Library:
        """Return this same library, with links that lead to other origins."""
        other = copy.copy(self)
        other.origins = origins
        return other

    def clear(self) -> None:
        """Forget every drive, upload and copy."""
        self.drives.clear()
        self.sites.clear()
        self.copies.clear()
        self.uploads.expire_all()

    def add(self, drive: Drive, *, saved: bool = False) -> Drive:
        """Add a drive, which may have been saved already."""
        if self.blobs.kept:
            drive.watch()
            drive.dirty = set() if saved else drive.dirty
        self.drives[drive.id] = drive
        drive.on_change, drive.on_sharing = self.on_change, self.on_sharing
        return drive

    def drive(self, drive_id: str) -> Drive:
        """Return the drive of that id, or refuse with 404.

        A personal drive's id is hexadecimal; some endpoints give it in lower case or without its leading zero, and
        all mean it.
        """
        found = self.drives.get(drive_id) or self.drives.get(drive_id.upper().zfill(16))
        if found is None:
            raise not_found()
        return found

    def arrived(self, drive: Drive, name: str, blob: Blob) -> Blob:
        """Return what a drive makes of contents that arrive: mostly themselves."""
        if not blob.size or not name.lower().endswith(self._rewritten(drive)):
            return blob
        return self.blobs.of(blob.whole() + b"<!-- changed by SharePoint -->")

    def _rewritten(self, drive: Drive) -> tuple[str, ...]:
        office = (".docx", ".xlsx", ".pptx") if self.switches.rewrite_office_files and not drive.personal else ()
        if not self.switches.rewrite_pictures:
            return office
        return (*office, ".jpg", ".jpeg", *((".heic",) if drive.personal else ()))

    def app_folder(self, drive: Drive, application: str) -> Item | None:
        """Return the application's own folder on a drive, if it has one yet."""
        apps = drive.child(drive.root, "Apps")
        return drive.child(apps, application) if apps is not None else None

    def download_url(self, drive: Drive, item: Item, version: str = "") -> str:
        """Return a URL that gives the contents of an item (or of a version) to whoever has it, for a while."""
        expires = int(self.clock.timestamp() + self.switches.download_url_seconds)
        # Whoever writes these two marks in another way has changed the address: a colon as it is, a sign as an escape.
        signed = f"v1.{expires:x}:{_sign(drive.id, item.id, version, expires)}%3D"
        # Ids need no escaping; a page of a listing has two hundred of these, and escaping was half of its cost.
        query = f"UniqueId={item.id}&Translate=false&tempauth={signed}&ApiVersion=2.0&driveId={drive.id}"
        query += f"&version={version}" if version else ""
        return f"{self.origins.download}/_layouts/15/download.aspx?{query}"

    def downloadable(self, query: dict[str, str], query_string: str) -> tuple[Drive, Item, Blob]:
        """Return what such a URL leads to.

        An altered signature is refused with 401, even one that is only encoded in another way; an expired one with 403.
        """
        drive_id, item_id = query.get("driveId", ""), query.get("UniqueId", "")
        version = query.get("version", "")
        match = _TEMPAUTH.search(query_string)
        expiry, signature = match.groups() if match else ("", "")
        try:
            expires = int(expiry, 16)
        except ValueError:
            expires = 0
        right = hmac.compare_digest(signature.encode(), _sign(drive_id, item_id, version, expires).encode())
        if not right:
            raise GraphRefused(401, "unauthenticated", "The pre-authenticated URL is not valid.")
        if expires <= self.clock.timestamp():
            raise GraphRefused(403, "accessDenied", "The pre-authenticated URL has expired.", inner="tempAuthExpired")
        drive = self.drive(drive_id)
        item = drive.item(item_id)
        return drive, item, _contents(item, version)


def _contents(item: Item, version: str) -> Blob:
    former = next((one.blob for one in (item.extras.versions if item.extras else []) if one.name == version), item.blob)
    if former is None:
        raise not_found()
    return former


def _sign(drive_id: str, item_id: str, version: str, expires: int) -> str:
    return hmac.digest(_SIGNING_KEY, f"{drive_id}|{item_id}|{version}|{expires}".encode(), "sha256").hex()
