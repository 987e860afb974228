"""Files that are whole or not there at all, and that only their owner may read."""

import contextlib
import errno
import fcntl
import glob
import mmap
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PAST_THE_CACHE: int = getattr(os, "O_DIRECT", 0)


@contextlib.contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file (0600) that becomes `path` in one step, once it is written to its end and safe on disk.

    A crash leaves what was there before, and a draft beside it (`.name.….draft`) that the next writer deletes. Without
    `replace`, raises `FileExistsError` if `path` exists by then.
    """
    _sweep(path)
    draft, descriptor = _new_draft(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if replace:
                draft.replace(path)
            else:
                path.hardlink_to(draft)
        with _opened(path.parent) as folder:
            os.fsync(folder)
    finally:
        draft.unlink(missing_ok=True)


def _new_draft(path: Path) -> tuple[Path, int]:
    """Make a draft, locked for as long as its writer lives; where files cannot be locked, nobody sweeps either."""
    while True:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)  # another process swept it before we held it


def _sweep(path: Path) -> None:
    """Delete the drafts of `path` that nobody holds: their writers were killed."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.draft"):
        with contextlib.suppress(OSError), _opened(draft) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()


def append(path: Path, block: memoryview, *, is_new: bool) -> None:
    """Add to the end of a file (0600), past the system's cache where whole pages allow that.

    What is large would push everything else out of the cache, takes the processor longer to copy there than to hand to
    the disk, and must be on disk soon anyway. A new file is made with the folders above it. One that is gone is not
    made again: its beginning would be missing.
    """
    if is_new:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    flags = _PAST_THE_CACHE if len(block) % mmap.PAGESIZE == 0 else 0
    while block:
        try:
            block = _written(path, block, flags)
        except OSError as error:
            if error.errno != errno.EINVAL or not flags:
                raise
            flags = 0  # not every file system can do without its cache, nor for every length


def _written(path: Path, block: memoryview, flags: int) -> memoryview:
    """Write to the end of a file, and return what of the block is still to be written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | flags)
    try:
        return block[os.write(descriptor, block) :]
    finally:
        os.close(descriptor)


def settle(path: Path, *, levels: int) -> None:
    """Return when a file is safe on disk, and so many folders above it: a power cut takes neither it nor its name."""
    for place in (path, *path.parents[:levels]):
        with _opened(place) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same folder; a process that dies lets the next one in."""
    with _opened(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
