"""The control API's hand on drives: acting as their owners, and on who is told of changes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from msgraph_sandbox.control.bodies import (
    ONE,
    REST,
    DriveChange,
    Growth,
    Lifecycle,
    Missing,
    Move,
    NewFolder,
    NewPackage,
    Notify,
    Resync,
    Routes,
    Wrong,
    checked,
    find_drive,
    or_wrong,
    takes,
)
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.http import Json, Request, Response
from msgraph_sandbox.notifier import Subscription
from msgraph_sandbox.seed import filler, plant_tree
from msgraph_sandbox.world import World

UPLOAD_LIMIT = 1 << 30


async def tree(world: World, request: Request, name: str) -> Json:
    """Return everything on a drive by its path; folders end in a slash."""
    drive = find_drive(world, name)
    rows = {_path(item): _row(item) for item in drive.items.values() if item.parent is not None}
    return {"id": drive.id, "used": drive.root.size, "items": dict(sorted(rows.items()))}


def _path(item: Item) -> str:
    return item.path() + ("/" if item.is_folder else "")


def _row(item: Item) -> Json:
    return {"id": item.id, "size": item.size, "hash": item.blob.hash if item.blob else None}


def _walk(drive: Drive, path: str) -> Item:
    try:
        return drive.walk_to(drive.root, _names(path))
    except GraphRefused:
        raise Missing(f"There is no {path} on the drive.") from None


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _folder(drive: Drive, names: list[str]) -> Item:
    folder = drive.root
    for name in names:
        folder = drive.create_folder(folder, name, "replace", drive.owner)
    return folder


async def write(world: World, request: Request, name: str, path: str) -> Json:
    """Write a file as the drive's owner, with the folders above it; the body is its contents."""
    drive, names = find_drive(world, name), _names(path)
    blob = world.library.blobs.of(await request.body(UPLOAD_LIMIT))
    if not names:
        raise Wrong("A file needs a name.")
    item = or_wrong(lambda: drive.put_file(_folder(drive, names[:-1]), names[-1], blob, "replace", drive.owner)[0])
    return {"id": item.id, "path": item.path(), "size": item.size}


async def read(world: World, request: Request, name: str, path: str) -> Json:
    """Return a file's contents."""
    item = _walk(find_drive(world, name), path)
    if item.blob is None:
        raise Wrong(f"{path} is not a file.")
    return Response(200, {"Content-Type": "application/octet-stream"}, item.blob.whole())


@takes(NewFolder)
async def make_folder(world: World, request: Request, name: str) -> Json:
    """Make a folder as the drive's owner, with the folders above it."""
    drive, given = find_drive(world, name), checked(NewFolder, await request.json_object())
    item = or_wrong(lambda: _folder(drive, _names(given.path)))
    return {"id": item.id, "path": item.path()}


@takes(NewPackage)
async def make_package(world: World, request: Request, name: str) -> Json:
    """Make a package, such as a OneNote notebook, as the drive's owner, with the folders above it."""
    drive, given = find_drive(world, name), checked(NewPackage, await request.json_object())
    names = _names(given.path)
    if not names:
        raise Wrong("A package needs a name.")
    folder = or_wrong(lambda: _folder(drive, names[:-1]))
    item = or_wrong(lambda: drive.create_other(folder, names[-1], "fail", drive.owner, package=given.type))
    return {"id": item.id, "path": item.path()}


@takes(Move)
async def move(world: World, request: Request, name: str) -> Json:
    """Move or rename as the drive's owner."""
    drive, given = find_drive(world, name), checked(Move, await request.json_object())
    item, names = _walk(drive, given.source), _names(given.target)
    if not names:
        raise Wrong("The target needs a name.")
    folder = or_wrong(lambda: _folder(drive, names[:-1]))
    or_wrong(lambda: drive.edit(item, drive.owner, name=names[-1], parent=folder, conflict="fail"))
    return {"id": item.id, "path": item.path()}


async def delete(world: World, request: Request, name: str, path: str) -> Json:
    """Delete as the drive's owner."""
    drive = find_drive(world, name)
    item = _walk(drive, path)
    or_wrong(lambda: drive.delete(item))


