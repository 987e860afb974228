"""Signing in at the provider: from the SDK's request to a connection, or to an error that the SDK's caller sees.

Three things must meet before an account is connected, and each comes another way: the *state*, which went through the
provider; the *cookie*, which only the browser has that was on the nonce page; and the *project and user* that both were
made for. A victim who is sent to somebody else's sign-in has the wrong cookie or none, so their account cannot end up
with the attacker's user. The nonce page gives its cookie only to a browser that the project's own page sent there.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import structlog

from landbridge.access import Caller
from landbridge.catalog import Catalog
from landbridge.clock import Clock
from landbridge.connections.accounts import Accounts, Connected, choose, clean_external_id, new_configuration
from landbridge.connections.tokens import Tokens
from landbridge.errors import Conflict, InstallFailed, InvalidRequest, LandbridgeError, NotFound
from landbridge.projects import ActiveIntegration, Projects, origin
from landbridge.providers.microsoft import Account, Grant, Microsoft, missing_scopes
from landbridge.settings import Settings
from landbridge.store import connections as connection_store
from landbridge.store import sign_ins as store
from landbridge.store.connections import ConnectionRow
from landbridge.store.database import Database, Transaction
from landbridge.store.sealed import identity
from landbridge.store.sign_ins import NonceRow, SignInRow
from landbridge.telemetry import Metrics
from landbridge.vault import Vault

log = structlog.get_logger(__name__)

LIFETIME = timedelta(minutes=10)
"""How long a sign-in may take; Microsoft's own code lives as long."""

