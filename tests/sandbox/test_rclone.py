"""rclone, unmodified, believes that the sandbox is OneDrive."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from scripts import setup
from tests.sandbox.caller import Caller
from tests.sandbox.clients import Rclone

from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.switches import Switches

DEBIANS = setup.BIN / "rclone"
Ready = tuple[Rclone, Caller]

NAMES = [
    "a b.txt",
    "#1.txt",
    "100%.txt",
    "a+b.txt",
    "\U0001f600.txt",
    "e\u0301.txt",
    "\u00e9.txt",
    "it's.txt",
    "%41.txt",
]
# Names that differ only in how an accent is composed are two names here.
EXACT = ("--no-unicode-normalization",)
SIZES = [0, 1, 320 * 1024, 4 * 1024 * 1024 + 1, 60 * 1024 * 1024]


def _fill(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        (folder / "names" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "names" / name).write_text(f"{number} {name}")
    for size in SIZES:
        (folder / f"{size}.bin").write_bytes(os.urandom(size))
    deep = folder / "deep"
    while len(str(deep.relative_to(folder))) < 380:
        deep /= "d" * 18
    deep.mkdir(parents=True)
    (deep / ("f" * (394 - len(str(deep.relative_to(folder)))))).write_text("deep")


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(params=["business", "personal"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of drive."""
    return str(request.param)


@pytest.fixture(params=["today's", "debian's"])
def program(request: pytest.FixtureRequest) -> str:
    """Each rclone: the newest, which comes from PyPI, and Debian's of 2022 where there is one."""
    if request.param == "today's":
        return str(Path(sys.executable).with_name("rclone"))
    if not DEBIANS.exists():
        pytest.skip("There is no rclone of Debian's here: see `python3 scripts/setup.py rclone`.")
    return str(DEBIANS)


@pytest.fixture
async def rclone(
    program: str, kind: str, tmp_path: Path, session: aiohttp.ClientSession
) -> AsyncIterator[tuple[Rclone, Caller]]:
    """rclone with an empty drive, and the sandbox in a thread of its own."""
    # Debian's still sends its token to upload URLs; today's is shown not to.
    switches = Switches(upload_authorization="tolerate" if program == str(DEBIANS) else "refuse")
    with Sandbox(drive=kind, switches=switches, tls=True) as sandbox:
        caller = await Caller(session, sandbox.announcement).sign_in()
        drive = await caller.graph("GET", "/me/drive")
        for child in (await caller.graph("GET", "/me/drive/root/children"))["value"]:
            await caller.graph("DELETE", f"/me/drive/items/{child['id']}", 204)
        yield Rclone(program, tmp_path, sandbox.announcement, drive), caller


async def test_a_tree_of_awkward_files_survives_the_way_there_and_back(rclone: Ready, tmp_path: Path) -> None:
    run, _ = rclone
    there, back = tmp_path / "there", tmp_path / "back"
    _fill(there)
    await asyncio.to_thread(run, "copy", str(there), "one:tree", *EXACT)
    assert "0 differences" in await asyncio.to_thread(_check, run, there)
    await asyncio.to_thread(run, "copy", "one:tree", str(back), *EXACT)
    assert _digests(back) == _digests(there)


def _check(run: Rclone, folder: Path) -> str:
    """rclone compares its own quickXorHash of each local file with ours."""
    run("check", str(folder), "one:tree", *EXACT, "--combined", str(folder.parent / "combined"))
    lines = (folder.parent / "combined").read_text().splitlines()
    return f"{sum(not line.startswith('=') for line in lines)} differences"


async def test_files_move_copy_change_and_go(rclone: Ready, tmp_path: Path) -> None:
    run, _ = rclone
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("first")
    for arguments in (
        ("copy", str(source), "one:work"),
        ("moveto", "one:work/a.txt", "one:work/sub/B.txt"),
        ("moveto", "one:work/sub/B.txt", "one:work/sub/b.txt"),
        ("copyto", "one:work/sub/b.txt", "one:work/c.txt"),
        ("mkdir", "one:work/empty"),
        ("move", "one:work/sub", "one:work/moved"),
    ):
        await asyncio.to_thread(run, *arguments)
    listed = await asyncio.to_thread(run, "lsf", "-R", "one:work")
    assert set(listed.split()) == {"c.txt", "empty/", "moved/", "moved/b.txt"} | ({"sub/"} & set(listed.split()))
    assert await asyncio.to_thread(run, "cat", "one:work/moved/b.txt") == "first"
    (source / "a.txt").write_text("second, longer")
    await asyncio.to_thread(run, "copyto", str(source / "a.txt"), "one:work/c.txt")
    assert await asyncio.to_thread(run, "cat", "--offset", "8", "one:work/c.txt") == "longer"
    await asyncio.to_thread(run, "purge", "one:work")
    await asyncio.to_thread(run, "lsf", "one:work", code=3)


async def test_twelve_hundred_children_are_all_listed(rclone: Ready) -> None:
    run, caller = rclone
    for number in range(1200):
        await caller.graph("PUT", f"/me/drive/root:/many/{number:04}.txt:/content", 201, data=b"x")
    listed = await asyncio.to_thread(run, "lsf", "one:many")
    assert listed.split() == [f"{number:04}.txt" for number in range(1200)]
    assert '"count":1200,"bytes":1200' in await asyncio.to_thread(run, "size", "--json", "one:many")
    assert "Used" in await asyncio.to_thread(run, "about", "one:")


async def test_delta_lists_a_whole_tree_and_links_can_be_made(rclone: Ready) -> None:
    run, caller = rclone
    for name in ("a.txt", "sub/b.txt", "sub/deeper/c.txt"):
        await caller.graph("PUT", f"/me/drive/root:/tree/{name}:/content", 201, data=name.encode())
    if run.version >= (1, 64):
        listed = await asyncio.to_thread(run, "lsf", "-R", "--files-only", "--fast-list", "--onedrive-delta", "one:")
        assert set(listed.split()) == {"tree/a.txt", "tree/sub/b.txt", "tree/sub/deeper/c.txt"}
    assert "https://" in await asyncio.to_thread(run, "link", "one:tree/a.txt")


async def test_a_throttled_upload_goes_on_when_it_may(rclone: Ready, tmp_path: Path) -> None:
    run, caller = rclone
    (tmp_path / "one.bin").write_bytes(os.urandom(25 * 1024 * 1024))
    await caller.control("POST", "/faults", json={"service": "upload", "skip": 1, "status": 429, "retry_after": 1})
    await caller.control("POST", "/faults", json={"service": "graph", "status": 503, "retry_after": 1})
    await asyncio.to_thread(run, "copyto", str(tmp_path / "one.bin"), "one:one.bin")
    assert "0 differences" in await asyncio.to_thread(run, "check", str(tmp_path), "one:", "--include", "one.bin", "-v")
