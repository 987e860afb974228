"""What somebody else does while a request, an upload or a copy is on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tests.sandbox.caller import Caller, exact

JSON = {"Content-Type": "application/json"}
Deed = Callable[[], Awaitable[Any]]


async def _slowly(body: bytes, meanwhile: Deed) -> AsyncIterator[bytes]:
    """A body in two parts, and something that happens between them."""
    yield body[:1]
    await meanwhile()
    yield body[1:]


def _deletion(caller: Caller, path: str) -> Deed:
    return lambda: caller.graph("DELETE", path, 204)


async def _nothing_is_below(caller: Caller, name: str) -> None:
    feed = (await caller.graph("GET", "/me/drive/root/delta?$top=1000"))["value"]
    assert name not in [item.get("name") for item in feed]
    known = {item["id"] for item in feed}
    assert all(item["parentReference"]["id"] in known for item in feed if "root" not in item)


async def test_an_upload_into_a_folder_that_was_deleted_is_refused(caller: Caller) -> None:
    await caller.graph("PUT", "/me/drive/root:/Documents/Sub/old.txt:/content", 201, data=b"x")
    session = await caller.graph("POST", "/me/drive/root:/Documents/Sub/new.bin:/createUploadSession", json={})
    await caller.graph("DELETE", "/me/drive/root:/Documents", 204)
    headers = {"Content-Range": "bytes 0-2/3"}
    async with caller.session.put(exact(session["uploadUrl"]), data=b"abc", headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "itemNotFound")
    await _nothing_is_below(caller, "new.bin")


async def test_an_upload_over_a_file_that_was_deleted_is_refused(caller: Caller) -> None:
    item = await caller.graph("GET", "/me/drive/root:/Notes.md")
    session = await caller.graph("POST", f"/me/drive/items/{item['id']}/createUploadSession", json={})
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    headers = {"Content-Range": "bytes 0-2/3"}
    async with caller.session.put(exact(session["uploadUrl"]), data=b"abc", headers=headers) as response:
        assert response.status == 404


async def test_a_write_into_a_folder_that_was_deleted_meanwhile_is_refused(caller: Caller) -> None:
    folder = await caller.graph("GET", "/me/drive/root:/Documents")
    body = _slowly(b"abc", _deletion(caller, "/me/drive/root:/Documents"))
    await caller.graph("PUT", f"/me/drive/items/{folder['id']}:/late.txt:/content", 404, data=body)
    await _nothing_is_below(caller, "late.txt")


async def test_a_copy_whose_source_or_target_was_deleted_meanwhile_fails_in_its_monitor(caller: Caller) -> None:
    await caller.control("PATCH", "/switches", json={"copy_seconds": 60})
    for deleted in ("/me/drive/root:/Pictures", "/me/drive/root:/Notes.md"):
        await caller.graph("PUT", "/me/drive/root:/Pictures/one.jpg:/content", 201, data=b"x")
        source = await caller.graph("GET", "/me/drive/root:/Notes.md")
        url = f"{caller.facts['graph_url']}/v1.0/me/drive/items/{source['id']}/copy"
        body = {"parentReference": {"path": "/drive/root:/Pictures"}, "name": "copied.md"}
        headers = {"Authorization": f"Bearer {caller.token}"}
        async with caller.session.post(url, json=body, headers=headers) as response:
            monitor = response.headers["Location"]
        await caller.graph("DELETE", deleted, 204)
        await caller.control("POST", "/clock", json={"seconds": 60})
        async with caller.session.get(exact(monitor)) as response:
            answer = await response.json()
        assert (answer["status"], answer["errorCode"]) == ("failed", "itemNotFound")
        await _nothing_is_below(caller, "copied.md")


async def test_a_change_of_an_item_that_was_deleted_meanwhile_is_refused(caller: Caller) -> None:
    item = await caller.graph("GET", "/me/drive/root:/Notes.md")

    async def replaced() -> None:
        await caller.graph("DELETE", f"/me/drive/items/{item['id']}", 204)
        await caller.graph("PUT", "/me/drive/root:/Notes.md:/content", 201, data=b"another")

    body = _slowly(b'{"name": "renamed.md"}', replaced)
    await caller.graph("PATCH", f"/me/drive/items/{item['id']}", 404, data=body, headers=JSON)
    assert (await caller.graph("GET", "/me/drive/root:/Notes.md"))["size"] == 7


async def test_a_write_heeds_what_was_written_while_its_body_came(caller: Caller) -> None:
    def written(path: str, status: int) -> Deed:
        return lambda: caller.graph("PUT", f"/me/drive/root:/{path}:/content", status, data=b"theirs")

    old = await caller.graph("GET", "/me/drive/root:/Notes.md")
    for path, query, headers, status, refused in (
        ("Notes.md", "", {"If-Match": old["eTag"]}, 200, 412),
        ("new.txt", "", {"If-None-Match": "*"}, 201, 409),
        ("new2.txt", "?@microsoft.graph.conflictBehavior=fail", {}, 201, 409),
    ):
        body, url = _slowly(b"mine", written(path, status)), f"/me/drive/root:/{path}:/content{query}"
        await caller.graph("PUT", url, refused, data=body, headers=headers)
        assert (await caller.graph("GET", f"/me/drive/root:/{path}"))["size"] == 6


async def test_a_folder_takes_the_place_of_a_file_that_is_on_its_way(caller: Caller) -> None:
    made = {"name": "place", "folder": {}}
    body = _slowly(b"mine", lambda: caller.graph("POST", "/me/drive/root/children", 201, json=made))
    await caller.graph("PUT", "/me/drive/root:/place:/content", 409, data=body)


async def test_an_upload_that_was_cancelled_while_a_fragment_came_leaves_no_file(caller: Caller) -> None:
    for size in (10, 100_000):
        session = await caller.graph("POST", "/me/drive/root:/gone.bin:/createUploadSession", json={})
        url = exact(session["uploadUrl"])

        async def cancelled() -> None:
            async with caller.session.delete(url) as response:  # noqa: B023 - it is called in this turn
                assert response.status == 204

        content = b"x" * size
        headers = {"Content-Range": f"bytes 0-{size - 1}/{size}", "Content-Length": str(size)}
        body = _slowly(content, cancelled)
        async with caller.session.put(url, data=body, headers=headers) as response:
            assert response.status == 404, await response.text()
        await caller.graph("GET", "/me/drive/root:/gone.bin", 404)


async def test_what_comes_back_from_the_bin_is_shared_as_before(personal: Caller) -> None:
    link = await personal.graph("POST", "/me/drive/root:/Documents:/createLink", 201, json={"type": "view"})
    item = await personal.graph("GET", "/me/drive/root:/Documents")
    await personal.graph("DELETE", "/me/drive/root:/Documents", 204)
    await personal.graph("GET", f"/shares/{link['shareId']}/driveItem", 404)
    await personal.graph("POST", f"/me/drive/items/{item['id']}/restore", json={})
    await personal.graph("GET", f"/shares/{link['shareId']}/driveItem")
