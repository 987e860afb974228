"""What was backed up comes back, on either kind of database, or the file is refused and nothing is changed."""

import contextlib
import errno
import gzip
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.clock import START, FakeClock
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.errors import BackupFailed, StoreFailed
from landbridge.settings import Settings
from landbridge.store import appointments, checkpoints, connections, history, projects, runs, sign_ins, workflows
from landbridge.store.appointments import AppointmentRow
from landbridge.store.backup import back_up, read_contents, restore
from landbridge.store.cache import Cache
from landbridge.store.connections import ConfigurationRow
from landbridge.store.database import Database, Transaction, latest_migration
from landbridge.store.projects import ProjectRow
from landbridge.store.tables import metadata, revisions, workers

Everything = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def other_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    if database_url.startswith("postgresql"):
        return f"sqlite:///{tmp_path / 'other.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def other_kind(other_url: str, clock: FakeClock) -> AsyncIterator[Database]:
    """An empty database of the other kind."""
    database = Database.from_settings(Settings(database_url=other_url, sqlite_synchronous="NORMAL"), clock)
    await database.migrate()
    yield database
    await database.close()


async def _fill(database: Database) -> ProjectRow:
    project = rows.project(name="Grüße, “Welt” \N{SNOWMAN}")
    integration, connection = rows.integration(project), rows.connection(project, expires_at=START + timedelta(hours=1))
    async with database.begin() as tx:
        await projects.insert_project(tx, project)
        await projects.insert_signing_key(tx, rows.signing_key(project, revoked_at=START))
        await projects.insert_api_key(tx, rows.api_key(None))
        await projects.insert_api_key(tx, rows.api_key(project))
        await projects.put_integration(tx, integration)
        await projects.insert_client_secret(tx, rows.client_secret(integration, sealed=bytes(range(256))))
        await connections.insert_user(tx, rows.user(project, meta={"größe": [1, 2.5, None, True, {"a": "b"}]}))
        await connections.insert_connection(tx, connection, rows.configuration(connection))
        await connections.insert_connection(
            tx,
            gone := rows.connection(project, external_id="second", sealed_tokens=None, expires_at=None),
            rows.configuration(gone, shared_settings={"folder": "/Invoices"}),
        )
        await sign_ins.insert_sign_in(tx, rows.sign_in(project, failure={"code": "denied"}, claimed_at=START))
        await sign_ins.insert_sign_in(tx, rows.sign_in(project))
        await sign_ins.insert_nonce(tx, rows.nonce(project, refusal="not allowed"))
        await checkpoints.put_checkpoint(tx, rows.checkpoint(project))
        default = (await connections.configurations_of(tx, [connection.id]))[0]
        await _fill_workflows(tx, project, default)
    return project


async def _fill_workflows(tx: Transaction, project: ProjectRow, configuration: ConfigurationRow) -> None:
    workflow, run = rows.workflow(project), rows.run(project, error={"code": "größer"})
    version = rows.version(workflow)
    await workflows.insert_workflow(tx, workflow)
    await workflows.insert_version(tx, version)
    await workflows.put_event(tx, rows.app_event(project))
    await workflows.put_secret(tx, rows.secret(project))
    await appointments.put(tx, [AppointmentRow(workflow.id, configuration.id, version.id, START)])
    await runs.insert_runs(tx, [run])
    await history.put_steps(tx, [rows.step(run)])
    await workflows.insert_tested_draft(tx, run.id, {"name": "Größer"})


async def _everything(database: Database) -> Everything:
    async with database.read() as tx:
        return {
            table.name: [tuple(row) for row in await tx.execute(select(table).order_by(*table.primary_key))]
            for table in metadata.sorted_tables
            if table not in (revisions, workers)
        }


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


async def test_everything_comes_back_on_the_same_kind_of_database_and_on_the_other(
    database: Database, other_kind: Database, tmp_path: Path
) -> None:
    await _fill(database)
    before = await _everything(database)
    assert all(before.values()), "the test fills every table"

    await back_up(database, tmp_path / "first.backup")
    await restore(other_kind, tmp_path / "first.backup")
    assert await _everything(other_kind) == before

    await back_up(other_kind, tmp_path / "second.backup")
    await restore(database, tmp_path / "second.backup", replace=True)
    assert await _everything(database) == before