@takes(Growth)
async def grow(world: World, request: Request, name: str) -> Json:
    """Add a tree, or many files at once, and return how many items there are then."""
    drive, given = find_drive(world, name), checked(Growth, await request.json_object())
    or_wrong(lambda: plant_tree(world.library, drive, drive.root, given.files, drive.owner))
    blob = world.library.blobs.of(filler(given.size))
    for number in range(given.count):
        if number % given.per_folder == 0:
            folder = drive.create_folder(drive.root, f"folder-{number // given.per_folder:05}", "rename", drive.owner)
        drive.put_file(folder, f"file-{number:07}.bin", blob, "replace", drive.owner)
    return {"items": len(drive.items)}


@takes(DriveChange)
async def change_drive(world: World, request: Request, name: str) -> Json:
    """Change a drive's quota."""
    drive = find_drive(world, name)
    drive.quota = checked(DriveChange, await request.json_object()).quota
    drive.note(drive.root)


@takes(Resync)
async def resync(world: World, request: Request, name: str) -> Json:
    """Make all delta tokens of a drive invalid: the next use answers 410."""
    asked = checked(Resync, await request.json_object())
    find_drive(world, name).end_epoch(f"resyncChanges{asked.kind.title()}Differences")


async def expire_uploads(world: World, request: Request) -> Json:
    """Expire every upload session now."""
    return {"expired": world.library.uploads.expire_all()}


async def subscriptions(world: World, request: Request) -> Json:
    """Return all subscriptions, client states included, and the latest deliveries."""
    alive = [{name: _plain(value) for name, value in asdict(one).items()} for one in world.notifier.alive()]
    return {"subscriptions": alive, "deliveries": [asdict(one) for one in world.notifier.deliveries]}


def _plain(value: Json) -> Json:
    return value.isoformat() if isinstance(value, datetime) else value


def _subscription(world: World, name: str) -> Subscription:
    found = world.notifier.subscriptions.get(name)
    if found is None:
        raise Missing(f"There is no subscription {name}.")
    return found


@takes(Notify)
async def notify(world: World, request: Request, name: str) -> Json:
    """Send notifications now, whether anything changed or not."""
    found, given = _subscription(world, name), checked(Notify, await request.json_object())
    for _ in range(given.count):
        world.notifier.send(found.id, found.url, found.notification(world.switches.notification_form) | given.changes)


@takes(Lifecycle)
async def lifecycle(world: World, request: Request, name: str) -> Json:
    """Send a lifecycle event; after `subscriptionRemoved` the subscription is gone."""
    found, given = _subscription(world, name), checked(Lifecycle, await request.json_object())
    if found.lifecycle_url is None:
        raise Wrong("The subscription has no lifecycleNotificationUrl.")
    world.notifier.send(found.id, found.lifecycle_url, found.lifecycle(given.event))
    if given.event == "subscriptionRemoved":
        del world.notifier.subscriptions[found.id]


async def forget(world: World, request: Request, name: str) -> Json:
    """Lose a subscription without telling anyone."""
    del world.notifier.subscriptions[_subscription(world, name).id]


ROUTES: Routes = (
    ("GET", f"/drives{ONE}/tree", tree),
    ("PUT", f"/drives{ONE}/files{REST}", write),
    ("GET", f"/drives{ONE}/files{REST}", read),
    ("POST", f"/drives{ONE}/folders", make_folder),
    ("POST", f"/drives{ONE}/packages", make_package),
    ("POST", f"/drives{ONE}/move", move),
    ("DELETE", f"/drives{ONE}/items{REST}", delete),
    ("POST", f"/drives{ONE}/grow", grow),
    ("PATCH", f"/drives{ONE}", change_drive),
    ("POST", f"/drives{ONE}/resync", resync),
    ("POST", "/uploads/expire", expire_uploads),
    ("GET", "/subscriptions", subscriptions),
    ("POST", f"/subscriptions{ONE}/notify", notify),
    ("POST", f"/subscriptions{ONE}/lifecycle", lifecycle),
    ("DELETE", f"/subscriptions{ONE}", forget),
)
