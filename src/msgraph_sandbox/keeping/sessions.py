"""Upload sessions as rows: what a client has sent so far is not lost with the process."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime

from msgraph_sandbox.drive.blobs import Blobs
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Actor, Item
from msgraph_sandbox.drive.uploads import Plan, UploadSession
from msgraph_sandbox.http import Json
from msgraph_sandbox.keeping.items import BlobOf, KeyOf


def session_row(session: UploadSession, key_of: KeyOf) -> tuple[Json, bytes | None]:
    """Return a session, and its bytes so far as long as they are few."""
    plan = session.plan
    name, data = session.writer.place() if session.blob is None else (None, None)
    row = {
        "secret": session.secret,
        "drive": plan.drive.id,
        "parent": plan.parent.id if plan.parent else None,
        "name": plan.name,
        "existing": plan.existing.id if plan.existing else None,
        "conflict": plan.conflict,
        "actor": astuple(plan.actor),
        "times": [t.isoformat() if t else None for t in (plan.created, plan.modified)],
        "description": plan.description,
        "defer": plan.defer,
        "expires": session.expires.isoformat(),
        "total": session.total,
        "received": session.received,
        "file": name,
        "blob": key_of(session.blob) if session.blob else None,
        "item": session.item.id if session.item else None,
        "new": session.new,
    }
    return row, data


def rebuilt(
    session_id: str, row: Json, data: bytes | None, drive: Drive, blobs: Blobs, blob_of: BlobOf
) -> UploadSession:
    """Return the session that was saved as `row`."""
    created, modified = (datetime.fromisoformat(t) if t else None for t in row["times"])
    plan = Plan(
        drive,
        _find(drive, row["parent"]),
        row["name"],
        _find(drive, row["existing"]),
        row["conflict"],
        Actor(*row["actor"]),
        created,
        modified,
        row["description"],
        row["defer"],
    )
    writer = blobs.resume(row["file"], data or b"", row["received"]) if row["blob"] is None else blobs.writer()
    session = UploadSession(
        session_id, row["secret"], plan, writer, datetime.fromisoformat(row["expires"]), row["total"]
    )
    session.blob = blob_of(row["blob"]) if row["blob"] is not None else None
    session.item, session.new = _find(drive, row["item"]), row["new"]
    return session


def _find(drive: Drive, item_id: str | None) -> Item | None:
    return drive.items.get(item_id) if item_id else None
