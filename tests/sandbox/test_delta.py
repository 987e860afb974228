"""Delta: folding the feed gives the drive, whatever happens meanwhile."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.caller import Caller, exact

DELTA = "/me/drive/root/delta"


class Mirror:
    """A copy of a drive that knows nothing but delta."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.items: dict[str, dict[str, Any]] = {}
        self.link = DELTA

    async def page(self, top: int) -> bool:
        """Fold one page; tell whether it was the last."""
        bare = re.sub(r"\$top=\d+&?", "", self.link)
        page = await self.caller.graph("GET", f"{bare}{'&' if '?' in bare else '?'}$top={top}")
        for item in page["value"]:
            if "deleted" in item:
                self.items.pop(item["id"], None)
            else:
                self.items[item["id"]] = item
        self.link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
        return "@odata.deltaLink" in page

    async def catch_up(self, top: int = 100) -> None:
        """Fold every page."""
        while not await self.page(top):
            pass

    def paths(self) -> set[str]:
        """The tree, built from ids alone."""
        return {self._path(item) for item in self.items.values() if "root" not in item}

    def _path(self, item: dict[str, Any]) -> str:
        parent = self.items[item["parentReference"]["id"]]
        above = "" if "root" in parent else self._path(parent)
        return f"{above}/{item['name']}"


async def _tree(caller: Caller, item: str = "root", above: str = "") -> set[str]:
    page = await caller.graph("GET", f"/me/drive/items/{item}/children?$top=1000")
    found: set[str] = set()
    for child in page["value"]:
        path = f"{above}/{child['name']}"
        found |= {path} | (await _tree(caller, child["id"], path) if "folder" in child else set())
    return found


async def test_the_four_spellings_mean_the_same(caller: Caller) -> None:
    first = await caller.graph("GET", DELTA + "?$select=id,name&$top=3")
    assert all(item.keys() <= {"id", "name"} for item in first["value"])
    assert "root" in (await caller.graph("GET", DELTA))["value"][0]
    token = (await caller.graph("GET", DELTA + "?token=latest"))["@odata.deltaLink"].partition("token=")[2]
    await caller.graph("PUT", "/me/drive/root:/new.txt:/content", 201, data=b"x")
    for spelling in (
        f"/me/drive/root/delta?token={token}",
        f"/me/drive/root/delta(token='{token}')",
        f"/me/drive/root/microsoft.graph.delta(token='{token}')",
        f"/me/drive/items/root/delta(token=@t)?@t='{token}'",
    ):
        page = await caller.graph("GET", spelling)
        assert [item["name"] for item in page["value"]] == ["root", "new.txt"]
        assert all("path" not in item["parentReference"] for item in page["value"])


async def test_what_is_deleted_says_little(caller: Caller, personal: Caller) -> None:
    for who in (caller, personal):
        mirror = Mirror(who)
        await mirror.catch_up()
        item = await who.graph("GET", "/me/drive/root:/Notes.md")
        await who.graph("DELETE", f"/me/drive/items/{item['id']}", 204)
        page = await who.graph("GET", mirror.link)
        gone = next(one for one in page["value"] if one["id"] == item["id"])
        assert gone["deleted"] == {"state": "deleted"}
        assert ("name" in gone, "size" in gone) == ((True, False) if who is personal else (False, True))


async def test_a_first_listing_says_nothing_of_old_deletions(caller: Caller) -> None:
    await caller.graph("DELETE", "/me/drive/root:/Documents", 204)
    page = await caller.graph("GET", DELTA)
    assert not any("deleted" in item for item in page["value"])


async def test_parents_come_before_their_children(caller: Caller) -> None:
    for number in range(12):
        path = f"/me/drive/root:/p{number % 3}/q{number % 2}/{number}.txt:/content"
        await caller.graph("PUT", path, 201, data=b"x")
    mirror, last = Mirror(caller), False
    while not last:
        before = set(mirror.items)
        last = await mirror.page(3)
        for item in list(mirror.items.values()):
            assert item["id"] in before or "root" in item or item["parentReference"]["id"] in mirror.items


async def test_an_invalid_or_old_token_starts_afresh(caller: Caller) -> None:
    drive = await caller.graph("GET", "/me/drive")
    link = (await caller.graph("GET", DELTA + "?token=latest"))["@odata.deltaLink"]
    await caller.graph("GET", DELTA + "?token=nonsense", 400)
    await caller.control("POST", f"/drives/{drive['id']}/resync", json={"kind": "upload"})
    answer = await caller.graph("GET", link, 410)
    assert answer["error"]["code"] == "resyncRequired"
    assert answer["error"]["innerError"]["code"] == "resyncChangesUploadDifferences"
    link = (await caller.graph("GET", DELTA))["@odata.deltaLink"]
    await caller.graph("GET", link)
    await caller.control("POST", "/clock", json={"seconds": 31 * 86400})
    await caller.sign_in()
    url = caller.facts["graph_url"] + link.removeprefix(caller.facts["graph_url"])
    async with caller.session.get(url, headers={"Authorization": f"Bearer {caller.token}"}) as response:
        assert response.status == 410
        fresh = response.headers["Location"]
    assert (await caller.graph("GET", fresh))["value"]


