"""File contents between steps, by reference: a folder, S3, Azure or GCS.

Contents are never in JSON, in the database, or in memory whole. What travels is a `File`; its id is a capability: it
holds, sealed by the vault for one project and run, where the contents lie. An id of another run opens nothing, and
nobody can make one up.

The only room that knows obstore. Its errors leave here as `FilesFailed` and `FileUnknown`.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import math
import secrets
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from cachetools import LRUCache
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from landbridge.disk import settle
from landbridge.errors import FilesFailed, FileUnknown, InvalidRequest, Misconfigured, TooLarge, VaultFailed
from landbridge.settings import Settings
from landbridge.vault import Vault

_PART = 5 << 20  # the least that S3 takes as one part of many
_SIDE_BY_SIDE = 2
_FOLDERS_REMEMBERED = 1000
_HASHED_AT_ONCE = 1 << 20
_READ_AT_ONCE = 2 << 20
_CHUNK = 256 << 10  # small enough to be still in the processor's cache when it is hashed and encrypted
PIECE = 64 << 20
"""Bytes of contents that are made safe at once, if whoever keeps them is to begin again behind them."""

_HISTORY = "history"
_STORES_TAKE = "file:///folder, s3://bucket/…, gs://bucket/…, az://container/…"


class File(BaseModel):
    """A file's contents, by reference."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    id: Annotated[str, Field(description="Opens the contents, in the same run only.")]
    name: Annotated[str, Field(description="The file's name, with its extension.")]
    mime_type: Annotated[str, Field(description="What kind of contents it has, such as `text/plain`.")]
    size: Annotated[int, Field(ge=0, description="The length in bytes.")]
    sha256: Annotated[str, Field(description="The SHA-256 of the contents, in lower-case hex.")]


class InlineFile(BaseModel):
    """A small file inside JSON, in the form that Paragon's API has: `data` is hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    data: str
    name: str
    mime_type: str = "application/octet-stream"
    encoding: Literal["hex", "base64"] = "hex"

    async def contents(self, text: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes that the text of `data` means, or raise `InvalidRequest`."""
        waiting, unit = b"", 2 if self.encoding == "hex" else 4
        async for chunk in text:
            waiting += chunk
            whole = len(waiting) // unit * unit
            yield self._decoded(waiting[:whole])
            waiting = waiting[whole:]
        yield self._decoded(waiting)

    def _decoded(self, text: bytes) -> bytes:
        try:
            if self.encoding == "base64":
                return base64.b64decode(text, validate=True)
            return binascii.unhexlify(text)
        except ValueError:
            raise InvalidRequest(f"The `data` of the file “{self.name[:100]}” is not {self.encoding}.") from None


Piece = tuple[str, int]
"""Where a piece of contents lies, and its length in bytes."""

Note = Callable[[Sequence[Piece]], Awaitable[None]]


