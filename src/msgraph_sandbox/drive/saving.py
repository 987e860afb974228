"""Drives between runs: saved when the sandbox ends, found again by the next that has the same folder.

Items keep their ids, tags, times, contents and versions. Delta tokens do not outlive a run (they answer 410, as
Microsoft's may at any time), nor do the recycle bin and permissions.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import astuple
from datetime import datetime
from pathlib import Path

from msgraph_sandbox.drive.blobs import Blob, Blobs
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Actor, Children, Extras, Item, Version
from msgraph_sandbox.http import Json

FILE = "drives.json"


def save(drives: dict[str, Drive], folder: Path) -> None:
    """Write all drives; the file of before is replaced only when the new one is whole."""
    whole = {drive.id: {"quota": drive.quota, "items": list(_rows(drive))} for drive in drives.values()}
    fresh = folder / f"{FILE}.new"
    fresh.write_text(json.dumps({"version": 1, "drives": whole}), encoding="utf-8")
    os.replace(fresh, folder / FILE)  # noqa: PTH105 - one step, whatever is there


def load(drives: dict[str, Drive], folder: Path, blobs: Blobs) -> None:
    """Give each drive what was saved of it; a drive that was not saved stays as it is."""
    place = folder / FILE
    if not place.exists():
        return
    saved = json.loads(place.read_text(encoding="utf-8"))["drives"]
    for drive_id, content in saved.items():
        if drive := drives.get(drive_id):
            drive.quota = content["quota"]
            _fill(drive, content["items"], blobs)


def _rows(drive: Drive) -> Iterator[Json]:
    """Yield the items, folders before what is in them."""
    waiting = [drive.root]
    while waiting:
        item = waiting.pop()
        waiting.extend(item.children or ())
        yield {
            "id": item.id,
            "name": item.name,
            "parent": item.parent.id if item.parent else None,
            "times": [t.isoformat() for t in (item.created, item.modified, item.client_created, item.client_modified)],
            "by": [astuple(item.created_by), astuple(item.modified_by)],
            "folder": item.is_folder,
            "blob": _blob_row(item.blob) if item.blob else None,
            "versions": [item.version, item.content_version],
            "extras": _extras_row(item.extras) if item.extras else None,
        }


def _blob_row(blob: Blob) -> Json:
    data = base64.b64encode(blob.data).decode() if blob.data is not None else None
    return {"size": blob.size, "hash": blob.hash, "data": data, "file": blob.path.name if blob.path else None}


def _extras_row(extras: Extras) -> Json:
    versions = [[v.name, _blob_row(v.blob), v.modified.isoformat(), astuple(v.by)] for v in extras.versions]
    plain = {name: getattr(extras, name) for name in ("description", "special", "package", "mime", "remote")}
    return {**plain, "versions": versions}


def _fill(drive: Drive, rows: list[Json], blobs: Blobs) -> None:
    drive.items.clear()
    drive.items[drive.root.id] = drive.root
    drive.root.children, drive.root.size = Children(), 0
    for row in rows:
        if row["parent"] is not None:
            _add(drive, row, blobs)


def _add(drive: Drive, row: Json, blobs: Blobs) -> None:
    created, modified, client_created, client_modified = (datetime.fromisoformat(text) for text in row["times"])
    parent = drive.items[row["parent"]]
    created_by, modified_by = (Actor(*fields) for fields in row["by"])
    item = Item(
        row["id"], row["name"], parent, created, modified, client_created, client_modified, created_by, modified_by
    )
    item.children = Children() if row["folder"] else None
    item.blob = _blob(row["blob"], blobs) if row["blob"] else None
    item.size = item.blob.size if item.blob else 0
    item.version, item.content_version = row["versions"]
    item.extras = _extras(row["extras"], blobs) if row["extras"] else None
    drive.adopt(item, parent)


def _blob(row: Json, blobs: Blobs) -> Blob:
    data = base64.b64decode(row["data"]) if row["data"] is not None else None
    return blobs.found(row["size"], row["hash"], data, row["file"])


def _extras(row: Json, blobs: Blobs) -> Extras:
    versions = [
        Version(name, _blob(blob, blobs), datetime.fromisoformat(at), Actor(*by))
        for name, blob, at, by in row["versions"]
    ]
    remote = tuple(row["remote"]) if row["remote"] else None
    plain = {name: row[name] for name in ("description", "special", "package", "mime")}
    return Extras(**plain, versions=versions, remote=remote)
