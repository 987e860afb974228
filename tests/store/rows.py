"""Rows as tests need them: complete, and different only in what the test is about."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import func, select
from tests.clock import START

from landbridge.store.checkpoints import CheckpointRow
from landbridge.store.connections import ConfigurationRow, ConnectionRow, UserRow
from landbridge.store.database import Database
from landbridge.store.history import StepRow
from landbridge.store.projects import ApiKeyRow, ClientSecretRow, IntegrationRow, ProjectRow, SigningKeyRow
from landbridge.store.runs import QUEUED, SUCCEEDED, RunRow
from landbridge.store.sign_ins import NonceRow, SignInRow
from landbridge.store.tables import metadata
from landbridge.store.workflows import EventRow, SecretRow, VersionRow, WorkflowRow

Row = TypeVar("Row")


def _row(kind: Callable[..., Row], changes: Mapping[str, Any], **usual: Any) -> Row:  # Any, here and below: columns
    return kind(**usual | dict(changes))


def _id() -> str:
    return str(uuid4())


def project(**changes: Any) -> ProjectRow:
    origins = ["https://app.acme.example"]
    return _row(ProjectRow, changes, id=_id(), name="Acme", allowed_origins=origins, created_at=START)


def signing_key(of: ProjectRow, **changes: Any) -> SigningKeyRow:
    key = {"algorithm": "ES256", "public_key": "PEM"}
    return _row(SigningKeyRow, changes, id=_id(), project_id=of.id, created_at=START, **key)


def api_key(of: ProjectRow | None, **changes: Any) -> ApiKeyRow:
    key = {"name": "CI", "hash": _id(), "revoked_at": None}
    return _row(ApiKeyRow, changes, id=_id(), project_id=of.id if of else None, created_at=START, **key)


def integration(of: ProjectRow, **changes: Any) -> IntegrationRow:
    settings = {"type": "onedrive", "client_id": "app", "scopes": ["Files.Read"], "audience": "common"}
    when = {"created_at": START, "updated_at": START}
    return _row(IntegrationRow, changes, id=_id(), project_id=of.id, is_active=True, **settings, **when)


def client_secret(of: IntegrationRow, **changes: Any) -> ClientSecretRow:
    owner = {"project_id": of.project_id, "integration_id": of.id}
    secret = {"sealed": b"\x01sealed", "hint": "abc", "expires_at": None}
    return _row(ClientSecretRow, changes, id=_id(), created_at=START, **owner, **secret)


def user(of: ProjectRow, **changes: Any) -> UserRow:
    return _row(UserRow, changes, project_id=of.id, user_id="ann", id=_id(), meta={"plan": "pro"}, created_at=START)


def connection(of: ProjectRow, **changes: Any) -> ConnectionRow:
    owner = {"project_id": of.id, "user_id": "ann", "integration": "onedrive", "external_id": None}
    account = {"account_id": "tenant:object", "tenant_id": "tenant", "account": {"email": "ann@acme.example"}}
    grant = {"scopes": ["Files.Read"], "client_id": "app", "sealed_tokens": b"\x01sealed", "token_version": 1}
    when = dict.fromkeys(("expires_at", "refreshed_at", "used_at", "created_at", "updated_at"), START)
    return _row(ConnectionRow, changes, id=_id(), status="valid", **owner, **account, **grant, **when)


def configuration(of: ConnectionRow, **changes: Any) -> ConfigurationRow:
    owner = {"connection_id": of.id, "is_default": True, "external_id": None}
    return _row(ConfigurationRow, changes, id=_id(), created_at=START, updated_at=START, **owner)


def sign_in(of: ProjectRow, **changes: Any) -> SignInRow:
    owner = {"project_id": of.id, "user_id": "ann", "integration": "onedrive"}
    secrets = {"session_key": _id(), "state_hash": _id(), "sealed_secrets": b"\x01sealed"}
    wishes = {"redirect_url": "https://lb.example/oauth", "options": {"externalId": "work"}}
    return _row(SignInRow, changes, id=_id(), created_at=START, expires_at=START, **owner, **secrets, **wishes)


def checkpoint(of: ProjectRow, **changes: Any) -> CheckpointRow:
    place = {"run_id": "run", "sealed": b"\x01sealed"}
    return _row(CheckpointRow, changes, id=_id(), project_id=of.id, updated_at=START, **place)


def nonce(of: ProjectRow, **changes: Any) -> NonceRow:
    owner = {"project_id": of.id, "user_id": "ann", "integration": "onedrive"}
    return _row(NonceRow, changes, hash=_id(), created_at=START, expires_at=START, **owner)


def secret(of: ProjectRow, **changes: Any) -> SecretRow:
    return _row(SecretRow, changes, id=_id(), project_id=of.id, name="API_KEY", sealed=b"\x01sealed", created_at=START)


def workflow(of: ProjectRow, **changes: Any) -> WorkflowRow:
    what = {"integration": "onedrive", "name": "Tidy up", "draft": {"name": "Tidy up"}}
    return _row(WorkflowRow, changes, id=_id(), project_id=of.id, created_at=START, updated_at=START, **what)


def version(of: WorkflowRow, **changes: Any) -> VersionRow:
    whose = {"project_id": of.project_id, "workflow_id": of.id, "number": 1}
    return _row(VersionRow, changes, id=_id(), definition=of.draft, created_at=START, **whose)


def app_event(of: ProjectRow, **changes: Any) -> EventRow:
    what = {"name": "Invoice created", "example": {"number": "7"}, "schema": None}
    return _row(EventRow, changes, id=_id(), project_id=of.id, created_at=START, **what)


def step(of: RunRow, **changes: Any) -> StepRow:
    what = {"step": "find", "position": 0, "type": "action", "state": SUCCEEDED, "attempts": 1, "output": {"größe": 1}}
    return _row(StepRow, changes, run_id=of.id, started_at=START, finished_at=START, **what)


def run(of: ProjectRow, **changes: Any) -> RunRow:
    what = {"workflow_id": "workflow", "version_id": "version", "trigger": "request", "trace_id": _id()}
    whose = {"project_id": of.id, "user_id": "ann", "integration": "onedrive"}
    place = {"connection_id": None, "configuration_id": None, "state": QUEUED, "due_at": START, "created_at": START}
    return _row(RunRow, changes, id=_id(), sealed_input=b"\x01sealed", **what, **whose, **place)


async def count(database: Database, table: str) -> int:
    """Return how many rows a table has."""
    async with database.read() as tx:
        number: int = (await tx.execute(select(func.count()).select_from(metadata.tables[table]))).scalar_one()
    return number
