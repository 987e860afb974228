"""What Microsoft sometimes does and clients must bear, each behind a switch."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from tests.sandbox.caller import Caller, exact
from tests.sandbox.test_delta import Mirror


async def test_sharepoint_changes_office_files_when_they_arrive(caller: Caller, personal: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"rewrite_office_files": True})
    path = "/me/drive/root:/report.docx"
    assert (await caller.graph("PUT", f"{path}:/content", 201, data=b"sent"))["size"] > 4
    assert (await personal.graph("PUT", f"{path}:/content", 201, data=b"sent"))["size"] == 4
    assert (await caller.graph("PUT", "/me/drive/root:/a.txt:/content", 201, data=b"sent"))["size"] == 4
    url = (await caller.graph("POST", "/me/drive/root:/up.xlsx:/createUploadSession", json={}))["uploadUrl"]
    headers = {"Content-Range": "bytes 0-3/4"}
    async with caller.session.put(exact(url), data=b"sent", headers=headers) as response:
        assert (await response.json())["size"] > 4


async def test_hashes_come_late(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"hash_delay_seconds": 60})
    item = await caller.graph("PUT", "/me/drive/root:/late.txt:/content", 201, data=b"x")
    assert "hashes" not in item["file"]
    await caller.control("POST", "/clock", json={"seconds": 61})
    assert (await caller.graph("GET", "/me/drive/root:/late.txt"))["file"]["hashes"]["quickXorHash"]


async def test_a_drive_id_has_two_spellings(personal: Caller) -> None:
    await personal.control("PATCH", "/switches", json={"short_drive_ids": True})
    whole = (await personal.graph("GET", "/me/drive"))["id"]
    short = (await personal.graph("GET", "/me/drive/root:/Notes.md"))["parentReference"]["driveId"]
    assert (short != whole, short) == (True, whole.lower().lstrip("0"))
    assert (await personal.graph("GET", f"/drives/{short}/root:/Notes.md"))["name"] == "Notes.md"


async def test_the_root_answers_to_its_former_id(personal: Caller) -> None:
    drive = (await personal.graph("GET", "/me/drive"))["id"]
    assert "root" in await personal.graph("GET", f"/drives/{drive}/items/{drive}!101")


async def test_lists_may_be_empty(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"list_own_drives": False, "shared_with_me": False})
    grace = await caller.as_user("grace@contoso.example")
    body = {"recipients": [{"email": "grace@contoso.example"}], "roles": ["read"]}
    await caller.graph("POST", "/me/drive/root:/Documents:/invite", json=body)
    assert (await grace.graph("GET", "/me/drives"))["value"] == []
    assert (await grace.graph("GET", "/me/drive/sharedWithMe"))["value"] == []
    assert (await grace.graph("GET", "/me/drive"))["driveType"] == "business"


async def test_a_change_of_dates_is_a_version_on_work_drives(caller: Caller, personal: Caller) -> None:
    dates = {"fileSystemInfo": {"lastModifiedDateTime": "2001-02-03T04:05:06Z"}}
    for who, names in ((caller, ["3.0", "2.0", "1.0"]), (personal, ["2.0", "1.0"])):
        first = await who.graph("PUT", "/me/drive/root:/dated.txt:/content", 201, data=b"1")
        dated = await who.graph("PATCH", "/me/drive/root:/dated.txt", json=dates)
        assert (dated["cTag"], dated["size"]) == (first["cTag"], 1)
        await who.graph("PUT", "/me/drive/root:/dated.txt:/content", 200, data=b"22")
        versions = (await who.graph("GET", "/me/drive/root:/dated.txt:/versions"))["value"]
        assert [one["id"] for one in versions] == names


async def test_a_notebook_is_neither_file_nor_folder_and_has_no_contents(caller: Caller) -> None:
    await caller.control("POST", f"/drives/{caller.user['email']}/packages", json={"path": "Notes/Mine"})
    await caller.control("POST", f"/drives/{caller.user['email']}/packages", 400, json={"path": "Notes/Mine"})
    grown = {"files": {"Seeded": {"*package": "oneNote"}}}
    await caller.control("POST", f"/drives/{caller.user['email']}/grow", json=grown)
    for path in ("Notes/Mine", "Seeded"):
        item = await caller.graph("GET", f"/me/drive/root:/{path}")
        assert item["package"] == {"type": "oneNote"}
        assert not item.keys() & {"file", "folder", "@microsoft.graph.downloadUrl"}
        await caller.graph("GET", f"/me/drive/root:/{path}:/content", 400)
        await caller.graph("PUT", f"/me/drive/root:/{path}:/content", 409, data=b"x")
        await caller.graph("POST", f"/me/drive/root:/{path}:/createUploadSession", 409, json={})
        await caller.graph("POST", f"/me/drive/root:/{path}:/copy", 202, json={"name": "Copied"})
        await caller.graph("DELETE", f"/me/drive/root:/{path}", 204)
    feed = await caller.graph("GET", "/me/drive/root/delta")
    assert [one["name"] for one in feed["value"] if "package" in one] == ["Copied", "Copied"]


async def test_a_renamed_shortcut_keeps_the_name_of_its_target(caller: Caller) -> None:
    grace = await caller.as_user("grace@contoso.example")
    target = await caller.graph("GET", "/me/drive/root:/Documents")
    body = {"recipients": [{"email": "grace@contoso.example"}], "roles": ["read"]}
    await caller.graph("POST", f"/me/drive/items/{target['id']}/invite", json=body)
    remote = {"id": target["id"], "parentReference": {"driveId": target["parentReference"]["driveId"]}}
    body = {"name": "Ada's", "remoteItem": remote}
    made = await grace.graph("POST", "/me/drive/root/children", 201, json=body)
    renamed = await grace.graph("PATCH", f"/me/drive/items/{made['id']}", json={"name": "Hers"})
    assert (renamed["name"], renamed["remoteItem"]["name"]) == ("Hers", "Documents")
    shown = renamed["remoteItem"]
    assert shown["size"] == target["size"]
    assert shown.keys() >= {"folder", "fileSystemInfo", "createdBy", "webUrl", "shared", "parentReference"}
    assert shown["parentReference"]["driveId"] == remote["parentReference"]["driveId"]
    copied = {"name": "Again", "parentReference": {"id": "root"}}
    await grace.graph("POST", f"/me/drive/items/{made['id']}/copy", 202, json=copied)
    assert (await grace.graph("GET", "/me/drive/root:/Again"))["remoteItem"]["id"] == target["id"]
    await caller.graph("DELETE", f"/me/drive/items/{target['id']}", 204)
    assert (await grace.graph("GET", f"/me/drive/items/{made['id']}"))["remoteItem"] == remote


async def test_names_may_come_percent_encoded(caller: Caller) -> None:
    await caller.graph("PUT", "/me/drive/root:/a%20b.txt:/content", 201, data=b"x")
    await caller.control("PATCH", "/switches", json={"encoded_names": True})
    assert (await caller.graph("GET", "/me/drive/root:/a%20b.txt"))["name"] == "a%20b.txt"


async def test_the_address_to_start_afresh_from_may_lead_nowhere(caller: Caller) -> None:
    drive = await caller.graph("GET", "/me/drive")
    link = (await caller.graph("GET", "/me/drive/root/delta"))["@odata.deltaLink"]
    await caller.control("PATCH", "/switches", json={"encoded_resync": True})
    await caller.control("POST", f"/drives/{drive['id']}/resync", json={"kind": "apply"})
    async with caller.session.get(exact(link), headers={"Authorization": f"Bearer {caller.token}"}) as gone:
        location = gone.headers["Location"]
        assert gone.status == 410
    assert "%252F" in location
    async with caller.session.get(exact(location), headers={"Authorization": f"Bearer {caller.token}"}) as lost:
        assert lost.status >= 400


async def test_photographs_change_when_they_arrive(caller: Caller, personal: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"rewrite_pictures": True})
    for who, name, rewritten in (
        (caller, "a.jpg", True),
        (personal, "a.JPEG", True),
        (caller, "a.heic", False),
        (personal, "a.heic", True),
        (caller, "a.docx", False),
    ):
        item = await who.graph("PUT", f"/me/drive/root:/{name}:/content", 201, data=b"sent")
        assert (item["size"] > 4) == rewritten


async def test_a_download_url_must_be_used_as_it_was_given(caller: Caller) -> None:
    url = (await caller.graph("GET", "/me/drive/root:/Notes.md"))["@microsoft.graph.downloadUrl"]
    bare, _, query = url.partition("?")
    for other, status in (
        (url, 200),
        (f"{bare}?{urlencode(parse_qsl(query))}", 401),
        (url.replace("%3D", "="), 401),
        (url.replace("%", "%25"), 401),
    ):
        async with caller.session.get(exact(other)) as response:
            assert response.status == status, other


async def test_items_may_name_the_root_by_its_former_id(personal: Caller) -> None:
    await personal.control("PATCH", "/switches", json={"former_root_ids": True})
    root, item = [await personal.graph("GET", f"/me/drive/{path}") for path in ("root", "root:/Notes.md")]
    drive = item["parentReference"]["driveId"]
    assert (root["id"], item["parentReference"]["id"]) == (f"{drive}!sea8cc6beffdb43d7976fbc7da445c639", f"{drive}!101")
    assert (await personal.graph("GET", f"/me/drive/items/{drive}!101"))["id"] == root["id"]


async def test_delta_comes_to_know_later_than_the_drive(caller: Caller) -> None:
    await caller.control("POST", "/clock", json={"seconds": 60})
    await caller.control("PATCH", "/switches", json={"delta_lag_seconds": 60})
    mirror = Mirror(caller)
    await caller.graph("PUT", "/me/drive/root:/late.txt:/content", 201, data=b"x")
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    await mirror.catch_up()
    assert not {"/late.txt", "/Notes.md"} & mirror.paths()
    await caller.control("POST", "/clock", json={"seconds": 61})
    page = await caller.graph("GET", mirror.link)
    assert {"late.txt"} == {item["name"] for item in page["value"] if "file" in item and "deleted" not in item}
    await caller.graph("PUT", "/me/drive/root:/latest.txt:/content", 201, data=b"x")
    latest = (await caller.graph("GET", "/me/drive/root/delta?token=latest"))["@odata.deltaLink"]
    await caller.control("POST", "/clock", json={"seconds": 61})
    assert "latest.txt" in {item["name"] for item in (await caller.graph("GET", latest))["value"]}


async def test_delta_may_come_in_disorder(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"delta_disorder": True})
    mirror = Mirror(caller)
    page = await caller.graph("GET", mirror.link)
    ids = [item["id"] for item in page["value"]]
    assert len(ids) == len(set(ids)) + 1
    assert "root" in page["value"][-2]
    await mirror.catch_up(3)
    assert "/Documents/Reports/Annual report.docx" in mirror.paths()


async def test_the_answers_of_a_batch_come_in_any_order(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"batch_disorder": True})
    parts = [{"id": name, "method": "GET", "url": "/me/drive"} for name in "abc"]
    answer = await caller.graph("POST", "/$batch", json={"requests": parts})
    assert [one["id"] for one in answer["responses"]] == ["c", "b", "a"]
