"""Killed while it works, a rotation or a backup leaves nothing that a second run does not put right."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert
from tests.clock import START, FakeClock
from tests.store import rows

from landbridge.errors import BackupFailed
from landbridge.rotation import rotate
from landbridge.settings import Settings
from landbridge.store import projects, sealed
from landbridge.store.backup import back_up, read_contents
from landbridge.store.database import Database
from landbridge.store.sealed import SEALED, identity
from landbridge.store.tables import connections, values_of
from landbridge.vault import KeyFile, Vault, key_id

MANY = 500
PROGRAM = """
import asyncio, sys
from pathlib import Path
from landbridge.clock import SystemClock
from landbridge.disk import written_whole
from landbridge.rotation import rotate
from landbridge.settings import Settings
from landbridge.store.backup import back_up
from landbridge.store.database import Database
from landbridge.vault import KeyFile, Vault

def going(*_):
    print("going", flush=True)
    sys.stdin.readline()

def half_a_key_file(path):
    with written_whole(path) as file:
        file.write(b"half a key ring")
        going()

async def main(url, folder, what):
    if what == "key":
        half_a_key_file(folder / "vault.keys")
    database = Database.from_settings(Settings(database_url=url), SystemClock())
    if what == "rotate":
        await rotate(database, Vault(KeyFile(folder / "vault.keys")), progress=going)
    else:
        await back_up(database, folder / "backup", progress=going)
    await database.close()

asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
"""


@contextmanager
def _run(url: str, folder: Path, what: str, after: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Hand out a process that has told for the `after`th time how far it is, and waits to go on."""
    command = [sys.executable, "-c", PROGRAM, url, str(folder), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for turn in range(after):
            if turn:
                process.stdin.write("\n")
                process.stdin.flush()
            assert process.stdout.readline() == "going\n"
        yield process


def _run_and_kill(url: str, folder: Path, what: str, after: int) -> None:
    with _run(url, folder, what, after) as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> Database:
    """A database with many sealed tokens. Its connections are closed by then, as another process will use it."""
    database = Database.from_settings(Settings(database_url=database_url, sqlite_synchronous="NORMAL"), FakeClock())
    await database.migrate()
    vault, project = Vault(KeyFile(tmp_path / "vault.keys")), rows.project()
    made = [rows.connection(project, user_id=f"user {number}", id=f"{number:036}") for number in range(MANY)]
    async with database.begin() as tx:
        await projects.insert_project(tx, project)
        tokens = {row.id: vault.seal(row.id.encode(), identity("connections", project.id, row.id)) for row in made}
        values = [values_of(row) | {"sealed_tokens": tokens[row.id], "created_at": START} for row in made]
        await tx.execute(insert(connections), values)
    await database.close()
    return database


async def _sealed(database: Database) -> dict[str, bytes]:
    async with database.read() as tx:
        found = [await sealed.page(tx, column, without=b"\xff", limit=2 * MANY) for column in SEALED]
    return {row.identity: row.sealed for page in found for row in page}


@pytest.mark.parametrize("after", [1, 2, 4])
async def test_a_killed_rotation_leaves_every_token_readable_and_the_next_one_finishes(
    database: Database, database_url: str, tmp_path: Path, after: int
) -> None:
    await asyncio.to_thread(_run_and_kill, database_url, tmp_path, "rotate", after)

    vault = Vault(KeyFile(tmp_path / "vault.keys"))
    before = await _sealed(database)
    assert len({vault.open(value, name) for name, value in before.items()}) == MANY
    assert len({key_id(value) for value in before.values()}) == 2

    assert (await rotate(database, vault, new_key=False)).is_complete
    after_all = await _sealed(database)
    assert len({vault.open(value, name) for name, value in after_all.items()}) == MANY
    assert {key_id(value) for value in after_all.values()} == {vault.ring.primary}
    await database.close()


async def test_a_killed_backup_leaves_the_older_one_whole_and_none_where_there_was_none(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(_run_and_kill, database_url, tmp_path, "backup", 1)
    with pytest.raises(BackupFailed):
        read_contents(tmp_path / "backup")

    whole = await back_up(database, tmp_path / "backup")
    await database.close()
    await asyncio.to_thread(_run_and_kill, database_url, tmp_path, "backup", 1)

    assert read_contents(tmp_path / "backup") == whole


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.glob(".*")}


async def test_what_a_killed_backup_leaves_is_gone_after_the_next_one(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    theirs = {".backup.keep", ".backup.1.draft.txt", ".another.12345678.draft"}
    for name in theirs:
        (tmp_path / name).touch()
    await asyncio.to_thread(_run_and_kill, database_url, tmp_path, "backup", 1)
    assert len(hidden(tmp_path) - theirs) == 1

    await back_up(database, tmp_path / "backup")
    await database.close()

    assert hidden(tmp_path) == theirs


async def test_a_backup_under_way_is_not_taken_for_a_killed_one(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    with _run(database_url, tmp_path, "backup") as slow:
        whole = await back_up(database, tmp_path / "backup")
        await database.close()
        assert len(hidden(tmp_path)) == 1

        await asyncio.to_thread(slow.communicate, "\n" * MANY)

        assert slow.returncode == 0
    assert read_contents(tmp_path / "backup").rows == whole.rows
    assert hidden(tmp_path) == set()


def test_what_a_killed_addition_of_a_key_leaves_is_gone_after_the_next_one(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "vault.keys")
    ring = keys.read()
    _run_and_kill("", tmp_path, "key", 1)
    assert len(hidden(tmp_path)) == 1
    assert keys.read() == ring

    assert ring.primary in keys.add_key().keys

    assert hidden(tmp_path) == set()
