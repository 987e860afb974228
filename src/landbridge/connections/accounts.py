"""Connected users, their connections and configurations, as the user's own SDK and the operator see them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.errors import Conflict, InvalidRequest, NotConnected, NotFound, TooLarge
from landbridge.store import appointments
from landbridge.store import connections as store
from landbridge.store.cache import Cache
from landbridge.store.connections import ConfigurationRow, ConnectionRow, UserRow
from landbridge.store.database import Database, Transaction

MOST_META_KEYS = 100
"""How many entries a user's metadata may have."""

MOST_CHARACTERS = 64 << 10
"""How long settings or metadata may be, as JSON; they are for forms, not for files."""

_USERS = 10_000

MOST_CONFIGURATIONS = 100
"""How many configurations a connection may have: every answer about the user holds them all."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection with its configurations, the default one first."""

    connection: ConnectionRow
    configurations: tuple[ConfigurationRow, ...]

    @property
    def default(self) -> ConfigurationRow:
        """The configuration that every connection has."""
        return self.configurations[0]

    def configuration(self, selector: str | None) -> ConfigurationRow:
        """Return the configuration that an id or external id names, or the default one. Raises `NotFound`."""
        if not selector:
            return self.default
        for candidate in self.configurations:
            if names(selector, candidate.id, candidate.external_id):
                return candidate
        raise NotFound("This connection has no such configuration.")


class Accounts:
    """What a user has connected."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._of_users: Cache[tuple[UserRow, Sequence[Connected]]] = Cache(database, scopes=_USERS)

    async def user(self, caller: Caller) -> UserRow:
        """Return the connected user, known from the first call on."""
        if found := await self._known(caller):
            return found
        row = UserRow(caller.project_id, caller.user_id, str(uuid4()), {}, self._clock.now())
        try:
            async with self._database.begin() as tx:
                await store.insert_user(tx, row)
        except Conflict:  # two first calls at the same moment
            return await self._known(caller) or row
        return row

    async def _known(self, caller: Caller) -> UserRow | None:
        async with self._database.read() as tx:
            return await store.user(tx, caller.project_id, caller.user_id)

    async def set_meta(self, caller: Caller, meta: dict[str, Any]) -> None:
        """Merge `meta` into the user's metadata. Raises `TooLarge`."""
        known = await self.user(caller)
        async with self._database.begin() as tx:
            await store.hold_user(tx, caller.project_id, caller.user_id)
            row = await store.user(tx, caller.project_id, caller.user_id) or known
            merged = {**row.meta, **meta}
            if len(merged) > MOST_META_KEYS:
                raise TooLarge(f"A user's metadata holds {MOST_META_KEYS} entries at most.")
            _must_be_short(merged)
            await store.update_user_meta(tx, row, merged)
            await appointments.arrange_anew(tx, caller.project_id, caller.user_id)
            tx.touch(store.scope_of_user(caller.project_id, caller.user_id))

    async def of_user(self, caller: Caller, integration: str) -> tuple[UserRow, Sequence[Connected]]:
        """Return the connected user, and what they have connected of an integration, oldest first.

        Remembered until anybody changes it, which other processes hear of within half a second.
        """

        async def load() -> tuple[UserRow, Sequence[Connected]]:
            user = await self.user(caller)
            return user, await self.list(caller, integration)

        return await self._of_users.read(store.scope_of_user(caller.project_id, caller.user_id), load, integration)

    async def list(self, caller: Caller, integration: str | None = None) -> list[Connected]:
        """Return what the user has connected, oldest first."""
        async with self._database.read() as tx:
            rows = await store.connections_of(tx, caller.project_id, caller.user_id, integration)
            return await _with_configurations(tx, rows)

    async def of_project(self, project_id: str, *, user_id: str | None = None) -> Sequence[Connected]:
        """Return a project's connections for its operator, oldest first, a thousand at most."""
        async with self._database.read() as tx:
            return await _with_configurations(tx, await store.connections_of(tx, project_id, user_id))

    async def get(self, caller: Caller, selector: str, integration: str | None = None) -> Connected:
        """Return the user's own connection by its id or external id, or raise `NotFound`."""
        for candidate in await self.list(caller, integration):
            if names(selector, candidate.connection.id, candidate.connection.external_id):
                return candidate
        raise NotFound("This user has no such connection.")

    async def disconnect(self, caller: Caller, integration: str, selector: str | None) -> None:
        """Delete the user's connection with its tokens and settings; every process stops using it within half a second.

        The user's consent stays in their Microsoft account, where only they can take it back.
        """
        async with self._database.begin() as tx:
            rows = await store.connections_of(tx, caller.project_id, caller.user_id, integration)
            row = choose(rows, selector)
            if row is None:
                raise NotFound("This user has no such connection.")
            await store.delete_connection(tx, row)

    async def disconnect_for_operator(self, project_id: str, connection_id: str) -> None:
        """Delete any connection of a project, or raise `NotFound`."""
        async with self._database.begin() as tx:
            row = await store.connection(tx, project_id, connection_id)
            if row is None:
                raise NotFound("This project has no such connection.")
            await store.delete_connection(tx, row)

    async def change_settings(
        self, caller: Caller, selector: str, configuration: str | None, changes: dict[str, Any]
    ) -> Connected:
        """Replace settings of a configuration (`shared_settings`, `workflow_settings`, `meta`) and return the whole."""
        for value in changes.values():
            _must_be_short(value)
        connected = await self.get(caller, selector)
        row = connected.configuration(configuration)
        async with self._database.begin() as tx:
            await store.update_configuration(tx, row, **changes, updated_at=self._clock.now())
            await appointments.arrange_anew(tx, caller.project_id, caller.user_id)
            tx.touch(store.scope_of_user(caller.project_id, caller.user_id))
        return await self.get(caller, connected.connection.id)

    async def switch_workflow(
        self,
        caller: Caller,
        selector: str | None,
        configuration: str | None,
        workflow_id: str,
        *,
        integration: str,
        on: bool,
    ) -> None:
        """Switch a workflow on or off for a configuration, keeping the settings that the user filled in for it.

        Without a selector the user's oldest usable connection is meant. Raises `NotFound`, `TooLarge`.
        """
        async with self._database.begin() as tx:
            await store.hold_user(tx, caller.project_id, caller.user_id)
            rows = await store.connections_of(tx, caller.project_id, caller.user_id, integration)
            connection = choose(rows, selector)
            if connection is None:
                raise NotConnected(f"This user has no such connection with {integration}.")
            (connected,) = await _with_configurations(tx, [connection])
            row = connected.configuration(configuration)
            mine = {**row.workflow_settings.get(workflow_id, {}), "enabled": on}
            switched = {**row.workflow_settings, workflow_id: mine}
            _must_be_short(switched)
            await store.update_configuration(tx, row, workflow_settings=switched, updated_at=self._clock.now())
            tx.touch(store.scope_of_user(caller.project_id, caller.user_id))

    async def add_configuration(self, caller: Caller, selector: str, external_id: str | None) -> Connected:
        """Add a configuration to a connection. Raises `Conflict` if its external id is taken, and `TooLarge`."""
        connected = await self.get(caller, selector)
        if len(connected.configurations) >= MOST_CONFIGURATIONS:
            raise TooLarge(f"A connection has {MOST_CONFIGURATIONS} configurations at most.")
        row = new_configuration(connected.connection.id, self._clock, external_id=clean_external_id(external_id))
        async with self._database.begin() as tx:
            await store.insert_configuration(tx, row)
            tx.touch(store.scope_of_user(caller.project_id, caller.user_id))
        return await self.get(caller, connected.connection.id)

    async def remove_configuration(self, caller: Caller, selector: str, configuration: str | None) -> None:
        """Delete a configuration; the default one lives as long as its connection."""
        connected = await self.get(caller, selector)
        row = connected.configuration(configuration)
        if row.is_default:
            raise Conflict("The default configuration cannot be deleted; disconnect the account instead.")
        async with self._database.begin() as tx:
            await store.delete_configuration(tx, row)
            tx.touch(store.scope_of_user(caller.project_id, caller.user_id))


