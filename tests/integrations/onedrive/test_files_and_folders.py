"""The eight actions on files and folders, and requests of one's own, on work and personal accounts."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.integrations.onedrive.account import LINUS, Account

from landbridge.errors import (
    AccessDenied,
    ActionRefused,
    FileUnknown,
    InvalidRequest,
    ItemLocked,
    ItemNotFound,
    LandbridgeError,
    NameNotAllowed,
    NameTaken,
    NotOffered,
    ProviderBusy,
    ProviderFailed,
    StorageFull,
)
from msgraph_sandbox.drive.names import check_name
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.graph import service
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Response


def is_taken(name: str) -> bool:
    """Whether OneDrive takes a name."""
    try:
        check_name(name)
    except GraphRefused:
        return False
    return True


NAMES = st.text(
    st.characters(exclude_characters='"*:<>?/\\|', exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=40
).filter(is_taken)


def inline(name: str, contents: bytes, mime_type: str = "text/plain") -> dict[str, str]:
    return {"name": name, "data": contents.hex(), "mimeType": mime_type}


async def contents_of(account: Account, file: Any) -> bytes:
    return b"".join([chunk async for chunk in account.context.files.open(file).chunks()])


@settings(max_examples=15)
@given(name=NAMES, contents=st.binary(max_size=3000))
@example(name="100% #1 + 'ä' & =.txt", contents=b"")
@example(name="%2e%2e", contents=b"x")
@example(name="é" * 127, contents=b"long")
@example(name="emoji 🏔️.bin", contents=bytes(range(256)))
async def test_what_is_saved_is_got_back_byte_for_byte_by_id_and_by_path(
    account: Account, name: str, contents: bytes
) -> None:
    saved = await account.run("save_file", file=inline(name, contents))
    by_id = await account.run("get_file", fileId=saved.id)
    by_path = await account.run("get_file", filePath=f"/{name}")

    assert (saved.name.lower(), saved.size) == (name.lower(), len(contents))
    assert by_id.id == by_path.id == saved.id
    assert await contents_of(account, by_id.content) == await contents_of(account, by_path.content) == contents
    assert by_id.content.sha256 == hashlib.sha256(contents).hexdigest()


async def test_a_file_is_saved_into_the_folder_that_is_named_by_id_or_by_path(account: Account) -> None:
    reports = account.folder("2026", account.folder("Reports #1"))

    await account.run("save_file", file=inline("a.txt", b"a"), folderId=reports.id)
    saved = await account.run("save_file", file=inline("b.txt", b"b"), folderPath="Reports #1/2026", name="c.txt")

    assert account.names(reports) == ["a.txt", "c.txt"]
    assert saved.parent_reference.id == reports.id
    assert saved.file.mime_type == "text/plain"


async def test_a_file_of_that_name_is_replaced_kept_beside_or_refused_as_one_wishes(account: Account) -> None:
    async def save(contents: bytes, **more: str) -> Any:
        return await account.run("save_file", file=inline("a.txt", contents), folderPath="Box", **more)

    box = account.folder("Box")
    first = await save(b"1")
    replaced = await save(b"two")
    renamed = await save(b"3", conflictBehavior="rename")
    with pytest.raises(NameTaken) as refused:
        await save(b"4", conflictBehavior="fail")

    assert replaced.id == first.id
    assert replaced.size == 3
    assert account.names(box) == ["a 1.txt", "a.txt"]
    assert renamed.name == "a 1.txt"
    assert refused.value.meta["providerCodes"] == ["nameAlreadyExists"]


async def test_sixty_four_mebibytes_pass_through_in_constant_memory(work_account: Account) -> None:
    size = 64 << 20
    block = bytes(range(256)) * 1024

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            yield block

    file = await work_account.context.files.save("big.bin", "application/octet-stream", blocks())
    await work_account.run("save_file", file=inline("warm.txt", b"x"))
    before = _resident()
    saved = await work_account.run("save_file", file=file)
    fetched = await work_account.run("get_file", fileId=saved.id)

    assert _resident() - before < 32 << 20
    assert (fetched.content.size, fetched.content.sha256) == (size, file.sha256)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    ("name", "character"), [("a:b.txt", ":"), ("what?.txt", "?"), ("a/b.txt", "/"), ('"a".txt', '"'), ("a\tb", "\t")]
)
async def test_a_character_that_onedrive_takes_in_no_name_is_named_before_anything_is_sent(
    work_account: Account, name: str, character: str
) -> None:
    with pytest.raises(NameNotAllowed) as refused:
        await work_account.run("save_file", file=inline(name, b"x"))

    assert refused.value.meta["character"] == character
    assert not work_account.requests("content.put")


async def test_a_file_of_another_run_opens_nothing(work_account: Account) -> None:
    files = work_account.house.files
    other = files.of(work_account.context.caller.project_id, "another-run")
    foreign = await other.save("secret.txt", "text/plain", b"secret")

    with pytest.raises(FileUnknown):
        await work_account.run("save_file", file=foreign.model_dump(by_alias=True))
    assert not work_account.requests("content.put")


async def test_twelve_hundred_children_are_listed_each_once_and_a_limit_ends_the_list(account: Account) -> None:
    box = account.folder("Box")
    for number in range(1200):
        account.folder(f"{number:04}", box)

    everything = await account.run("list_files", folderPath="Box")
    some = await account.run("list_files", folderId=box.id, limit=7)

    assert [item.name for item in everything.value] == [f"{number:04}" for number in range(1200)]
    assert everything.next_page_cursor is None
    assert len(account.requests("children.list")) == 3
    assert [item.name for item in some.value] == [f"{number:04}" for number in range(7)]


async def test_a_list_is_given_a_page_at_a_time_to_whoever_asks_for_pages(account: Account) -> None:
    box = account.folder("Box")
    for number in range(5):
        account.file(f"{number}.txt", b"", box)

    seen, cursor = [], {"folderPath": "Box", "pageSize": 2}
    while True:
        page = await account.run("list_files", **cursor)
        seen += [item.name for item in page.value]
        if page.next_page_cursor is None:
            break
        assert len(page.value) == 2
        cursor = {"pageCursor": page.next_page_cursor}

    assert seen == [f"{number}.txt" for number in range(5)]


@pytest.mark.parametrize("other", [{"pageSize": 2}, {"pageCursor": "/me/drive/root/children?$skiptoken=x"}])
async def test_a_limit_and_a_page_do_not_go_together(work_account: Account, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"give limit or page(Size|Cursor), not both"):
        await work_account.run("list_files", limit=1, **other)


@pytest.mark.parametrize(
    "cursor",
    [
        "/me/messages",
        "/users/delta",
        "/sites/delta?x=/drives/",
        "https://evil.example/children?x",
        "/me/drive/root/childrens",
    ],
)
async def test_a_cursor_from_elsewhere_leads_nowhere(work_account: Account, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        await work_account.run("list_files", pageCursor=cursor)
    with pytest.raises(InvalidRequest):
        await work_account.run("list_changes", cursor=cursor)


async def test_files_and_folders_can_be_listed_apart(account: Account) -> None:
    box = account.folder("Box")
    account.folder("inner", box)
    account.file("a.txt", b"", box)

    files = await account.run("list_files", folderId=box.id, kind="files")
    folders = await account.run("list_files", folderId=box.id, kind="folders")

    assert [item.name for item in files.value] == ["a.txt"]
    assert [item.name for item in folders.value] == ["inner"]


async def test_a_list_shows_no_url_that_gives_contents_to_whoever_has_it(account: Account) -> None:
    account.file("a.txt")

    listed = await account.run("list_files")

    assert "tempauth" not in str(listed.as_json())


async def test_a_folder_is_created_where_it_is_wanted_and_a_taken_name_is_settled_as_one_wishes(
    account: Account,
) -> None:
    box = account.folder("Box")

    made = await account.run("create_folder", name="New", folderPath="Box")
    kept = await account.run("create_folder", name="New", folderId=box.id, conflictBehavior="replace")
    other = await account.run("create_folder", name="new", folderId=box.id, conflictBehavior="rename")
    with pytest.raises(NameTaken):
        await account.run("create_folder", name="NEW", folderId=box.id)

    assert kept.id == made.id
    assert other.name == "new 1"
    assert account.names(box) == ["New", "new 1"]


async def test_a_folder_is_got_by_its_id_and_a_file_is_not_one(account: Account) -> None:
    box, file = account.folder("Box"), account.file("a.txt")

    found = await account.run("get_folder_by_id", folderId=box.id)

    assert (found.id, found.name, found.folder.child_count) == (box.id, "Box", 0)
    with pytest.raises(InvalidRequest, match=r"“a\.txt” is a file, not a folder"):
        await account.run("get_folder_by_id", folderId=file.id)
    with pytest.raises(ItemNotFound):
        await account.run("get_folder_by_id", folderId="01NOTHING")


async def test_folders_are_found_by_words_of_their_names_and_files_are_left_out(account: Account) -> None:
    account.folder("It's 100% mine", account.folder("Deep"))
    account.folder("It's 100% mine too")
    account.file("It's 100% mine.txt")

    found = await account.run("search_folders", query="it's 100% mine")
    exactly = await account.run("search_folders", query="IT'S 100% MINE", isExact=True)
    below = await account.run("search_folders", query="it's", folderPath="Deep")

    assert sorted(item.name for item in found.value) == ["It's 100% mine", "It's 100% mine too"]
    assert [item.name for item in exactly.value] == ["It's 100% mine"]
    assert [item.name for item in below.value] == ["It's 100% mine"]


async def test_a_folder_that_is_moved_is_listed_where_it_went_with_all_that_is_in_it(account: Account) -> None:
    box, archive = account.folder("Box"), account.folder("Archive")
    account.file("a.txt", b"a", box)

    moved = await account.run("move_folder", folderPath="Box", destinationId=archive.id, name="Old box")
    there = await account.run("list_files", folderPath="Archive")
    inside = await account.run("list_files", folderPath="Archive/Old box")

    assert moved.id == box.id
    assert [item.name for item in there.value] == ["Old box"]
    assert [item.name for item in inside.value] == ["a.txt"]
    assert "Box" not in account.names()


async def test_a_folder_is_moved_to_the_root_and_into_no_place_that_makes_no_sense(account: Account) -> None:
    inner = account.folder("Inner", account.folder("Box"))
    file = account.file("a.txt")

    await account.run("move_folder", folderId=inner.id, destinationPath="/")
    assert "Inner" in account.names()

    with pytest.raises(ActionRefused):
        await account.run("move_folder", folderPath="Box", destinationPath="Box")
    with pytest.raises(InvalidRequest):
        await account.run("move_folder", folderPath="Box", destinationId=file.id)
    with pytest.raises(NotOffered):
        await account.run("move_folder", folderId="root", destinationPath="Box")
    with pytest.raises(ItemNotFound, match="“/No/where”"):
        await account.run("move_folder", folderPath="Box", destinationPath="No/where")


async def test_a_deleted_folder_is_gone_into_the_bin_and_a_file_or_the_root_is_not_deleted(account: Account) -> None:
    box, file = account.folder("Box"), account.file("a.txt")
    account.file("b.txt", b"", box)

    deleted = await account.run("delete_folder", folderPath="box")

    assert (deleted.id, deleted.name) == (box.id, "Box")
    assert box.id in account.drive.bin
    with pytest.raises(ItemNotFound):
        await account.run("delete_folder", folderId=box.id)
    with pytest.raises(InvalidRequest):
        await account.run("delete_folder", folderId=file.id)
    with pytest.raises(NotOffered):
        await account.run("delete_folder", folderPath="/")
    assert "a.txt" in account.names()


async def test_a_delete_whose_answer_is_lost_is_done_once_and_reported_as_done(account: Account) -> None:
    box = account.folder("Box")
    account.plant(operation="item.delete", effect="truncate")
    account.plant(operation="item.delete", effect="reset")

    deleted = await account.run("delete_folder", folderId=box.id)

    assert deleted.id == box.id
    assert "Box" not in account.names()


# Shortcuts, other drives


async def test_a_folder_on_another_drive_is_worked_in_by_its_drive_id(account: Account) -> None:
    box = account.folder("Box")

    await account.run("save_file", file=inline("a.txt", b"a"), driveId=account.drive.id, folderId=box.id)
    listed = await account.run("list_files", driveId=account.drive.id, folderPath="Box")
    fetched = await account.run("get_file", driveId=account.drive.id, filePath="Box/a.txt")

    assert [item.name for item in listed.value] == ["a.txt"]
    assert await contents_of(account, fetched.content) == b"a"
    assert {entry.target.partition("?")[0].split("/")[2] for entry in account.requests("content.put")} == {"drives"}


async def test_a_shortcut_leads_to_the_folder_on_the_other_drive_by_id_and_by_path(account: Account) -> None:
    theirs = account.drive_of(LINUS)
    shared = account.folder("Shared", theirs.root)
    inner = account.folder("Inner", shared)
    shortcut = account.shortcut("Ours", shared)

    by_id = await account.run("get_folder_by_id", folderId=shortcut.id)
    await account.run("save_file", file=inline("a.txt", b"a"), folderId=shortcut.id)
    await account.run("save_file", file=inline("b.txt", b"b"), folderPath="Ours/Inner")
    listed = await account.run("list_files", folderPath="Ours")
    fetched = await account.run("get_file", filePath="Ours/Inner/b.txt")

    assert (by_id.id, by_id.remote_item) == (shared.id, None)
    assert account.names(shared) == ["Inner", "a.txt"]
    assert account.names(inner) == ["b.txt"]
    assert {item.name for item in listed.value} == {"Inner", "a.txt"}
    assert await contents_of(account, fetched.content) == b"b"
    with pytest.raises(ItemNotFound, match=r"“/Inner/c\.txt”"):
        await account.run("get_file", filePath="Ours/Inner/c.txt")


async def test_of_a_shortcut_only_the_shortcut_is_moved_and_deleted(account: Account) -> None:
    shared = account.folder("Shared", account.drive_of(LINUS).root)
    account.shortcut("Ours", shared)
    account.folder("Box")

    await account.run("move_folder", folderPath="Ours", destinationPath="Box", name="Mine")
    assert account.names(account.drive.child(account.drive.root, "Box")) == ["Mine"]
    await account.run("delete_folder", folderPath="Box/Mine")

    assert shared.alive
    assert account.names(account.drive.child(account.drive.root, "Box")) == []


async def test_a_folder_is_not_moved_to_another_drive(account: Account) -> None:
    account.folder("Box")
    account.shortcut("Theirs", account.folder("Shared", account.drive_of(LINUS).root))

    with pytest.raises(NotOffered, match="copy it there"):
        await account.run("move_folder", folderPath="Box", destinationPath="Theirs")


# What passes by itself, and what does not


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"effect": "reset"}, {"status": 429}], ids=str)
async def test_what_passes_by_itself_is_not_the_callers_trouble(account: Account, fault: dict[str, Any]) -> None:
    account.plant(service="graph", operation="content.put", count=2, **fault)

    await account.run("save_file", file=inline("a.txt", b"a"))

    assert "a.txt" in account.names()


async def test_a_long_wait_is_an_error_that_says_for_how_long_and_not_a_long_sleep(account: Account) -> None:
    account.plant(service="graph", status=429, retry_after=120)
    began = account.clock.now()

    with pytest.raises(ProviderBusy) as busy:
        await account.run("list_files")

    assert busy.value.retry_after == timedelta(seconds=120)
    assert busy.value.retryable
    assert account.clock.now() - began < timedelta(seconds=5)


async def test_an_access_token_that_ended_is_renewed_in_mid_upload(account: Account) -> None:
    await account.run("list_files")
    account.clock.advance(timedelta(minutes=2))
    account.sandbox.world.issuer.access.clear()

    await account.run("save_file", file=inline("a.txt", b"a" * 100_000))

    assert account.drive.child(account.drive.root, "a.txt")


@pytest.mark.parametrize(
    ("status", "code", "inner", "kind"),
    [
        (400, "invalidRequest", "nameContainsInvalidCharacters", NameNotAllowed),
        (403, "accessDenied", None, AccessDenied),
        (404, "itemNotFound", None, ItemNotFound),
        (409, "nameAlreadyExists", None, NameTaken),
        (418, "neverHeardOf", None, ActionRefused),
        (500, "generalException", None, ProviderFailed),
        (507, "quotaLimitReached", None, StorageFull),
    ],
)
async def test_graphs_errors_are_told_apart_by_their_most_specific_code(
    work_account: Account, status: int, code: str, inner: str | None, kind: type[LandbridgeError]
) -> None:
    work_account.plant(service="graph", status=status, code=code, inner_code=inner, count=None)

    with pytest.raises(kind) as refused:
        await work_account.run("create_folder", name="Box")

    assert type(refused.value) is kind
    assert refused.value.meta["providerStatus"] == status
    assert refused.value.meta["requestId"]


# Requests of one's own


async def test_a_request_gives_status_headers_and_json(account: Account) -> None:
    answered = await account.run("onedrive_request", path="/me/drive/root", query={"$select": "id,name"})

    assert answered.status == 200
    assert answered.body["name"] == "root"
    assert answered.headers["content-type"].startswith("application/json")


async def test_a_request_sends_json_and_files_and_gets_files(account: Account) -> None:
    made = await account.run(
        "onedrive_request", method="POST", path="/me/drive/root/children", body={"name": "Box", "folder": {}}
    )
    put = await account.run(
        "onedrive_request", method="PUT", path="/me/drive/root:/Box/a.bin:/content", file=inline("a.bin", b"\0\1\2")
    )
    got = await account.run("onedrive_request", path=f"/me/drive/items/{put.body['id']}/content")
    gone = await account.run("onedrive_request", method="DELETE", path=f"/me/drive/items/{made.body['id']}")

    assert (made.status, put.status, gone.status) == (201, 201, 204)
    assert await contents_of(account, got.file) == b"\0\1\2"


async def test_a_request_follows_pages_to_a_limit_or_a_condition(account: Account) -> None:
    box = account.folder("Box")
    for number in range(10):
        account.file(f"{number}.txt", b"x" * number, box)

    async def names(**paging: Any) -> list[str]:
        found = await account.run(
            "onedrive_request", path=f"/me/drive/items/{box.id}/children", query={"$top": "3"}, paging=paging
        )
        return [item["name"][0] for item in found.body["value"]]

    assert await names() == list("0123456789")
    assert await names(limit=4) == list("0123")
    assert await names(stopWhen={"field": "size", "operator": "greaterThan", "value": 5}) == list("012345")


@pytest.mark.parametrize("header", ["Authorization", "host", "Content-Length"])
async def test_a_request_cannot_set_what_is_ours_to_set(work_account: Account, header: str) -> None:
    with pytest.raises(InvalidRequest):
        await work_account.run("onedrive_request", path="/me", headers={header: "x"})


@pytest.mark.parametrize("path", ["https://evil.example/v1.0/me", "/me/../users", "http://127.0.0.1:1/x"])
async def test_a_request_goes_to_graph_and_nowhere_else(work_account: Account, path: str) -> None:
    with pytest.raises(InvalidRequest):
        await work_account.run("onedrive_request", path=path)


DEEP = "/".join(["a" * 120] * 3)  # 362 characters


@pytest.mark.parametrize("by", ["id", "path"])
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("save_file", {"file": inline("n" * 38, b"x")}),
        ("create_text_file", {"name": "n" * 38, "text": "x"}),
        ("create_folder", {"name": "n" * 38}),
        ("create_folder_path", {"path": "n" * 18 + "/" + "n" * 19}),
    ],
)
async def test_a_path_that_gets_too_long_is_refused_before_anything_is_sent(
    account: Account, name: str, given: dict[str, Any], by: str
) -> None:
    folder = account.drive.root
    for part in DEEP.split("/"):
        folder = account.folder(part, folder)
    where = {"folderId": folder.id} if by == "id" else {"folderPath": DEEP}

    with pytest.raises(NameNotAllowed, match="401 characters; OneDrive takes 400"):
        await account.run(name, **where, **given)

    assert {entry.method for entry in account.sandbox.world.ledger.find({"service": "graph"})} == {"GET"}


async def test_what_lies_deeper_than_a_path_may_be_long_is_listed_all_the_same(account: Account) -> None:
    folder = top = account.folder("a")
    for part in DEEP.split("/"):
        folder = account.folder(part, folder)
    account.file("a.txt", b"a", folder)
    top.name = "a" * 120  # as it came from somewhere that took it

    assert [item.name for item in (await account.run("list_files", folderId=folder.id)).value] == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("rename_item", {"itemPath": f"{DEEP}/a.txt", "name": "n" * 38}),
        ("move_file", {"filePath": "b.txt", "destinationPath": DEEP, "name": "n" * 38}),
        ("move_folder", {"folderPath": "B", "destinationPath": DEEP, "name": "n" * 38}),
        ("copy_item", {"itemPath": "b.txt", "destinationPath": DEEP, "name": "n" * 38}),
    ],
)
async def test_so_is_one_that_gets_too_long_by_a_move_or_a_copy(
    account: Account, name: str, given: dict[str, Any]
) -> None:
    folder = account.drive.root
    for part in DEEP.split("/"):
        folder = account.folder(part, folder)
    account.file("a.txt", b"", folder)
    account.file("b.txt")
    account.folder("B")

    with pytest.raises(NameNotAllowed, match="401 characters; OneDrive takes 400"):
        await account.run(name, **given)

    assert {entry.method for entry in account.sandbox.world.ledger.find({"service": "graph"})} == {"GET"}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("create_folder", {"name": "Forms"}),
        ("create_folder", {"name": "~old"}),
        ("create_folder", {"name": "~old", "folderPath": "Box"}),
        ("create_folder_path", {"path": "New/~old"}),
        ("save_file", {"file": inline("forms", b"x")}),
        ("rename_item", {"itemPath": "Box", "name": "forms"}),
        ("rename_item", {"itemPath": "Box", "name": "~box"}),
        ("move_folder", {"folderPath": "Box/In", "destinationPath": "/", "name": "FORMS"}),
        ("copy_item", {"itemPath": "Box", "destinationPath": "/", "name": "forms"}),
    ],
)
async def test_what_work_drives_keep_for_themselves_is_refused_there_and_only_there(
    account: Account, name: str, given: dict[str, Any]
) -> None:
    account.folder("In", account.folder("Box"))

    if account.drive.personal:
        await account.run(name, **given)
    else:
        with pytest.raises(NameNotAllowed, match="work drives keep for themselves"):
            await account.run(name, **given)
        assert {entry.method for entry in account.sandbox.world.ledger.find({"service": "graph"})} == {"GET"}


async def test_other_names_are_taken_where_work_drives_take_them(work_account: Account) -> None:
    work_account.folder("Box")

    await work_account.run("create_folder", name="forms", folderPath="Box")
    await work_account.run("save_file", file=inline("~a.txt", b"x"))

    assert "~a.txt" in work_account.names()


async def test_pages_are_all_asked_for_with_the_requests_own_headers(account: Account) -> None:
    for number in range(3):
        account.file(f"{number}.txt")
    given = {"path": "/me/drive/root/children?$top=2", "paging": {}}

    await account.run("onedrive_request", **given, headers={"client-request-id": "of-our-own"})
    with pytest.raises(InvalidRequest, match="set by Landbridge itself"):
        await account.run("onedrive_request", **given, headers={"Authorization": "Bearer x"})

    listed = account.requests("children.list")
    assert len(listed) > 1
    assert {entry.client_request_id for entry in listed} == {"of-our-own"}


@pytest.mark.parametrize(("body", "is_json"), [(b"{broken", False), (b"null", True), (b"[1]", True)])
async def test_an_answer_that_only_claims_to_be_json_is_a_file(
    account: Account, monkeypatch: pytest.MonkeyPatch, body: bytes, is_json: bool
) -> None:
    async def answer(visit: Visit) -> Response:
        return Response(200, {"Content-Type": "application/json"}, body)

    monkeypatch.setitem(service._ITEM_ROUTES, ("GET", ()), service.Route("item.get", "read", answer))

    got = await account.run("onedrive_request", path="/me/drive/root")

    if is_json:
        assert (got.body, got.file) == (json.loads(body), None)
    else:
        assert await contents_of(account, got.file) == body


async def test_a_lock_is_waited_for_and_says_for_how_long(account: Account) -> None:
    account.file("a.txt")
    account.plant(method="PATCH", status=423, code="resourceLocked")
    await account.run("rename_item", itemPath="a.txt", name="b.txt")
    account.plant(method="PATCH", status=423, code="resourceLocked", retry_after=60)

    with pytest.raises(ItemLocked) as locked:
        await account.run("rename_item", itemPath="b.txt", name="c.txt")

    assert locked.value.retry_after == timedelta(seconds=60)


async def test_an_empty_file_keeps_its_times_though_the_request_that_sets_them_breaks_off(account: Account) -> None:
    account.plant(method="PATCH", count=7, effect="reset")
    given = {"file": inline("a.txt", b""), "createdAt": "2020-02-29T12:00:00Z", "conflictBehavior": "fail"}

    with pytest.raises(ProviderFailed):
        await account.step("save", "save_file", **given)
    saved = await account.step("save", "save_file", **given)

    assert saved.file_system_info.as_json()["createdDateTime"].startswith("2020-02-29T12:00:00")
    assert account.names().count("a.txt") == 1


async def test_versions_show_no_url_that_gives_contents_to_whoever_has_it(account: Account) -> None:
    account.drive.replace_content(
        account.file("a.txt"), account.sandbox.world.library.blobs.of(b"new"), account.drive.owner
    )

    versions = await account.run("list_versions", filePath="a.txt")

    assert len(versions.value) == 2
    assert "tempauth" not in str(versions.as_json())