async def test_the_database_goes_on_as_before_after_a_restore(
    database: Database, other_kind: Database, tmp_path: Path
) -> None:
    project = await _fill(database)
    await back_up(database, tmp_path / "backup")
    await restore(other_kind, tmp_path / "backup")
    heard: list[str] = []
    other_kind.on_change(heard.append)

    async with other_kind.begin() as tx:
        await projects.update_project(tx, project.id, name="Renamed")
    await other_kind.catch_up()

    assert heard[-1] == f"project:{project.id}"


async def test_a_backup_says_when_and_by_what_it_was_taken_and_what_it_holds(
    database: Database, tmp_path: Path
) -> None:
    await _fill(database)

    taken = await back_up(database, tmp_path / "backup")

    assert read_contents(tmp_path / "backup") == taken
    assert taken.created_at == START
    assert taken.rows == {name: len(rows) for name, rows in (await _everything(database)).items()}


async def test_a_backup_is_only_for_its_owner_and_nothing_else_is_left_in_the_folder(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    previous = os.umask(0)
    try:
        await back_up(database, folder / "backup")
    finally:
        os.umask(previous)

    assert stat.S_IMODE((folder / "backup").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["backup"]


async def test_a_backup_that_fails_leaves_the_older_one_as_it_was(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(database)
    folder = tmp_path / "backups"
    folder.mkdir()
    await back_up(database, folder / "backup")
    older = (folder / "backup").read_bytes()

    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", no_space)
    with pytest.raises(BackupFailed, match="cannot be written: No space left on device"):
        await back_up(database, folder / "backup")

    assert (folder / "backup").read_bytes() == older
    assert [path.name for path in folder.iterdir()] == ["backup"]


async def test_a_backup_into_a_folder_that_is_not_there_says_so(database: Database, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="nowhere/backup cannot be written: No such file or directory"):
        await back_up(database, tmp_path / "nowhere" / "backup")


async def test_a_backup_shows_one_moment_and_holds_up_nobody_who_writes_meanwhile(
    database: Database, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer comes after the first table was copied, and would be seen in the later ones."""
    project, serving = await _fill(database), opened()
    before = await _everything(database)
    late = rows.connection(project, user_id="late")
    snapshot = database.snapshot

    @contextlib.asynccontextmanager
    async def snapshot_then_write() -> AsyncIterator[Transaction]:
        async with snapshot() as tx:
            await projects.all_projects(tx)
            async with serving.begin() as writing:
                await connections.insert_user(writing, rows.user(project, user_id="late"))
                await connections.insert_connection(writing, late, rows.configuration(late))
            yield tx

    monkeypatch.setattr(database, "snapshot", snapshot_then_write)

    taken = await back_up(database, tmp_path / "backup")

    assert taken.rows == {name: len(found) for name, found in before.items()}
    assert len((await _everything(database))["connected_users"]) == 2


async def test_a_database_that_holds_anything_is_replaced_only_if_asked(
    database: Database, other_kind: Database, tmp_path: Path
) -> None:
    await _fill(database)
    await back_up(database, tmp_path / "backup")
    await _fill(other_kind)
    there = await _everything(other_kind)

    with pytest.raises(BackupFailed, match="not empty"):
        await restore(other_kind, tmp_path / "backup")
    assert await _everything(other_kind) == there

    await restore(other_kind, tmp_path / "backup", replace=True)
    assert await _everything(other_kind) == await _everything(database)


async def test_running_processes_forget_all_that_they_cached_once_a_backup_is_restored(
    database: Database, opened: Opener, tmp_path: Path
) -> None:
    await _fill(database)
    await back_up(database, tmp_path / "backup")
    serving = opened()
    await serving.skip_old_news()
    cache: Cache[str] = Cache(serving, scopes=10)
    cache.put("project:1", "kept")
    cache.put("user:1/ann", "kept")

    await restore(database, tmp_path / "backup", replace=True)
    await serving.catch_up()

    assert cache.get("project:1") is None
    assert cache.get("user:1/ann") is None


Damage = Callable[[bytes], bytes]


def _unzipped(change: Callable[[bytes], bytes]) -> Damage:
    return lambda data: gzip.compress(change(gzip.decompress(data)))


DAMAGES: dict[str, Damage] = {
    "empty": lambda data: b"",
    "another file": lambda data: b"SQLite format 3\x00" + data,
    "cut in the middle": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "footer missing": _unzipped(lambda text: text[: text.rindex(b"\n", 0, -1) + 1]),
    "a row missing": _unzipped(lambda text: b"\n".join([*text.split(b"\n")[:1], *text.split(b"\n")[2:]])),
    "a row twice": _unzipped(lambda text: b"\n".join([*text.split(b"\n")[:2], *text.split(b"\n")[1:]])),
    "a letter changed": _unzipped(lambda text: text.replace(b"Gr", b"gr", 1)),
    "a row added": _unzipped(lambda text: text + text.split(b"\n")[1] + b"\n"),
    "two backups in one": lambda data: data + data,
    "a table unknown": _unzipped(lambda text: text.replace(b'"table":"projects"', b'"table":"widgets"')),
    "a column unknown": _unzipped(lambda text: text.replace(b'"name":', b'"title":', 1)),
    "no JSON": _unzipped(lambda text: text.replace(b"{", b"", 1)),
    "JSON of another kind": lambda data: gzip.compress(b'["no", "backup"]\n'),
    "another format": _unzipped(lambda text: text.replace(b"landbridge-backup/1", b"landbridge-backup/9")),
    "another migration": _unzipped(lambda text: text.replace(b'"migration":"', b'"migration":"9', 1)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_or_foreign_file_is_refused_before_anything_is_changed(
    database: Database, tmp_path: Path, damage: Damage
) -> None:
    await _fill(database)
    await back_up(database, tmp_path / "whole")
    before = await _everything(database)
    (tmp_path / "damaged").write_bytes(damage((tmp_path / "whole").read_bytes()))

    with pytest.raises(BackupFailed):
        await restore(database, tmp_path / "damaged", replace=True)

    assert await _everything(database) == before


async def test_a_file_that_changes_while_it_is_restored_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(database)
    await back_up(database, tmp_path / "backup")
    before = await _everything(database)
    begin = database.begin

    def cut_then_begin() -> Any:  # Any: as the method has it
        (tmp_path / "backup").write_bytes((tmp_path / "backup").read_bytes()[:-20])
        return begin()

    monkeypatch.setattr(database, "begin", cut_then_begin)
    with pytest.raises(BackupFailed):
        await restore(database, tmp_path / "backup", replace=True)

    assert await _everything(database) == before


async def test_a_backup_of_another_migration_says_which_version_to_restore_it_with(
    database: Database, tmp_path: Path
) -> None:
    await back_up(database, tmp_path / "backup")
    damaged = DAMAGES["another migration"]((tmp_path / "backup").read_bytes())
    (tmp_path / "backup").write_bytes(damaged)

    with pytest.raises(
        BackupFailed, match=rf"0\.1\.0 at migration 9{latest_migration()}.*Restore it with that version"
    ):
        await restore(database, tmp_path / "backup")


async def test_a_database_without_tables_is_neither_backed_up_nor_restored_to(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="migrate"):
        await back_up(opened(), tmp_path / "backup")
    with pytest.raises(StoreFailed, match="migrate"):
        await restore(opened(), tmp_path / "backup")


async def test_bytes_are_base64_and_instants_say_their_zone(database: Database, tmp_path: Path) -> None:
    await _fill(database)
    await back_up(database, tmp_path / "backup")

    rows_ = [line["row"] for line in _lines(tmp_path / "backup") if line.get("table") == "client_secrets"]

    assert rows_[0]["sealed"].startswith("AAECAwQF")
    assert rows_[0]["created_at"] == "2026-03-01T12:00:00+00:00"


async def test_ten_thousand_rows_are_copied_and_restored_in_order(
    database: Database, other_kind: Database, project: ProjectRow, tmp_path: Path
) -> None:
    async with database.begin() as tx:
        table = metadata.tables["connected_users"]
        many = [{"user_id": f"user-{n:05}", "id": f"{n:036}", "meta": {"n": n}} for n in range(10_000)]
        await tx.execute(table.insert(), [{"project_id": project.id, "created_at": START, **row} for row in many])
    copied: list[int] = []
    restored: list[int] = []

    await back_up(database, tmp_path / "backup", progress=copied.append)
    await restore(other_kind, tmp_path / "backup", progress=restored.append)

    assert (await _everything(other_kind))["connected_users"] == (await _everything(database))["connected_users"]
    assert copied == list(range(200, 10_001, 200))
    assert restored[-1] == 10_001
