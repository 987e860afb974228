"""An answer that is lost is made good by what the step itself did, and by nothing that was there or that others did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.integrations.onedrive.account import Account
from tests.integrations.onedrive.test_files_and_folders import inline
from tests.integrations.onedrive.test_transfers import MEBI, a_file, assert_saved_once

from landbridge.errors import (
    ContentsDamaged,
    LandbridgeError,
    NameTaken,
    OutcomeUnknown,
    ProviderBusy,
    ProviderFailed,
    ProviderUnreachable,
)
from landbridge.integrations.onedrive.graph import Graph
from landbridge.integrations.onedrive.models.requests import RequestAnswer
from landbridge.kit import Start, Wait
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.graph.copies import MonitorService
from msgraph_sandbox.http import Json, Request, Response, json_response

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


async def test_an_edit_by_others_is_not_taken_for_the_office_file_that_was_to_replace_it(
    work_account: Account,
) -> None:
    account, times = work_account, {"createdAt": "2020-02-29T12:00:00Z"}
    saved = await account.run("save_file", file=inline("a.docx", b"former"), **times)
    account.plant(service="upload", method="PUT", status=429, retry_after=60)
    action = account.house.actions.get("onedrive", "save_file")
    given = await action.receive({"file": inline("a.docx", b"ours"), **times}, account.context.files)
    wait = await action.run(account.context, given)
    assert isinstance(wait, Wait)
    account.clock.advance(wait.until - account.clock.now())
    account.drive.replace_content(
        account.drive.item(saved.id), account.sandbox.world.library.blobs.of(b"theirs"), account.drive.owner
    )
    account.sandbox.world.library.uploads.expire_all()

    await action.run(account.context, given)

    blob = account.drive.item(saved.id).blob
    assert blob
    assert blob.whole() == b"ours"


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


# Copies


async def test_a_copy_that_was_refused_for_haste_is_not_found_in_what_others_made_since(account: Account) -> None:
    account.file("a.txt", b"ours", account.folder("Box"))
    given = {"itemPath": "Box/a.txt", "destinationPath": "/"}
    account.plant(operation="item.copy", status=429, retry_after=60)
    with pytest.raises(ProviderBusy):
        await account.step("it", "copy_item", **given)
    account.clock.advance(timedelta(seconds=60))
    theirs = account.file("a.txt", b"ours")

    with pytest.raises(NameTaken):
        await account.step("it", "copy_item", **given)

    assert account.names().count("a.txt") == 1
    assert account.drive.child(account.drive.root, "a.txt") is theirs


@pytest.mark.parametrize("theirs", [b"others", b"of this length"])
async def test_a_copy_that_was_never_begun_is_not_found_in_a_file_with_other_contents(
    account: Account, theirs: bytes
) -> None:
    account.file("a.txt", b"of that length", account.folder("Box"))
    given = {"itemPath": "Box/a.txt", "destinationPath": "/"}
    account.plant(operation="item.copy", effect="reset")
    with pytest.raises(ProviderFailed):
        await account.step("it", "copy_item", **given)
    account.file("a.txt", theirs)

    with pytest.raises(NameTaken):
        await account.step("it", "copy_item", **given)


@pytest.mark.parametrize("effect", ["reset", "lose"])
@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_copy_that_is_numbered_is_made_once_whichever_way_its_answer_is_lost(
    work_account: Account, kind: str, effect: str
) -> None:
    account = work_account
    there = account.file("a.txt", b"a") if kind == "file" else account.folder("a.txt")
    account.plant(operation="item.copy", effect=effect)

    given = {"itemId": there.id, "destinationPath": "/", "name": "a.txt", "conflictBehavior": "rename"}
    copied = await repeated(account, "copy_item", **given)

    numbered = "a 1.txt" if kind == "file" else "a.txt 1"
    assert copied.name == numbered
    assert [name for name in account.names() if name.startswith("a")] == sorted(["a.txt", numbered])


async def test_a_folder_that_is_still_being_copied_when_the_answer_is_lost_is_waited_for(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = account.folder("Box")
    for name in ("a.txt", "b.txt"):
        account.file(name, b"x", box)
    given = {"itemPath": "Box", "destinationPath": "/", "name": "Copy"}
    account.plant(operation="item.copy", effect="reset")  # and below its copy grows as slowly as OneDrive's may
    with pytest.raises(ProviderFailed):
        await account.step("it", "copy_item", **given)
    copy = account.folder("Copy")
    account.file("a.txt", b"x", copy)
    waits: list[timedelta] = []
    advance = account.clock.advance

    def wait(span: timedelta) -> None:
        waits.append(span)
        if len(waits) == 6:
            account.file("b.txt", b"x", copy)
        advance(span)

    monkeypatch.setattr(account.clock, "advance", wait)

    assert (await account.step("it", "copy_item", **given)).id == copy.id
    assert len(waits) == 6
    assert {"Copy 1", "Copy"} & set(account.names()) == {"Copy"}


async def test_a_copy_whose_monitor_tells_no_id_is_looked_for(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.file("a.txt", b"a")
    done: dict[str, Json] = {"operation": "ItemCopy", "percentageComplete": 100.0, "status": "completed"}

    async def answer(service: MonitorService, request: Request) -> Response:
        return json_response(done)

    monkeypatch.setattr(MonitorService, "answer", answer)

    copied = await account.run("copy_item", itemPath="a.txt", destinationPath="/", name="b.txt")

    made = account.drive.child(account.drive.root, "b.txt")
    assert made
    assert copied.id == made.id


async def test_a_copy_that_is_never_done_ends_and_says_what_to_do(account: Account) -> None:
    account.file("a.txt", b"a")
    account.plant(service="monitor", count=None, status=500)
    began = account.clock.now()

    with pytest.raises(OutcomeUnknown, match="has not told for a day that it gets on"):
        await account.run("copy_item", itemPath="a.txt", destinationPath="/", name="b.txt")

    assert timedelta(days=1) <= account.clock.now() - began < timedelta(days=2)
    assert len(account.requests("monitor")) < 100


# Uploads


async def test_an_upload_that_nobody_takes_ends_and_says_so(account: Account) -> None:
    account.plant(service="upload", count=None, status=503)
    began = account.clock.now()

    with pytest.raises(ProviderFailed, match="taken nothing of the upload for a day"):
        await account.run("save_file", file=await a_file(account, 11 * MEBI))

    assert timedelta(days=1) <= account.clock.now() - began < timedelta(days=2)
    assert len(account.requests("upload.create")) == 1


async def test_an_upload_that_gets_on_may_take_as_long_as_it_is_made_to_wait(work_account: Account) -> None:
    account, file = work_account, await a_file(work_account, 31 * MEBI)
    for number in range(4):  # each strikes what the one before it has let through
        account.plant(service="upload", method="PUT", skip=number, count=10, status=429, retry_after=3600)
    began = account.clock.now()

    await account.run("save_file", file=file)

    assert account.clock.now() - began >= timedelta(hours=40)


async def test_no_call_sleeps_longer_than_five_seconds_however_many_fragments_are_asked_to_wait(
    work_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, file, slept = work_account, await a_file(work_account, 64 * MEBI), [timedelta()]
    for number in range(7):
        account.plant(service="upload", method="PUT", skip=number, status=429, retry_after=4)

    async def sleep(duration: timedelta) -> None:
        slept[-1] += duration
        account.clock.advance(duration)

    monkeypatch.setattr(account.clock, "sleep", sleep)
    action = account.house.actions.get("onedrive", "save_file")
    given = await action.receive({"file": file}, account.context.files)
    while isinstance(outcome := await action.run(account.context, given), Wait):
        account.clock.advance(max(outcome.until - account.clock.now(), timedelta()))
        slept.append(timedelta())

    assert max(slept) <= timedelta(seconds=5)
    assert len(account.requests("upload.create")) == 1
    await assert_saved_once(account, file)


# Requests and invitations


@pytest.mark.parametrize("effect", ["reset", "lose"])
@pytest.mark.parametrize("behaviour", ["rename", "fail"])
async def test_a_put_that_depends_on_what_is_there_is_sent_once(account: Account, behaviour: str, effect: str) -> None:
    account.plant(method="PUT", effect=effect)
    path = f"/me/drive/root:/a.txt:/content?@microsoft.graph.conflictBehavior={behaviour}"

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await account.step("it", "onedrive_request", method="PUT", path=path, body="contents")

    assert [name for name in account.names() if name.startswith("a")] == (["a.txt"] if effect == "lose" else [])


@pytest.mark.parametrize("given", [{"headers": {"If-None-Match": "*"}}, {"query": {"@name.conflictBehavior": "fail"}}])
async def test_a_put_with_a_condition_is_sent_once(account: Account, given: dict[str, Any]) -> None:
    account.plant(method="PUT", effect="lose")

    with pytest.raises(OutcomeUnknown):
        await account.step("it", "onedrive_request", method="PUT", path="/me/drive/root:/a:/content", body="a", **given)


async def test_a_put_that_replaces_is_sent_again(account: Account) -> None:
    account.plant(method="PUT", effect="lose")

    answer = await account.run("onedrive_request", method="PUT", path="/me/drive/root:/a.txt:/content", body="contents")

    assert answer.status == 200
    assert "a.txt" in account.names()


INVITATION: dict[str, Any] = {"itemPath": "a.txt", "emails": ["x@y.example"], "role": "read"}


async def test_an_invitation_is_not_taken_for_sent_because_somebody_has_access_already(account: Account) -> None:
    account.file("a.txt")
    await account.run("invite_people", **INVITATION)
    account.plant(operation="invite", effect="reset")

    with pytest.raises(OutcomeUnknown, match="had such access before"):
        await repeated(account, "invite_people", **INVITATION)


async def test_an_invitation_without_an_email_is_repeated_where_nobody_can_tell(account: Account) -> None:
    account.file("a.txt")
    await account.run("invite_people", **INVITATION)
    account.plant(operation="invite", effect="reset")

    await repeated(account, "invite_people", **INVITATION, sendInvitation=False)

    assert [entry.status for entry in account.requests("invite")] == [200, 0, 200]


@pytest.mark.parametrize("effect", ["reset", "lose"])
async def test_an_invitation_of_one_who_is_new_among_others_is_known_by_them(account: Account, effect: str) -> None:
    account.file("a.txt")
    await account.run("invite_people", **INVITATION)
    account.plant(operation="invite", effect=effect)

    invited = await repeated(account, "invite_people", **INVITATION | {"emails": ["x@y.example", "new@y.example"]})

    assert {one.email for one in invited.value} == {"x@y.example", "new@y.example"}


async def test_what_was_never_sent_is_asked_for_anew(account: Account) -> None:
    account.clock.advance(timedelta(hours=2))
    account.plant(operation="token", count=None, status=503)
    asked: dict[str, Any] = {"method": "POST", "path": "/me/drive/root/children", "body": {"name": "Box", "folder": {}}}

    with pytest.raises(ProviderFailed):
        await account.step("it", "onedrive_request", **asked)
    account.sandbox.world.faults.clear()
    account.clock.advance(timedelta(minutes=10))

    assert (await account.step("it", "onedrive_request", **asked)).status == 201


@pytest.mark.parametrize("nothing_done", [True, False])
async def test_what_must_not_be_done_twice_is_tried_again_at_once_only_if_it_was_never_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch, *, nothing_done: bool
) -> None:
    tries, send = 0, account.context.proxy.send

    async def out_of_reach_once(caller: Any, integration: Any, selector: Any, outgoing: Any) -> Any:
        nonlocal tries
        tries += outgoing.method == "POST"
        if outgoing.method == "POST" and tries == 1:
            error = ProviderUnreachable("No connection could be made.")
            error.nothing_done = nothing_done
            raise error
        return await send(caller, integration, selector, outgoing)

    monkeypatch.setattr(account.context.proxy, "send", out_of_reach_once)
    asked: dict[str, Any] = {"method": "POST", "path": "/me/drive/root/children", "body": {"name": "Box", "folder": {}}}

    if nothing_done:
        assert (await account.run("onedrive_request", **asked)).status == 201
    else:
        with pytest.raises(OutcomeUnknown):
            await account.run("onedrive_request", **asked)
    assert tries == 1 + nothing_done


async def test_what_was_done_before_nothing_could_be_sent_is_looked_for_and_not_done_again(account: Account) -> None:
    async def look(_: Start) -> RequestAnswer | None:
        return None

    never_sent = ProviderUnreachable("No connection could be made.")
    never_sent.nothing_done = True
    for acts, is_kept in ((False, False), (True, True)):
        graph = Graph(account.context)

        async def do(_: Start, graph: Graph = graph, *, acts: bool = acts) -> RequestAnswer:
            await graph.call("GET", "/me/drive/root")
            if acts:
                await graph.call("POST", "/me/drive/root/children", json={"name": "Box", "folder": {}})
            raise never_sent

        with pytest.raises(ProviderUnreachable):
            await graph.once(RequestAnswer, do, look)
        assert bool(await account.context.checkpoint.read()) is is_kept
