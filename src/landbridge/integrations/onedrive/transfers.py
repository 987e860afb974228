"""Contents on their way up, in one request or in fragments.

An upload in fragments is a session that Graph gives a URL for. How far it is only the drive knows, so after a broken
connection or a crash it is asked, and the upload goes on from there; another process finds the URL in the checkpoint.
https://learn.microsoft.com/graph/api/driveitem-createuploadsession
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import JsonValue

from landbridge.errors import (
    ActionRefused,
    ContentsDamaged,
    ProviderBusy,
    ProviderFailed,
    ProviderTimedOut,
    ProviderUnreachable,
)
from landbridge.integrations.onedrive.graph import Graph, Place, place_by_id
from landbridge.integrations.onedrive.hashes import QuickXorHash
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.models.places import Conflict
from landbridge.integrations.onedrive.traces import Noted, called, has_contents, is_fresh, mark, noted, written
from landbridge.kit import Answer, File, Reading, Wait

FRAGMENT = 10 << 20
"""Bytes of one fragment: a multiple of 320 KiB, as Graph demands of all but the last one."""

SIMPLE_UPLOAD = 10 << 20
"""The largest file that is sent in one request, as Microsoft advises; Graph would take 250 MB."""

_MOST_TRIES = 8
_COME_BACK = timedelta(seconds=30)
_GONE = frozenset({401, 403, 404, 410})
_PASSING = frozenset({423, 429, 500, 502, 503, 504, 509})
_REWRITTEN = re.compile(
    r"\.(docx?|dotx?|docm|xlsx?|xlsm|xltx|xlsb|pptx?|pptm|potx|ppsx|vsdx?|one|msg|html?|aspx|mht|pdf|jpe?g|png|tiff?|heic)$",
    re.IGNORECASE,
)
"""Files that SharePoint writes its own properties into: on work drives they may differ from what was sent in size and
digest, and are whole all the same."""


async def saved(
    graph: Graph, file: File, place: Callable[[], Awaitable[Place]], conflict: Conflict, times: dict[str, str]
) -> DriveItem | Wait:
    """Save a file in one request, or in a session if need be, going on where an earlier try ended.

    `place`, which is asked for once, is a name in a folder, or a file that is there and is to be replaced.
    """
    state = await graph.context.checkpoint.read() or {}
    if "result" in state:
        return DriveItem.model_validate(state["result"])
    if "uploadUrl" in state:
        upload = Upload.resumed(graph, file, conflict, state)
    else:
        upload = Upload(graph, await place(), file, Reading(graph.context.files.open(file)), conflict, times)
    with closing(upload.contents):
        if upload.url:
            return await _in_fragments(upload)
        if upload.needs_session:
            return await _in_fragments(await upload.begun())
        if conflict == "replace":
            return await upload.at_once()
        return await graph.once(
            DriveItem,
            lambda _: upload.at_once(),
            lambda start: upload.find(start.noted),
            lambda: noted(graph, upload.place, conflict),
        )


async def _in_fragments(upload: "Upload") -> DriveItem | Wait:
    """Return the saved file, or when to come back; its checkpoint says how far it is by then."""
    checkpoint = upload.graph.context.checkpoint
    try:
        item = await upload.in_fragments()
    except ProviderBusy as busy:
        if upload.url is None:
            raise
        return await upload.later(busy)
    except ActionRefused:
        await checkpoint.clear()
        raise
    await checkpoint.write({"result": item.as_json()})
    return item


@dataclass
class Upload:
    """A file that is being saved. `there` is what its name led to before the first try."""

    graph: Graph
    place: Place
    file: File
    contents: Reading
    conflict: Conflict
    times: dict[str, str] = field(default_factory=dict)
    there: Noted = field(default_factory=dict)
    url: str | None = None
    _arrived: int = 0
    _standstill: str | None = None
    """Since when the step has come back to find no more bytes arrived than before."""

    _hash: QuickXorHash = field(default_factory=QuickXorHash)
    _tries: int = 0

    @classmethod
    def resumed(cls, graph: Graph, file: File, conflict: Conflict, state: dict[str, Any]) -> Self:  # Any: JSON
        """Return the upload whose session an earlier try has opened."""
        drive, start, names = state["place"]
        place, contents = Place(drive, start, tuple(names)), Reading(graph.context.files.open(file))
        upload = cls(graph, place, file, contents, conflict, state["times"], state["there"], state["uploadUrl"])
        upload._arrived, upload._standstill = state["arrived"], state["standstill"]
        return upload

    async def begun(self) -> Self:
        """Note what is there before anything is sent, and return the upload."""
        if self._needs_mark:
            began = self.graph.context.clock.now().replace(microsecond=0)
            self.times = {"createdDateTime": written(mark(self.graph, began)), **self.times}
        self.there = await noted(self.graph, self.place, self.conflict)
        return self

    @property
    def needs_session(self) -> bool:
        """Whether one request is not enough: it would be too large, or keep no times."""
        return self.contents.size > SIMPLE_UPLOAD or (self.contents.size > 0 and (bool(self.times) or self._needs_mark))

    @property
    def _needs_mark(self) -> bool:
        """Whether the file, which must be saved once, may not be known by its contents."""
        return self.conflict != "replace" and _REWRITTEN.search(self.place.names[-1]) is not None

    async def at_once(self) -> DriveItem:
        """Send the file in one request."""

        def body() -> AsyncIterator[bytes]:
            self._hash = QuickXorHash()
            return self._hashed(0, self.contents.size)

        answer = await self.graph.call(
            "PUT",
            f"{self.place / 'content'}?@microsoft.graph.conflictBehavior={self.conflict}",
            headers={"Content-Type": self.file.mime_type, "Content-Length": str(self.contents.size)},
            body=body if self.contents.size else b"",
            repeatable=self.conflict == "replace",
        )
        return await self._timed(await self._verified(answer))

    async def in_fragments(self) -> DriveItem:
        """Send the file in fragments, from where the session at `url` is, or a new one.

        Raises `ProviderBusy` when it is better to come back later: the session and the checkpoint are kept.
        """
        offset = await self._offset() if self.url else await self._open()
        while True:
            if offset is not None and offset > self._arrived:
                self._arrived, self._standstill = offset, None
            if offset is None:  # the session is over: because all is done, or because it expired
                if item := await self.find(self.there):
                    return item
                offset = await self._open()
            answer = await self._send(offset)
            if answer is not None and answer.status in {200, 201}:
                return await self._verified(answer)
            if answer is not None and answer.status == 202:
                self._tries = 0
                offset = _next_offset(answer, offset + FRAGMENT)
            else:
                offset = await self._after_trouble(answer)

    async def find(self, there: Noted) -> DriveItem | None:
        """Return the file if an earlier try saved it whose answer was lost, or None.

        It is none of what was there before the first try, and has the contents that were sent. SharePoint may have
        rewritten them; then it bears the time of creation that only a session gives it.
        """
        await self._hash_up_to(self.contents.size)
        async for item in called(self.graph, self.place, self.conflict):
            is_ours = has_contents(item, self._hash) or (may_be_rewritten(item) and self._is_marked(item))
            if item.file is not None and is_ours and is_fresh(item, there, self.conflict):
                return await self._timed(item)
        return None

    def _is_marked(self, item: DriveItem) -> bool:
        """Tell whether an item bears the time that it was made with; one that was replaced may have had it before."""
        created = item.file_system_info.created_date_time if item.file_system_info else None
        if created is None or self.conflict == "replace":
            return False
        return written(created) == self.times.get("createdDateTime")

    async def _timed(self, item: DriveItem) -> DriveItem:
        """Return the saved file with its times, which an empty one has had no session to bring."""
        if self.contents.size or not self.times:
            return item
        path = place_by_id(item, self.place.drive).path
        return DriveItem.model_validate(
            (await self.graph.call("PATCH", path, json={"fileSystemInfo": self.times}, repeatable=True)).json()
        )

    async def _open(self) -> int:
        """Begin a session, write its URL down before anything is sent, and return where it begins."""
        item: dict[str, Any] = {
            "@microsoft.graph.conflictBehavior": self.conflict,
            "fileSize": self.contents.size,
        }
        if self.place.names:
            item["name"] = self.place.names[-1]
        if self.times:
            item["fileSystemInfo"] = self.times
        self._count_try()
        answer = await self.graph.call("POST", self.place / "createUploadSession", json={"item": item}, repeatable=True)
        self.url, self._arrived = str(answer.json()["uploadUrl"]), 0
        await self._note()
        return 0

    async def later(self, busy: ProviderBusy) -> Wait:
        """Return when to go on. Raises what kept it from that, if nothing has arrived for too long."""
        self._standstill = self._standstill or self.graph.context.clock.now().isoformat()
        await self._note()
        wait = self.graph.later(datetime.fromisoformat(self._standstill), busy.retry_after or _COME_BACK)
        if wait is None:
            raise ProviderFailed("OneDrive has taken nothing of the upload for a day. Run the step again another day.")
        return wait

    async def _note(self) -> None:
        place: list[JsonValue] = [self.place.drive, self.place.start, list(self.place.names)]
        await self.graph.context.checkpoint.write(
            {
                "place": place,
                "times": {**self.times},
                "there": self.there,
                "uploadUrl": self.url,
                "arrived": self._arrived,
                "standstill": self._standstill,
            }
        )

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
        async for chunk in self.contents.chunks(self._hash.length, end):
            self._hash.update(chunk)

    async def _verified(self, answer: Answer) -> DriveItem:
        item = DriveItem.model_validate(answer.json())
        await self._hash_up_to(self.contents.size)
        if not (has_contents(item, self._hash) or may_be_rewritten(item)):
            raise ContentsDamaged(f"OneDrive stored “{item.name}” with other contents than were sent.")
        return item


def may_be_rewritten(item: DriveItem) -> bool:
    """Tell whether an item may have other contents than were sent, and be whole: SharePoint is behind work drives."""
    of = item.parent_reference
    return (of is None or of.drive_type != "personal") and _REWRITTEN.search(item.name or "") is not None


def _next_offset(answer: Answer, otherwise: int) -> int:
    """Return the first byte that the session lacks; it comes as `26-` or `26-99`, and not at all when none is."""
    said = answer.json()
    ranges = said.get("nextExpectedRanges") if isinstance(said, dict) else None
    if not isinstance(ranges, list) or not ranges:
        return otherwise
    return int(str(ranges[0]).partition("-")[0])
