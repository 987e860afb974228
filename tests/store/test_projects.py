"""Projects and what belongs to them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.clock import START, FakeClock
from tests.store import rows
from tests.store.conftest import Opener

from landbridge.errors import NotFound, StoreFailed
from landbridge.store import connections, projects, sign_ins
from landbridge.store.database import Database, Transaction
from landbridge.store.projects import ProjectRow


async def test_a_project_is_found_as_it_was_written(database: Database) -> None:
    row = rows.project(name="Grüße \N{SNOWMAN}", allowed_origins=["https://a.example", "http://localhost:3000"])
    async with database.begin() as tx:
        await projects.insert_project(tx, row)
    async with database.read() as tx:
        assert await projects.project(tx, row.id) == row


async def test_an_unknown_project_is_not_found(database: Database) -> None:
    async with database.read() as tx:
        with pytest.raises(NotFound, match="no project “nowhere”"):
            await projects.project(tx, "nowhere")


async def test_projects_are_listed_oldest_first(database: Database) -> None:
    older, newer = rows.project(created_at=START - timedelta(days=1)), rows.project()
    async with database.begin() as tx:
        await projects.insert_project(tx, newer)
        await projects.insert_project(tx, older)
    async with database.read() as tx:
        assert await projects.all_projects(tx) == [older, newer]


async def test_a_change_to_one_project_leaves_the_others(database: Database, project: ProjectRow) -> None:
    other = rows.project()
    async with database.begin() as tx:
        await projects.insert_project(tx, other)
        await projects.update_project(tx, project.id, name="Renamed")
    async with database.read() as tx:
        assert (await projects.project(tx, project.id)).name == "Renamed"
        assert await projects.project(tx, other.id) == other


async def test_deleting_a_project_deletes_all_that_belongs_to_it_and_nothing_else(
    database: Database, project: ProjectRow
) -> None:
    other = rows.project()
    async with database.begin() as tx:
        await projects.insert_project(tx, other)
        for owner in (project, other):
            integration, connection = rows.integration(owner), rows.connection(owner)
            await projects.insert_signing_key(tx, rows.signing_key(owner))
            await projects.insert_api_key(tx, rows.api_key(owner))
            await projects.put_integration(tx, integration)
            await projects.insert_client_secret(tx, rows.client_secret(integration))
            await connections.insert_user(tx, rows.user(owner))
            await connections.insert_connection(tx, connection, rows.configuration(connection))
            await sign_ins.insert_sign_in(tx, rows.sign_in(owner))
            await sign_ins.insert_nonce(tx, rows.nonce(owner))
    tables = ["api_keys", "browser_nonces", "client_secrets", "configurations", "connected_users", "connections"]
    tables += ["integrations", "projects", "sign_ins", "signing_keys"]

    async with database.begin() as tx:
        await projects.delete_project(tx, project.id)

    assert {table: await rows.count(database, table) for table in tables} == dict.fromkeys(tables, 1)
    async with database.read() as tx:
        assert await projects.all_projects(tx) == [other]


async def test_a_signing_key_of_an_unknown_project_is_refused(database: Database) -> None:
    with pytest.raises(StoreFailed, match=r"IntegrityError|ForeignKeyViolation"):
        async with database.begin() as tx:
            await projects.insert_signing_key(tx, rows.signing_key(rows.project()))


async def test_a_signing_key_is_revoked_once_and_only_by_its_own_project(
    database: Database, project: ProjectRow
) -> None:
    key, other = rows.signing_key(project), rows.project()
    async with database.begin() as tx:
        await projects.insert_project(tx, other)
        await projects.insert_signing_key(tx, key)
    with pytest.raises(NotFound):
        async with database.begin() as tx:
            await projects.revoke_signing_key(tx, other.id, key.id, START)

    async with database.begin() as tx:
        await projects.revoke_signing_key(tx, project.id, key.id, START)

    async with database.read() as tx:
        assert [found.revoked_at for found in await projects.signing_keys_of(tx, project.id)] == [START]
    with pytest.raises(NotFound, match="no such active signing key"):
        async with database.begin() as tx:
            await projects.revoke_signing_key(tx, project.id, key.id, START)


async def test_signing_keys_for_a_limited_time_are_deleted_after_it_and_the_others_stay(
    database: Database, project: ProjectRow, clock: FakeClock
) -> None:
    lasting = rows.signing_key(project)
    living = rows.signing_key(project, created_at=START + timedelta(seconds=1), expires_at=START + timedelta(hours=2))
    ended = rows.signing_key(project, expires_at=START + timedelta(hours=1))
    async with database.begin() as tx:
        for key in (lasting, living, ended):
            await projects.insert_signing_key(tx, key)
    clock.advance(timedelta(hours=1, seconds=1))

    async with database.begin() as tx:
        assert await projects.delete_expired_signing_keys(tx, clock.now()) == 1

    async with database.read() as tx:
        assert await projects.signing_keys_of(tx, project.id) == [lasting, living]


async def test_an_api_key_is_found_by_its_digest_until_it_is_revoked(database: Database, project: ProjectRow) -> None:
    of_one, of_all = rows.api_key(project), rows.api_key(None, created_at=START + timedelta(seconds=1))
    async with database.begin() as tx:
        await projects.insert_api_key(tx, of_one)
        await projects.insert_api_key(tx, of_all)
        await projects.revoke_api_key(tx, of_one.id, START)

    async with database.read() as tx:
        assert await projects.api_key_by_hash(tx, of_one.hash) is None
        assert await projects.api_key_by_hash(tx, of_all.hash) == of_all
        assert [key.revoked_at for key in await projects.all_api_keys(tx)] == [START, None]
    with pytest.raises(NotFound):
        async with database.begin() as tx:
            await projects.revoke_api_key(tx, of_one.id, START)


async def test_the_settings_of_an_integration_are_added_then_replaced(database: Database, project: ProjectRow) -> None:
    row = rows.integration(project)
    changed = rows.integration(project, id=row.id, client_id="another", scopes=["A", "B"], is_active=False)
    for given in (row, changed):
        async with database.begin() as tx:
            await projects.put_integration(tx, given)
        async with database.read() as tx:
            assert await projects.integration(tx, project.id, "onedrive") == given
            assert await projects.integrations_of(tx, project.id) == [given]
    async with database.read() as tx:
        assert await projects.integration(tx, project.id, "dropbox") is None


async def test_client_secrets_are_listed_newest_first_and_deleted_only_in_their_project(
    database: Database, project: ProjectRow
) -> None:
    integration = rows.integration(project)
    older = rows.client_secret(integration, sealed=bytes(range(256)), expires_at=START)
    newer = rows.client_secret(integration, created_at=START + timedelta(days=1))
    async with database.begin() as tx:
        await projects.put_integration(tx, integration)
        await projects.insert_client_secret(tx, older)
        await projects.insert_client_secret(tx, newer)
        await projects.delete_client_secrets(tx, rows.project().id, [newer.id])
    async with database.read() as tx:
        assert await projects.client_secrets_of(tx, integration.id) == [newer, older]

    async with database.begin() as tx:
        await projects.delete_client_secrets(tx, project.id, [older.id])
        await projects.delete_client_secrets(tx, project.id, [])

    async with database.read() as tx:
        assert await projects.client_secrets_of(tx, integration.id) == [newer]


async def test_whatever_changes_what_is_asked_of_a_project_touches_it_everywhere(
    database: Database, project: ProjectRow, opened: Opener
) -> None:
    elsewhere, heard = opened(), list[str]()
    await elsewhere.skip_old_news()
    elsewhere.on_change(heard.append)
    key, integration = rows.signing_key(project), rows.integration(project)
    secret = rows.client_secret(integration)
    changes: list[Callable[[Transaction], Awaitable[None]]] = [
        lambda tx: projects.update_project(tx, project.id, name="Renamed"),
        lambda tx: projects.insert_signing_key(tx, key),
        lambda tx: projects.revoke_signing_key(tx, project.id, key.id, START),
        lambda tx: projects.put_integration(tx, integration),
        lambda tx: projects.insert_client_secret(tx, secret),
        lambda tx: projects.delete_client_secrets(tx, project.id, [secret.id]),
        lambda tx: projects.delete_project(tx, project.id),
    ]
    for number, change in enumerate(changes, start=1):
        async with database.begin() as tx:
            await change(tx)
        await elsewhere.catch_up()
        assert heard == [f"project:{project.id}"] * number
