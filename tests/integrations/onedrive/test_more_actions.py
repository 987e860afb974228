"""Copying, sharing, versions, drives and changes, on work and personal accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integrations.onedrive.account import LINUS, Account
from tests.integrations.onedrive.test_files_and_folders import NAMES, contents_of, inline

from landbridge.errors import (
    InvalidRequest,
    ItemNotFound,
    NameNotAllowed,
    NameTaken,
    NotOffered,
    ProviderFailed,
    ResyncRequired,
)
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.graph.sharing import Permission


def tree(folder: Item) -> dict[str, Any]:
    """Return what lies below a folder: names, and the contents' digests."""
    return {item.name: tree(item) if item.blob is None else item.blob.hash for item in folder.children or ()}


def make_box(account: Account) -> Item:
    box = account.folder("Box")
    account.file("a.txt", b"a", box)
    account.file("b.txt", b"b", account.folder("Inner", box))
    return box


async def test_a_copy_is_equal_and_is_done_when_the_step_is(account: Account) -> None:
    box = make_box(account)
    account.sandbox.world.switches.copy_seconds = 0.3
    account.folder("Archive")

    copied = await account.run("copy_item", itemPath="Box", destinationPath="Archive", name="Box 2026")

    assert (copied.name, copied.id != box.id) == ("Box 2026", True)
    assert tree(account.drive.item(copied.id)) == tree(box)
    assert {entry.authorized for entry in account.requests("monitor")} == {False}


TREES = st.recursive(
    st.binary(max_size=300),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=8,
)


@settings(max_examples=12)
@given(data=st.data())
async def test_any_copy_is_equal_and_leaves_the_original_as_it_was(account: Account, data: st.DataObject) -> None:
    source, target = (account.folder(str(uuid4())) for _ in range(2))
    plant(account, source, data.draw(st.dictionaries(NAMES, TREES, max_size=4)))
    before = tree(source)

    copied = await account.run("copy_item", itemId=source.id, destinationId=target.id)

    assert tree(account.drive.item(copied.id)) == before == tree(source)
    assert account.names(target) == [source.name]


@settings(max_examples=12)
@given(names=st.lists(NAMES, min_size=1, max_size=6, unique_by=str.casefold), data=st.data())
async def test_whatever_is_moved_is_listed_where_it_went_and_nowhere_else(
    account: Account, names: list[str], data: st.DataObject
) -> None:
    source, target = (account.folder(str(uuid4())) for _ in range(2))
    files = st.binary(max_size=9)
    for name in names:  # no folder at work may begin with "~"
        plant(account, source, {name: data.draw(files if name.startswith("~") else st.just({}) | files)})
    there = account.names(source)
    moving = data.draw(st.lists(st.sampled_from(there), unique=True))

    for name in moving:
        item = account.drive.child(source, name)
        assert item
        kind = "folder" if item.is_folder else "file"
        await account.run(f"move_{kind}", **{f"{kind}Id": item.id}, destinationId=target.id)
    left = await account.run("list_files", folderId=source.id)
    went = await account.run("list_files", folderId=target.id)

    assert sorted(item.name for item in went.value) == sorted(moving)
    assert sorted(item.name for item in left.value) == sorted(set(there) - set(moving))


def plant(account: Account, folder: Item, contents: dict[str, Any]) -> None:
    """Put files and folders below a folder; names that the drive holds to be the same are put once."""
    for name, what in contents.items():
        if account.drive.child(folder, name):
            continue
        if isinstance(what, bytes):
            account.file(name, what, folder)
        else:
            plant(account, account.folder(name, folder), what)


async def test_a_file_is_copied_beside_itself_and_a_taken_name_is_refused(account: Account) -> None:
    file = account.file("a.txt", b"a")

    copied = await account.run("copy_item", itemId=file.id, destinationPath="/", name="b.txt")
    with pytest.raises(NameTaken):
        await account.run("copy_item", itemId=file.id, destinationPath="/", name="B.TXT")

    assert copied.size == 1
    assert "b.txt" in account.names()


async def test_a_copy_is_made_from_one_drive_to_another(account: Account) -> None:
    shared = account.folder("Shared", account.drive_of(LINUS).root)
    account.folder("Inner", shared)
    account.shortcut("Theirs", shared)
    account.folder("Box")

    copied = await account.run("copy_item", itemPath="Theirs", destinationPath="Box")

    assert tree(account.drive.item(copied.id)) == tree(shared) == {"Inner": {}}
    assert copied.parent_reference.drive_id == account.drive.id


