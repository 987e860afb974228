"""A new key takes over while everybody goes on working, and nothing is ever left that does not open."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.errors import Misconfigured, VaultFailed
from landbridge.rotation import follow, rotate
from landbridge.store import checkpoints, connections, projects, runs, sealed, sign_ins, workflows
from landbridge.store.connections import ConnectionRow
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow
from landbridge.store.runs import RunRow
from landbridge.store.sealed import SEALED, identity
from landbridge.store.tables import metadata
from landbridge.vault import KeyFile, KeyRing, KeySetting, Vault, key_id


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(KeyFile(tmp_path / "vault.keys"))


@pytest.fixture
def another_process(tmp_path: Path, vault: Vault) -> Vault:
    """The vault of another process, which read the ring before anybody rotated."""
    return Vault(KeyFile(tmp_path / "vault.keys"))


async def _connect(database: Database, vault: Vault, project: ProjectRow, number: int) -> ConnectionRow:
    row = rows.connection(project, user_id=f"user-{number}")
    tokens = vault.seal(f"tokens of {number}".encode(), identity("connections", project.id, row.id))
    row = replace(row, sealed_tokens=tokens)
    async with database.begin() as tx:
        await connections.insert_connection(tx, row, rows.configuration(row))
    return row


async def _seal_one_of_each(database: Database, vault: Vault, project: ProjectRow) -> None:
    await _connect(database, vault, project, 0)
    integration = rows.integration(project)
    secret, sign_in = rows.client_secret(integration), rows.sign_in(project)
    async with database.begin() as tx:
        await projects.put_integration(tx, integration)
        value = vault.seal(b"the client secret", identity("client_secrets", project.id, secret.id))
        await projects.insert_client_secret(tx, replace(secret, sealed=value))
        checkpoint = rows.checkpoint(project)
        value = vault.seal(b"the upload url", identity("checkpoints", project.id, checkpoint.id))
        await checkpoints.put_checkpoint(tx, replace(checkpoint, sealed=value))
        value = vault.seal(b"the verifier", identity("sign_ins", project.id, sign_in.id))
        await sign_ins.insert_sign_in(tx, replace(sign_in, sealed_secrets=value))
        own = rows.secret(project)
        value = vault.seal(b"the project's secret", identity("project_secrets", project.id, own.id))
        await workflows.put_secret(tx, replace(own, sealed=value))
        await runs.insert_runs(tx, [_run_of_secrets(vault, project)])


def _run_of_secrets(vault: Vault, project: ProjectRow) -> RunRow:
    row = rows.run(project)
    columns = ("sealed_input", "sealed_carry", "sealed_output", "sealed_response")
    values: dict[str, Any] = {c: vault.seal(c.encode(), identity("runs", project.id, row.id)) for c in columns}
    return replace(row, **values)


async def _sealed(database: Database) -> AsyncIterator[tuple[str, bytes]]:
    async with database.read() as tx:
        for column in SEALED:
            for row in await sealed.page(tx, column, without=b"\xff", limit=10_000):
                yield row.identity, row.sealed


async def _secrets(database: Database, vault: Vault) -> set[bytes]:
    return {vault.open(value, name) async for name, value in _sealed(database)}


async def _keys_in_use(database: Database) -> set[str]:
    return {key_id(value) async for _, value in _sealed(database)}


def test_every_column_that_may_hold_bytes_is_known_to_be_sealed() -> None:
    binary = {c for table in metadata.tables.values() for c in table.c if isinstance(c.type, LargeBinary)}
    assert binary == set(SEALED)


async def test_after_a_rotation_a_new_key_wraps_every_secret_and_all_of_them_open(
    database: Database, project: ProjectRow, vault: Vault
) -> None:
    await _seal_one_of_each(database, vault, project)
    before = vault.ring.primary

    rotated = await rotate(database, vault)

    assert rotated.is_complete
    assert (rotated.rewrapped, rotated.unreadable) == (len(SEALED), ())
    assert rotated.key_id == vault.ring.primary != before
    assert await _keys_in_use(database) == {rotated.key_id}
    assert len(await _secrets(database, vault)) == len(SEALED)


async def test_more_rows_than_a_page_are_rotated_and_progress_is_told(
    database: Database, project: ProjectRow, vault: Vault
) -> None:
    for number in range(230):
        await _connect(database, vault, project, number)
    told: list[tuple[int, int]] = []

    rotated = await rotate(database, vault, progress=lambda seen, all_: told.append((seen, all_)))

    assert rotated.rewrapped == 230
    assert told == [(100, 230), (200, 230), (230, 230)]
    assert len(await _secrets(database, vault)) == 230


async def test_a_running_process_with_the_old_ring_opens_what_the_new_key_wraps(
    database: Database, project: ProjectRow, vault: Vault, another_process: Vault
) -> None:
    await _seal_one_of_each(database, vault, project)
    rotated = await rotate(database, vault)

    assert another_process.ring.primary != rotated.key_id
    assert len(await _secrets(database, another_process)) == len(SEALED)
    assert another_process.ring.primary == rotated.key_id


async def test_a_running_process_seals_with_the_new_key_as_soon_as_it_hears_of_the_rotation(
    database: Database, opened: Opener, vault: Vault, another_process: Vault
) -> None:
    elsewhere = opened()
    await elsewhere.skip_old_news()
    follow(elsewhere, another_process)

    rotated = await rotate(database, vault)
    await elsewhere.catch_up()

    assert another_process.ring.primary == rotated.key_id


async def test_a_process_whose_ring_cannot_be_read_again_goes_on_with_the_one_it_has(
    database: Database, vault: Vault, another_process: Vault, tmp_path: Path
) -> None:
    follow(database, another_process)
    (tmp_path / "vault.keys").unlink()

    async with database.begin() as tx:
        tx.touch("ring")

    assert another_process.ring == vault.ring


async def test_what_an_old_process_sealed_after_the_rotation_is_found_by_the_next_one(
    database: Database, project: ProjectRow, vault: Vault, another_process: Vault
) -> None:
    await rotate(database, vault)
    await _connect(database, another_process, project, 1)
    assert await _keys_in_use(database) != {vault.ring.primary}

    rotated = await rotate(database, vault, new_key=False)

    assert rotated.rewrapped == 1
    assert await _keys_in_use(database) == {vault.ring.primary}
    assert await _secrets(database, vault) == {b"tokens of 1"}


async def test_what_an_old_process_seals_during_the_rotation_is_found_by_the_same_one(
    database: Database, project: ProjectRow, vault: Vault, another_process: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _connect(database, vault, project, 1)
    late = rows.connection(project, id="0", user_id="late")  # its id comes before the page that is being read
    late = replace(late, sealed_tokens=another_process.seal(b"late", identity("connections", project.id, "0")))
    page = sealed.page

    async def page_then_connect(*given: object, **named: object) -> object:
        found = await page(*given, **named)  # type: ignore[arg-type]  # handed on as they came
        if found:
            monkeypatch.undo()
            async with database.begin() as tx:
                await connections.insert_connection(tx, late, rows.configuration(late))
        return found

    monkeypatch.setattr(sealed, "page", page_then_connect)

    rotated = await rotate(database, vault)

    assert rotated.is_complete
    assert rotated.rewrapped == 2
    assert await _secrets(database, vault) == {b"tokens of 1", b"late"}


async def test_a_refresh_during_the_rotation_is_never_overwritten(
    database: Database, project: ProjectRow, vault: Vault, another_process: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await _connect(database, vault, project, 1)
    fresh = another_process.seal(b"fresh tokens", identity("connections", project.id, row.id))
    page = sealed.page

    async def page_then_refresh(*given: object, **named: object) -> object:
        found = await page(*given, **named)  # type: ignore[arg-type]  # handed on as they came
        if found:
            monkeypatch.undo()
            async with database.begin() as tx:
                assert await connections.save_tokens(tx, row, sealed_tokens=fresh)
        return found

    monkeypatch.setattr(sealed, "page", page_then_refresh)

    rotated = await rotate(database, vault)

    assert rotated.is_complete
    assert await _secrets(database, vault) == {b"fresh tokens"}
    assert await _keys_in_use(database) == {vault.ring.primary}


@pytest.mark.parametrize("killed_at", range(len(SEALED) + 3))
async def test_a_rotation_killed_at_any_point_leaves_everything_readable_and_the_next_one_finishes(
    database: Database, project: ProjectRow, vault: Vault, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the 1st, 2nd … transaction; within one, the database forgets it."""
    await _seal_one_of_each(database, vault, project)
    begin, begun = database.begin, 0

    def begin_or_die() -> object:
        nonlocal begun
        begun += 1
        if begun > killed_at:
            raise KeyboardInterrupt
        return begin()

    monkeypatch.setattr(database, "begin", begin_or_die)
    if killed_at < 1 + len(SEALED):
        with pytest.raises(KeyboardInterrupt):
            await rotate(database, vault)
    else:
        await rotate(database, vault)
    monkeypatch.undo()
    next_process = Vault(vault.source)
    assert len(await _secrets(database, next_process)) == len(SEALED)

    rotated = await rotate(database, next_process, new_key=False)

    assert rotated.is_complete
    assert await _keys_in_use(database) == {next_process.ring.primary}
    assert len(await _secrets(database, next_process)) == len(SEALED)


