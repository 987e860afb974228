"""Copies, search, versions, thumbnails, sharing, the bin, special folders, batches."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.sandbox.caller import Caller, exact


async def _monitor(caller: Caller, path: str, body: Any) -> tuple[int, Any, str]:
    url, headers = caller.facts["graph_url"] + "/v1.0" + path, {"Authorization": f"Bearer {caller.token}"}
    async with caller.session.post(exact(url), json=body, headers=headers) as response:
        assert response.status == 202, await response.text()
        location = response.headers["Location"]
    async with caller.session.get(exact(location)) as response:
        return response.status, await response.json(), location


async def test_a_copy_is_watched_from_another_origin(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"copy_seconds": 60})
    source = await caller.graph("GET", "/me/drive/root:/Documents")
    body = {"name": "Copied", "parentReference": {"path": "/drive/root:/Pictures"}}
    status, answer, location = await _monitor(caller, f"/me/drive/items/{source['id']}/copy", body)
    assert (status, answer["status"]) == (202, "inProgress")
    assert not location.startswith(caller.facts["graph_url"])
    await caller.control("POST", "/clock", json={"seconds": 60})
    async with caller.session.get(exact(location)) as response:
        answer = await response.json()
    assert answer["status"] == "completed"
    copied = await caller.graph("GET", f"/me/drive/items/{answer['resourceId']}")
    assert (copied["name"], copied["size"]) == ("Copied", source["size"])
    await caller.graph("GET", "/me/drive/root:/Pictures/Copied/Reports/Annual report.docx".replace(" ", "%20"))


async def test_a_copy_onto_a_taken_name_fails_in_its_monitor(caller: Caller, personal: Caller) -> None:
    for who, query, outcome in (
        (caller, "", "failed"),
        (caller, "?@microsoft.graph.conflictBehavior=rename", "completed"),
        (personal, "?@microsoft.graph.conflictBehavior=rename", "failed"),
    ):
        item = await who.graph("GET", "/me/drive/root:/Notes.md")
        _, answer, _ = await _monitor(who, f"/me/drive/items/{item['id']}/copy{query}", {"name": "notes.MD"})
        assert answer["status"] == outcome


async def test_a_folder_cannot_be_copied_into_itself(caller: Caller) -> None:
    folder = await caller.graph("GET", "/me/drive/root:/Documents")
    body = {"parentReference": {"id": folder["id"]}, "name": "again"}
    _, answer, _ = await _monitor(caller, f"/me/drive/items/{folder['id']}/copy", body)
    assert answer["status"] == "failed"


async def test_a_copy_can_be_of_children_only_and_bring_versions(caller: Caller) -> None:
    for content in (b"1", b"22"):
        await caller.graph("PUT", "/me/drive/root:/Documents/Welcome.txt:/content", 200, data=content)
    await caller.graph("POST", "/me/drive/root/children", 201, json={"name": "To", "folder": {}})
    body = {"parentReference": {"path": "/drive/root:/To"}, "childrenOnly": True}
    for versions in (False, True):
        asked = body | {"includeAllVersionHistory": versions}
        _, answer, _ = await _monitor(caller, "/me/drive/root:/Documents:/copy", asked)
        assert answer["status"] == "completed"
        names = [one["name"] for one in (await caller.graph("GET", "/me/drive/root:/To:/children"))["value"]]
        assert names == ["Budget 2026.csv", "Reports", "Welcome.txt"]
        found = (await caller.graph("GET", "/me/drive/root:/To/Welcome.txt:/versions"))["value"]
        assert [one["id"] for one in found] == (["3.0", "2.0", "1.0"] if versions else ["1.0"])
        for name in names:
            await caller.graph("DELETE", f"/me/drive/root:/To/{name}".replace(" ", "%20"), 204)
    await caller.graph("POST", "/me/drive/root:/Notes.md:/copy", 400, json=body)
    await caller.graph("POST", "/me/drive/root/copy", 400, json={"name": "Root"})
    await _monitor(caller, "/me/drive/items/root/copy", body)


async def test_search_finds_names_and_texts_with_a_lag(caller: Caller) -> None:
    await caller.graph("PUT", "/me/drive/root:/it's.txt:/content", 201, data=b"a needle in hay")
    for query, names in (
        ("NEEDLE", ["it's.txt"]),
        ("it''s", ["it's.txt"]),
        ("report", ["Annual report.docx", "Reports"]),
    ):
        found = await caller.graph("GET", f"/me/drive/root/search(q='{query}')")
        assert [item["name"] for item in found["value"]] == names
    assert (await caller.graph("GET", "/me/drive/search(q='needle')"))["value"]
    await caller.graph("GET", "/me/drive/root/search(q='')", 400)
    await caller.control("PATCH", "/switches", json={"search_lag_seconds": 60})
    await caller.graph("PUT", "/me/drive/root:/later needle.txt:/content".replace(" ", "%20"), 201, data=b"")
    assert not (await caller.graph("GET", "/me/drive/root/search(q='needle')"))["value"]
    await caller.control("POST", "/clock", json={"seconds": 61})
    assert len((await caller.graph("GET", "/me/drive/root/search(q='needle')?$top=1"))["value"]) == 1


async def test_versions_can_be_read_and_restored(caller: Caller, personal: Caller) -> None:
    for who in (caller, personal):
        for body in (b"one", b"two!"):
            item = await who.graph("PUT", "/me/drive/root:/v.txt:/content", 200 if body == b"two!" else 201, data=body)
        path = f"/me/drive/items/{item['id']}/versions"
        versions = (await who.graph("GET", path))["value"]
        assert [(one["id"], one["size"]) for one in versions] == [("2.0", 4), ("1.0", 3)]
        url = who.facts["graph_url"] + "/v1.0" + path + "/1.0/content"
        async with who.session.get(url, headers={"Authorization": f"Bearer {who.token}"}) as response:
            assert await response.read() == b"one"
        await who.graph("POST", f"{path}/1.0/restoreVersion", 204)
        assert (await who.graph("GET", f"/me/drive/items/{item['id']}"))["size"] == 3
        await who.graph("DELETE", f"{path}/2.0", 400 if who is personal else 204)


async def test_pictures_have_thumbnails(caller: Caller) -> None:
    found = (await caller.graph("GET", "/me/drive/root:/Pictures/Holiday.jpg:/thumbnails"))["value"][0]
    async with caller.session.get(exact(found["medium"]["url"])) as response:
        assert (await response.read())[:4] == b"\x89PNG"
    custom = await caller.graph("GET", "/me/drive/root:/Pictures/Holiday.jpg:/thumbnails/0/c300x400_crop")
    assert (custom["width"], custom["height"]) == (300, 400)
    assert (await caller.graph("GET", "/me/drive/root:/Notes.md:/thumbnails"))["value"] == []
    whole = await caller.graph("GET", "/me/drive/root:/Pictures?$expand=children($select=id,name),thumbnails")
    assert [child.keys() for child in whole["children"]] == [{"id", "name"}]
    assert whole["thumbnails"] == []


async def test_a_link_leads_others_to_the_item(caller: Caller) -> None:
    path = "/me/drive/root:/Documents:/createLink"
    link = await caller.graph("POST", path, 201, json={"type": "view", "scope": "organization"})
    again = await caller.graph("POST", path, 200, json={"type": "view", "scope": "organization"})
    assert again["id"] == link["id"]
    token = "u!" + base64.urlsafe_b64encode(link["link"]["webUrl"].encode()).decode().rstrip("=")
    assert token == link["shareId"]
    grace = await caller.as_user("grace@contoso.example")
    assert (await grace.graph("GET", f"/shares/{token}/driveItem"))["name"] == "Documents"
    assert (await grace.graph("GET", f"/shares/{token}/root:/Welcome.txt"))["name"] == "Welcome.txt"
    await grace.graph("PUT", f"/shares/{token}/root:/x.txt:/content", 403, data=b"x")
    for nonsense in ("u!bm90aGluZw", "%C2%80", "u!%25"):
        await grace.graph("GET", f"/shares/{nonsense}/driveItem", 404)
    await caller.graph("DELETE", f"/me/drive/root:/Documents:/permissions/{link['id']}", 204)
    await grace.graph("GET", f"/shares/{token}/driveItem", 404)


async def test_an_invitation_opens_a_folder_and_no_more(caller: Caller) -> None:
    grace = await caller.as_user("grace@contoso.example")
    folder = await caller.graph("GET", "/me/drive/root:/Documents")
    drive = folder["parentReference"]["driveId"]
    inside = f"/drives/{drive}/items/{folder['id']}"
    await grace.graph("GET", inside, 403)
    body = {"recipients": [{"email": "grace@contoso.example"}], "roles": ["read"]}
    permission = (await caller.graph("POST", f"/me/drive/items/{folder['id']}/invite", json=body))["value"][0]
    assert len((await grace.graph("GET", f"{inside}/children"))["value"]) == 3
    await grace.graph("PUT", f"{inside}:/x.txt:/content", 403, data=b"x")
    change = {"roles": ["write"]}
    await caller.graph("PATCH", f"/me/drive/items/{folder['id']}/permissions/{permission['id']}", json=change)
    await grace.graph("PUT", f"{inside}:/x.txt:/content", 201, data=b"x")
    await grace.graph("GET", f"/drives/{drive}/root:/Notes.md", 403)
    shared = (await grace.graph("GET", "/me/drive/sharedWithMe"))["value"]
    assert shared[0]["remoteItem"]["parentReference"]["driveId"] == drive
    remote = {"id": folder["id"], "parentReference": {"driveId": drive}}
    shortcut = {"name": "Ada's documents", "remoteItem": remote}
    made = await grace.graph("POST", "/me/drive/root/children", 201, json=shortcut)
    assert made["remoteItem"]["id"] == folder["id"]
    assert "folder" not in made


async def test_a_copy_goes_into_a_folder_shared_for_writing_and_no_other(caller: Caller) -> None:
    grace = await caller.as_user("grace@contoso.example")
    folder = await caller.graph("GET", "/me/drive/root:/Documents")
    target = {"driveId": folder["parentReference"]["driveId"], "id": folder["id"]}
    source = await grace.graph("GET", "/me/drive/root:/Notes.md")
    copy = f"/me/drive/items/{source['id']}/copy"
    await grace.graph("POST", copy, 403, json={"parentReference": target})
    body = {"recipients": [{"email": "grace@contoso.example"}], "roles": ["read"]}
    permission = (await caller.graph("POST", f"/me/drive/items/{folder['id']}/invite", json=body))["value"][0]
    await grace.graph("POST", copy, 403, json={"parentReference": target})
    # What may only be read may be copied away.
    inside = f"/drives/{target['driveId']}/items/{target['id']}:/Welcome.txt:"
    mine = (await grace.graph("GET", "/me/drive/root"))["parentReference"]["driveId"]
    root = {"driveId": mine, "id": "root"}
    await grace.graph("POST", f"{inside}/copy", 202, json={"parentReference": root})
    change = f"/me/drive/items/{folder['id']}/permissions/{permission['id']}"
    await caller.graph("PATCH", change, json={"roles": ["write"]})
    await grace.graph("POST", copy, 202, json={"parentReference": target})
    assert (await caller.graph("GET", "/me/drive/root:/Documents/Notes.md"))["size"] == source["size"]


async def test_the_bin_gives_back_on_personal_drives_only(caller: Caller, personal: Caller) -> None:
    for who, status in ((caller, 400), (personal, 200)):
        item = await who.graph("GET", "/me/drive/root:/Documents")
        await who.graph("DELETE", "/me/drive/root:/Documents", 204)
        await who.graph("POST", f"/me/drive/items/{item['id']}/restore", status, json={})
    assert (await personal.graph("GET", "/me/drive/root:/Documents/Welcome.txt"))["parentReference"]["id"] == item["id"]
    await personal.graph("POST", "/me/drive/root:/Documents:/permanentDelete", 400)
    await caller.graph("POST", "/me/drive/root:/Notes.md:/permanentDelete", 204)


async def test_special_folders_appear_when_first_used(caller: Caller) -> None:
    await caller.sign_in("Files.Read")
    await caller.graph("GET", "/me/drive/special/music", 403)
    await caller.sign_in("Files.ReadWrite.AppFolder")
    made = await caller.graph("PUT", "/me/drive/special/approot:/mine.txt:/content", 201, data=b"x")
    await caller.graph("GET", f"/me/drive/items/{made['id']}")
    await caller.graph("GET", "/me/drive/root:/Notes.md", 403)
    await caller.sign_in()
    assert (await caller.graph("GET", "/me/drive/special/music"))["specialFolder"]["name"] == "music"
    await caller.graph("GET", "/me/drive/special/attic", 404)


async def test_a_batch_answers_each_part_on_its_own(caller: Caller) -> None:
    await caller.control("POST", "/faults", json={"operation": "drive.get", "status": 429, "retry_after": 3})
    parts = [
        {"id": "1", "method": "GET", "url": "/me/drive"},
        {"id": "2", "method": "GET", "url": "/me/drive/root:/Notes.md:/content"},
        {"id": "3", "method": "GET", "url": "/me/drive/root?$select=id", "dependsOn": ["1"]},
        {
            "id": "4",
            "method": "POST",
            "url": "/me/drive/root/children",
            "headers": {"Content-Type": "application/json"},
            "body": {"name": "From a batch", "folder": {}},
        },
        {"id": "5", "method": "GET", "url": "/me/drive/root:/From a batch", "dependsOn": ["4"]},
    ]
    answer = await caller.graph("POST", "/$batch", json={"requests": parts})
    found = {one["id"]: one for one in answer["responses"]}
    assert {name: one["status"] for name, one in found.items()} == {"1": 429, "2": 302, "3": 424, "4": 201, "5": 200}
    assert found["1"]["headers"]["Retry-After"] == "3"
    assert found["2"]["headers"]["Location"].startswith("http")
    ledger = await caller.control("GET", "/ledger?service=graph")
    assert [entry["operation"] for entry in ledger["entries"]].count("drive.get") == 1


@pytest.mark.parametrize(
    "parts",
    [
        None,
        [],
        [1],
        [{"id": "1", "method": "GET", "url": "/me"}] * 2,
        [{"id": str(n), "method": "GET", "url": "/me"} for n in range(21)],
        [{"method": "GET", "url": "/me"}],
    ],
)
async def test_a_malformed_batch_is_refused_whole(caller: Caller, parts: Any) -> None:
    await caller.graph("POST", "/$batch", 400, json={"requests": parts})


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"method": "FLY"}, "method"),
        ({"url": 1}, "relative url"),
        ({"url": "https://evil.example/"}, "'https:'"),
        ({"url": "/v1.0/me/drive"}, "'v1.0'"),
        ({"url": "/me/nonsense"}, "'nonsense'"),
        ({"url": "/me/drive/root/nonsense"}, "'nonsense'"),
        ({"dependsOn": ["9"]}, "malformed"),
        ({"headers": 1}, "malformed"),
        ({"method": "POST", "url": "/me/drive/root/children", "body": {"name": "a", "folder": {}}}, "Content-Type"),
    ],
)
async def test_a_bad_part_of_a_batch_leaves_the_others_alone(
    caller: Caller, part: dict[str, Any], message: str
) -> None:
    parts = [{"id": "1", "method": "GET", "url": "/me"} | part, {"id": "2", "method": "GET", "url": "me/drive"}]
    bad, good = (await caller.graph("POST", "/$batch", json={"requests": parts}))["responses"]
    assert (bad["status"], good["status"]) == (400, 200)
    assert message in bad["body"]["error"]["message"]
    assert bad["headers"]["request-id"] == bad["body"]["error"]["innerError"]["request-id"]
    assert bad["headers"]["request-id"] != good["headers"]["request-id"]


async def test_a_part_that_waits_in_vain_has_an_id_of_its_own(caller: Caller) -> None:
    first = {"id": "1", "method": "GET", "url": "/me/drive/items/nothing"}
    parts = [first, {"id": "2", "method": "GET", "url": "/me", "dependsOn": ["1"]}]
    failed, waited = (await caller.graph("POST", "/$batch", json={"requests": parts}))["responses"]
    assert (failed["status"], waited["status"]) == (404, 424)
    assert waited["headers"]["request-id"] not in ("", failed["headers"]["request-id"])


async def test_every_host_tells_requests_apart(caller: Caller) -> None:
    item = await caller.graph("GET", "/me/drive/root:/Notes.md")
    upload = await caller.graph("POST", "/me/drive/root:/up.bin:/createUploadSession", json={})
    _, _, monitor = await _monitor(caller, f"/me/drive/items/{item['id']}/copy", {"name": "b"})
    for url in (item["@microsoft.graph.downloadUrl"], upload["uploadUrl"], monitor):
        async with caller.session.get(exact(url), headers={"client-request-id": "mine"}) as response:
            assert response.status == 200
            assert response.headers["client-request-id"] == "mine"
            assert response.headers["request-id"]


async def test_contents_are_refused_where_json_belongs(caller: Caller) -> None:
    headers = {"Content-Type": "text/plain"}
    for method, path in (
        ("POST", "/me/drive/root/children"),
        ("PUT", "/me/drive/root:/a:b.txt:/content"),
        ("PUT", "/me/drive/root:/a%3Ab.txt:/content"),
        ("PATCH", "/me/drive/root:/Notes.md"),
    ):
        answer = await caller.graph(method, path, 400, data=b"{}", headers=headers)
        assert answer["error"]["message"] == "Entity only allows writes with a JSON Content-Type header."


async def test_retry_after_is_a_whole_number(caller: Caller) -> None:
    for seconds, header in ((2.5, "3"), (1_000_000, "1000000"), (0, "0")):
        await caller.control("POST", "/faults", json={"status": 429, "retry_after": seconds, "service": "graph"})
        url, headers = caller.facts["graph_url"] + "/v1.0/me", {"Authorization": f"Bearer {caller.token}"}
        async with caller.session.get(url, headers=headers) as response:
            assert response.headers["Retry-After"] == header
