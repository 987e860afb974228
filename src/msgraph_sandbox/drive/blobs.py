"""Contents of files: small ones in memory, the rest on disk until the last file that has them goes."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from msgraph_sandbox.drive.hashes import QuickXor

IN_MEMORY = 32 * 1024
_READ = 512 * 1024


class Blob:
    """Immutable contents, shared by every file and version that has them."""

    __slots__ = ("__weakref__", "data", "hash", "key", "path", "size")

    def __init__(self, size: int, quick_xor: str, data: bytes | None, path: Path | None) -> None:
        self.size = size
        self.hash = quick_xor
        self.data = data
        self.path = path
        # Its key where it is saved.
        self.key: int | None = None

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`, at constant memory."""
        stop = self.size if stop is None else stop
        if self.data is not None:
            yield self.data[start:stop]
            return
        assert self.path is not None
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < stop and (chunk := file.read(min(_READ, stop - start))):
                start += len(chunk)
                yield chunk

    def whole(self) -> bytes:
        """Return all of it; for small contents."""
        return self.data if self.data is not None else self.path.read_bytes() if self.path else b""


class Writer:
    """Contents on their way in."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._path = path
        self._blobs = blobs
        self._memory: bytearray | None = bytearray()
        self._file: BinaryIO | None = None
        self._hash = QuickXor()

    @property
    def size(self) -> int:
        """How many bytes there are so far."""
        return self._hash.length

    def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        self._hash.update(chunk)
        if self._memory is not None and self.size <= IN_MEMORY:
            self._memory += chunk
            return
        if self._file is None:
            self._file = self._path.open("w+b", buffering=0)
            self._file.write(self._memory or b"")
            self._memory = None
        self._file.write(chunk)

    def place(self) -> tuple[str | None, bytes | None]:
        """Return the name of the file that has the contents so far, or the contents themselves while they are few."""
        return (None, bytes(self._memory)) if self._memory is not None else (self._path.name, None)

    @classmethod
    def resumed(cls, path: Path, blobs: Blobs, size: int) -> Writer:
        """Return a writer that goes on after the first `size` bytes of a file."""
        writer = cls(path, blobs)
        file = path.open("r+b", buffering=0)
        file.truncate(size)
        while chunk := file.read(_READ):
            writer._hash.update(chunk)
        if writer.size < size:
            file.close()
            raise OSError(f"{path} is shorter than it was.")
        writer._file, writer._memory = file, None
        return writer

    def mark(self) -> QuickXor:
        """Return the present state, for `rewind`."""
        return self._hash.copy()

    def rewind(self, mark: QuickXor) -> None:
        """Forget what was written since `mark`."""
        self._hash = mark
        if self._memory is not None:
            del self._memory[mark.length :]
        elif self._file is not None:
            self._file.seek(mark.length)
            self._file.truncate()

    def finish(self) -> Blob:
        """Return the contents; the writer is done."""
        digest = self._hash.digest()
        if self._memory is not None:
            return Blob(self.size, digest, bytes(self._memory), None)
        assert self._file is not None
        self._file.close()
        return self._blobs.own(Blob(self.size, digest, None, self._path), self._path)

    def discard(self) -> None:
        """Throw the contents away."""
        if self._file is not None:
            self._file.close()
            _remove(self._path)


class Blobs:
    """Where contents live: a folder on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What an earlier run has left.
        self.left = set(folder.glob("*.blob"))
        used = [int(path.stem) for path in self.left if path.stem.isdigit()]
        self._numbers = itertools.count(max(used, default=0) + 1)
        # Whether someone saves what has contents, and then lets go of the files in `released`.
        self.kept = False
        self.released: list[Path] = []

    def own(self, blob: Blob, path: Path) -> Blob:
        """Return the blob, whose file is deleted with it; but not because the process ends."""
        weakref.finalize(blob, self._release, path).atexit = False
        return blob

    def _release(self, path: Path) -> None:
        if self.kept:
            self.released.append(path)
        else:
            _remove(path)

    def found(self, size: int, quick_xor: str, data: bytes | None, name: str | None) -> Blob:
        """Return contents that an earlier run left here."""
        if name is None:
            return Blob(size, quick_xor, data, None)
        path = self.folder / Path(name).name
        return self.own(Blob(size, quick_xor, None, path), path)

    def resume(self, name: str | None, data: bytes, size: int) -> Writer:
        """Return a writer that goes on where one of an earlier run was."""
        if name is not None:
            return Writer.resumed(self.folder / Path(name).name, self, size)
        writer = self.writer()
        writer.write(data)
        return writer

    def writer(self) -> Writer:
        """Return a writer for new contents."""
        return Writer(self.folder / f"{next(self._numbers)}.blob", self)

    def of(self, data: bytes) -> Blob:
        """Return `data` as a blob."""
        writer = self.writer()
        writer.write(data)
        return writer.finish()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