async def test_a_folders_delta_starts_afresh_where_it_was(personal: Caller) -> None:
    folder = await personal.graph("GET", "/me/drive/root:/Documents")
    link = await personal.graph("GET", f"/me/drive/items/{folder['id']}/delta?$select=id,name&$top=2")
    drive = folder["parentReference"]["driveId"]
    await personal.control("POST", f"/drives/{drive}/resync", json={})
    headers = {"Authorization": f"Bearer {personal.token}"}
    async with personal.session.get(exact(link["@odata.nextLink"]), headers=headers) as response:
        assert response.status == 410
        fresh = response.headers["Location"]
    page = await personal.graph("GET", fresh)
    assert [item.keys() for item in page["value"]] == [{"id", "name"}, {"id", "name"}]
    assert page["value"][0]["id"] == folder["id"]


async def test_the_folders_above_can_be_left_out(caller: Caller) -> None:
    link = (await caller.graph("GET", DELTA + "?token=latest"))["@odata.deltaLink"]
    await caller.graph("PUT", "/me/drive/root:/Documents/Reports/new.txt:/content", 201, data=b"x")
    await caller.graph("PATCH", "/me/drive/root:/Pictures", json={"name": "Photos"})
    for headers, names in (
        ({}, {"root", "Documents", "Reports", "new.txt", "Photos"}),
        ({"Prefer": "deltaExcludeParent, respond-async"}, {"root", "new.txt", "Photos"}),
    ):
        page = await caller.graph("GET", link, headers=headers)
        assert {item["name"] for item in page["value"]} == names


async def test_no_change_is_lost_where_the_folders_above_are_left_out(caller: Caller) -> None:
    link = (await caller.graph("GET", DELTA + "?token=latest&$top=1"))["@odata.deltaLink"]
    for path in ("New", "New/sub"):
        await caller.graph("PUT", f"/me/drive/root:/{path}/a.txt:/content", 201, data=b"x")
    await caller.graph("POST", "/me/drive/root:/New:/createLink", 201, json={"type": "view"})
    names: set[str] = set()
    while True:
        page = await caller.graph("GET", link, headers={"Prefer": "deltaExcludeParent"})
        names |= {item["name"] for item in page["value"]}
        if "@odata.deltaLink" in page:
            break
        link = page["@odata.nextLink"]
    assert names == {"root", "New", "sub", "a.txt"}


async def test_changes_of_permissions_can_be_shown(caller: Caller) -> None:
    link = (await caller.graph("GET", DELTA + "?token=latest"))["@odata.deltaLink"]
    await caller.graph("POST", "/me/drive/root:/Documents:/createLink", 201, json={"type": "view"})
    await caller.graph("PUT", "/me/drive/root:/Notes.md:/content", 200, data=b"x")
    prefer = {"Prefer": "deltashowsharingchanges"}
    for scopes, headers, shown in (
        (("Files.ReadWrite.All",), prefer, []),
        (("Sites.FullControl.All",), {}, []),
        (("Sites.FullControl.All",), prefer, ["Documents"]),
    ):
        await caller.sign_in(*scopes)
        page = await caller.graph("GET", link, headers=headers)
        assert {item["name"] for item in page["value"]} == {"root", "Notes.md", *shown}
        assert [item["name"] for item in page["value"] if "@microsoft.graph.sharedChanged" in item] == shown


async def test_a_time_is_a_token_on_work_drives_only(caller: Caller, personal: Caller) -> None:
    await caller.control("POST", "/clock", json={"seconds": 100})
    await caller.graph("PUT", "/me/drive/root:/new.txt:/content", 201, data=b"x")
    state = await caller.control("GET", "/clock")
    at = state["now"][:19].replace(":", "%3A") + "Z"
    page = await caller.graph("GET", f"{DELTA}?token=2020-01-01T00%3A00%3A00Z")
    assert len(page["value"]) > 5
    await caller.control("POST", "/clock", json={"seconds": 100})
    assert (await caller.graph("GET", f"{DELTA}?token={at.replace(at[:4], '2099')}"))["value"] == []
    await personal.graph("GET", f"{DELTA}?token={at}", 400)


async def test_folder_delta_is_for_personal_drives(caller: Caller, personal: Caller) -> None:
    for who, status in ((caller, 400), (personal, 200)):
        folder = await who.graph("GET", "/me/drive/root:/Documents")
        page = await who.graph("GET", f"/me/drive/items/{folder['id']}/delta", status)
    assert {item["name"] for item in page["value"]} >= {"Documents", "Welcome.txt"}
    assert "Notes.md" not in {item["name"] for item in page["value"]}