@dataclass(frozen=True)
class Contents:
    """What a File leads to."""

    size: int
    sha256: str
    _store: ObjectStore
    _pieces: Sequence[Piece]

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to but not including `end`, some 256 KiB at a time.

        Much is read at once, and the next while this is being used: the store's own streams are of 8 KiB each.
        """
        end = self.size if end is None else end
        coming = self._read(start, end)
        try:
            while coming is not None:
                with _translated():
                    read = memoryview(await coming)
                start += len(read)
                coming = self._read(start, end)
                for at in range(0, len(read), _CHUNK):
                    yield bytes(read[at : at + _CHUNK])
        finally:
            if coming is not None:
                coming.cancel()

    def _read(self, start: int, end: int) -> "asyncio.Future[obstore.Bytes] | None":
        """Begin to read what is at `start`, as far as it lies in one piece, if there is anything."""
        end = min(start + _READ_AT_ONCE, end)
        for path, size in self._pieces:
            if start < min(size, end):
                return asyncio.ensure_future(
                    obstore.get_range_async(self._store, path, start=start, end=min(size, end))
                )
            start, end = start - size, end - size
        return None


class Files:
    """Keeps contents at the place that the settings name."""

    def __init__(self, store: ObjectStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._settled: MutableMapping[str, bool] = LRUCache(_FOLDERS_REMEMBERED)

    @classmethod
    def from_settings(cls, settings: Settings, vault: Vault) -> Self:
        """Return the files at `LANDBRIDGE_FILES_URL`; a folder is made if need be. Raises `Misconfigured`."""
        return cls(_store(settings.effective_files_url), vault)

    def of(self, project_id: str, run_id: str) -> "RunFiles":
        """Return the files of one run. A call that is no run is one of its own, with an id of its own."""
        return RunFiles(self._store, self._vault, project_id, run_id, self._settled)

    def of_history(self, project_id: str, run_id: str) -> "RunFiles":
        """Return what is kept of a run for people to read. It lies apart, and no sweep takes it."""
        return RunFiles(self._store, self._vault, project_id, run_id, self._settled, kind="history")

    async def runs_with_history(self) -> set[tuple[str, str]]:
        """Return the runs, each with its project, of which anything is kept for people to read."""
        with _translated():
            pages = [page async for page in obstore.list(self._store, prefix=_HISTORY)]
        places = (str(found["path"]).split("/") for page in pages for found in page)
        return {(place[1], place[2]) for place in places}

    async def sweep(self, before: datetime) -> int:
        """Delete what was written before that instant, without what is kept for people to read, and count it."""
        swept = 0
        with _translated():
            async for page in obstore.list(self._store):
                passing = (found for found in page if not found["path"].startswith(f"{_HISTORY}/"))
                old = [found["path"] for found in passing if found["last_modified"] < before]
                if old:
                    await _delete(self._store, old)
                swept += len(old)
        return swept


class RunFiles:
    """The files of one run of one project."""

    def __init__(
        self,
        store: ObjectStore,
        vault: Vault,
        project_id: str,
        run_id: str,
        settled: MutableMapping[str, bool],
        kind: Literal["files", "history"] = "files",
    ) -> None:
        self._store = store
        self._vault = vault
        passing = f"{project_id}/{hashlib.sha256(run_id.encode()).hexdigest()[:32]}"
        self._folder = passing if kind == "files" else f"{_HISTORY}/{project_id}/{run_id}"
        self._identity = f"{kind}/{project_id}/{run_id}"
        self._settled = settled
        self._longest: int | None = None
        self._set_aside: dict[str, File] = {}

    def up_to(self, longest: int | None) -> "RunFiles":
        """Return the same files for one who may keep no longer ones than so many bytes from now on."""
        limited = copy(self)
        limited._longest = longest
        return limited

    async def save(
        self,
        name: str,
        mime_type: str,
        chunks: AsyncIterable[bytes] | bytes,
        *,
        kept: Sequence[Piece] = (),
        note: Note | None = None,
    ) -> File:
        """Keep contents as they arrive, and return what leads to them once they are safe on disk.

        What `chunks` raises comes through. Raises `TooLarge`, early, for more than these files may have. Whoever may
        have to begin again, in another process too, is told by `note` which pieces are safe, every `PIECE` bytes, and
        gives them as `kept` then; `chunks` are what follows.
        """
        pieces, digest = list(kept), _Digest()
        async for chunk in self.pieced(pieces).chunks():
            await digest.update(chunk)
        coming = aiter(_one(chunks) if isinstance(chunks, bytes) else chunks)
        most = math.inf if note is None else PIECE
        while True:
            path, size = await self._write(name, coming, most, digest)
            pieces.append((path, size))
            if note is None or size < most:
                break
            await note(pieces)
        sha256, length = await digest.hex(), digest.length
        return File(id=self._seal(pieces, length, sha256), name=name, mime_type=mime_type, size=length, sha256=sha256)

    def pieced(self, pieces: Sequence[Piece]) -> Contents:
        """Return what is kept in pieces that `save` has noted."""
        return Contents(sum(size for _, size in pieces), "", self._store, pieces)

    async def _write(self, name: str, coming: AsyncIterator[bytes], most: float, digest: "_Digest") -> Piece:
        """Keep what comes until it is `most` bytes, or ends."""
        path, size = f"{self._folder}/{secrets.token_hex(16)}", 0
        with _translated():
            writer = obstore.open_writer_async(self._store, path, buffer_size=_PART, max_concurrency=_SIDE_BY_SIDE)
        while size < most and (chunk := await anext(coming, None)) is not None:
            await digest.update(chunk)
            size += len(chunk)
            if self._longest is not None and digest.length > self._longest:
                raise TooLarge(f"“{name[:100]}” has more than {self._longest} bytes. Fetch it through the proxy.")
            with _translated(FilesFailed):
                await writer.write(chunk)
        with _translated(FilesFailed):
            await writer.close()
        await self._settle(path)
        return path, size

    async def _settle(self, path: str) -> None:
        """Wait until a file in a folder is on disk, and what leads to it; an object store has it when it says so."""
        if isinstance(self._store, LocalStore):
            levels = 1 if self._folder in self._settled else self._folder.count("/") + 2  # up to that of all files
            with _translated():
                await asyncio.to_thread(settle, Path(str(self._store.prefix), path), levels=levels)
            self._settled[self._folder] = True

    def open(self, file: File) -> Contents:
        """Return the contents behind a File's id, or raise `FileUnknown`; the rest of the File is not believed."""
        if found := self._contents(file.id):
            return found
        raise FileUnknown(f"The file “{file.name[:100]}” is not one of this run's.")

    def _contents(self, id_: object) -> Contents | None:
        try:
            sealed = base64.urlsafe_b64decode(str(id_))
            pieces, size, sha256 = json.loads(self._vault.open(sealed, self._identity))
        except (ValueError, VaultFailed):
            return None
        return Contents(size, sha256, self._store, pieces)

    async def adopt(self, value: JsonValue, other: "RunFiles") -> JsonValue:
        """Return JSON with copies of another run's files in place of what opens only there.

        Raises `FileUnknown` if contents are gone by now.
        """
        if isinstance(value, list):
            return [await self.adopt(inner, other) for inner in value]
        if not isinstance(value, dict):
            return value
        if {"id", "sha256", "size"} <= value.keys() and (contents := other._contents(value["id"])):
            return {**value, "id": await self._copy(contents)}
        return {name: await self.adopt(inner, other) for name, inner in value.items()}

    async def _copy(self, contents: Contents) -> str:
        pieces: list[Piece] = []
        for there, size in contents._pieces:
            path = f"{self._folder}/{secrets.token_hex(16)}"
            with _translated():
                await obstore.copy_async(self._store, there, path)
            await self._settle(path)
            pieces.append((path, size))
        return self._seal(pieces, contents.size, contents.sha256)

    async def receive(self, value: object) -> File:
        """Return the File that a JSON value means: one of this run's, or a new one with the value's own contents.

        Raises `FileUnknown` for an id that is not this run's, `InvalidRequest` for anything that is no file.
        """
        if isinstance(value, File):
            self.open(value)
            return value
        if not isinstance(value, Mapping):
            raise InvalidRequest("A file is an object: `{name, data, mimeType}`, or what an earlier step gave.")
        try:
            if "data" in value:
                return await self._receive_inline(InlineFile.model_validate(value))
            file = File.model_validate(value)
        except ValidationError as error:
            places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
            raise InvalidRequest(f"This is not a file: look at {places}.") from None
        self.open(file)
        return file

    async def _receive_inline(self, given: InlineFile) -> File:
        aside = self._set_aside.pop(given.data, None)
        text = self.open(aside).chunks() if aside else _one(given.data.encode())
        return await self.save(given.name, given.mime_type, given.contents(text))

    async def set_aside(self, text: AsyncIterable[bytes]) -> str:
        """Keep a text that is too long to hold, and return what stands for it as the `data` of a file, once."""
        key = f":{secrets.token_hex(16)}"  # which is neither hexadecimal nor base64
        self._set_aside[key] = await self.save("data", "text/plain", text)
        return key

    def must_have_used_all(self) -> None:
        """Raise `TooLarge` if a text is set aside still: it was not a file's."""
        if self._set_aside:
            raise TooLarge("Of the texts in a body only the `data` of a file may be that long.")

    async def trim(self, before: datetime, most: int) -> None:
        """Delete what was written before that instant, then the oldest until no more than `most` bytes are left."""
        with _translated():
            found = [one async for page in obstore.list(self._store, prefix=self._folder) for one in page]
            doomed, kept = [], 0
            for one in sorted(found, key=itemgetter("last_modified"), reverse=True):
                kept += one["size"]
                if kept > most or one["last_modified"] < before:
                    doomed.append(one["path"])
            if doomed:
                await _delete(self._store, doomed)

    async def clear(self, *, but: Iterable[str] = ()) -> None:
        """Delete all contents of the run, but those that these ids open; all others open nothing from then on."""
        kept = {path for id_ in but if (contents := self._contents(id_)) for path, _ in contents._pieces}
        self._settled.pop(self._folder, None)
        with _translated():
            async for page in obstore.list(self._store, prefix=self._folder):
                await _delete(self._store, [found["path"] for found in page if found["path"] not in kept])

    def _seal(self, pieces: Sequence[Piece], size: int, sha256: str) -> str:
        sealed = self._vault.seal(json.dumps([pieces, size, sha256]).encode(), self._identity)
        return base64.urlsafe_b64encode(sealed).decode()


