"""The contents of one run."""

import asyncio
import base64
import contextlib
import hashlib
import json
import math
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from copy import copy
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Literal

import obstore
from obstore.store import LocalStore, ObjectStore
from pydantic import JsonValue, ValidationError

from landbridge.disk import settle
from landbridge.errors import FileUnknown, InvalidRequest, TooLarge, VaultFailed
from landbridge.files.contents import Contents, Piece
from landbridge.files.forms import ANYTHING, File, InlineFile, can_be_sent, must_be_sent
from landbridge.files.stores import delete, translated
from landbridge.files.writing import PIECE, Digest, InFolder, InObjectStore, Note, Target, blocks, write
from landbridge.vault import Vault

HISTORY = "history"


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
        self._folder = folder_of(project_id, run_id) if kind == "files" else f"{HISTORY}/{project_id}/{run_id}"
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
        mime_type = mime_type if can_be_sent(mime_type) else ANYTHING
        pieces, digest = list(kept), Digest()
        async for chunk in self.pieced(pieces).chunks():
            await digest.update(chunk)
        coming = blocks(self._bounded(name, _one(chunks) if isinstance(chunks, bytes) else chunks, digest.length))
        most = math.inf if note is None else PIECE
        async with contextlib.aclosing(coming):
            while True:
                path, size = await self._write(coming, most, digest)
                pieces.append((path, size))
                if note is None or size < most:
                    break
                await note(pieces)
        sha256, length = digest.hex(), digest.length
        return File(id=self._seal(pieces, length, sha256), name=name, mime_type=mime_type, size=length, sha256=sha256)

    async def _bounded(self, name: str, chunks: AsyncIterable[bytes], length: int) -> AsyncIterator[bytes]:
        """Yield what comes, unless that makes more bytes than these files may have."""
        async for chunk in chunks:
            length += len(chunk)
            if self._longest is not None and length > self._longest:
                raise TooLarge(f"“{name[:100]}” has more than {self._longest} bytes. Fetch it through the proxy.")
            yield chunk

    def pieced(self, pieces: Sequence[Piece]) -> Contents:
        """Return what is kept in pieces that `save` has noted."""
        return Contents(sum(size for _, size in pieces), "", self._store, pieces)

    async def _write(self, coming: AsyncIterator[memoryview], most: float, digest: Digest) -> Piece:
        """Keep what comes until it is `most` bytes, or ends."""
        path = f"{self._folder}/{secrets.token_hex(16)}"
        if isinstance(self._store, LocalStore):
            target: Target = InFolder(Path(str(self._store.prefix), path))
        else:
            target = InObjectStore(self._store, path)
        size = await write(target, coming, most, digest)
        await self._settle(path)
        return path, size

    async def _settle(self, path: str) -> None:
        """Wait until a file in a folder is on disk, and what leads to it; an object store has it when it says so."""
        if isinstance(self._store, LocalStore):
            levels = 1 if self._folder in self._settled else self._folder.count("/") + 2  # up to that of all files
            with translated():
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
            with translated():
                await obstore.copy_async(self._store, there, path)
                if isinstance(self._store, LocalStore):  # there it is one more name of the same file, as old as that
                    await asyncio.to_thread(os.utime, Path(str(self._store.prefix), path))
            await self._settle(path)
            pieces.append((path, size))
        return self._seal(pieces, contents.size, contents.sha256)

    async def receive(self, value: object) -> File:
        """Return the File that a JSON value means: one of this run's, or a new one with the value's own contents.

        Raises `FileUnknown` for an id that is not this run's, `InvalidRequest` for anything that is no file.
        """
        if not isinstance(value, File | Mapping):
            raise InvalidRequest("A file is an object: `{name, data, mimeType}`, or what an earlier step gave.")
        try:
            if isinstance(value, Mapping) and "data" in value:
                given = InlineFile.model_validate(value)
                must_be_sent(given.mime_type)
                return await self._receive_inline(given)
            file = File.model_validate(value)
        except ValidationError as error:
            places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
            raise InvalidRequest(f"This is not a file: look at {places}.") from None
        must_be_sent(file.mime_type)
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
        with translated():
            found = [one async for page in obstore.list(self._store, prefix=self._folder) for one in page]
            doomed, kept = [], 0
            for one in sorted(found, key=itemgetter("last_modified"), reverse=True):
                kept += one["size"]
                if kept > most or one["last_modified"] < before:
                    doomed.append(one["path"])
            if doomed:
                await delete(self._store, doomed)

    async def clear(self, *, but: Iterable[str] = ()) -> None:
        """Delete all contents of the run, but those that these ids open; all others open nothing from then on."""
        kept = {path for id_ in but if (contents := self._contents(id_)) for path, _ in contents._pieces}
        self._settled.pop(self._folder, None)
        with translated():
            async for page in obstore.list(self._store, prefix=self._folder):
                await delete(self._store, [found["path"] for found in page if found["path"] not in kept])

    def _seal(self, pieces: Sequence[Piece], size: int, sha256: str) -> str:
        sealed = self._vault.seal(json.dumps([pieces, size, sha256]).encode(), self._identity)
        return base64.urlsafe_b64encode(sealed).decode()


def folder_of(project_id: str, run_id: str) -> str:
    """Return where the files of a run lie."""
    return f"{project_id}/{hashlib.sha256(run_id.encode()).hexdigest()[:32]}"


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk
