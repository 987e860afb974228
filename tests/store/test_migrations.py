"""The tables that the migrations make are those that the queries expect."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from tests.store.conftest import Opener

from landbridge.errors import StoreFailed
from landbridge.store.database import Database, latest_migration
from landbridge.store.tables import metadata


async def test_the_migrations_make_exactly_the_tables_that_the_code_describes(database: Database) -> None:
    def differences(connection: Connection) -> Any:  # Any: Alembic's descriptions of what to change
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with database.engine.connect() as connection:
        found = await connection.run_sync(differences)

    assert found == []


async def test_the_migrations_make_the_foreign_keys_and_their_names_as_the_code_describes(database: Database) -> None:
    def foreign_keys(connection: Connection) -> set[tuple[object, ...]]:
        inspector = inspect(connection)
        return {
            (table, key["name"], *key["constrained_columns"], key["referred_table"], key["options"].get("ondelete"))
            for table in inspector.get_table_names()
            for key in inspector.get_foreign_keys(table)
        }

    async with database.engine.connect() as connection:
        made = await connection.run_sync(foreign_keys)

    assert made == {
        (table.name, str(key.name), *key.column_keys, key.referred_table.name, key.ondelete)
        for table in metadata.tables.values()
        for key in table.foreign_key_constraints
    }


async def test_a_database_that_was_never_migrated_is_not_ready_and_says_what_to_run(opened: Opener) -> None:
    with pytest.raises(StoreFailed, match=f"at “nothing”, this version needs “{latest_migration()}”.*migrate"):
        await opened().check()


async def test_a_migrated_database_is_ready_and_migrating_again_changes_nothing(database: Database) -> None:
    await database.check()
    await database.migrate()
    await database.check()


async def test_two_processes_may_migrate_at_the_same_time(opened: Opener) -> None:
    one, other = opened(), opened()

    await asyncio.gather(one.migrate(), other.migrate())

    await one.check()
    await other.check()
