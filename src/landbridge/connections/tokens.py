"""Access tokens that work: opened, cached, and refreshed ahead of their end, one refresh at a time per connection.

A refresh is a short transaction that takes the lease, a call to the provider with no transaction held, and a
compare-and-swap that saves. Whoever is stopped in between loses the lease, and if it comes back late, the race. Nobody
waits for a refresh while the present token is still good, and nobody is disconnected because the provider's token
endpoint is having a bad day.
"""

import asyncio
import contextlib
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.connections.accounts import choose
from landbridge.errors import (
    AppRejected,
    Conflict,
    ConnectionUnusable,
    GrantLost,
    LandbridgeError,
    NotConnected,
    NotFound,
    ProviderBusy,
    ProviderFailed,
    ProviderTimedOut,
    StoreFailed,
)
from landbridge.outbound import Lines, lines
from landbridge.projects import ActiveIntegration, Projects
from landbridge.providers.microsoft import Grant, Microsoft
from landbridge.store import connections as store
from landbridge.store.cache import Cache
from landbridge.store.connections import ConnectionRow
from landbridge.store.database import Database
from landbridge.store.sealed import identity
from landbridge.telemetry import Metrics
from landbridge.vault import Vault

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=40)
"""How long one process may take for one refresh; the call itself ends after twenty seconds."""

AHEAD = timedelta(minutes=5)
"""How long before its end a token is renewed; a short-lived one earlier, in the last quarter of its life."""

IDLE = timedelta(days=30)
"""How long an account may lie idle before its grant is refreshed; Microsoft lets it die after ninety days."""

IN_USE = timedelta(hours=2)
"""How long after its last request an account's token is still renewed ahead."""

