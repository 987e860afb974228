"""Large files arrive whole, once, whatever breaks on the way; and what must not be done twice is not."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.step import begin
from tests.integrations.landbridge import eventually
from tests.integrations.onedrive.account import ADA, MARY, Account
from tests.integrations.onedrive.test_files_and_folders import NAMES

from landbridge.errors import ContentsDamaged, ItemChanged, LandbridgeError, NameTaken, OutcomeUnknown, StorageFull
from landbridge.files import PIECE, File
from landbridge.integrations.onedrive import transfers
from msgraph_sandbox.drive.items import Item

MEBI = 1 << 20
BLOCK = bytes(range(251)) * 4178  # of no round length, so that no two fragments are equal


async def a_file(account: Account, size: int, name: str = "big.bin") -> File:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, size, len(BLOCK)):
            yield BLOCK[: size - start]

    return await account.context.files.save(name, "application/octet-stream", blocks())


async def assert_saved_once(account: Account, file: File, name: str | None = None) -> None:
    """The drive has one file of that name, with the bytes of `file`, and no other copy of it."""
    wanted = (name or file.name).rpartition(".")[0]
    assert [found for found in account.names() if found.startswith(wanted)] == [name or file.name]
    fetched = await account.run("get_file", filePath=name or file.name)
    assert (fetched.content.size, fetched.content.sha256) == (file.size, file.sha256)


def some_of(cases: list[Any]) -> list[Any]:
    """Return every other case, and all of them where `EVERY_FRAGMENT` is set, as `make soak` does."""
    return cases if os.environ.get("EVERY_FRAGMENT") else cases[::2]


def said(fault: dict[str, Any]) -> str:
    return "-".join(map(str, fault.values()))


def fragments(account: Account) -> list[Any]:
    return [entry for entry in account.requests("upload") if entry.method == "PUT"]


@pytest.mark.parametrize("size", [10 * MEBI, 10 * MEBI + 1, 20 * MEBI, 20 * MEBI + 327_681])
async def test_a_file_of_any_size_arrives_in_as_few_requests_as_may_be(account: Account, size: int) -> None:
    file = await a_file(account, size)

    saved = await account.run("save_file", file=file)

    assert saved.size == size
    assert len(fragments(account)) == (0 if size <= 10 * MEBI else -(-size // (10 * MEBI)))
    await assert_saved_once(account, file)


async def test_no_url_that_is_signed_ever_gets_the_bearer(account: Account) -> None:
    await account.run("save_file", file=await a_file(account, 11 * MEBI))
    await account.run("get_file", filePath="big.bin")

    seen = account.requests("upload") + account.requests("download")
    assert {(entry.service, entry.authorized) for entry in seen} == {("upload", False), ("download", False)}


@pytest.fixture
def short_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file that is a thousand times smaller than otherwise be a large one."""
    monkeypatch.setattr(transfers, "FRAGMENT", SHORT)
    monkeypatch.setattr(transfers, "SIMPLE_UPLOAD", SHORT)


SHORT = 10_000
SIZES = st.builds(lambda count, more: max(count * SHORT + more, 0), st.integers(0, 4), st.integers(-2, 2))