async def test_a_value_that_does_not_open_is_named_and_does_not_stop_the_others(
    database: Database, project: ProjectRow, vault: Vault, tmp_path: Path
) -> None:
    await _connect(database, vault, project, 1)
    lost = await _connect(database, Vault(KeyFile(tmp_path / "lost.keys")), project, 2)

    rotated = await rotate(database, vault)

    assert rotated.is_complete
    assert rotated.rewrapped == 1
    assert rotated.unreadable == (identity("connections", project.id, lost.id),)


async def test_two_rotations_at_once_lose_no_key_and_end_with_one(
    database: Database, project: ProjectRow, vault: Vault, another_process: Vault
) -> None:
    for number in range(3):
        await _connect(database, vault, project, number)

    await rotate(database, vault)
    await rotate(database, another_process)

    assert len(another_process.ring.keys) == 3
    assert len(await _secrets(database, vault)) == 3
    assert await _keys_in_use(database) == {another_process.ring.primary}


async def test_a_ring_from_the_environment_is_rotated_by_the_operator_and_re_wrapped_by_us(
    database: Database, project: ProjectRow
) -> None:
    old = KeyRing.generate()
    await _connect(database, Vault(KeySetting(old.text())), project, 1)
    with pytest.raises(Misconfigured, match="--no-new-key"):
        await rotate(database, Vault(KeySetting(old.text())))
    new = old.with_new_primary()

    rotated = await rotate(database, Vault(KeySetting(new.text())), new_key=False)

    assert await _keys_in_use(database) == {new.primary} == {rotated.key_id}
    only_new = Vault(KeySetting(KeyRing({new.primary: new.keys[new.primary]}).text()))
    assert await _secrets(database, only_new) == {b"tokens of 1"}


async def test_the_old_key_opens_nothing_any_more_once_it_is_taken_out_of_the_ring(
    database: Database, project: ProjectRow, vault: Vault
) -> None:
    old = Vault(KeySetting(vault.ring.text()))
    await _connect(database, vault, project, 1)
    await rotate(database, vault)

    with pytest.raises(VaultFailed, match="has no key"):
        await _secrets(database, old)
