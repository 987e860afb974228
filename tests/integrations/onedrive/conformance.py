"""OneDrive, brought to be judged: drives of work and personal accounts, a library of a site, a case of each action."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from itertools import count, groupby
from typing import Any

from tests.conformance.product import Asked, Case, Product, Trouble, Values
from tests.integrations.onedrive.account import ADA, MARY

from landbridge.errors import ItemNotFound, LandbridgeError, OutcomeUnknown
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.faults import Fault, Planted
from msgraph_sandbox.graph.sharing import Permission
from msgraph_sandbox.server import Sandbox

KINDS = ("work", "personal", "library")

_NOT_SIGN_IN = "^(?!.*/oauth2/)"
_FAULTS: dict[Trouble, dict[str, Any]] = {  # Any: the fields of a fault
    Trouble.BUSY: {"status": 429, "retry_after": 2},
    Trouble.VERY_BUSY: {"status": 429, "retry_after": 120},
    Trouble.STALE: {"status": 401},
    Trouble.FAILING: {"status": 503},
    Trouble.CUT: {"effect": "reset"},
    Trouble.LOST: {"effect": "lose"},
    Trouble.HANGING: {"effect": "hang"},
    Trouble.WITHHELD: {"effect": "withhold"},
}


_UNSURE: dict[str, tuple[type[LandbridgeError], ...]] = {
    "POST": (OutcomeUnknown,),
    "DELETE": (ItemNotFound,),  # the connection that broke was a kept one, so it was sent again: HTTP allows it
}


class Scene(str):
    """The name of a scene, and the drive where it lies."""

    __slots__ = ("drive_id", "is_own")

    drive_id: str
    is_own: bool
    """Whether the drive is the user's own, which needs no naming."""


class OneDrive:
    """A user's drive at the sandbox, or a library of a site of theirs. A scene is a folder in its root."""

    api_url: str | None = None

    def __init__(self, kind: str, sandbox: Sandbox) -> None:
        self.email = MARY if kind == "personal" else ADA
        self._world = sandbox.world
        library = self._world.library
        own = next(one for one in library.drives.values() if one.owner.email == self.email)
        self._is_own = kind != "library"
        self._drive = own if self._is_own else library.drive(next(iter(library.sites.values())).drive_id)
        self._numbers = count(1)
        self._planted: Planted | None = None

    def scopes(self, scopes: Set[str]) -> Set[str]:
        return scopes if self._is_own else {f"{scope}.All" for scope in scopes}

    def lay_out(self) -> str:
        scene = self._folder(f"Scene {next(self._numbers)}", self._drive.root)
        file = self._file("a.txt", b"one", scene)
        self._drive.replace_content(file, self._world.library.blobs.of(b"two"), self._drive.owner)
        file.more.permissions["shared"] = Permission("shared", ["read"], invited=["linus@fabrikam.example"])
        self._file("a.jpg", b"picture", scene)
        self._file("in.txt", b"in", self._folder("Box", scene))
        self._folder("Other", scene)
        name = Scene(scene.name)
        name.drive_id, name.is_own = self._drive.id, self._is_own
        return name

    def state(self, scene: str) -> object:
        folder = self._drive.child(self._drive.root, scene)
        assert folder
        return _seen(folder)

    def asked(self) -> Sequence[Asked]:
        entries = self._world.ledger.find({})
        return [Asked(entry.method, entry.authorized) for entry in entries if entry.service != "login"]

    def spoil(self, number: int, trouble: Trouble) -> None:
        self._planted = self._world.faults.plant(Fault(path=_NOT_SIGN_IN, skip=number, **_FAULTS[trouble]))

    def has_struck(self) -> bool:
        return self._planted is not None and any(self._world.ledger.find({"fault": self._planted.name}))

    def heal(self) -> None:
        self._world.faults.clear()
        self._world.ledger.clear()

    def _folder(self, name: str, parent: Item) -> Item:
        return self._drive.create_folder(parent, name, "fail", self._drive.owner)

    def _file(self, name: str, contents: bytes, parent: Item) -> Item:
        return self._drive.put_file(parent, name, self._world.library.blobs.of(contents), "fail", self._drive.owner)[0]


def _seen(item: Item) -> object:
    """Return what a user sees of an item. The same contents put twice in a row count as put once."""
    if item.children is not None:
        return {child.name: _seen(child) for child in item.children}
    assert item.blob
    contents = [*(version.blob.hash for version in item.more.versions), item.blob.hash]
    shared = [(one.kind, one.scope, tuple(one.roles), tuple(one.invited)) for one in item.more.permissions.values()]
    return [digest for digest, _ in groupby(contents)], sorted(shared)