DEEDS = (
    "write",
    "folder",
    "move",
    "rename",
    "delete",
    "page",
    "open",
    "send",
    "copy",
    "wait",
    "restore",
    "act",
    "take",
)
# Few numbers, so that what happens concerns the same few names.
STEPS = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 5), st.integers(0, 5)), min_size=20, max_size=60)
TOPS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@pytest.mark.parametrize("kind", ["business", "personal"])
@settings(max_examples=30)
@given(steps=STEPS, tops=TOPS)
async def test_folding_the_feed_gives_the_drive(
    caller: Caller, kind: str, steps: list[tuple[str, int, int]], tops: list[int]
) -> None:
    await caller.control("PATCH", "/switches", json={"copy_seconds": 10})
    who = await caller.as_new_user("contoso.example" if kind == "business" else "consumers")
    day = Day(who, Mirror(who), itertools.cycle(tops))
    for step, one, two in steps:
        await day.spend(step, one, two)
    for _ in range(2):
        await day.mirror.catch_up(next(day.tops))
        assert day.mirror.paths() == await _tree(who)


@dataclass
class Day:
    """A day in the life of a drive: what its user, an upload, a copy and somebody else do to it."""

    who: Caller
    mirror: Mirror
    tops: itertools.cycle[int]
    uploads: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def spend(self, step: str, one: int, two: int) -> None:
        """Take a step, if there is anything to take it on."""
        everything = (await self.who.graph("GET", "/me/drive/root/search(q='x')?$top=1000"))["value"]
        folders = ["root", *(item["id"] for item in everything if "folder" in item)]
        folder = folders[one % len(folders)]
        item = everything[two % len(everything)]["id"] if everything else None
        match step:
            case "page":
                await self.mirror.page(next(self.tops))
            case "write":
                await self._try("PUT", f"items/{folder}:/x{two}.txt:/content", data=b"x" * two)
            case "folder":
                await self._try("POST", f"items/{folder}/children", json={"name": f"x{two}", "folder": {}})
            case "move" if item:
                await self._try("PATCH", f"items/{item}", json={"parentReference": {"id": folder}})
            case "rename" if item:
                await self._try("PATCH", f"items/{item}", json={"name": f"x{one}r"})
            case "delete" if item:
                await self._try("DELETE", f"items/{item}")
                self.deleted.append(item)
            case "restore" if self.deleted:
                await self._try("POST", f"items/{self.deleted[one % len(self.deleted)]}/restore", json={})
            case "copy" if item:
                body = {"parentReference": {"id": folder}, "name": f"x{two}c"}
                await self._try("POST", f"items/{item}/copy", json=body)
            case _:
                await self._elsewhere(step, one, two, folder)

    async def _elsewhere(self, step: str, one: int, two: int, folder: str) -> None:
        """Take a step that does not go through Graph."""
        owner = self.who.user["email"]
        match step:
            case "open":
                made = await self._try("POST", f"items/{folder}:/x{two}.txt:/createUploadSession")
                self.uploads.extend(filter(None, [made.get("uploadUrl")]))
            case "send" if self.uploads:
                url, headers = self.uploads[one % len(self.uploads)], {"Content-Range": "bytes 0-1/2"}
                async with self.who.session.put(exact(url), data=b"up", headers=headers) as response:
                    assert response.status < 500, await response.text()
            case "wait":
                await self.who.control("POST", "/clock", json={"seconds": 10})
            case "act":
                url = f"{self.who.facts['control_url']}/drives/{owner}/files/x{one}/x{two}.txt"
                async with self.who.session.put(url, data=b"theirs") as response:
                    assert response.status < 500, await response.text()
            case "take":
                url = f"{self.who.facts['control_url']}/drives/{owner}/items/x{two}"
                async with self.who.session.delete(url) as response:
                    assert response.status < 500, await response.text()

    async def _try(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return what comes of it, and take a refusal for an answer, but no failure."""
        url, headers = (
            f"{self.who.facts['graph_url']}/v1.0/me/drive/{path}",
            {"Authorization": f"Bearer {self.who.token}"},
        )
        async with self.who.session.request(method, url, headers=headers, **options) as response:
            assert response.status < 500, await response.text()
            return dict(await response.json()) if response.content_type == "application/json" else {}


async def test_paths_come_where_older_clients_got_them(caller: Caller) -> None:
    """Debian's `onedrive` asks by the root's id, follows its links, and needs the paths."""
    root = await caller.graph("GET", "/me/drive/root")
    path = f"/drives/{root['parentReference']['driveId']}/items/{root['id']}/delta?$top=5"
    while "@odata.deltaLink" not in (page := await caller.graph("GET", path)):
        assert all("path" in item["parentReference"] for item in page["value"] if "root" not in item)
        path = page["@odata.nextLink"]
        assert f"/items/{root['id']}/delta?" in path
    await caller.graph("PUT", "/me/drive/root:/late.txt:/content", 201, data=b"x")
    late = (await caller.graph("GET", page["@odata.deltaLink"]))["value"][-1]
    assert late["parentReference"]["path"].endswith("/root:")