_SETTLING = timedelta(seconds=60)
"""How far apart the SDK's two first requests, the sign-in and the nonce page, may be."""


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What the SDK's caller asked of an install."""

    external_id: str | None = None
    reconnect: str | None = None
    add: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "InstallOptions":
        """Return the options that matter to the server. Raises `InvalidRequest`."""
        external_id, reconnect = given.get("externalId"), given.get("selectedCredentialId")
        if not all(value is None or isinstance(value, str) for value in (external_id, reconnect)):
            raise InvalidRequest("`externalId` and `selectedCredentialId` are texts.")
        if external_id and reconnect:
            raise InvalidRequest("Give `externalId` for a new connection or `selectedCredentialId` for an old one.")
        return cls(clean_external_id(external_id), reconnect or None, bool(given.get("allowMultipleCredentials")))

    def as_json(self) -> dict[str, Any]:
        """Return the options as they are stored with the sign-in."""
        return {
            "externalId": self.external_id,
            "selectedCredentialId": self.reconnect,
            "allowMultipleCredentials": self.add,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sign-in ended, for the page that the user sees last: well, or with a failure as the SDK reads errors."""

    message: str
    failure: Mapping[str, Any] | None = None


class SignIns:
    """Sign-ins under way."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        projects: Projects,
        catalog: Catalog,
        microsoft: Microsoft,
        accounts: Accounts,
        tokens: Tokens,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._vault = vault
        self._projects = projects
        self._catalog = catalog
        self._microsoft = microsoft
        self._accounts = accounts
        self._tokens = tokens
        self._settings = settings
        self._clock = clock
        self._metrics = metrics

    async def begin(
        self,
        caller: Caller,
        integration: str,
        *,
        session_key: str,
        options: Mapping[str, Any],
        redirect_url: str | None = None,
    ) -> str:
        """Return where the user's browser goes next: the provider, or our own page that says why not.

        What is wrong with the integration or the options is recorded as the sign-in's outcome, since the SDK tells its
        caller of an outcome and of nothing else. Raises `InvalidRequest` for a session key that cannot be kept.
        """
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        row = self._new(caller, integration, session_key, state, {"verifier": verifier, "nonce": nonce})
        try:
            active = await self._projects.active(caller.project_id, integration)
            row = replace(
                row,
                options=InstallOptions.parse(options).as_json(),
                redirect_url=await self._redirect_url(caller.project_id, redirect_url),
            )
        except LandbridgeError as error:
            failed = replace(row, integration=integration[:64], failure=error.body(), claimed_at=row.created_at)
            await self._insert(failed)
            return f"{self._settings.zeus_url}/oauth?state={state}"
        await self._insert(row)
        return self._microsoft.authorize_url(
            active.app,
            redirect_url=row.redirect_url,
            scopes=self._scopes(active),
            state=state,
            verifier=verifier,
            nonce=nonce,
        )

    def _new(
        self, caller: Caller, integration: str, session_key: str, state: str, kept: Mapping[str, str]
    ) -> SignInRow:
        if not 1 <= len(session_key) <= 128 or not session_key.isascii() or not session_key.isprintable():
            raise InvalidRequest("`oauthMetaKeyId` has 1 to 128 ASCII characters.")
        now, id_ = self._clock.now(), str(uuid4())
        return SignInRow(
            id=id_,
            project_id=caller.project_id,
            user_id=caller.user_id,
            integration=integration,
            session_key=session_key,
            state_hash=digest(state),
            sealed_secrets=self._vault.seal(json.dumps(kept).encode(), _identity(caller.project_id, id_)),
            redirect_url=self._settings.redirect_url,
            options={},
            created_at=now,
            expires_at=now + LIFETIME,
        )

    async def _insert(self, row: SignInRow) -> None:
        async with self._database.begin() as tx:
            await store.insert_sign_in(tx, row)

    async def _redirect_url(self, project_id: str, override: str | None) -> str:
        """Return where the provider sends the browser: to us, or to a page of the product that hands it on to us."""
        if not override:
            return self._settings.redirect_url
        facts = await self._projects.facts(project_id)
        try:
            known = origin("/".join(override.split("/", 3)[:3])) in facts.allowed_origins
        except InvalidRequest:
            known = False
        if not known or len(override) > 256:
            raise InvalidRequest("`redirectUrl` must lie on one of the project's allowed origins.")
        return override

    def _scopes(self, active: ActiveIntegration) -> list[str]:
        required = self._catalog.get(active.settings.type).required_scopes
        return [*required, *(scope for scope in active.settings.scopes if scope not in required)]

    async def give_nonce(self, caller: Caller, integration: str) -> str:
        """Return the cookie that ties this browser to the user's sign-ins of the next ten minutes."""
        cookie = secrets.token_urlsafe(32)
        await self._insert_nonce(caller, integration, cookie, None)
        return cookie

    async def refuse_nonce(self, caller: Caller, integration: str, reason: str) -> None:
        """Record that a browser was given no cookie, so that the sign-in fails now and not after ten minutes."""
        await self._insert_nonce(caller, integration, secrets.token_urlsafe(32), reason)

    async def _insert_nonce(self, caller: Caller, integration: str, cookie: str, refusal: str | None) -> None:
        now = self._clock.now()
        row = NonceRow(
            digest(cookie), caller.project_id, caller.user_id, integration[:64], now, now + LIFETIME, refusal
        )
        async with self._database.begin() as tx:
            await store.insert_nonce(tx, row)

    async def find(self, state: str) -> SignInRow | None:
        """Return the sign-in that a state belongs to, unless its time is over."""
        async with self._database.read() as tx:
            row = await store.sign_in_by_state(tx, digest(state))
        return row if row and row.expires_at > self._clock.now() else None

    async def finish(self, row: SignInRow, cookie: str | None, *, code: str | None, error: str | None) -> Outcome:
        """Connect the account that the provider's answer stands for, or record why not; the second time, say the same.

        A state can be used once. A browser without the right cookie uses it up, and nobody is connected.
        """
        async with self._database.begin() as tx:
            claimed = await store.claim(tx, row, self._clock.now())
        if not claimed:
            return await self._already(row)
        try:
            async with self._recording(row):
                await self._check_browser(row, cookie)
                await self._connect(row, code=code, error=error)
        except LandbridgeError as failure:
            return Outcome(failure.message, failure.body())
        return Outcome("The account is connected.")

    async def _already(self, row: SignInRow) -> Outcome:
        async with self._database.read() as tx:
            now = await store.sign_in_by_id(tx, row.project_id, row.user_id, row.id)
        if now and now.failure:
            return Outcome(now.failure["message"], now.failure)
        if now and now.connection_id:
            return Outcome("The account is connected.")
        return Outcome("The sign-in is being finished. You can close this window.")

    async def _check_browser(self, row: SignInRow, cookie: str | None) -> None:
        async with self._database.read() as tx:
            nonce = await store.nonce(tx, digest(cookie)) if cookie else None
        theirs = (row.project_id, row.user_id, row.integration)
        if (
            nonce is None
            or nonce.refusal
            or nonce.expires_at <= self._clock.now()
            or (nonce.project_id, nonce.user_id, nonce.integration) != theirs
        ):
            raise InstallFailed(
                "This sign-in was started in another browser, or this browser blocks cookies. "
                "Go back to the app and connect from there."
            )

    async def _connect(self, row: SignInRow, *, code: str | None, error: str | None) -> None:
        if error or not code:
            raise _refused_by_provider(error)
        active = await self._projects.active(row.project_id, row.integration)
        grant, account = await self._redeem(active, row, code=code, redirect_url=row.redirect_url)
        caller = Caller(row.project_id, row.user_id, row.expires_at)
        await self._save(caller, active, InstallOptions.parse(row.options), grant, account, row)

    async def complete(
        self, caller: Caller, integration: str, *, code: str, redirect_url: str | None, options: Mapping[str, Any]
    ) -> Connected:
        """Connect with a code that the product received on a page of its own (the SDK's `completeInstall`).

        The caller's own token stands for the browser here. If the user's sign-in was begun with us, its verifier and
        nonce are used. Raises what went wrong.
        """
        active = await self._projects.active(caller.project_id, integration)
        chosen = InstallOptions.parse(options)
        url = await self._redirect_url(caller.project_id, redirect_url)
        now = self._clock.now()
        async with self._database.begin() as tx:
            row = await store.open_sign_in(
                tx, caller.project_id, caller.user_id, integration, redirect_url=url, now=now
            )
            if row:
                await store.claim(tx, row, now)
        async with self._recording(row):
            grant, account = await self._redeem(active, row, code=code, redirect_url=url)
            connection_id = await self._save(caller, active, chosen, grant, account, row)
        return await self._accounts.get(caller, connection_id)

    async def _redeem(
        self, active: ActiveIntegration, sign_in: SignInRow | None, *, code: str, redirect_url: str
    ) -> tuple[Grant, Account]:
        """Return what a code brings and whose account it is, checked against the sign-in that it was begun with."""
        kept = self._secrets(sign_in) if sign_in else {}
        grant = await self._microsoft.redeem(
            active.app, code=code, redirect_url=redirect_url, verifier=kept.get("verifier")
        )
        account = await self._microsoft.identify(grant, client_id=active.app.client_id, nonce=kept.get("nonce"))
        return grant, account

    def _secrets(self, row: SignInRow) -> dict[str, str]:
        """Return the `verifier` and the `nonce` of a sign-in."""
        kept: dict[str, str] = json.loads(self._vault.open(row.sealed_secrets, _identity(row.project_id, row.id)))
        return kept

    async def _save(
        self,
        caller: Caller,
        active: ActiveIntegration,
        options: InstallOptions,
        grant: Grant,
        account: Account,
        sign_in: SignInRow | None,
    ) -> str:
        """Write the connection, the one to reconnect with its id and settings kept or a new one; return its id.

        The sign-in's outcome is written with it, so that nobody dies between the two and then tells of a failure.
        """
        if not grant.refresh_token:
            raise InstallFailed("Microsoft gave no refresh token, so the connection would end within the hour.")
        granted = self._granted(caller, active, grant, account)
        await self._accounts.user(caller)
        async with self._database.begin() as tx:
            # Two sign-ins of a user that end at once must not both find nothing and both add a connection.
            await connection_store.hold_user(tx, caller.project_id, caller.user_id)
            old = await self._to_reconnect(tx, caller, active.settings.type, options, account)
            id_ = old.id if old else str(uuid4())
            granted["sealed_tokens"] = self._tokens.seal(caller.project_id, id_, grant)
            if old:
                await connection_store.renew_grant(tx, old, **granted)
            else:
                await self._add(tx, caller, id_, active.settings.type, options.external_id, granted)
            if sign_in:
                await store.finish(tx, sign_in, connection_id=id_)
        self._metrics.installs.labels("connected").inc()
        log.info("account connected", project=caller.project_id, integration=active.settings.type, connection=id_)
        return id_

    def _granted(
        self, caller: Caller, active: ActiveIntegration, grant: Grant, account: Account
    ) -> dict[str, Any]:  # Any: columns of a connection
        """Return what every new grant changes in a connection, but for its tokens."""
        asked, now = self._scopes(active), self._clock.now()
        if missing := missing_scopes(asked, grant.scopes):
            log.warning("not every scope was granted", project=caller.project_id, missing=missing)
        return {
            "status": "valid",
            "account_id": account.id,
            "tenant_id": account.tenant_id,
            "account": dict(account.details),
            "scopes": asked,
            "client_id": active.app.client_id,
            "expires_at": grant.expires_at,
            "refreshed_at": now,
            "used_at": now,
            "updated_at": now,
        }

    async def _add(
        self,
        tx: Transaction,
        caller: Caller,
        id_: str,
        integration: str,
        external_id: str | None,
        granted: Mapping[str, Any],
    ) -> None:
        row = ConnectionRow(
            id=id_,
            project_id=caller.project_id,
            user_id=caller.user_id,
            integration=integration,
            external_id=external_id,
            token_version=1,
            created_at=granted["refreshed_at"],
            **granted,
        )
        await connection_store.insert_connection(tx, row, new_configuration(id_, self._clock, is_default=True))

    async def _to_reconnect(
        self, tx: Transaction, caller: Caller, integration: str, options: InstallOptions, account: Account
    ) -> ConnectionRow | None:
        """Return the connection to renew: the one chosen, the same account's, or the only one there may be."""
        rows = await connection_store.connections_of(tx, caller.project_id, caller.user_id, integration)
        if options.reconnect:
            chosen = choose(rows, options.reconnect)
            if chosen is None:
                raise NotFound("The connection to renew is not there any more.")
            return chosen
        if options.external_id and any(row.external_id == options.external_id for row in rows):
            raise Conflict(f"This user already has a connection with the external id “{options.external_id}”.")
        if options.add or options.external_id:
            same = [row for row in rows if row.account_id == account.id and row.external_id == options.external_id]
            return same[0] if same else None
        return choose(rows, None)

    @contextlib.asynccontextmanager
    async def _recording(self, row: SignInRow | None) -> AsyncIterator[None]:
        """Record why a sign-in failed that is being finished inside, so that who polls for its outcome is told."""
        try:
            yield
        except LandbridgeError as failure:
            if row:
                await self._record(row, failure)
            raise
        except BaseException:
            if row:
                await self._record(row, InstallFailed("Landbridge stopped while it finished the sign-in. Try again."))
            raise

    async def _record(self, row: SignInRow, failure: LandbridgeError) -> None:
        self._metrics.installs.labels(failure.code).inc()
        log.info("sign-in failed", project=row.project_id, integration=row.integration, error=failure.code)
        async with self._database.begin() as tx:
            await store.finish(tx, row, failure=failure.body())

    async def outcome(self, caller: Caller, session_key: str) -> str | None:
        """Return None while a sign-in is under way, then the id of its connection, or of itself if it failed."""
        async with self._database.read() as tx:
            row = await store.sign_in_by_session(tx, caller.project_id, caller.user_id, session_key)
            nonce = await store.newest_nonce(tx, row) if row else None
        if row is None:
            return None
        if row.connection_id:
            return row.connection_id
        now = self._clock.now()
        if row.failure or row.expires_at <= now or (row.claimed_at and now - row.claimed_at > 2 * _SETTLING):
            return row.id
        if row.claimed_at is None and nonce and nonce.refusal and abs(nonce.created_at - row.created_at) < _SETTLING:
            await self._record(row, InstallFailed(nonce.refusal))
            return row.id
        return None

    async def failure(self, caller: Caller, sign_in_id: str) -> dict[str, Any] | None:
        """Return why the user's sign-in with this id failed, if it is one that did."""
        async with self._database.read() as tx:
            row = await store.sign_in_by_id(tx, caller.project_id, caller.user_id, sign_in_id)
        if row is None or row.connection_id:
            return None
        return row.failure or InstallFailed("The sign-in was not finished in time.").body()


def cookie_name(project_id: str, user_id: str, integration: str) -> str:
    """Return the cookie's name: one for each user and integration, so that two tabs do not take it from each other."""
    return "lb_nonce_" + hashlib.sha256(f"{project_id}/{user_id}/{integration}".encode()).hexdigest()[:16]


def digest(secret: str) -> str:
    """Return the form in which a state or a cookie is stored: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused_by_provider(error: str | None) -> InstallFailed:
    if error == "access_denied":
        return InstallFailed("Consent was not given at Microsoft.", meta={"providerError": error})
    if error in {"consent_required", "interaction_required"}:
        return InstallFailed(
            "Microsoft wants an administrator of the user's organization to consent first.",
            meta={"providerError": error},
        )
    named = error if error and len(error) <= 64 and error.replace("_", "").isalnum() else None
    return InstallFailed(
        f"Microsoft ended the sign-in ({named})." if named else "Microsoft ended the sign-in without an answer.",
        meta={"providerError": named} if named else None,
    )


def _identity(project_id: str, sign_in_id: str) -> str:
    return identity("sign_ins", project_id, sign_in_id)
