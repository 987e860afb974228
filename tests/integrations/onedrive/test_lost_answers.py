"""An answer that is lost is made good by what the step itself did, and by nothing that was there or that others did."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integrations.onedrive.account import Account
from tests.integrations.onedrive.test_files_and_folders import inline
from tests.integrations.onedrive.test_transfers import MEBI, a_file, assert_saved_once

from landbridge.errors import ContentsDamaged, LandbridgeError, NameTaken
from msgraph_sandbox.drive.library import Library

REWRITTEN = ["a.docx", "a.pdf", "a.png", "a.txt"]


async def repeated(account: Account, name: str, /, step: str = "it", **values: Any) -> Any:  # Any: as `Account.step`
    """Run an action as an engine does: as the same step again after an error that passes."""
    for _ in range(5):
        try:
            return await account.step(step, name, **values)
        except LandbridgeError as error:
            if not error.retryable:
                raise
    raise AssertionError("The action does not end.")


@pytest.mark.parametrize("name", ["big.pdf", "big.docx", "big.bin"])
async def test_a_session_that_is_lost_does_not_let_the_former_file_pass_for_the_new_one(
    account: Account, name: str
) -> None:
    account.file(name, b"former contents")
    file = await a_file(account, 11 * MEBI, name)
    account.plant(service="upload", count=2, status=404)

    saved = await account.run("save_file", file=file)

    assert saved.size == file.size
    await assert_saved_once(account, file)


@pytest.mark.parametrize("name", REWRITTEN)
@pytest.mark.parametrize("contents", [b"the same", b"others"])
async def test_a_file_that_was_there_before_is_not_taken_for_one_that_was_never_saved(
    account: Account, name: str, contents: bytes
) -> None:
    there, file = account.file(name, contents), inline(name, b"the same")
    account.plant(method="PUT", effect="reset")

    with pytest.raises(NameTaken):
        await repeated(account, "save_file", step="fail", file=file, conflictBehavior="fail")
    account.plant(method="PUT", effect="reset")
    saved = await repeated(account, "save_file", step="rename", file=file, conflictBehavior="rename")

    assert (saved.name, saved.id != there.id) == (name.replace(".", " 1."), True)
    former = account.drive.item(there.id).blob
    assert former
    assert former.hash == account.sandbox.world.library.blobs.of(contents).hash
    assert len([one for one in account.names() if one.startswith("a")]) == 2


@pytest.mark.parametrize("conflict", ["fail", "rename"])
@pytest.mark.parametrize("name", REWRITTEN)
async def test_a_file_that_others_saved_meanwhile_is_not_taken_for_ours(
    account: Account, name: str, conflict: str
) -> None:
    given: dict[str, Any] = {"file": inline(name, b"ours"), "conflictBehavior": conflict}
    for method in ("PUT", "POST"):
        account.plant(method=method, count=None, effect="reset")
    with pytest.raises(LandbridgeError):
        await account.step("it", "save_file", **given)
    account.sandbox.world.faults.clear()
    theirs = account.file(name, b"theirs")

    if conflict == "fail":
        with pytest.raises(NameTaken):
            await repeated(account, "save_file", **given)
    else:
        assert (await repeated(account, "save_file", **given)).id != theirs.id


@pytest.mark.parametrize("conflict", ["fail", "rename", "replace"])
@pytest.mark.parametrize("size", [1000, 11 * MEBI])
async def test_an_office_file_that_sharepoint_rewrote_is_known_again_when_its_answer_is_lost(
    work_account: Account, size: int, conflict: str
) -> None:
    account, file = work_account, await a_file(work_account, size, "a.docx")
    account.sandbox.world.switches.rewrite_office_files = True
    last = 1 if size > 10 * MEBI else 0
    account.plant(method="PUT", skip=last, effect="lose")

    saved = await repeated(account, "save_file", file=file, conflictBehavior=conflict)

    assert saved.name == "a.docx"
    assert saved.size > size
    assert [name for name in account.names() if name.startswith("a")] == ["a.docx"]


@pytest.mark.parametrize("size", [1000, 11 * MEBI])
async def test_a_file_without_a_digest_as_yet_is_known_by_its_size(account: Account, size: int) -> None:
    account.sandbox.world.switches.hash_delay_seconds = 3600
    file = await a_file(account, size, "a.bin")
    account.plant(method="PUT", skip=1 if size > 10 * MEBI else 0, effect="lose")

    saved = await repeated(account, "save_file", file=file, conflictBehavior="rename")

    assert (saved.name, saved.size) == ("a.bin", size)
    assert [name for name in account.names() if name.startswith("a")] == ["a.bin"]


@pytest.mark.parametrize("name", ["a.bin", "a.png", "a.docx"])
@pytest.mark.parametrize("size", [1000, 11 * MEBI])
async def test_contents_that_arrive_otherwise_than_they_were_sent_are_an_error(
    account: Account, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    file = await a_file(account, size, name)
    monkeypatch.setattr(Library, "arrived", lambda library, *_: library.blobs.of(b"damaged"))
    is_excused = not account.drive.personal and name != "a.bin"

    if is_excused:  # SharePoint may have rewritten it
        assert (await account.run("save_file", file=file)).size == len(b"damaged")
    else:
        with pytest.raises(ContentsDamaged, match="with other contents than were sent"):
            await account.run("save_file", file=file)


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.png"])
async def test_a_download_of_any_kind_of_file_must_be_what_the_drive_has(account: Account, name: str) -> None:
    item = account.file(name, b"contents")
    assert item.blob
    item.blob.hash = account.sandbox.world.library.blobs.of(b"other").hash

    with pytest.raises(ContentsDamaged, match="came with other contents"):
        await account.run("get_file", filePath=name)


async def test_a_rewritten_office_file_is_fetched_as_the_drive_has_it(work_account: Account) -> None:
    work_account.sandbox.world.switches.rewrite_office_files = True
    saved = await work_account.run("save_file", file=inline("a.docx", b"sent"))

    fetched = await work_account.run("get_file", fileId=saved.id)

    assert fetched.content.size == saved.size > len(b"sent")


async def test_a_photo_that_onedrive_gives_in_another_form_than_it_tells_is_fetched_all_the_same(
    account: Account,
) -> None:
    item = account.file("a.HEIC", b"converted")
    assert item.blob
    item.blob.hash = account.sandbox.world.library.blobs.of(b"the original").hash

    assert (await account.run("get_file", filePath="a.HEIC")).content.size == len(b"converted")
