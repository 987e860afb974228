"""A Landbridge in this process, with an account of a user of the sandbox connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from tests.ground.migrated import migrate

from landbridge.access import Caller
from landbridge.app import House, assemble
from landbridge.clock import Clock
from landbridge.connections.accounts import new_configuration
from landbridge.settings import Settings
from landbridge.store import connections as store
from landbridge.store.connections import ConnectionRow
from msgraph_sandbox.identity.directory import User
from msgraph_sandbox.server import Sandbox


@asynccontextmanager
async def house_at(
    sandbox: Sandbox, data_dir: Path, clock: Clock, *, api_url: str | None = None
) -> AsyncIterator[House]:
    """Give a house whose users sign in at the sandbox, and whose products' API is there too unless said otherwise."""
    settings = Settings(
        data_dir=data_dir,
        public_url="http://localhost:8080",
        microsoft_login_url=sandbox.urls["login_url"],
        microsoft_graph_url=api_url or sandbox.urls["graph_url"],
        outbound_allow=("127.0.0.1",),
    )
    await migrate(settings)
    async with assemble(settings, clock) as house:
        yield house


def user_of(sandbox: Sandbox, email: str) -> User:
    """Return a user of the sandbox."""
    return next(user for user in sandbox.world.directory.users.values() if user.email == email)


async def connect(house: House, sandbox: Sandbox, user: User, integration: str, scopes: Set[str]) -> Caller:
    """Connect a user's account, in a project of its own, with consent to these scopes."""
    now = house.clock.now()
    application = sandbox.world.confidential
    assert application
    project = await house.projects.create("Acme", ["https://app.acme.example"])
    await house.projects.set_integration(
        project.id,
        integration,
        client_id=application.client_id,
        client_secret=application.secrets[0].value,
        audience="common",
        is_active=True,
    )
    caller = Caller(project.id, "user-1", now + timedelta(days=1))
    await house.accounts.user(caller)
    active = await house.projects.active(project.id, integration)
    token = sandbox.world.issuer.refresh_token(user, application.client_id, frozenset(scopes))
    grant = await house.microsoft.refresh(active.app, refresh_token=token, scopes=sorted(scopes))
    row_id = str(uuid4())
    row = ConnectionRow(
        id=row_id,
        project_id=project.id,
        user_id=caller.user_id,
        integration=integration,
        external_id=None,
        status="valid",
        account_id=user.oid,
        tenant_id=user.tenant.id,
        account={},
        scopes=sorted(scopes),
        client_id=application.client_id,
        sealed_tokens=house.tokens.seal(project.id, row_id, grant),
        token_version=1,
        expires_at=grant.expires_at,
        refreshed_at=now,
        used_at=now,
        created_at=now,
        updated_at=now,
    )
    async with house.database.begin() as tx:
        await store.insert_connection(tx, row, new_configuration(row_id, house.clock, is_default=True))
    return caller
