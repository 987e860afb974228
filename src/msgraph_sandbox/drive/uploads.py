"""Upload sessions: a file arrives in fragments, strictly in order, and appears when the last byte is there.

https://learn.microsoft.com/graph/api/driveitem-createuploadsession
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blob, Writer
from msgraph_sandbox.drive.drive import Conflict, Drive
from msgraph_sandbox.drive.items import Actor, Item
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request, not_found

log = logging.getLogger("msgraph_sandbox")
UNIT = 320 * 1024
LARGEST_FRAGMENT = 60 * 1024 * 1024
LIFE = timedelta(hours=24)
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is to become: a new or replaced file in `parent`, or new contents of `existing`."""

    drive: Drive
    parent: Item | None
    name: str
    existing: Item | None
    conflict: Conflict
    actor: Actor
    created: datetime | None = None
    modified: datetime | None = None
    description: str | None = None
    defer: bool = False


@dataclass(slots=True)
class UploadSession:
    """One upload on its way."""

    id: str
    secret: str
    plan: Plan
    writer: Writer
    expires: datetime
    total: int | None = None
    blob: Blob | None = None
    item: Item | None = None
    new: bool = False
    busy: bool = False
    gone: bool = False

    @property
    def received(self) -> int:
        """How many bytes have arrived for good."""
        return self.blob.size if self.blob else self.writer.size

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived."""
        return self.total is not None and self.received == self.total

    def missing(self) -> list[str]:
        """Return `nextExpectedRanges`: open before the first fragment, then bounded, as real traces show.

        Some clients, such as msgraph-sdk-python-core, can read only the bounded form.
        """
        if self.total is None:
            return ["0-"]
        return [] if self.complete else [f"{self.received}-{self.total - 1}"]

    def check_fragment(self, content_range: str, length: int | None, *, strict: bool) -> int:
        """Return the total size if a fragment with these headers is the next one, or refuse."""
        match = _RANGE.fullmatch(content_range)
        if match is None:
            raise bad_request("The Content-Range header is missing or malformed.")
        first, last, total = (int(number) for number in match.groups())
        if length is None:
            raise GraphRefused(411, "lengthRequired", "Chunked transfer encoding is not supported for upload sessions.")
        if last >= total or last < first or length != last - first + 1:
            raise bad_request("Content-Length and Content-Range do not agree.", "fragmentLengthMismatch")
        if self.total is not None and total != self.total:
            raise bad_request("The total size cannot change during an upload.")
        if length > LARGEST_FRAGMENT:
            raise GraphRefused(413, "invalidRequest", "The fragment is too large.", inner="fragmentSizeExceeded")
        if first < self.received:
            raise _bad_range("Uploaded fragment overlaps with existing data.", "fragmentOverlap")
        if first > self.received:
            raise _bad_range("Optimistic concurrency failure during fragmented upload.", "fragmentOutOfOrder")
        if last + 1 < total and length % UNIT:
            if strict:
                raise bad_request("Fragments must be multiples of 327,680 bytes.")
            log.warning("A fragment of %d bytes is no multiple of 320 KiB; at Microsoft the last may fail.", length)
        return total

    async def accept(self, total: int, chunks: AsyncIterator[bytes]) -> None:
        """Take a fragment; one whose connection breaks, or the last if the drive has no room, is forgotten whole."""
        mark = self.writer.mark()
        self.busy = True
        try:
            async for chunk in chunks:
                self._check_there()
                self.writer.write(chunk)
            self._check_there()
            if self.writer.size == total:
                replaced = self.plan.existing
                self.plan.drive.check_room(total - (replaced.size if replaced is not None and replaced.alive else 0))
        except BaseException:
            if not self.gone:
                self.writer.rewind(mark)
            raise
        finally:
            self.busy = False
        self.total = total

    def _check_there(self) -> None:
        if self.gone:
            raise _session_gone()

    def finish(self, arrived: Callable[[Blob], Blob]) -> None:
        """Take no more bytes. `arrived` says what becomes of them."""
        if self.blob is None:
            self.blob = arrived(self.writer.finish())
            self.total = self.blob.size

    def commit(self, *, parent: Item | None = None, name: str | None = None, conflict: Conflict | None = None) -> Item:
        """Make the file and return it. If that is refused the bytes are kept, so that another name can be tried."""
        self.finish(lambda blob: blob)
        assert self.blob is not None
        plan = self.plan
        if plan.existing is not None and plan.existing.alive and parent is None:
            self.item = plan.drive.replace_content(plan.existing, self.blob, plan.actor)
        else:
            home = parent or plan.parent
            if home is None:
                raise not_found("The file no longer exists.")
            self.item, self.new = plan.drive.put_file(
                home, name or plan.name, self.blob, conflict or plan.conflict, plan.actor
            )
        if plan.created or plan.modified or plan.description is not None:
            plan.drive.describe(self.item, created=plan.created, modified=plan.modified, text=plan.description)
        return self.item


def _bad_range(message: str, inner: str) -> GraphRefused:
    return GraphRefused(416, "invalidRange", message, inner=inner)


def _session_gone() -> GraphRefused:
    return GraphRefused(404, "itemNotFound", "The upload session was not found.", inner="uploadSessionNotFound")


class UploadSessions:
    """All sessions by id. Completed ones are kept until they expire, to answer a fragment that is sent again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, UploadSession] = {}
        self._changed: set[str] = set()

    def open(self, plan: Plan, writer: Writer) -> UploadSession:
        """Return a new session."""
        self._forget_expired()
        session = UploadSession(secrets.token_hex(16), secrets.token_hex(16), plan, writer, self._clock.now() + LIFE)
        self.take(session)
        self.changed(session)
        return session

    def take(self, session: UploadSession) -> None:
        """Add a session."""
        self._sessions[session.id] = session

    def get(self, session_id: str) -> UploadSession | None:
        """Return a session, or None once it is gone."""
        return self._sessions.get(session_id)

    def files(self) -> list[str]:
        """Return the names of the files that sessions write to."""
        writers = [session.writer for session in self._sessions.values() if session.blob is None]
        return [name for name, _ in (writer.place() for writer in writers) if name]

    def changed(self, session: UploadSession) -> None:
        """Note that a session is to be saved."""
        self._changed.add(session.id)

    def take_changed(self) -> set[str]:
        """Return the ids of the sessions that changed or went since the last time."""
        changed, self._changed = self._changed, set()
        return changed

    def find(self, session_id: str, secret: str) -> UploadSession:
        """Return the session that a URL means. It is gone (404) once cancelled or expired."""
        session = self._sessions.get(session_id)
        if session is None or session.expires <= self._clock.now():
            raise _session_gone()
        if not secrets.compare_digest(session.secret.encode(), secret.encode()):
            raise GraphRefused(401, "unauthenticated", "The upload URL is not valid.")
        return session

    def expire_all(self) -> int:
        """Expire every open session now and return how many there were."""
        count = len(self._sessions)
        for session in list(self._sessions.values()):
            self.close(session)
        return count

    def close(self, session: UploadSession) -> None:
        """Forget a session and what it holds."""
        self._sessions.pop(session.id, None)
        session.gone = True
        self.changed(session)
        if session.blob is None:
            session.writer.discard()

    def _forget_expired(self) -> None:
        now = self._clock.now()
        for session in [one for one in self._sessions.values() if one.expires <= now]:
            self.close(session)