@pytest.mark.parametrize("effect", ["truncate", "reset"])
async def test_a_copy_whose_answer_is_lost_is_made_once(account: Account, effect: str) -> None:
    make_box(account)
    account.folder("Archive")
    account.plant(operation="item.copy", effect=effect)
    given = {"itemPath": "Box", "destinationPath": "Archive", "conflictBehavior": "rename"}

    try:
        copied = await account.step("copy", "copy_item", **given)
    except ProviderFailed:
        copied = await account.step("copy", "copy_item", **given)
    again = await account.step("copy", "copy_item", **given)

    archive = account.drive.child(account.drive.root, "Archive")
    assert account.names(archive) == ["Box"]
    assert again.id == copied.id


async def test_a_name_is_changed_and_only_to_one_that_onedrive_takes(account: Account) -> None:
    file = account.file("a.txt")
    account.file("taken.txt")

    renamed = await account.run("rename_item", itemPath="a.txt", name="b #1.txt")

    assert (renamed.id, renamed.name) == (file.id, "b #1.txt")
    with pytest.raises(NameTaken):
        await account.run("rename_item", itemId=file.id, name="Taken.txt")
    with pytest.raises(NameNotAllowed):
        await account.run("rename_item", itemId=file.id, name="a|b")
    with pytest.raises(NotOffered):
        await account.run("rename_item", itemPath="/", name="a")


async def test_a_file_is_moved_and_a_folder_is_not_one(account: Account) -> None:
    box = account.folder("Box")
    file = account.file("a.txt")

    moved = await account.run("move_file", filePath="a.txt", destinationId=box.id, name="b.txt")

    assert (moved.id, account.names(box)) == (file.id, ["b.txt"])
    with pytest.raises(InvalidRequest):
        await account.run("move_file", filePath="Box", destinationPath="/")


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_something_is_deleted_into_the_bin_and_permanently_only_where_that_is_offered(
    account: Account, kind: str
) -> None:
    make = account.file if kind == "file" else account.folder
    one, other = make("a"), make("b")
    action, field = f"delete_{kind}", f"{kind}Id"

    await account.run(action, **{field: one.id})
    assert one.id in account.drive.bin
    if account.drive.personal:
        with pytest.raises(NotOffered):
            await account.run(action, **{field: other.id}, permanently=True)
        assert other.alive
    else:
        await account.run(action, **{field: other.id}, permanently=True)
        assert not other.alive
        assert other.id not in account.drive.bin


async def test_files_are_found_by_name_and_folders_left_out(account: Account) -> None:
    account.file("quarter's plan.txt", b"", account.folder("quarter's plans"))

    found = await account.run("search_files", query="quarter's plan")

    assert [item.name for item in found.value] == ["quarter's plan.txt"]


async def test_a_text_becomes_a_file(account: Account) -> None:
    await account.run("create_text_file", name="Notes.txt", text="Grüße\n", folderPath="Documents")
    fetched = await account.run("get_file", filePath="Documents/Notes.txt")

    assert await contents_of(account, fetched.content) == "Grüße\n".encode()
    with pytest.raises(NameTaken):
        await account.run("create_text_file", name="notes.TXT", text="other", folderPath="Documents")


async def test_a_link_is_made_once_listed_and_taken_away(account: Account) -> None:
    account.file("a.txt")

    link = await account.run("create_link", itemPath="a.txt", type="edit", scope="organization")
    same = await account.run("create_link", itemPath="a.txt", type="edit", scope="organization")
    listed = await account.run("list_permissions", itemPath="a.txt")
    await account.run("remove_permission", itemPath="a.txt", permissionId=link.id)
    await account.run("remove_permission", itemPath="a.txt", permissionId=link.id)
    left = await account.run("list_permissions", itemPath="a.txt")

    assert same.id == link.id
    assert (link.link.type, link.link.scope, link.roles) == ("edit", "organization", ["write"])
    assert link.link.web_url.startswith("https://")
    assert [one.id for one in listed.value] == ["owner", link.id]
    assert [one.id for one in left.value] == ["owner"]