_TOO_LATE = timedelta(seconds=5)
_LOOK_AGAIN = timedelta(milliseconds=50)
_YOUNG = timedelta(seconds=30)
_TOLD_ELSEWHERE = (ProviderFailed, ConnectionUnusable, NotFound, Conflict)
_NOTED_AT_ONCE = 1000  # a database takes 32,766 parameters in a statement at most, and a writer should not hold it long
_FIRST_REST, _LONGEST_REST = timedelta(seconds=2), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection whose token is ready to be sent."""

    project_id: str
    connection_id: str
    integration: str
    tenant_id: str
    client_id: str
    version: int
    access_token: str = field(repr=False)
    authorization: Lines = field(repr=False)
    refreshed_at: datetime
    refresh_at: datetime
    expires_at: datetime


class Tokens:
    """Gives out access tokens for connections."""

    def __init__(
        self, database: Database, vault: Vault, projects: Projects, microsoft: Microsoft, clock: Clock, metrics: Metrics
    ) -> None:
        self._database = database
        self._vault = vault
        self._projects = projects
        self._microsoft = microsoft
        self._clock = clock
        self._metrics = metrics
        self._holder = secrets.token_hex(8)
        self._selected: Cache[str] = Cache(database, scopes=10_000)
        self._opened: Cache[Opened] = Cache(database, scopes=10_000)
        self._renewals: dict[str, asyncio.Task[Opened]] = {}
        self._used: set[str] = set()

    async def open(self, caller: Caller, integration: str, selector: str | None) -> Opened:
        """Return the user's connection with a token that is good now.

        Raises `Conflict` (integration not active), `NotFound` (nothing connected), `ConnectionUnusable` (the user must
        reconnect), or `ProviderFailed` (the token has ended and the provider gives no new one).
        """
        await self._projects.active(caller.project_id, integration)
        user, choice = f"user:{caller.project_id}/{caller.user_id}", (integration, selector)
        connection_id = self._selected.get(user, choice) or await self._selected.read(
            user, lambda: self._select(caller, integration, selector), choice
        )
        scope = f"connection:{connection_id}"
        opened = self._opened.get(scope) or await self._opened.read(
            scope, lambda: self._open(caller.project_id, connection_id)
        )
        self._used.add(connection_id)
        now = self._clock.now()
        if now >= opened.expires_at - _TOO_LATE:
            return await asyncio.shield(self._renewal(opened))
        if now >= opened.refresh_at:
            self._renewal(opened)
        return opened

    def use_again(self, opened: Opened) -> None:
        """Note that a connection that was opened shortly before serves another request."""
        self._used.add(opened.connection_id)

    async def lend(self, opened: Opened, scopes: Sequence[str]) -> Grant:
        """Return a token of the same grant for another audience; the connection's own tokens stay as they are.

        The refresh token that comes with it is not kept: Microsoft goes on honouring the one that was used
        (https://learn.microsoft.com/entra/identity-platform/refresh-tokens).
        Raises `GrantLost` if the grant does not reach that far, and what `open` raises.
        """
        active = await self._projects.active(opened.project_id, opened.integration)
        kept = self._tokens(await self._row(opened.project_id, opened.connection_id))
        return await self._microsoft.refresh(active.app, refresh_token=kept["refresh_token"], scopes=scopes)

    async def renew(self, opened: Opened) -> Opened:
        """Return a newer token than `opened`, which the provider refused; `opened` itself if that is brand new."""
        if self._clock.now() - opened.refreshed_at < _YOUNG:
            return opened
        return await asyncio.shield(self._renewal(opened))

    async def renew_due(self, *, at_most: int = 200, side_by_side: int = 8) -> int:
        """Refresh what ends soon and is in use, and what lay idle for long; return how many were refreshed."""
        now = self._clock.now()
        async with self._database.read() as tx:
            rows = await store.due_for_refresh(
                tx,
                now=now,
                in_use_since=now - IN_USE,
                expiring_before=now + 2 * AHEAD,
                idle_since=now - IDLE - timedelta(days=random.uniform(0, 5)),  # noqa: S311 - spreads work, hides nothing
                limit=at_most,
            )
        gate = asyncio.Semaphore(side_by_side)

        async def renew(row: ConnectionRow) -> bool:
            async with gate:
                return await self._renew_ahead(row)

        return sum(await asyncio.gather(*(renew(row) for row in rows)))

    async def _renew_ahead(self, row: ConnectionRow) -> bool:
        """Return whether an account was refreshed; one that cannot be rests, so that it does not take others' place."""
        try:
            await asyncio.shield(self._renewal(self._unsealed(row)))
        except (ProviderFailed, StoreFailed):  # the one rests already, the other says nothing about the account
            return False
        except LandbridgeError as error:
            await self._rest(row, error)
            return False
        return True

    async def _rest(self, row: ConnectionRow, error: LandbridgeError) -> None:
        now = self._clock.now()
        told = {"refresh_error": error.message, "refresh_failure": {"code": error.code, "meta": error.meta}}
        with contextlib.suppress(StoreFailed):  # then the next round finds it as it was
            async with self._database.begin() as tx:
                if await store.rest(tx, row, now=now, until=now + _LONGEST_REST, **told):
                    log.error("refresh is not possible", connection=row.id, error=error.code, reason=error.message)

    async def note_use(self) -> None:
        """Write down which connections served requests since the last time; if that fails, the next time does."""
        used = list(self._used)
        for start in range(0, len(used), _NOTED_AT_ONCE):
            page = used[start : start + _NOTED_AT_ONCE]
            async with self._database.begin() as tx:
                await store.mark_used(tx, page, self._clock.now())
            self._used.difference_update(page)

    async def settle(self) -> None:
        """Wait for the refreshes under way, so that none is stopped between the provider's answer and the save."""
        if self._renewals:
            await asyncio.wait(self._renewals.values(), timeout=LEASE.total_seconds())

    def seal(self, project_id: str, connection_id: str, grant: Grant, *, previous: str | None = None) -> bytes:
        """Return a grant's tokens as they are stored."""
        kept = {
            "access_token": grant.access_token,
            "refresh_token": grant.refresh_token,
            "previous_refresh_token": previous,
        }
        return self._vault.seal(json.dumps(kept).encode(), identity("connections", project_id, connection_id))

    async def _select(self, caller: Caller, integration: str, selector: str | None) -> str:
        async with self._database.read() as tx:
            rows = await store.connections_of(tx, caller.project_id, caller.user_id, integration)
        row = choose(rows, selector)
        if row is None:
            raise (
                NotFound("This user has no such connection.")
                if selector
                else NotConnected(f"This user has not connected {integration}.")
            )
        return row.id

    async def _open(self, project_id: str, connection_id: str) -> Opened:
        return self._unsealed(await self._row(project_id, connection_id))

    async def _row(self, project_id: str, connection_id: str) -> ConnectionRow:
        async with self._database.read() as tx:
            row = await store.connection(tx, project_id, connection_id)
        if row is None:
            raise NotFound("This account was disconnected.")
        if row.status != "valid":
            raise ConnectionUnusable(
                "This account has to be connected again: " + (row.refresh_error or "the grant is no longer good."),
                meta={"credentialId": row.id, **(row.refresh_failure or {}).get("meta", {})},
            )
        return row

    def _unsealed(self, row: ConnectionRow) -> Opened:
        expires_at = row.expires_at or row.refreshed_at
        ahead = min(AHEAD, (expires_at - row.refreshed_at) / 4)
        access_token = self._tokens(row)["access_token"]
        return Opened(
            project_id=row.project_id,
            connection_id=row.id,
            integration=row.integration,
            tenant_id=row.tenant_id,
            client_id=row.client_id,
            version=row.token_version,
            access_token=access_token,
            authorization=lines({"Authorization": f"Bearer {access_token}"}),  # once, since it is a kilobyte or two
            refreshed_at=row.refreshed_at,
            refresh_at=expires_at - ahead * random.uniform(1, 2),  # noqa: S311 - spreads work, hides nothing
            expires_at=expires_at,
        )

    def _tokens(self, row: ConnectionRow) -> dict[str, Any]:
        if row.sealed_tokens is None:
            raise ConnectionUnusable("This account has no tokens; it has to be connected again.")
        tokens: dict[str, Any] = json.loads(
            self._vault.open(row.sealed_tokens, identity("connections", row.project_id, row.id))
        )
        return tokens

    def _renewal(self, opened: Opened) -> asyncio.Task[Opened]:
        """Return the one refresh of this connection that is under way in this process, started if need be."""
        task = self._renewals.get(opened.connection_id)
        if task is None:
            task = asyncio.create_task(self._renew(opened), name=f"refresh {opened.connection_id}")
            self._renewals[opened.connection_id] = task
            task.add_done_callback(lambda done: self._renewed(opened.connection_id, done))
        return task

    def _renewed(self, connection_id: str, task: asyncio.Task[Opened]) -> None:
        del self._renewals[connection_id]
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, _TOLD_ELSEWHERE):
            log.error("refresh failed", connection=connection_id, exc_info=error)
        if kept := self._opened.get(f"connection:{connection_id}"):
            rested = replace(kept, refresh_at=self._clock.now() + _FIRST_REST)
            self._opened.put(f"connection:{connection_id}", rested)

    async def _renew(self, stale: Opened) -> Opened:
        """Return a newer token than `stale`: another process's, or one that we fetch while holding the lease."""
        active = await self._projects.active(stale.project_id, stale.integration)
        give_up_at = self._clock.now() + 2 * LEASE
        while self._clock.now() < give_up_at:
            row = await self._row(stale.project_id, stale.connection_id)
            if row.token_version != stale.version:
                return await self._reread(row)
            self._must_not_rest(row, active)
            if await self._lease(row) and (renewed := await self._refresh(row, active)):
                return renewed
            await self._clock.sleep(_LOOK_AGAIN)
        raise ProviderTimedOut("Another process is refreshing this account's token and does not finish.")

    def _must_not_rest(self, row: ConnectionRow, active: ActiveIntegration) -> None:
        """Raise why the last refresh failed, until it is time to try again or the integration has been changed."""
        wait = (row.refresh_retry_at or self._clock.now()) - self._clock.now()
        if wait > timedelta(0) and active.settings.updated_at <= row.updated_at:
            failure = row.refresh_failure or {}
            raise ProviderFailed.of_code(failure.get("code"))(
                row.refresh_error or "The provider's token endpoint failed.",
                retry_after=wait,
                meta={"credentialId": row.id, **failure.get("meta", {})},
            )

    async def _lease(self, row: ConnectionRow) -> bool:
        now = self._clock.now()
        async with self._database.begin() as tx:
            return await store.take_lease(tx, row, self._holder, now, now + LEASE)

    async def _refresh(self, row: ConnectionRow, active: ActiveIntegration) -> Opened | None:
        """Return a new token, or None if the provider gave none and somebody else has taken over meanwhile."""
        tokens = self._tokens(row)
        try:
            grant = await self._ask(row, active, [tokens["refresh_token"], tokens.get("previous_refresh_token")])
        except GrantLost as error:
            if not await self._record_failure(row, error, status="invalid"):
                return None
            raise ConnectionUnusable(
                f"This account has to be connected again: {error.message}", meta={"credentialId": row.id, **error.meta}
            ) from error
        except ProviderFailed as error:
            rest = error.retry_after or min(_FIRST_REST * 2 ** min(row.refresh_failures, 10), _LONGEST_REST)
            if not await self._record_failure(row, error, refresh_retry_at=self._clock.now() + rest):
                return None
            error.retry_after = rest
            error.meta["credentialId"] = row.id
            raise
        self._metrics.refreshes.labels("renewed").inc()
        return await self._save(row, grant, tokens["refresh_token"])

    async def _ask(self, row: ConnectionRow, active: ActiveIntegration, refresh_tokens: Sequence[str | None]) -> Grant:
        """Return a new grant for the newest refresh token that the provider honours.

        The one before is kept for the case that its successor was saved but never reached the provider's other side.
        """
        if active.app.client_id != row.client_id:
            raise AppRejected(
                "This account was connected through another client id than the integration has now. Set the old one "
                "again, or let the user reconnect."
            )
        lost = GrantLost("There is no refresh token.")
        for token in filter(None, refresh_tokens):
            try:
                return await self._microsoft.refresh(active.app, refresh_token=token, scopes=row.scopes)
            except GrantLost as error:
                lost = error
        raise lost

    async def _record_failure(self, row: ConnectionRow, error: ProviderFailed, **changes: Any) -> bool:
        """Record a failure, and return False if it is nobody's any more: the lease is another's, or the tokens are."""
        self._metrics.refreshes.labels(error.code).inc()
        told = {"refresh_error": error.message, "refresh_failure": {"code": error.code, "meta": error.meta}}
        async with self._database.begin() as tx:
            is_ours = await store.save_refresh_failure(
                tx, row, self._holder, **told, updated_at=self._clock.now(), **changes
            )
        if is_ours:
            self._tell(row, error)
        return is_ours

    def _tell(self, row: ConnectionRow, error: ProviderFailed) -> None:
        if isinstance(error, AppRejected):
            log.error(
                "the provider refuses our client id or secret; users need not reconnect",
                project=row.project_id,
                integration=row.integration,
                remedy=error.meta.get("providerRemedy", error.remedy),
            )
        elif not isinstance(error, ProviderBusy):
            log.warning("refresh failed at the provider", connection=row.id, error=error.code, **error.meta)

    async def _save(self, row: ConnectionRow, grant: Grant, spent: str) -> Opened:
        """Save a grant, and return it; or what somebody else saved meanwhile."""
        changes = {
            "sealed_tokens": self.seal(row.project_id, row.id, self._with_refresh_token(grant, spent), previous=spent),
            "expires_at": grant.expires_at,
            "refreshed_at": self._clock.now(),
            "refresh_failures": 0,
            "refresh_error": None,
            "refresh_failure": None,
            "refresh_retry_at": None,
        }
        for attempt in range(3):
            try:
                async with self._database.begin() as tx:
                    await store.save_tokens(tx, row, **changes)
                break
            except StoreFailed:
                if attempt == 2:
                    raise
                await self._clock.sleep(_FIRST_REST)
        return await self._reread(row)

    @staticmethod
    def _with_refresh_token(grant: Grant, spent: str) -> Grant:
        return (
            grant
            if grant.refresh_token
            else Grant(grant.access_token, spent, grant.id_token, grant.expires_at, grant.scopes)
        )

    async def _reread(self, row: ConnectionRow) -> Opened:
        scope = f"connection:{row.id}"
        self._database.announce(scope)  # and not only `_opened`: callers' connections keep what they led to
        return await self._opened.read(scope, lambda: self._open(row.project_id, row.id))