@asynccontextmanager
async def product(kind: str, sandbox: Sandbox) -> AsyncIterator[Product]:
    yield OneDrive(kind, sandbox)


def case(**values: Any) -> Case:  # Any: an action's input, where @ stands for the scene, and $ for its drive
    def of(scene: str) -> Values:
        assert isinstance(scene, Scene)
        said = {name: _said(value, scene) for name, value in values.items()}
        return said if scene.is_own else {"driveId": scene.drive_id, **said}

    return Case(of)


def _said(value: Any, scene: Scene) -> Any:  # Any: as above
    return value.replace("@", scene).replace("$", scene.drive_id) if isinstance(value, str) else value


def _request(method: str, path: str, **more: Any) -> Case:  # Any: as above
    def of(scene: str) -> Values:
        assert isinstance(scene, Scene)
        drive = "/me/drive" if scene.is_own else f"/drives/{scene.drive_id}"
        return {"method": method, "path": drive + path.replace("@", scene.replace(" ", "%20")), **more}

    return Case(of, _UNSURE.get(method, ()), frozenset({"Files.Read"}) if method == "GET" else None)


TEXT = {"name": "b.txt", "data": b"three".hex(), "mimeType": "text/plain"}
NEW_FOLDER = {"name": "New", "folder": {}, "@microsoft.graph.conflictBehavior": "rename"}

CASES = {
    "save_file": [
        case(file=TEXT, folderPath="@", conflictBehavior="fail"),
        case(file=TEXT, folderPath="@", name="a.txt", conflictBehavior="rename"),
        case(file=TEXT, folderPath="@", name="a.txt"),
        case(file=TEXT, folderPath="@", conflictBehavior="rename", createdAt="2020-01-01T00:00:00Z"),  # in a session
    ],
    "get_file": [case(filePath="@/a.txt")],
    "download_file": [case(filePath="@/a.txt")],
    "list_files": [case(folderPath="@")],
    "create_folder": [
        case(name="New", folderPath="@"),
        case(name="Box", folderPath="@", conflictBehavior="rename"),
        case(name="Box", folderPath="@", conflictBehavior="replace"),
    ],
    "get_folder_by_id": [case(folderId="root")],
    "search_folders": [case(query="Box", folderPath="@")],
    "move_folder": [case(folderPath="@/Box", destinationPath="@/Other", name="Moved")],
    "delete_folder": [case(folderPath="@/Box")],
    "copy_item": [
        case(itemPath="@/Box", destinationPath="@/Other"),
        case(itemPath="@/a.txt", destinationPath="@", name="c.txt"),
        case(itemPath="@/a.txt", destinationDriveId="$", destinationPath="@/Box"),
    ],
    "rename_item": [case(itemPath="@/a.txt", name="c.txt")],
    "move_file": [case(filePath="@/a.txt", destinationPath="@/Box")],
    "delete_file": [case(filePath="@/a.txt")],
    "search_files": [case(query="in", folderPath="@")],
    "create_text_file": [
        case(name="b.txt", text="three", folderPath="@"),
        case(name="a.txt", text="three", folderPath="@", conflictBehavior="rename"),
    ],
    "update_file": [case(filePath="@/a.txt", file=TEXT)],
    "create_folder_path": [case(path="New/Newer", folderPath="@")],
    "get_thumbnail": [case(filePath="@/a.jpg")],
    "create_link": [case(itemPath="@/a.txt", type="view", scope="organization")],
    "invite_people": [case(itemPath="@/a.txt", emails=["x@y.example"], role="write")],
    "list_permissions": [case(itemPath="@/a.txt")],
    "remove_permission": [case(itemPath="@/a.txt", permissionId="shared")],
    "list_versions": [case(filePath="@/a.txt")],
    "get_version": [case(filePath="@/a.txt", versionId="1.0")],
    "restore_version": [case(filePath="@/a.txt", versionId="1.0")],
    "list_drives": [Case(lambda _: {})],
    "get_drive": [case()],
    "list_changes": [case()],
    "list_recent": [case(limit=5)],
    "onedrive_request": [
        _request("POST", "/root:/@:/children", body=NEW_FOLDER),
        _request("GET", "/root:/@:/children", paging={"limit": 2}),
        _request("DELETE", "/root:/@/Box:"),
    ],
}