@pytest.mark.parametrize("effect", [None, "truncate", "reset"])
async def test_people_are_invited_once_whatever_becomes_of_the_answer(account: Account, effect: str | None) -> None:
    account.file("a.txt")
    if effect:
        account.plant(operation="invite", effect=effect)
    given = {"itemPath": "a.txt", "emails": ["Linus@fabrikam.example", "x@y.example"], "role": "write"}

    for _ in range(2):
        try:
            invited = await account.step("invite", "invite_people", **given)
        except ProviderFailed:
            assert effect == "reset"
    listed = await account.run("list_permissions", itemPath="a.txt")

    assert sorted(one.email for one in invited.value) == ["linus@fabrikam.example", "x@y.example"]
    assert len([one for one in listed.value if "write" in one.roles]) == 2


async def test_versions_are_listed_fetched_and_made_present_again(account: Account) -> None:
    for contents in (b"one", b"two", b"three"):
        await account.run("save_file", file=inline("a.txt", contents))

    versions = await account.run("list_versions", filePath="a.txt")
    oldest = versions.value[-1]
    fetched = await account.run("get_version", filePath="a.txt", versionId=oldest.id)
    restored = await account.run("restore_version", filePath="a.txt", versionId=oldest.id)
    present = await account.run("get_file", filePath="a.txt")

    assert [version.size for version in versions.value] == [5, 3, 3]
    assert await contents_of(account, fetched.content) == b"one"
    assert restored.size == 3
    assert await contents_of(account, present.content) == b"one"
    with pytest.raises(ItemNotFound):
        await account.run("get_version", filePath="a.txt", versionId="99.0")


async def test_the_users_drive_is_listed_with_its_room(account: Account) -> None:
    drives = await account.run("list_drives")
    drive = await account.run("get_drive")

    assert [one.id for one in drives.value] == [account.drive.id]
    assert (drive.id, drive.drive_type) == (account.drive.id, account.drive.kind)
    assert drive.quota.remaining == drive.quota.total - drive.quota.used


async def test_changes_since_a_cursor_are_given_each_once_with_what_is_gone(account: Account) -> None:
    gone = account.file("gone.txt")
    start = await account.run("list_changes")
    assert start.value == []

    account.file("new.txt")
    saved = await account.run("save_file", file=inline("new.txt", b"1"))
    await account.run("save_file", file=inline("new.txt", b"22"))
    await account.run("delete_file", fileId=gone.id)
    changes = await account.run("list_changes", cursor=start.cursor)
    nothing = await account.run("list_changes", cursor=changes.cursor)

    by_id = {item.id: item for item in changes.value}
    assert len(by_id) == len(changes.value)
    assert by_id[saved.id].size == 2
    assert by_id[gone.id].deleted is not None
    assert [item for item in nothing.value if item.root is None] == []


async def test_everything_there_is_can_be_listed_as_changes(account: Account) -> None:
    for number in range(5):
        account.file(f"{number}.txt", b"", account.folder(f"Box {number}"))

    everything = await account.run("list_changes", fromBeginning=True)

    assert {item.id for item in everything.value} == set(account.drive.items)


async def test_a_cursor_that_is_too_old_says_that_one_begins_anew(account: Account) -> None:
    start = await account.run("list_changes")
    account.plant(operation="delta", status=410, code="resyncRequired")

    with pytest.raises(ResyncRequired):
        await account.run("list_changes", cursor=start.cursor)
    with pytest.raises(InvalidRequest):
        await account.run("list_changes", cursor="/me/messages/delta2")