class _Digest:
    """A running SHA-256, computed beside the event loop once there is enough to be worth a thread."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._size = 0
        self.length = 0
        self._busy: asyncio.Future[None] | None = None

    async def update(self, chunk: bytes) -> None:
        """Add what comes next; wait while the thread is behind."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        self.length += len(chunk)
        if self._size >= _HASHED_AT_ONCE:
            await self._settle()
            waiting, self._waiting, self._size = self._waiting, [], 0
            self._busy = asyncio.get_running_loop().run_in_executor(None, self._add, waiting)

    async def hex(self) -> str:
        """Return the digest of all that was added."""
        await self._settle()
        self._add(self._waiting)
        return self._digest.hexdigest()

    async def _settle(self) -> None:
        if self._busy is not None:
            await self._busy

    def _add(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._digest.update(chunk)


async def _delete(store: ObjectStore, paths: list[str]) -> None:
    """Delete contents; what somebody else deletes at the same moment is gone as well."""
    try:
        await obstore.delete_async(store, paths)
    except FileNotFoundError:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(store, path)


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def _store(url: str) -> ObjectStore:
    try:
        if urlsplit(url).scheme == "file":
            folder = Path(url2pathname(urlsplit(url).path))
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return LocalStore(folder)
        if urlsplit(url).scheme in {"http", "https"}:
            raise ValueError("a web server is not a store")
        return from_url(url)
    except (ValueError, BaseError, OSError) as error:
        raise Misconfigured(f"LANDBRIDGE_FILES_URL cannot be used ({error}). It is one of {_STORES_TAKE}.") from error


@contextlib.contextmanager
def _translated(missing: type[FileUnknown | FilesFailed] = FileUnknown) -> Iterator[None]:
    """Turn the store's errors into ours, most specific first; who writes misses no file, but the place for it."""
    try:
        yield
    except FileNotFoundError as error:
        gone = "The contents of this file are gone: its run was over, or they were swept away."
        raise missing(
            gone if missing is FileUnknown else f"There is no such place for files: {_first_line(error)}"
        ) from error
    except (BaseError, OSError) as error:
        raise FilesFailed(f"File contents cannot be kept or read: {_first_line(error)}") from error


def _first_line(error: Any) -> str:  # Any: obstore's errors and Python's have no common form but str
    return str(error).partition("\n")[0][:300]
