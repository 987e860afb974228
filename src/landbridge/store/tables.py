"""The tables. Instants are aware and in UTC; what is secret is sealed by the vault before it comes here."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC, on databases that keep time zones and on those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse naive values: they mean a different instant on each machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return what was stored, aware again."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


def _id(name: str = "id", **options: Any) -> Column[str]:
    return Column(name, String(36), nullable=False, **options)


def _project() -> Column[str]:
    return Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), nullable=False)


def _instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Instant, nullable=nullable)


projects = Table(
    "projects",
    metadata,
    _id(primary_key=True),
    Column("name", String(200), nullable=False),
    Column("allowed_origins", JSON, nullable=False),
    _instant("created_at"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("algorithm", String(8), nullable=False),
    Column("public_key", Text, nullable=False),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
    Index(None, "project_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), nullable=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    _instant("created_at"),
    _instant("revoked_at", nullable=True),
)

integrations = Table(
    "integrations",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("type", String(64), nullable=False),
    Column("client_id", String(200), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("audience", String(200), nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("file_picker", Boolean, nullable=False, server_default=false()),
    _instant("created_at"),
    _instant("updated_at"),
    UniqueConstraint("project_id", "type"),
)

client_secrets = Table(
    "client_secrets",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("integration_id", String(36), ForeignKey("integrations.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("hint", String(8), nullable=False),
    _instant("expires_at", nullable=True),
    _instant("created_at"),
)

connected_users = Table(
    "connected_users",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    _id(unique=True),
    Column("meta", JSON, nullable=False),
    _instant("created_at"),
)

connections = Table(
    "connections",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("user_id", String(255), nullable=False),
    Column("integration", String(64), nullable=False),
    Column("external_id", String(255), nullable=True),
    Column("status", String(16), nullable=False),
    Column("account_id", String(200), nullable=False),
    Column("tenant_id", String(64), nullable=False),
    Column("account", JSON, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("client_id", String(200), nullable=False),
    Column("sealed_tokens", LargeBinary, nullable=True),
    Column("token_version", Integer, nullable=False),
    _instant("expires_at", nullable=True),
    _instant("refreshed_at"),
    _instant("used_at"),
    Column("refresh_failures", Integer, nullable=False),
    Column("refresh_error", Text, nullable=True),
    Column("refresh_failure", JSON, nullable=True),
    _instant("refresh_retry_at", nullable=True),
    Column("lease_holder", String(64), nullable=True),
    _instant("lease_until", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    UniqueConstraint("project_id", "user_id", "integration", "external_id"),
    Index(None, "project_id", "user_id", "integration"),
    Index(None, "status", "refreshed_at"),
    Index(None, "status", "expires_at"),
)

configurations = Table(
    "configurations",
    metadata,
    _id(primary_key=True),
    Column("connection_id", String(36), ForeignKey("connections.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("is_default", Boolean, nullable=False),
    Column("external_id", String(255), nullable=True),
    Column("shared_settings", JSON, nullable=False),
    Column("workflow_settings", JSON, nullable=False),
    Column("meta", JSON, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    UniqueConstraint("connection_id", "external_id"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("user_id", String(255), nullable=False),
    Column("integration", String(64), nullable=False),
    Column("session_key", String(128), nullable=False),
    Column("state_hash", String(64), nullable=False, unique=True),
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("redirect_url", Text, nullable=False),
    Column("options", JSON, nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    _instant("claimed_at", nullable=True),
    Column("connection_id", String(36), nullable=True),
    Column("failure", JSON, nullable=True),
    UniqueConstraint("project_id", "user_id", "session_key"),
    Index(None, "expires_at"),
)

browser_nonces = Table(
    "browser_nonces",
    metadata,
    Column("hash", String(64), primary_key=True),
    _project(),
    Column("user_id", String(255), nullable=False),
    Column("integration", String(64), nullable=False),
    Column("refusal", Text, nullable=True),
    _instant("created_at"),
    _instant("expires_at"),
    Index(None, "project_id", "user_id", "integration"),
    Index(None, "expires_at"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("run_id", String(255), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _instant("updated_at"),
    Index(None, "project_id", "run_id"),
    Index(None, "updated_at"),
)

workflows = Table(
    "workflows",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("integration", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("draft", JSON, nullable=False),
    Column("draft_number", Integer, nullable=False),
    Column("deployed_version_id", String(36), nullable=True),
    Column("is_hidden", Boolean, nullable=False),
    Column("is_default_enabled", Boolean, nullable=False),
    Column("permissions", JSON, nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    Index(None, "project_id", "integration"),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("workflow_id", String(36), ForeignKey("workflows.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("definition", JSON, nullable=False),
    _instant("created_at"),
    UniqueConstraint("workflow_id", "number"),
)

app_events = Table(
    "app_events",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("name", String(200), nullable=False),
    Column("example", JSON, nullable=False),
    Column("schema", JSON, nullable=True),
    _instant("created_at"),
    UniqueConstraint("project_id", "name"),
)

project_secrets = Table(
    "project_secrets",
    metadata,
    _id(primary_key=True),
    _project(),
    Column("name", String(200), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _instant("created_at"),
    UniqueConstraint("project_id", "name"),
)

appointments = Table(
    "appointments",
    metadata,
    Column("workflow_id", String(36), ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "configuration_id",
        String(36),
        ForeignKey("configurations.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("version_id", String(36), nullable=False),
    _instant("due_at", nullable=True),
    Index(None, "due_at"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(255), primary_key=True),
    _project(),
    Column("workflow_id", String(36), nullable=False),
    Column("version_id", String(36), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("integration", String(64), nullable=False),
    Column("connection_id", String(36), nullable=True),
    Column("configuration_id", String(36), nullable=True),
    Column("trigger", String(32), nullable=False),
    Column("trace_id", String(36), nullable=False),
    Column("replay_of", String(255), nullable=True),
    Column("parent_id", String(255), nullable=True),
    Column("parent_step", String(64), nullable=True),
    Column("item_index", Integer, nullable=True),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("open_children", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("waits_for", String(32), nullable=True),
    _instant("due_at", nullable=True),
    Column("leg", Integer, nullable=False),
    Column("worker_id", String(36), nullable=True),
    Column("is_cancelling", Boolean, nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("sealed_input", LargeBinary, nullable=False),
    Column("sealed_carry", LargeBinary, nullable=True),
    Column("sealed_output", LargeBinary, nullable=True),
    Column("sealed_response", LargeBinary, nullable=True),
    Column("error", JSON, nullable=True),
    Column("is_cleared", Boolean, nullable=False, server_default=false()),
    Column("is_test", Boolean, nullable=False, server_default=false()),
    _instant("created_at"),
    _instant("started_at", nullable=True),
    _instant("finished_at", nullable=True),
    Index(None, "state", "due_at"),
    Index(None, "project_id", "created_at", "id"),
    Index(None, "workflow_id", "created_at"),
    Index(None, "parent_id", "parent_step", "item_index"),
    Index(None, "worker_id"),
)

_OUTERMOST = runs.c.parent_id.is_(None)
_ON_ITS_OWN = runs.c.parent_id.is_not(None) & runs.c.parent_step.is_(None)
Index(None, runs.c.is_cleared, runs.c.finished_at, sqlite_where=_OUTERMOST, postgresql_where=_OUTERMOST)
Index(None, runs.c.finished_at, sqlite_where=_ON_ITS_OWN, postgresql_where=_ON_ITS_OWN)

tested_drafts = Table(
    "tested_drafts",
    metadata,
    Column("run_id", String(255), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("definition", JSON, nullable=False),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("run_id", String(255), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("type", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    _instant("started_at"),
    _instant("finished_at", nullable=True),
    Column("input", JSON, nullable=True),
    Column("output", JSON, nullable=True),
    Column("error", JSON, nullable=True),
    Column("whole_input", Text, nullable=True),
    Column("whole_output", Text, nullable=True),
)

workers = Table(
    "workers",
    metadata,
    _id(primary_key=True),
    Column("host", String(255), nullable=False),
    Column("beats", BigInteger, nullable=False),
    _instant("started_at"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("scope", String(400), nullable=False),
    _instant("at"),
    Index(None, "at"),
    sqlite_autoincrement=True,
)


def values_of(row: Any) -> dict[str, Any]:  # Any: one of the frozen rows that the query modules give
    """Return the columns of a frozen row, to insert or to compare."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
