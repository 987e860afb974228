"""Where contents lie: obstore's stores, and what their errors mean to us."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from landbridge.errors import FilesFailed, FileUnknown, Misconfigured

_STORES_TAKE = "file:///folder, s3://bucket/…, gs://bucket/…, az://container/…"


def store_at(url: str) -> ObjectStore:
    """Return the store of a URL; a folder is made if need be. Raises `Misconfigured`."""
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


async def delete(store: ObjectStore, paths: list[str]) -> None:
    """Delete contents; what somebody else deletes at the same moment is gone as well."""
    try:
        await obstore.delete_async(store, paths)
    except FileNotFoundError:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(store, path)


@contextlib.contextmanager
def translated(missing: type[FileUnknown | FilesFailed] = FileUnknown) -> Iterator[None]:
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