async def test_a_copy_waits_without_sleeping(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def advance(duration: timedelta) -> None:
        advance_ours(duration)
        account.sandbox.control.advance(600)

    advance_ours = account.clock.advance
    monkeypatch.setattr(account.clock, "advance", advance)
    account.sandbox.world.switches.copy_seconds = 600
    account.file("a.txt")
    began = account.clock.now()

    await account.run("copy_item", itemPath="a.txt", destinationPath="/", name="b.txt")

    assert account.clock.now() - began >= timedelta(seconds=2)


async def test_contents_are_replaced_and_the_file_stays_what_it_was(account: Account) -> None:
    file = account.file("a.txt", b"old", account.folder("Box"))

    updated = await account.run("update_file", filePath="Box/a.txt", file=inline("other.txt", b"new!"))
    fetched = await account.run("get_file", fileId=file.id)

    assert (updated.id, updated.name) == (file.id, "a.txt")
    assert await contents_of(account, fetched.content) == b"new!"
    assert len(file.more.versions) == 1


async def test_a_file_behind_a_shortcut_is_updated_where_it_is(account: Account) -> None:
    shared = account.folder("Shared", account.drive_of(LINUS).root)
    account.shortcut("Ours", shared)
    await account.run("save_file", file=inline("a.txt", b"old"), folderPath="Ours")

    await account.run("update_file", filePath="Ours/a.txt", file=inline("a.txt", b"new"))

    assert account.names(shared) == ["a.txt"]
    fetched = await account.run("get_file", filePath="Ours/a.txt")
    assert await contents_of(account, fetched.content) == b"new"


async def test_a_path_of_folders_is_there_in_the_end_whatever_was_there(account: Account) -> None:
    reports = account.folder("reports")

    first = await account.run("create_folder_path", path="/Reports/2026/May")
    again = await account.run("create_folder_path", path="Reports/2026/May/")
    below = await account.run("create_folder_path", path="June", folderPath="Reports/2026")

    assert first.id == again.id
    assert first.parent_reference.id == below.parent_reference.id
    assert account.names(reports) == ["2026"]
    with pytest.raises(InvalidRequest):
        await account.run("create_folder_path", path="/")
    with pytest.raises(NameNotAllowed):
        await account.run("create_folder_path", path="a/b:c")


async def test_a_picture_has_a_small_one_and_a_text_has_none(account: Account) -> None:
    account.file("a.jpg", b"picture")
    account.file("a.txt", b"text")

    thumbnail = await account.run("get_thumbnail", filePath="a.jpg", size="small")

    assert thumbnail.content.size > 0
    assert thumbnail.content.mime_type.startswith("image/")
    with pytest.raises(ItemNotFound):
        await account.run("get_thumbnail", filePath="a.txt")


async def test_a_file_is_downloaded_by_path_or_id(account: Account) -> None:
    file = account.file("a.txt", b"hello")

    by_path = await account.run("download_file", filePath="a.txt")
    by_id = await account.run("download_file", fileId=file.id)

    assert [await contents_of(account, fetched.content) for fetched in (by_path, by_id)] == [b"hello", b"hello"]
    assert (by_path.id, by_path.name, by_path.size) == (file.id, "a.txt", 5)


async def test_the_files_that_changed_last_are_listed_newest_first(account: Account) -> None:
    before = await account.run("list_recent", limit=1000)
    box = account.folder("Box")
    for number in range(5):
        account.sandbox.world.clock.advance(timedelta(minutes=1))
        account.file(f"{number}.txt", b"old", box if number % 2 else None)
    account.sandbox.world.clock.advance(timedelta(minutes=1))
    await account.run("update_file", filePath="0.txt", file=inline("0.txt", b"newer"))
    await account.run("delete_file", filePath="4.txt")

    recent = await account.run("list_recent", limit=3)

    assert [item.name for item in recent.value] == ["0.txt", "3.txt", "2.txt"]
    assert "Box" not in {item.name for item in before.value}


@pytest.mark.parametrize("size", [4, 10_500_000])
async def test_a_file_that_is_shared_without_its_folder_is_updated_by_its_id(account: Account, size: int) -> None:
    theirs = account.drive_of(LINUS)
    blob = account.sandbox.world.library.blobs.of(b"theirs")
    item = theirs.put_file(theirs.root, "theirs.txt", blob, "fail", theirs.owner)[0]
    item.more.permissions["shared"] = Permission("shared", ["write"], invited=[account.user.email])
    file = await account.context.files.save("new.txt", "text/plain", bytes(size))

    updated = await account.run("update_file", driveId=theirs.id, fileId=item.id, file=file)

    assert (updated.id, updated.name, updated.size) == (item.id, "theirs.txt", size)


@pytest.mark.parametrize("size", [4, 10_500_000])
async def test_names_that_come_encoded_are_not_sent_back(account: Account, size: int) -> None:
    account.sandbox.world.switches.encoded_names = True
    item = account.file("100 % of it.txt", b"one")
    file = await account.context.files.save("new.txt", "text/plain", bytes(size))

    await account.run("update_file", fileId=item.id, file=file)
    await account.run("copy_item", itemId=item.id, destinationId=account.folder("Box").id)

    assert account.drive.item(item.id).name == "100 % of it.txt"
    box = account.drive.child(account.drive.root, "Box")
    assert account.names(box) == ["100 % of it.txt"]


async def test_the_users_own_drive_is_listed_though_graph_leaves_it_out(account: Account) -> None:
    account.sandbox.world.switches.list_own_drives = False

    drives = await account.run("list_drives")

    assert [drive.id for drive in drives.value][:1] == [account.drive.id]
