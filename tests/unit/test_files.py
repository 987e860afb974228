"""A file's id opens its contents in its own run and nowhere else."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from landbridge.errors import FilesFailed, FileUnknown, InvalidRequest, Misconfigured, TooLarge
from landbridge.files import PIECE, Contents, File, Files, Piece, Reading, RunFiles
from landbridge.settings import Settings
from landbridge.vault import KeyRing, KeySetting, Vault

VAULT = Vault(KeySetting(KeyRing.generate().text()))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.from_settings(Settings(data_dir=tmp_path / "a folder & more"), VAULT)


@pytest.fixture
def run(files: Files) -> RunFiles:
    return files.of("project", "run")


async def read(contents: Contents) -> bytes:
    return b"".join([chunk async for chunk in contents.chunks()])


async def read_span(reading: Reading, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in reading.chunks(start, end)])


async def cut(whole: bytes, length: int) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), length):
        yield whole[start : start + length]


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (12 << 20) + 3])
async def test_contents_come_back_as_they_were_whole_and_in_parts(run: RunFiles, size: int) -> None:
    whole = Random(size).randbytes(size)

    file = await run.save("a.bin", "application/octet-stream", cut(whole, 100_000))
    contents = run.open(file)

    assert (file.size, file.sha256) == (size, hashlib.sha256(whole).hexdigest())
    assert await read(contents) == whole
    with closing(Reading(contents)) as reading:
        for start, end in ((0, min(1, size)), (size // 2, size), (0, size // 2), (size // 2, size), (0, 0)):
            assert await read_span(reading, start, end) == whole[start:end]


@given(sizes=st.lists(st.integers(0, 40), max_size=5), rest=st.binary(max_size=40), data=st.data())
async def test_whoever_goes_on_behind_what_is_safe_has_the_whole_in_the_end_and_any_part_of_it(
    sizes: list[int], rest: bytes, data: st.DataObject
) -> None:
    run, kept = RunFiles(MemoryStore(), VAULT, "project", "run", {}), list[Piece]()
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    whole = b"".join(parts) + rest
    for part in parts:
        kept += run.open(await run.save("", "", part))._pieces

    file = await run.save("a.bin", "text/plain", rest, kept=kept)
    places = st.integers(0, len(whole))
    spans = data.draw(st.lists(st.tuples(places, places, st.booleans()), max_size=3))

    assert (file.size, file.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert await read(run.open(file)) == whole
    with closing(Reading(run.open(file))) as reading:
        for start, end, is_given_up in spans:
            if is_given_up:
                await anext(reading.chunks(start, end), b"")
            else:
                assert await read_span(reading, start, end) == whole[start:end]
    other = RunFiles(run._store, VAULT, "project", "other", {})
    adopted = File.model_validate(await other.adopt(file.model_dump(by_alias=True), run))
    await run.clear()
    assert await read(other.open(adopted)) == whole


async def test_the_beginning_of_the_next_span_is_read_once_while_nobody_asks_for_it(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def noting(contents: Contents, start: int) -> Any:  # Any: what `_read` returns
        begun.append(start)
        return read_of(contents, start)

    read_of = Contents._read
    monkeypatch.setattr(Contents, "_read", noting)
    whole = Random(0).randbytes(8 << 20)
    with closing(Reading(run.open(await run.save("a.bin", "text/plain", whole)))) as reading:
        assert await read_span(reading, 0, 4 << 20) == whole[: 4 << 20]
        assert await read_span(reading, 8 << 20, 8 << 20) == b""
        assert begun == [0, 2 << 20, 4 << 20]
        assert await read_span(reading, 4 << 20, 8 << 20) == whole[4 << 20 :]
        assert begun == [0, 2 << 20, 4 << 20, 6 << 20, 8 << 20]


async def test_what_is_safe_is_told_piece_by_piece(run: RunFiles) -> None:
    told: list[int] = []

    async def note(pieces: Sequence[Piece]) -> None:
        assert await read(run.pieced(pieces)) == bytes(run.pieced(pieces).size)
        told.append(len(pieces))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2 * PIECE // (8 << 20) + 1):
            yield bytes(8 << 20)

    file = await run.save("a.bin", "text/plain", chunks(), note=note)

    assert told == [1, 2]
    assert file.size == 2 * PIECE + (8 << 20)


@pytest.mark.parametrize(("project", "run_id"), [("project", "other"), ("other", "run"), ("project/run", ""), ("", "")])
async def test_a_file_of_another_run_or_project_opens_nothing(
    files: Files, run: RunFiles, project: str, run_id: str
) -> None:
    file = await run.save("a.txt", "text/plain", b"secret")

    with pytest.raises(FileUnknown):
        files.of(project, run_id).open(file)


@given(made_up=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.hex()))
def test_an_id_cannot_be_made_up(made_up: str) -> None:
    stranger: Any = None  # never reached: the id is refused first
    run = RunFiles(stranger, VAULT, "project", "run", {})

    with pytest.raises(FileUnknown):
        run.open(File(id=made_up, name="a", mime_type="text/plain", size=1, sha256=""))


async def test_what_a_file_says_of_itself_is_not_believed(run: RunFiles) -> None:
    file = await run.save("a.txt", "text/plain", b"five!")

    contents = run.open(file.model_copy(update={"size": 10**9, "sha256": "0" * 64}))

    assert contents.size == 5
    assert await read(contents) == b"five!"


async def test_the_same_run_opens_its_files_in_another_process(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    file = await Files.from_settings(settings, VAULT).of("p", "r").save("a", "text/plain", b"x")

    assert await read(Files.from_settings(settings, VAULT).of("p", "r").open(file)) == b"x"


async def test_contents_in_the_vendors_hex_form_are_taken_in(run: RunFiles) -> None:
    value = {"name": "a.txt", "data": b"hello".hex(), "mimeType": "text/plain", "dataType": "FILE", "size": 99}

    file = await run.receive(value)

    assert (file.name, file.mime_type, file.size) == ("a.txt", "text/plain", 5)
    assert await read(run.open(file)) == b"hello"


async def test_contents_in_base64_are_taken_in_if_they_say_so(run: RunFiles) -> None:
    file = await run.receive({"name": "a", "data": "aGVsbG8=", "encoding": "base64"})

    assert await read(run.open(file)) == b"hello"


@pytest.mark.parametrize(
    "value",
    ["text", 5, [], {}, {"name": "a"}, {"data": "00"}, {"name": "a", "data": "0"}, {"name": "a", "data": "zz"}],
)
async def test_what_is_no_file_is_refused_in_words(run: RunFiles, value: object) -> None:
    with pytest.raises(InvalidRequest):
        await run.receive(value)


@pytest.mark.parametrize("mime_type", ["text/plain\r\nX-Evil: 1", "text/plän", "\x00"])
async def test_a_type_that_no_header_can_hold_is_refused_from_outside_and_forgotten_from_a_provider(
    run: RunFiles, mime_type: str
) -> None:
    file = await run.save("a", mime_type, b"a")

    assert file.mime_type == "application/octet-stream"
    for value in ({"name": "a", "data": "00"}, file.model_dump(by_alias=True)):
        with pytest.raises(InvalidRequest, match=r"look at mimeType"):
            await run.receive({**value, "mimeType": mime_type})


async def test_an_id_from_outside_is_refused(files: Files, run: RunFiles) -> None:
    foreign = await files.of("project", "other").save("a.txt", "text/plain", b"secret")

    with pytest.raises(FileUnknown):
        await run.receive(foreign.model_dump(by_alias=True))


async def test_cleared_files_are_gone_and_others_stay(files: Files, run: RunFiles) -> None:
    other = files.of("project", "other")
    gone, kept = await run.save("a", "text/plain", b"a"), await other.save("b", "text/plain", b"b")

    await run.clear()

    assert await read(other.open(kept)) == b"b"
    with pytest.raises(FileUnknown, match="gone"):
        await read(run.open(gone))


async def test_only_what_is_old_is_swept(files: Files, run: RunFiles) -> None:
    file = await run.save("a", "text/plain", b"a")
    now = datetime.now(UTC)

    assert await files.sweep(now - timedelta(minutes=1)) == 0
    assert await read(run.open(file)) == b"a"
    assert await files.sweep(now + timedelta(minutes=1)) == 1


async def test_what_is_swept_is_neither_what_somebody_keeps_nor_a_copy_that_was_just_made(
    files: Files, run: RunFiles, tmp_path: Path
) -> None:
    kept, gone = await run.save("a", "text/plain", b"a"), await files.of("project", "old").save("b", "text/plain", b"b")
    old = await files.of("project", "copied").save("c", "text/plain", b"c")
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    copy: Any = await files.of("project", "new").adopt(old.model_dump(by_alias=True), files.of("project", "copied"))

    await files.sweep(datetime.now(UTC) - timedelta(days=1), kept=[("project", "run")])

    assert await read(run.open(kept)) == b"a"
    assert await read(files.of("project", "new").open(File.model_validate(copy))) == b"c"
    with pytest.raises(FileUnknown, match="gone"):
        await read(files.of("project", "old").open(gone))


async def test_a_store_that_cannot_be_written_says_so(run: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "a folder & more" / "files" / "project").write_text("in the way")

    with pytest.raises(FilesFailed):
        await run.save("a", "text/plain", b"a")


async def test_a_file_system_that_cannot_do_without_its_cache_keeps_contents_too(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def open_with_cache_only(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, mode)

    whole = Random(1).randbytes(5 << 20)
    monkeypatch.setattr(os, "open", open_with_cache_only)
    file = await run.save("a", "text/plain", cut(whole, 1 << 20))

    assert await read(run.open(file)) == whole


async def test_a_block_of_which_only_a_part_could_be_written_is_whole_all_the_same(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, written, direct = os.open, os.write, set[int]()

    def open_(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags & ~os.O_DIRECT, mode)
        (direct.add if flags & os.O_DIRECT else direct.discard)(descriptor)
        return descriptor

    def write(descriptor: int, block: memoryview) -> int:
        if descriptor in direct and len(block) % 4096:
            raise OSError(errno.EINVAL, "Invalid argument")
        return written(descriptor, block[:5000] if descriptor in direct else block)

    whole = Random(2).randbytes(4 << 20)
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write)
    file = await run.save("a", "text/plain", cut(whole, 1 << 20))

    assert await read(run.open(file)) == whole


async def test_whoever_is_cancelled_while_a_block_is_written_leaves_nothing_behind(
    run: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = asyncio.Event(), threading.Event()
    loop, write = asyncio.get_running_loop(), os.write

    def write_later(descriptor: int, block: memoryview) -> int:
        loop.call_soon_threadsafe(begun.set)
        assert may_go_on.wait(10)
        return write(descriptor, block)

    monkeypatch.setattr(os, "write", write_later)
    saving = asyncio.create_task(run.save("a", "text/plain", cut(bytes(5 << 20), 1 << 20)))
    await begun.wait()
    saving.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving

    assert not whole_files(tmp_path)


@pytest.mark.parametrize("error", [ConnectionError, asyncio.CancelledError])
async def test_what_breaks_off_leaves_nothing_behind(run: RunFiles, tmp_path: Path, error: type[BaseException]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(11 << 20)
        assert whole_files(tmp_path)
        raise error

    with pytest.raises(error):
        await run.save("a.bin", "application/octet-stream", chunks())

    assert not whole_files(tmp_path)


async def test_contents_that_are_cleared_while_they_come_are_an_error_and_not_half_a_file(
    run: RunFiles, tmp_path: Path
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(11 << 20)
        await run.clear()
        yield bytes(5 << 20)

    with pytest.raises(FilesFailed):
        await run.save("a.bin", "application/octet-stream", chunks())

    assert not whole_files(tmp_path)


def whole_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["https://files.example/x", "nonsense", "ftp://host/x", "file:///dev/null/x"])
def test_a_place_that_cannot_be_used_is_named_at_the_start(url: str) -> None:
    with pytest.raises(Misconfigured, match="LANDBRIDGE_FILES_URL"):
        Files.from_settings(Settings(files_url=url), VAULT)


async def test_what_is_longer_than_may_be_kept_is_refused_as_soon_as_that_is_known(
    run: RunFiles, tmp_path: Path
) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(1000)

    with pytest.raises(TooLarge, match="more than 5000 bytes"):
        await run.up_to(5000).save("a.bin", "application/octet-stream", endless())
    kept = await run.up_to(5000).save("b.bin", "application/octet-stream", bytes(5000))

    assert asked == 6
    assert kept.size == 5000
    assert run.open(kept).size == 5000


async def test_a_file_is_on_disk_with_the_folders_that_lead_to_it_before_its_id_is_given_out(
    run: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[tuple[Path, int]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        settled.append((place, place.stat().st_size if place.is_file() else 0))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    await run.save("a.bin", "application/octet-stream", bytes(7_000_000))

    (file,) = whole_files(tmp_path)
    root = tmp_path / "a folder & more" / "files"
    assert settled == [(file, 7_000_000), *((folder, 0) for folder in (file.parent, file.parent.parent, root))]
    assert file.parent.parent.parent == root
    settled.clear()
    await run.save("b.bin", "application/octet-stream", b"b")
    assert [place for place, size in settled if not size] == [file.parent]


async def test_of_kept_files_the_old_ones_go_and_then_the_oldest(run: RunFiles, files: Files) -> None:
    other = await files.of("project", "other").save("a", "text/plain", b"12345")
    kept = []
    for number in range(4):
        kept.append(await run.save(f"{number}", "text/plain", b"12345"))
        backdate(files, run, kept[-1], hours=4 - number)

    await run.trim(datetime.now(UTC) - timedelta(hours=3, minutes=30), 10)

    assert [await is_there(run, file) for file in kept] == [False, False, True, True]
    assert await is_there(files.of("project", "other"), other)


def backdate(files: Files, run: RunFiles, file: File, *, hours: int) -> None:
    """Make a file as old as that."""
    store: Any = files._store
    path = store.prefix / run.open(file)._pieces[0][0]
    then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    os.utime(path, (then, then))


async def is_there(run: RunFiles, file: File) -> bool:
    try:
        return bool(await read(run.open(file)))
    except FileUnknown:
        return False


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("text", ["0", "zz", "=", "YQ", "a b "])
async def test_contents_that_are_not_written_as_said_are_refused(run: RunFiles, encoding: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"is not {encoding}"):
        await run.receive({"name": "a", "data": text, "encoding": encoding})
