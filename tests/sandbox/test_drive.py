"""A drive over Graph: addresses, listings, contents, changes, and errors."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.caller import Caller, exact


async def test_the_drive_and_its_root_are_there(caller: Caller, personal: Caller) -> None:
    for who, kind in ((caller, "business"), (personal, "personal")):
        drive = await who.graph("GET", "/me/drive")
        assert drive["driveType"] == kind
        assert drive["quota"]["used"] > 0
        root = await who.graph("GET", f"/drives/{drive['id']}/root")
        assert root["root"] == {}
        assert root["parentReference"]["driveId"] == drive["id"]
        assert ("cTag" in root) == (kind == "personal")
        assert root["size"] == drive["quota"]["used"]


@pytest.mark.parametrize(
    "address",
    [
        "/me/drive/root:/Documents/Welcome.txt",
        "/me/drive/root:/documents/WELCOME.TXT:",
        "/me/drive/root:/Documents/Welcome.txt:/",
        "/me/drive/root%3A%2FDocuments%2FWelcome.txt%3A",
        "/me/drive/items/root:/Documents/Welcome.txt:",
        "/me/drive/items/root%3A/Documents/Welcome.txt",
        "/me/drive/root/children('Documents')/children('Welcome.txt')",
        "/me/drive/special/documents:/Welcome.txt",
        "/users/ada@contoso.example/drive/root:/Documents/Welcome.txt",
    ],
)
async def test_every_spelling_of_an_address_finds_the_file(caller: Caller, address: str) -> None:
    item = await caller.graph("GET", address)
    assert item["name"] == "Welcome.txt"
    assert item["parentReference"]["path"].endswith("/root:/Documents")
    again = await caller.graph("GET", f"/me/drive/items/{item['id']}:/")
    for shown in (item, again):
        del shown["@microsoft.graph.downloadUrl"]  # it is another from second to second
    assert again == item


@pytest.mark.parametrize(
    "name", ["a b.txt", "#1.txt", "100%.txt", "%25.txt", "a+b.txt", "\U0001f600.txt", "e\u0301.txt", "it's.txt"]
)
async def test_names_come_back_as_they_were_given(caller: Caller, name: str) -> None:
    made = await caller.graph("PUT", f"/me/drive/root:/{quote(name)}:/content", 201, data=b"x")
    assert made["name"] == name
    found = await caller.graph("GET", f"/me/drive/root:/{quote(name)}")
    assert found["id"] == made["id"]


async def test_names_that_differ_only_in_case_are_one(caller: Caller) -> None:
    await caller.graph("PUT", "/me/drive/root:/Report.txt:/content", 201, data=b"1")
    again = await caller.graph("PUT", "/me/drive/root:/REPORT.TXT:/content", 200, data=b"22")
    assert (again["name"], again["size"]) == ("Report.txt", 2)
    folder = {"name": "report.TXT", "folder": {}}
    assert (await caller.graph("POST", "/me/drive/root/children", 409, json=folder))["error"][
        "code"
    ] == "nameAlreadyExists"


LETTERS = st.characters(codec="utf-8", exclude_characters='"*:<>?/\\|~_.\x7f', exclude_categories=["Cc", "Cs", "Zs"])
# On personal drives some letters are two others.
LIGATURES = {"\u00e6": "ae", "\u00c6": "AE", "ae": "\u00c6", "Ae": "\u00e6"}


@st.composite
def twins(draw: st.DrawFn) -> tuple[str, str]:
    """Two names that differ at most in case."""
    name = "x" + draw(st.text(LETTERS, min_size=1, max_size=20))
    forms = [[form for form in (char, char.upper(), char.lower()) if len(form) == 1] for char in name]
    return name, "".join(draw(st.sampled_from(form)) for form in forms)


@pytest.mark.parametrize("kind", ["business", "personal"])
@settings(max_examples=60)
@given(names=twins(), ligature=st.sampled_from(sorted(LIGATURES)))
async def test_names_that_differ_only_in_case_collide(
    caller: Caller, kind: str, names: tuple[str, str], ligature: str
) -> None:
    who = await caller.as_new_user("contoso.example" if kind == "business" else "consumers")
    first, second = names[0] + ligature, names[1] + ligature
    made = await who.graph("PUT", f"/me/drive/root:/{quote(first)}:/content", 201, data=b"x")
    assert made["name"] == first
    assert (await who.graph("GET", f"/me/drive/root:/{quote(second)}"))["id"] == made["id"]
    await who.graph("POST", "/me/drive/root/children", 409, json={"name": second, "folder": {}})
    await who.graph("PUT", f"/me/drive/root:/{quote(second)}:/content", 200, data=b"y")
    likeness = {"name": names[1] + LIGATURES[ligature], "folder": {}}
    await who.graph("POST", "/me/drive/root/children", 409 if kind == "personal" else 201, json=likeness)


@pytest.mark.parametrize(
    "name", ["a:b", "a/b", "CON", "com1", " a", "a ", "a.", "~$a", "x_vti_y", ".lock", "desktop.ini", "", "a" * 300]
)
async def test_reserved_names_are_refused(caller: Caller, name: str) -> None:
    answer = await caller.graph("POST", "/me/drive/root/children", 400, json={"name": name, "folder": {}})
    assert answer["error"]["code"] == "invalidRequest"


async def test_children_come_in_pages_that_meet_nothing_twice(caller: Caller) -> None:
    folder = await caller.graph("POST", "/me/drive/root/children", 201, json={"name": "Many", "folder": {}})
    for number in range(25):
        await caller.graph("PUT", f"/me/drive/items/{folder['id']}:/{number:02}.txt:/content", 201, data=b"x" * number)
    seen: list[str] = []
    url = f"/me/drive/items/{folder['id']}/children?top=10&$select=name,id"
    while url:
        page = await caller.graph("GET", url)
        seen += [item["name"] for item in page["value"]]
        assert all(item.keys() == {"name", "id"} for item in page["value"])
        url = page.get("@odata.nextLink", "")
    assert seen == [f"{number:02}.txt" for number in range(25)]
    by_size = await caller.graph("GET", f"/me/drive/items/{folder['id']}/children?$orderby=size%20desc&$top=3")
    assert [item["size"] for item in by_size["value"]] == [24, 23, 22]
    assert by_size["@odata.nextLink"].startswith(caller.facts["graph_url"])


async def test_a_download_is_a_redirect_to_another_origin_that_takes_ranges(caller: Caller) -> None:
    body = bytes(range(256)) * 400
    item = await caller.graph("PUT", "/me/drive/root:/big.bin:/content", 201, data=body)
    url = caller.facts["graph_url"] + f"/v1.0/me/drive/items/{item['id']}/content"
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with caller.session.get(url, headers=headers, allow_redirects=False) as response:
        assert response.status == 302
        location = response.headers["Location"]
    assert not location.startswith(caller.facts["graph_url"])
    for wanted, status, expected in (
        (None, 200, body),
        ("bytes=0-0", 206, body[:1]),
        ("bytes=100-", 206, body[100:]),
        ("bytes=-7", 206, body[-7:]),
        ("bytes=5-999999999", 206, body[5:]),
        ("bytes=0-1,5-6", 200, body),
        ("bytes=9-3", 200, body),
        ("bytes=102400-", 416, None),
        ("bytes=-0", 416, None),
        ("lines=1-2", 200, body),
    ):
        async with caller.session.get(exact(location), headers={"Range": wanted} if wanted else {}) as response:
            assert response.status == status, wanted
            if expected is not None:
                assert await response.read() == expected


async def test_a_download_url_fails_when_altered_or_old(caller: Caller) -> None:
    item = await caller.graph("GET", "/me/drive/root:/Notes.md")
    url = item["@microsoft.graph.downloadUrl"]
    async with caller.session.get(exact(url.replace("tempauth=v1.", "tempauth=v1.1"))) as response:
        assert response.status == 401
    await caller.control("POST", "/clock", json={"seconds": 3601})
    async with caller.session.get(exact(url)) as response:
        assert response.status == 403


async def test_writes_obey_conflict_behaviour_and_tags(caller: Caller) -> None:
    first = await caller.graph("PUT", "/me/drive/root:/c.txt:/content", 201, data=b"1")
    url = "/me/drive/root:/c.txt:/content?@microsoft.graph.conflictBehavior="
    await caller.graph("PUT", url + "fail", 409, data=b"2")
    assert (await caller.graph("PUT", url + "rename", 201, data=b"2"))["name"] == "c 1.txt"
    second = await caller.graph("PUT", url + "replace", 200, data=b"3")
    assert second["eTag"] != first["eTag"]
    stale = {"If-Match": first["eTag"]}
    for method, path in (("PUT", "/me/drive/root:/c.txt:/content"), ("DELETE", "/me/drive/root:/c.txt")):
        assert (await caller.graph(method, path, 412, headers=stale))["error"]["code"] == "resourceModified"
    await caller.graph("PATCH", "/me/drive/root:/c.txt", 412, headers=stale, json={"name": "d.txt"})
    await caller.graph("GET", "/me/drive/root:/c.txt", 304, headers={"If-None-Match": second["eTag"]})
    await caller.graph("DELETE", "/me/drive/root:/c.txt", 204, headers={"If-Match": second["eTag"]})
    await caller.graph("GET", "/me/drive/root:/c.txt", 404)


async def test_items_can_be_renamed_and_moved(caller: Caller) -> None:
    folder = await caller.graph("POST", "/me/drive/root/children", 201, json={"name": "To", "folder": {}})
    item = await caller.graph("PUT", "/me/drive/root:/m.txt:/content", 201, data=b"abc")
    change: dict[str, Any] = {"name": "n.txt", "parentReference": {"id": folder["id"]}}
    moved = await caller.graph("PATCH", f"/me/drive/items/{item['id']}", json=change)
    assert (moved["id"], moved["name"]) == (item["id"], "n.txt")
    assert (await caller.graph("GET", "/me/drive/root:/To"))["size"] == 3
    back = {"parentReference": {"path": "/drive/root:/Documents"}}
    assert (await caller.graph("PATCH", f"/me/drive/items/{item['id']}", json=back))["parentReference"][
        "name"
    ] == "Documents"
    into_itself = {"parentReference": {"id": folder["id"]}}
    await caller.graph("PATCH", f"/me/drive/items/{folder['id']}", 400, json=into_itself)
    taken = await caller.graph("PATCH", f"/me/drive/items/{item['id']}", 409, json={"name": "welcome.TXT"})
    assert taken["error"]["code"] == "nameAlreadyExists"
    times = {"fileSystemInfo": {"lastModifiedDateTime": "2001-02-03T04:05:06.789Z"}}
    dated = await caller.graph("PATCH", f"/me/drive/items/{item['id']}", json=times)
    assert dated["fileSystemInfo"]["lastModifiedDateTime"] == "2001-02-03T04:05:06Z"


async def test_deleting_a_folder_takes_what_is_in_it(caller: Caller) -> None:
    inner = await caller.graph("GET", "/me/drive/root:/Documents/Reports")
    await caller.graph("DELETE", "/me/drive/root:/Documents", 204)
    await caller.graph("GET", f"/me/drive/items/{inner['id']}", 404)
    drive = await caller.graph("GET", "/me/drive")
    assert drive["quota"]["used"] == (await caller.graph("GET", "/me/drive/root"))["size"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "empty"),
        ("Bearer", "empty"),
        ("Basic abc", "empty"),
        ("Bearer abc", "CompactToken"),
        ("Bearer a.b.c", "JWT"),
        ("Bearer a.b", "IDX14100"),
    ],
)
async def test_a_bad_token_is_a_401_with_microsofts_challenge(caller: Caller, token: str, message: str) -> None:
    url = caller.facts["graph_url"] + "/v1.0/me/drive"
    headers = {"Authorization": token, "client-request-id": "mine"} if token else {"client-request-id": "mine"}
    async with caller.session.get(url, headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="", authorization_uri=')
        assert response.headers["client-request-id"] == "mine"
        assert response.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
        error = (await response.json())["error"]
    assert error["code"] == "InvalidAuthenticationToken"
    assert message in error["message"]
    assert error["innerError"]["request-id"] == response.headers["request-id"]


async def test_expired_tokens_and_missing_scopes_are_told_apart(caller: Caller, personal: Caller) -> None:
    await caller.sign_in("Files.Read")
    await caller.graph("GET", "/me/drive/root")
    await caller.graph("PUT", "/me/drive/root:/x.txt:/content", 403, data=b"x")
    assert (await caller.graph("GET", "/me", 403))["error"]["code"] == "Authorization_RequestDenied"
    await caller.control("POST", "/tokens/expire", json={})
    assert "Lifetime validation failed" in (await caller.graph("GET", "/me/drive", 401))["error"]["message"]
    assert "80049228" in (await personal.graph("GET", "/me/drive", 401))["error"]["message"]


async def test_nobody_sees_anothers_drive(caller: Caller) -> None:
    drive = await caller.graph("GET", "/me/drive")
    grace = await caller.as_user("grace@contoso.example")
    await grace.graph("GET", f"/drives/{drive['id']}/root", 403)
    await grace.graph("GET", "/drives/b!nothing/root", 404)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/me/drive/items/nothing", None),
        ("GET", "/me/drive/root/nonsense", None),
        ("GET", "/me/drive/root:/%FF%FE", None),
        ("GET", "/me/drive/root/children?$top=-1", None),
        ("GET", "/me/drive/root/children?$top=\u0661", None),
        ("GET", "/me/drive/root/children?$skiptoken=!!!", None),
        ("GET", "/me/drive/root/children?$orderby=colour", None),
        ("GET", "/me/drive/root/children?a=%FF", None),
        ("GET", "/me/drive/root:/../../etc/passwd", None),
        ("GET", "/nonsense", None),
        ("POST", "/me/drive/root/children", b"{"),
        ("POST", "/me/drive/root/children", b"[1]"),
        ("POST", "/me/drive/root/children", b"[" * 100_000),
        ("POST", "/me/drive/root/children", b'{"name":NaN,"folder":{}}'),
        ("POST", "/me/drive/root/children", b'{"name":"\\ud800","folder":{}}'),
        ("POST", "/me/drive/root/children", b'{"name":{"a":1},"folder":{}}'),
        ("POST", "/me/drive/root/children", b'{"name":"a","folder":{},"@microsoft.graph.conflictBehavior":7}'),
        ("PATCH", "/me/drive/root:/Notes.md", b'{"fileSystemInfo":{"createdDateTime":"0001-01-01T00:00:00+14:00"}}'),
        ("PATCH", "/me/drive/root", b'{"name":"x"}'),
        ("PATCH", "/me/drive/root:/Notes.md", b'{"parentReference":{"path":"nonsense"}}'),
        ("PATCH", "/me/drive/root:/Notes.md", b'{"parentReference":[]}'),
        ("DELETE", "/me/drive/root", None),
    ],
)  # fmt: skip
async def test_hostile_requests_get_a_client_error_in_graphs_shape(
    caller: Caller, method: str, path: str, body: bytes | None
) -> None:
    headers = {"Authorization": f"Bearer {caller.token}"}
    url = exact(caller.facts["graph_url"] + "/v1.0" + path)
    async with caller.session.request(method, url, data=body, headers=headers) as response:
        assert 400 <= response.status < 500, await response.text()
        if response.content_type == "application/json":
            assert (await response.json())["error"]["code"]


async def test_an_interrupted_upload_leaves_no_file(caller: Caller) -> None:
    async def broken() -> Any:
        yield b"x" * 100_000
        raise ConnectionError

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await caller.graph("PUT", "/me/drive/root:/half.bin:/content", 201, data=broken())
    await caller.graph("GET", "/me/drive/root:/half.bin", 404)


async def test_a_dot_in_a_path_means_nothing(caller: Caller) -> None:
    for path in (".%2FNotes.md", "./Notes.md", "Documents/.%2FWelcome.txt"):
        assert (await caller.graph("GET", f"/me/drive/root:/{path}"))["name"] in ("Notes.md", "Welcome.txt")


@pytest.mark.parametrize("drive", ["work", "personal"])
async def test_preconditions_take_lists_and_either_tag(caller: Caller, personal: Caller, drive: str) -> None:
    who = caller if drive == "work" else personal
    path = "/me/drive/root:/Notes.md"
    for form in ("{eTag}", "{cTag}", '"other", {eTag}', '{cTag},"other"', "*"):
        tag = form.format(**await who.graph("GET", path))
        await who.graph("GET", path, 304, headers={"If-None-Match": tag})
        await who.graph("POST", f"{path}:/createUploadSession", 412, headers={"If-None-Match": tag}, json={})
        await who.graph("PATCH", path, headers={"If-Match": tag}, json={"name": "Notes.md"})
    for tag in ('"other"', '"other", "another"', ""):
        await who.graph("GET", path, headers={"If-None-Match": tag})
        await who.graph("PATCH", path, 412, headers={"If-Match": tag}, json={"name": "Notes.md"})
    missing = "/me/drive/root:/missing.txt"
    for tag in ("*", '"other"'):
        await who.graph("POST", f"{missing}:/createUploadSession", 412, headers={"If-Match": tag}, json={})
        await who.graph("PUT", f"{missing}:/content", 412, headers={"If-Match": tag}, data=b"x")
    await who.graph("PUT", f"{missing}:/content", 201, headers={"If-None-Match": "*"}, data=b"x")


async def test_a_path_on_another_drive_is_not_taken_for_one_on_this(caller: Caller, personal: Caller) -> None:
    grace = await caller.as_user("grace@contoso.example")
    mine, theirs = [(await who.graph("GET", "/me/drive"))["id"] for who in (caller, grace)]
    path = "/me/drive/root:/Notes.md"
    elsewhere = {"path": f"/drives/{theirs}/root:/Documents"}
    await caller.graph("PATCH", path, 400, json={"parentReference": elsewhere})
    await caller.graph("POST", f"{path}:/copy", 403, json={"parentReference": elsewhere})
    await caller.graph("POST", f"{path}:/copy", 400, json={"parentReference": elsewhere | {"driveId": mine}})
    await caller.graph("PATCH", path, 400, json={"parentReference": {"path": "/users/x/drive/root:/Documents"}})
    here = {"path": f"/drives/{mine}/root:/Documents"}
    assert (await caller.graph("PATCH", path, json={"parentReference": here}))["parentReference"]["name"] == "Documents"


async def test_a_description_can_be_cleared(personal: Caller) -> None:
    path = "/me/drive/root:/Notes.md"
    for nothing in (None, ""):
        assert (await personal.graph("PATCH", path, json={"description": "Mine"}))["description"] == "Mine"
        assert "description" in await personal.graph("PATCH", path, json={"name": "Notes.md"})
        assert "description" not in await personal.graph("PATCH", path, json={"description": nothing})
