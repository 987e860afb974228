"""Contents on their way up, in one request or in fragments.

An upload in fragments is a session that Graph gives a URL for. How far it is only the drive knows, so after a broken
connection or a crash it is asked, and the upload goes on from there; another process finds the URL in the checkpoint.
https://learn.microsoft.com/graph/api/driveitem-createuploadsession
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from landbridge.errors import (
    ContentsDamaged,
    ItemNotFound,
    ProviderBusy,
    ProviderFailed,
    ProviderTimedOut,
    ProviderUnreachable,
)
from landbridge.integrations.onedrive.graph import Graph, Place
from landbridge.integrations.onedrive.hashes import QuickXorHash
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.models.places import Conflict
from landbridge.integrations.onedrive.names import encoded
from landbridge.kit import Answer, Contents, File

FRAGMENT = 10 << 20
"""Bytes of one fragment: a multiple of 320 KiB, as Graph demands of all but the last one."""

SIMPLE_UPLOAD = 10 << 20
"""The largest file that is sent in one request, as Microsoft advises; Graph would take 250 MB."""

_MOST_TRIES = 8
_COME_BACK = timedelta(seconds=30)
_CLOCKS_DIFFER = timedelta(minutes=5)
_GONE = frozenset({401, 403, 404, 410})
_PASSING = frozenset({429, 500, 502, 503, 504, 509})
_REWRITTEN = re.compile(
    r"\.(docx?|dotx?|docm|xlsx?|xlsm|xltx|xlsb|pptx?|pptm|potx|ppsx|vsdx?|one|msg|html?|aspx|mht|pdf|jpe?g|png|tiff?|heic)$",
    re.IGNORECASE,
)
"""Files that SharePoint writes its own properties into, and photos that personal drives convert: they differ from what
was sent in size and digest, and are whole all the same."""


@dataclass
class Upload:
    """A file that is being saved: as `name` in `folder`, a place by id."""

    graph: Graph
    folder: Place
    name: str
    file: File
    contents: Contents
    conflict: Conflict
    began: datetime
    times: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    _hash: QuickXorHash = field(default_factory=QuickXorHash)
    _tries: int = 0

    async def at_once(self) -> DriveItem:
        """Send the file in one request."""

        def body() -> AsyncIterator[bytes]:
            self._hash = QuickXorHash()
            return self._hashed(0, self.contents.size)

        answer = await self.graph.call(
            "PUT",
            f"{self._place / 'content'}?@microsoft.graph.conflictBehavior={self.conflict}",
            headers={"Content-Type": self.file.mime_type, "Content-Length": str(self.contents.size)},
            body=body if self.contents.size else b"",
            repeatable=self.conflict == "replace",
        )
        item = await self._verified(answer)
        if self.times and not self.contents.size:  # an empty file has no session that would keep its times
            kept = await self.graph.call("PATCH", f"{self.folder.drive}/items/{encoded(item.id)}", json=self._info())
            item = DriveItem.model_validate(kept.json())
        return item

    async def in_fragments(self) -> DriveItem:
        """Send the file in fragments, from where the session at `url` is, or a new one.

        Raises `ProviderBusy` when it is better to come back later: the session and the checkpoint are kept.
        """
        offset = await self._offset() if self.url else await self._open()
        while True:
            if offset is None:  # the session is over: because all is done, or because it expired
                if item := await self.find(since=self.began):
                    return item
                offset = await self._open()
            answer = await self._send(offset)
            if answer is not None and answer.status in {200, 201}:
                return await self._verified(answer)
            if answer is not None and answer.status == 202:
                self._tries = 0
                self.graph.be_patient_again()
                offset = _next_offset(answer, offset + FRAGMENT)
            else:
                offset = await self._after_trouble(answer)

    async def find(self, *, since: datetime) -> DriveItem | None:
        """Return the file if an earlier try saved it since then whose answer was lost, or None.

        It is known by folder, name and contents; unless it was to replace another, also by being newer than the step.
        """
        await self._hash_up_to(self.contents.size)
        async for item in self._candidates():
            created = item.created_date_time
            is_new = created is not None and created >= since - _CLOCKS_DIFFER
            if item.file is not None and (is_new or self.conflict == "replace") and self._is_whole(item):
                return item
        return None

    @property
    def _place(self) -> Place:
        return self.folder.child(self.name)

    async def _candidates(self) -> AsyncIterator[DriveItem]:
        if self.conflict != "rename":
            try:
                yield await self.graph.item(self._place)
            except ItemNotFound:
                return
            return
        stem, dot, extension = self.name.rpartition(".")
        ours = re.compile(re.escape(stem or self.name) + r"( \d+)?" + re.escape(dot + extension if stem else ""), re.I)
        async for page in self.graph.pages(f"{self.folder / 'children'}?$top=999"):
            for said in page["value"]:
                if ours.fullmatch(str(said.get("name"))):
                    yield DriveItem.model_validate(said)

    async def _open(self) -> int:
        """Begin a session, write its URL down before anything is sent, and return where it begins."""
        item: dict[str, Any] = {
            "@microsoft.graph.conflictBehavior": self.conflict,
            "name": self.name,
            "fileSize": self.contents.size,
        }
        if self.times:
            item |= self._info()
        self._count_try()
        answer = await self.graph.call(
            "POST", self._place / "createUploadSession", json={"item": item}, repeatable=True
        )
        self.url = str(answer.json()["uploadUrl"])
        await self.graph.context.checkpoint.write(
            {
                "began": self.began.isoformat(),
                "uploadUrl": self.url,
                "drive": self.folder.drive,
                "folder": self.folder.start,
            }
        )
        return 0

    def _info(self) -> dict[str, Any]:
        return {"fileSystemInfo": self.times}

    async def _offset(self) -> int | None:
        """Return how many bytes the session has, or None if it is over."""
        while True:
            answer = await self._signed("GET")
            if answer is not None and answer.status == 200:
                return _next_offset(answer, self.contents.size)
            if answer is not None and answer.status in _GONE:
                return None
            await self._rest(answer)

    async def _send(self, offset: int) -> Answer | None:
        """Send the fragment that begins at `offset`, or commit if that is the end; None if the connection broke."""
        if offset >= self.contents.size:
            return await self._signed("POST", headers={"Content-Length": "0"})
        await self._hash_up_to(offset)
        end = min(offset + FRAGMENT, self.contents.size)
        headers = {
            "Content-Length": str(end - offset),
            "Content-Range": f"bytes {offset}-{end - 1}/{self.contents.size}",
        }
        return await self._signed("PUT", headers=headers, span=(offset, end))

    async def _after_trouble(self, answer: Answer | None) -> int | None:
        """Return where to go on, None if the session is over, or raise what the trouble means."""
        if answer is not None and answer.status in {409, 413, 507}:
            await self._signed("DELETE")
            raise self.graph.refusal(answer, None)
        if answer is None or answer.status in _PASSING:
            await self._rest(answer)
        else:
            self._count_try(answer)
        return await self._offset()

    async def _rest(self, answer: Answer | None) -> None:
        """Sleep a little before another try, or raise `ProviderBusy` with how long to stay away."""
        self._count_try(answer)
        asked = self.graph.asked_to_wait(answer) if answer else None
        if not await self.graph.wait_a_little(min(self._tries, 3), asked):
            raise ProviderBusy("OneDrive asks the upload to wait.", retry_after=asked or _COME_BACK)

    def _count_try(self, answer: Answer | None = None) -> None:
        self._tries += 1
        if self._tries > _MOST_TRIES:
            raise self.graph.refusal(answer, None) if answer else ProviderFailed("The upload does not get on.")

    async def _signed(
        self, method: str, *, headers: dict[str, str] | None = None, span: tuple[int, int] | None = None
    ) -> Answer | None:
        assert self.url, "the session is open"
        try:
            return await self.graph.call_signed(
                method, self.url, headers=headers, body=(lambda: self._hashed(*span)) if span else None
            )
        except (ProviderUnreachable, ProviderTimedOut):
            return None

    async def _hashed(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield contents, adding to the digest what it has not seen yet: a fragment may be sent twice."""
        async for chunk in self.contents.chunks(start, end):
            if start == self._hash.length:
                self._hash.update(chunk)
            start += len(chunk)
            yield chunk

    async def _hash_up_to(self, end: int) -> None:
        async for chunk in self.contents.chunks(self._hash.length, max(end, self._hash.length)):
            self._hash.update(chunk)

    async def _verified(self, answer: Answer) -> DriveItem:
        item = DriveItem.model_validate(answer.json())
        await self._hash_up_to(self.contents.size)
        if not self._is_whole(item):
            raise ContentsDamaged(f"OneDrive stored “{item.name}” with other contents than were sent.")
        return item

    def _is_whole(self, item: DriveItem) -> bool:
        return has_contents(item, self._hash, self.name)


def has_contents(item: DriveItem, hashed: QuickXorHash, name: str) -> bool:
    """Return whether an item has the contents that were hashed, as far as its drive keeps contents as they are."""
    digest = item.file.hashes.quick_xor_hash if item.file and item.file.hashes else None
    is_same = digest == hashed.digest() if digest is not None and hashed.length else item.size == hashed.length
    return is_same or _REWRITTEN.search(name) is not None


def _next_offset(answer: Answer, otherwise: int) -> int:
    """Return the first byte that the session lacks; it comes as `26-` or `26-99`, and not at all when none is."""
    said = answer.json()
    ranges = said.get("nextExpectedRanges") if isinstance(said, dict) else None
    if not isinstance(ranges, list) or not ranges:
        return otherwise
    return int(str(ranges[0]).partition("-")[0])