@pytest.mark.usefixtures("short_fragments")
@settings(max_examples=25)
@given(name=NAMES, size=SIZES, conflict=st.sampled_from(["fail", "rename", "replace"]))
async def test_whatever_is_saved_around_the_ends_of_fragments_is_got_back_byte_for_byte(
    account: Account, name: str, size: int, conflict: str
) -> None:
    folder, contents = account.folder(str(uuid4())), BLOCK[:size]
    file = await account.context.files.save(name, "application/octet-stream", contents)
    account.sandbox.world.ledger.clear()

    saved = await account.run("save_file", file=file, folderId=folder.id, conflictBehavior=conflict)
    fetched = await account.run("get_file", fileId=saved.id)

    assert (saved.size, fetched.content.sha256) == (size, hashlib.sha256(contents).hexdigest())
    assert len(fragments(account)) in {0, -(-size // SHORT)}
    assert len(account.names(folder)) == 1


FAULTS: list[dict[str, Any]] = [
    {"status": 503},
    {"effect": "reset"},
    {"status": 429},
    {"status": 429, "retry_after": 120},
    {"status": 500},
]


@pytest.mark.parametrize(
    ("account", "fault"),
    some_of([pytest.param(email, fault, id=f"{email}-{said(fault)}") for email in (ADA, MARY) for fault in FAULTS]),
    indirect=["account"],
)
async def test_every_fragment_in_turn_may_meet_trouble(account: Account, fault: dict[str, Any]) -> None:
    file = await a_file(account, 64 * MEBI)
    for number in range(7):  # each strikes one request after the one before it has struck: the next fragment's first
        account.plant(service="upload", method="PUT", skip=number, **fault)

    await account.run("save_file", file=file)

    assert len(fragments(account)) == 14
    await assert_saved_once(account, file)


async def test_a_long_wait_in_mid_upload_is_no_long_sleep_and_nothing_is_sent_twice(account: Account) -> None:
    account.plant(service="upload", method="PUT", skip=1, status=429, retry_after=300)
    began = account.clock.now()

    await account.run("save_file", file=await a_file(account, 25 * MEBI))

    assert account.clock.now() - began >= timedelta(seconds=300)
    assert len(account.requests("upload.create")) == 1
    assert [entry.status for entry in fragments(account)] == [202, 429, 202, 201]


@pytest.mark.parametrize("conflict", ["fail", "replace", "rename"])
async def test_a_last_fragment_whose_answer_is_lost_leaves_one_file(account: Account, conflict: str) -> None:
    file = await a_file(account, 21 * MEBI)
    account.plant(service="upload", method="PUT", skip=2, effect="truncate")

    saved = await account.run("save_file", file=file, conflictBehavior=conflict)

    assert saved.name == "big.bin"
    await assert_saved_once(account, file)


@pytest.mark.parametrize("trouble", [401, 403, 404, 410])
async def test_a_session_that_is_lost_is_begun_anew(account: Account, trouble: int) -> None:
    file = await a_file(account, 21 * MEBI)
    account.plant(service="upload", skip=1, count=2, status=trouble)

    await account.run("save_file", file=file)

    assert len(account.requests("upload.create")) == 2
    await assert_saved_once(account, file)


async def test_a_session_that_is_never_heard_of_again_is_an_error_in_the_end(account: Account) -> None:
    account.plant(service="upload", count=None, status=404)

    with pytest.raises(LandbridgeError):
        await account.run("save_file", file=await a_file(account, 11 * MEBI))

    assert len(account.requests("upload.create")) < 12


async def test_a_large_file_of_a_taken_name_is_refused_or_numbered_as_one_wishes(account: Account) -> None:
    account.file("big.bin")
    file = await a_file(account, 11 * MEBI)

    renamed = await account.run("save_file", file=file, conflictBehavior="rename")
    with pytest.raises(NameTaken):
        await account.run("save_file", file=file, conflictBehavior="fail")
    replaced = await account.run("save_file", file=file, conflictBehavior="replace")

    assert renamed.name == "big 1.bin"
    assert replaced.size == file.size
    assert account.names()[-2:] == ["big 1.bin", "big.bin"]


async def test_a_full_drive_says_so_and_the_step_can_be_run_again(account: Account) -> None:
    file = await a_file(account, 21 * MEBI)
    account.plant(service="upload", method="PUT", skip=2, status=507)

    with pytest.raises(StorageFull):
        await account.step("save", "save_file", file=file)
    await account.step("save", "save_file", file=file)

    await assert_saved_once(account, file)


async def test_the_users_own_times_are_kept_without_a_second_version(account: Account) -> None:
    times = {"createdAt": "2020-02-29T12:00:00+01:00", "modifiedAt": "2021-01-01T00:00:00Z"}

    small = await account.run("save_file", file=await a_file(account, 5, "small.bin"), **times)
    empty = await account.run("save_file", file=await a_file(account, 0, "empty.bin"), **times)

    for saved in (small, empty):
        info = saved.file_system_info.as_json()
        assert info["createdDateTime"].startswith("2020-02-29T11:00:00")
        assert info["lastModifiedDateTime"].startswith("2021-01-01T00:00:00")
    assert not account.drive.item(small.id).more.versions


@pytest.mark.parametrize(
    ("account", "fragment"),
    some_of([pytest.param(email, number, id=f"{email}-{number}") for email in (ADA, MARY) for number in range(7)]),
    indirect=["account"],
)
async def test_an_upload_whose_process_is_killed_goes_on_in_another_and_not_from_the_start(
    account: Account, fragment: int
) -> None:
    file = await a_file(account, 64 * MEBI)
    account.plant(service="upload", method="PUT", skip=fragment, effect="delay", delay=60)
    (planted,) = account.sandbox.world.faults.all()
    process = await begin(
        account.context,
        account.house.settings,
        run_id=account.run_id,
        step="save",
        action="save_file",
        given={"file": file.model_dump(by_alias=True)},
    )
    while not planted.struck:
        assert process.returncode is None
        await asyncio.sleep(0.05)
    process.kill()
    await process.wait()
    account.sandbox.world.faults.clear()

    await account.step("save", "save_file", file=file)

    assert len(account.requests("upload.create")) == 1
    assert len([entry for entry in fragments(account) if entry.status in {201, 202}]) == 7
    await assert_saved_once(account, file)


# Downloads


async def test_a_download_that_breaks_off_goes_on_from_where_it_was(account: Account) -> None:
    file = await a_file(account, 30 * MEBI)
    await account.run("save_file", file=file)
    account.plant(service="download", effect="truncate", count=2)

    fetched = await account.run("get_file", filePath="big.bin")

    assert fetched.content.sha256 == file.sha256
    assert [entry.status for entry in account.requests("download")] == [200, 206, 206]


async def test_a_file_that_changes_while_it_is_fetched_is_an_error_that_says_so(account: Account) -> None:
    await account.run("save_file", file=await a_file(account, 30 * MEBI))
    item = account.drive.child(account.drive.root, "big.bin")
    assert item
    account.plant(service="download", effect="truncate")
    account.plant(service="graph", operation="item.get", skip=1, effect="delay", delay=0.5)
    fetching = asyncio.create_task(account.run("get_file", filePath="big.bin"))
    while not account.requests("download"):
        await asyncio.sleep(0.01)
    account.drive.replace_content(item, account.sandbox.world.library.blobs.of(b"other"), account.drive.owner)

    with pytest.raises(ItemChanged, match=r"“big\.bin” was changed"):
        await fetching


async def test_a_download_with_other_contents_than_the_drive_says_is_refused(account: Account) -> None:
    await account.run("save_file", file=await a_file(account, MEBI))
    item = account.drive.child(account.drive.root, "big.bin")
    assert item
    assert item.blob
    item.blob.hash = account.sandbox.world.library.blobs.of(b"other").hash

    with pytest.raises(ContentsDamaged, match=r"“big\.bin” came with other contents"):
        await account.run("get_file", filePath="big.bin")


@asynccontextmanager
async def killed_while_it_fetches(account: Account, size: int) -> AsyncIterator[Item]:
    """Begin to fetch a file in another process, which is killed when it asks for the second half."""
    item = account.file("big.bin", (BLOCK * (size // len(BLOCK) + 1))[:size])
    account.plant(service="download", effect="truncate")
    account.plant(service="download", effect="hang")
    process = await begin(
        account.context,
        account.house.settings,
        run_id=account.run_id,
        step="get",
        action="get_file",
        given={"fileId": item.id},
    )
    while len(account.requests("download")) < 2:
        assert process.returncode is None
        await asyncio.sleep(0.05)
    process.kill()
    await process.wait()
    account.sandbox.world.ledger.clear()
    yield item


async def test_a_download_whose_process_is_killed_goes_on_in_another_behind_what_is_kept(account: Account) -> None:
    size = 2 * PIECE + 5 * MEBI
    async with killed_while_it_fetches(account, size):
        fetched = await account.step("get", "get_file", filePath="big.bin")

    (request,) = account.requests("download")
    await eventually(lambda: request.bytes_out > 0)  # counted once it is all sent
    assert request.status == 206
    assert size - PIECE - MEBI < request.bytes_out <= size - PIECE  # a piece ends with the chunk that fills it
    assert fetched.content.size == size
    digest = hashlib.sha256()
    async for chunk in account.context.files.open(fetched.content).chunks():
        digest.update(chunk)
    expected = hashlib.sha256((BLOCK * (size // len(BLOCK) + 1))[:size]).hexdigest()
    assert fetched.content.sha256 == digest.hexdigest() == expected


async def test_a_file_that_changed_since_its_download_was_killed_is_an_error_once_and_then_fetched_anew(
    account: Account,
) -> None:
    async with killed_while_it_fetches(account, 2 * PIECE + 5 * MEBI) as item:
        account.drive.replace_content(item, account.sandbox.world.library.blobs.of(b"other"), account.drive.owner)

        with pytest.raises(ItemChanged, match=r"“big\.bin” was changed"):
            await account.step("get", "get_file", filePath="big.bin")
        fetched = await account.step("get", "get_file", filePath="big.bin")

    assert fetched.content.sha256 == hashlib.sha256(b"other").hexdigest()


# Once


@pytest.mark.parametrize("conflict", ["fail", "rename"])
@pytest.mark.parametrize("effect", ["truncate", "reset"])
async def test_a_small_file_whose_answer_is_lost_is_saved_once(account: Account, conflict: str, effect: str) -> None:
    file = await a_file(account, 1000, "a.bin")
    account.plant(operation="content.put", effect=effect)

    for _ in range(2):
        try:
            saved = await account.step("save", "save_file", file=file, conflictBehavior=conflict)
        except LandbridgeError as error:
            assert error.retryable  # noqa: PT017 - the engine runs the step again, as the loop does

    assert saved.name == "a.bin"
    await assert_saved_once(account, file)


@pytest.mark.parametrize("conflict", ["fail", "rename"])
@pytest.mark.parametrize("effect", ["truncate", "reset"])
async def test_a_folder_whose_answer_is_lost_is_created_once(account: Account, conflict: str, effect: str) -> None:
    account.plant(operation="children.create", effect=effect)

    for _ in range(2):
        try:
            made = await account.step("make", "create_folder", name="Box", conflictBehavior=conflict)
        except LandbridgeError as error:
            assert error.retryable  # noqa: PT017 - as above

    assert [name for name in account.names() if name.startswith("Box")] == ["Box"]
    assert made.name == "Box"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("create_folder", {"name": "Box", "conflictBehavior": "rename"}),
        ("save_file", {"file": {"name": "a.bin", "data": "00"}, "conflictBehavior": "rename"}),
        ("move_folder", {"folderPath": "From", "destinationPath": "To", "name": "Was"}),
        ("delete_folder", {"folderPath": "From"}),
        (
            "onedrive_request",
            {"method": "POST", "path": "/me/drive/root/children", "body": {"name": "X", "folder": {}}},
        ),
    ],
)
async def test_a_step_that_is_run_again_after_it_was_done_says_the_same_and_does_nothing(
    account: Account, name: str, given: dict[str, Any]
) -> None:
    account.folder("From")
    account.folder("To")

    first = await account.step("it", name, **given)
    names = account.names()
    second = await account.step("it", name, **given)

    assert second.as_json().get("id") == first.as_json().get("id")
    assert account.names() == names


async def test_a_deleted_folder_is_not_mistaken_for_a_new_one_of_its_name(account: Account) -> None:
    account.folder("Box")

    await account.step("delete", "delete_folder", folderPath="Box")
    account.folder("Box")
    await account.step("delete", "delete_folder", folderPath="Box")

    assert "Box" in account.names()


async def test_a_folder_that_somebody_else_made_is_not_taken_for_ours(account: Account) -> None:
    for seconds in range(100):  # one of them in whichever second ours is marked with
        other = account.folder(f"Box {seconds}")
        other.client_created = other.client_modified = account.clock.now().replace(microsecond=0) - timedelta(
            seconds=seconds
        )
    account.folder("Box")
    account.plant(operation="children.create", effect="reset")

    with pytest.raises(LandbridgeError):
        await account.step("make", "create_folder", name="Box")
    with pytest.raises(NameTaken):
        await account.step("make", "create_folder", name="Box")


async def test_a_request_of_unknown_outcome_is_not_sent_again(account: Account) -> None:
    account.plant(operation="children.create", effect="truncate")
    given = {"method": "POST", "path": "/me/drive/root/children", "body": {"name": "Box", "folder": {}}}

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await account.step("ask", "onedrive_request", **given)

    assert len(account.requests("children.create")) == 1