async def _with_configurations(tx: Transaction, rows: Sequence[ConnectionRow]) -> list[Connected]:
    configurations = await store.configurations_of(tx, [row.id for row in rows])
    return [
        Connected(
            row, tuple(sorted((c for c in configurations if c.connection_id == row.id), key=lambda c: not c.is_default))
        )
        for row in rows
    ]


def _must_be_short(kept: dict[str, Any]) -> None:
    if len(json.dumps(kept)) > MOST_CHARACTERS:
        raise TooLarge(f"Settings and metadata hold {MOST_CHARACTERS} characters each at most.")


def new_configuration(
    connection_id: str, clock: Clock, *, external_id: str | None = None, is_default: bool = False
) -> ConfigurationRow:
    """Return an empty configuration."""
    now = clock.now()
    return ConfigurationRow(str(uuid4()), connection_id, is_default, external_id, now, now)


def choose(rows: Sequence[ConnectionRow], selector: str | None) -> ConnectionRow | None:
    """Return the connection that a selector names; without one the oldest valid one, else the oldest."""
    if selector:
        return next((row for row in rows if names(selector, row.id, row.external_id)), None)
    return next((row for row in rows if row.status == "valid"), rows[0] if rows else None)


def names(selector: str, id_: str, external_id: str | None) -> bool:
    """Return whether a selector names this thing: its UUID, its external id, or `ext:` and its external id.

    The prefix is needed only where an external id looks like a UUID; without it, a UUID is always an id.
    """
    selector = selector.strip()
    if selector.startswith("ext:"):
        return external_id == selector.removeprefix("ext:").strip()
    return selector.lower() == id_ if _is_uuid(selector) else external_id == selector


def clean_external_id(text: str | None) -> str | None:
    """Return an external id as it is stored, without the prefix that the SDK may leave on it."""
    if text is None:
        return None
    cleaned = text.strip().removeprefix("ext:").strip()
    if not 0 < len(cleaned) <= 255 or not cleaned.isprintable():
        raise InvalidRequest("An external id has 1 to 255 printable characters.")
    return cleaned


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
