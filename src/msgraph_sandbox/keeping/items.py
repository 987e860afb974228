"""Drives as rows, and rows as drives again: items dead and alive, their versions, permissions and places in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple
from datetime import datetime

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blob
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Actor, Children, Extras, Item, Version
from msgraph_sandbox.graph.sharing import Permission
from msgraph_sandbox.http import Json

KeyOf = Callable[[Blob], int]
BlobOf = Callable[[int], Blob]
# An item's place in the log, when it got there, and the rest.
Row = tuple[int, float, Json]


def drive_row(drive: Drive) -> Json:
    """Return what there is to say of a drive but its items."""
    return {
        "key": drive.key,
        "kind": drive.kind,
        "owner": astuple(drive.owner),
        "name": drive.name,
        "tenant": drive.tenant_id,
        "web_url": drive.web_url,
        "quota": drive.quota,
        "created": drive.created.isoformat(),
        "epoch": drive.epoch,
        "resync": drive.resync_kind,
        "latest": drive.log.latest,
        "last": drive.last_number,
    }


def item_row(drive: Drive, item: Item, key_of: KeyOf) -> Json:
    """Return an item. What is not `attached` was deleted by itself and only remembers the folder that it was in."""
    siblings = item.parent.children if item.parent else None
    return {
        "name": item.name,
        "parent": item.parent.id if item.parent else None,
        "attached": siblings is not None and siblings.get(drive.fold(item.name)) is item,
        "alive": item.alive,
        "times": [t.isoformat() for t in (item.created, item.modified, item.client_created, item.client_modified)],
        "by": [astuple(item.created_by), astuple(item.modified_by)],
        "folder": item.is_folder,
        "blob": key_of(item.blob) if item.blob else None,
        "versions": [item.version, item.content_version],
        "own": item.own,
        "extras": _extras_row(item.extras, key_of) if item.extras else None,
    }


def _extras_row(extras: Extras, key_of: KeyOf) -> Json:
    plain = {
        name: getattr(extras, name)
        for name in (
            "description",
            "special",
            "package",
            "mime",
            "remote",
            "dated",
            "shared_number",
            "number_before",
            "followers",
        )
    }
    return plain | {
        "deleted": extras.deleted.isoformat() if extras.deleted else None,
        "versions": [[v.name, key_of(v.blob), v.modified.isoformat(), astuple(v.by)] for v in extras.versions],
        "permissions": [
            asdict(one) | {"expires": one.expires.isoformat() if one.expires else None}
            for one in extras.permissions.values()
        ],
    }


def rebuilt(row: Json, rows: dict[str, Row], blob_of: BlobOf, clock: Clock) -> Drive:
    """Return the drive that was saved as `row`, with its items by id."""
    drive = Drive(
        row["key"],
        row["kind"],
        Actor(*row["owner"]),
        clock,
        name=row["name"],
        tenant_id=row["tenant"],
        web_url=row["web_url"],
        quota=row["quota"],
    )
    drive.created = datetime.fromisoformat(row["created"])
    drive.epoch, drive.resync_kind, drive.last_number = row["epoch"], row["resync"], row["last"]
    items = {item_id: _item(item_id, body, blob_of) for item_id, (_, _, body) in rows.items()}
    _attach(drive, items, rows)
    drive.adopt(items)
    places = sorted((number, at, items[item_id]) for item_id, (number, at, _) in rows.items())
    drive.log.restore(places, row["latest"])
    return drive


def _item(item_id: str, row: Json, blob_of: BlobOf) -> Item:
    created, modified, client_created, client_modified = map(datetime.fromisoformat, row["times"])
    created_by, modified_by = (Actor(*fields) for fields in row["by"])
    item = Item(item_id, row["name"], None, created, modified, client_created, client_modified, created_by, modified_by)
    item.children = Children() if row["folder"] else None
    item.blob = blob_of(row["blob"]) if row["blob"] is not None else None
    item.size = item.blob.size if item.blob else 0
    item.version, item.content_version = row["versions"]
    item.alive, item.own = row["alive"], row.get("own", 0)
    item.extras = _extras(row["extras"], blob_of) if row["extras"] else None
    return item


def _extras(row: Json, blob_of: BlobOf) -> Extras:
    versions = [
        Version(name, blob_of(key), datetime.fromisoformat(at), Actor(*by)) for name, key, at, by in row["versions"]
    ]
    permissions = [
        Permission(**one | {"expires": datetime.fromisoformat(one["expires"]) if one["expires"] else None})
        for one in row["permissions"]
    ]
    return Extras(
        **{name: row[name] for name in ("description", "special", "package", "mime")},
        versions=versions,
        permissions={one.id: one for one in permissions},
        remote=tuple(row["remote"]) if row["remote"] else None,
        dated=row.get("dated", 0),
        followers=row.get("followers", []),
        shared_number=row.get("shared_number", 0),
        number_before=row.get("number_before", 0),
        deleted=datetime.fromisoformat(row["deleted"]) if row["deleted"] else None,
    )


def _attach(drive: Drive, items: dict[str, Item], rows: dict[str, Row]) -> None:
    for item_id, item in items.items():
        item.parent = items.get(rows[item_id][2]["parent"] or "")
    attached = [item for item_id, item in items.items() if rows[item_id][2]["attached"]]
    # In the order of their keys, each is added at the end of its siblings.
    for key, item in sorted(((drive.fold(item.name), item) for item in attached), key=lambda pair: pair[0]):
        assert item.parent is not None
        assert item.parent.children is not None
        item.parent.children.add(key, item)
    whole = set(attached)
    for item in attached:
        if item.blob is not None:
            _grow(_line(item, whole), item.blob.size)


def _line(item: Item, attached: set[Item]) -> Iterable[Item]:
    while item in attached and item.parent is not None:
        item = item.parent
        yield item


def _grow(folders: Iterable[Item], size: int) -> None:
    for folder in folders:
        folder.size += size
