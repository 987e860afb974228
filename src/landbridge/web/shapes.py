"""What the management API and the terminal take and show, as models; apart from the framework that serves them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from landbridge.catalog import Scope
from landbridge.connections.accounts import Connected
from landbridge.store.projects import ApiKeyRow, ClientSecretRow, IntegrationRow, ProjectRow, SigningKeyRow


class Given(BaseModel):
    """A body that a caller sends: what we do not know is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, given: Any) -> Any:  # Any: JSON
        """Refuse NUL in any text: PostgreSQL keeps none."""
        rest = [given]
        while rest:
            value = rest.pop()
            if isinstance(value, str) and "\0" in value:
                raise ValueError("no text may hold a NUL character")
            if isinstance(value, dict):
                rest += [*value, *value.values()]
            elif isinstance(value, list):
                rest += value
        return given


class ProjectIn(Given):
    """A new project."""

    name: str = Field(max_length=200)
    allowed_origins: list[str] = Field(default=[], max_length=100, description="Origins of the pages that may call us.")


class ProjectChange(Given):
    """What to change of a project; what is absent stays."""

    name: str | None = Field(default=None, max_length=200)
    allowed_origins: list[str] | None = Field(default=None, max_length=100)


class ProjectOut(BaseModel):
    """A project: the tenant boundary."""

    id: str
    name: str
    allowed_origins: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: ProjectRow) -> "ProjectOut":
        """Return the row as the API shows it."""
        return cls(id=row.id, name=row.name, allowed_origins=row.allowed_origins, created_at=row.created_at)


class SigningKeyIn(Given):
    """A new signing key: made here, or the public half of one that you have."""

    algorithm: Literal["RS256", "ES256"] = "RS256"
    public_key: str | None = Field(default=None, max_length=20_000, description="PEM; its kind decides the algorithm.")


class SigningKeyOut(BaseModel):
    """A key that signs user tokens."""

    id: str = Field(description="May go into the token's `kid`.")
    algorithm: str
    public_key: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    private_key: str | None = Field(default=None, description="PEM, shown only in the answer that creates the key.")

    @classmethod
    def of(cls, row: SigningKeyRow, private_key: str | None = None) -> "SigningKeyOut":
        """Return the row as the API shows it."""
        return cls(
            id=row.id,
            algorithm=row.algorithm,
            public_key=row.public_key,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            private_key=private_key,
        )


class ApiKeyIn(Given):
    """A new API key, for one project or, without one, for all."""

    name: str = Field(max_length=200)
    project_id: str | None = Field(default=None, pattern=r"^[0-9a-f-]{36}$")


class ApiKeyOut(BaseModel):
    """An API key; its text is shown only in the answer that creates it."""

    id: str
    name: str
    project_id: str | None
    created_at: datetime
    revoked_at: datetime | None
    key: str | None = None

    @classmethod
    def of(cls, row: ApiKeyRow, key: str | None = None) -> "ApiKeyOut":
        """Return the row as the API shows it."""
        return cls(
            id=row.id,
            name=row.name,
            project_id=row.project_id,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
            key=key,
        )


class IntegrationIn(Given):
    """Settings of an integration; what is absent stays."""

    client_id: str | None = Field(default=None, max_length=200)
    client_secret: SecretStr | None = Field(
        default=None, description="Never shown again. A new one replaces the older of two."
    )
    client_secret_expires_at: datetime | None = None
    scopes: list[str] | None = Field(default=None, max_length=100)
    audience: str | None = Field(
        default=None, max_length=200, description="`organizations`, `common`, `consumers`, or a tenant's id or domain."
    )
    is_active: bool | None = None
    file_picker: bool | None = Field(
        default=None, description="Whether pages may open Microsoft's file picker, which is given a token of the user."
    )


class ClientSecretOut(BaseModel):
    """A client secret that is kept; the secret itself is not shown."""

    hint: str = Field(description="Its first characters.")
    expires_at: datetime | None
    created_at: datetime


class IntegrationOut(BaseModel):
    """An integration as a project has set it up."""

    id: str
    type: str
    redirect_url: str = Field(description="To be registered at the provider, letter by letter.")
    client_id: str
    client_secrets: list[ClientSecretOut]
    scopes: list[str]
    audience: str
    is_active: bool
    file_picker: bool
    updated_at: datetime

    @classmethod
    def of(cls, row: IntegrationRow, secrets: list[ClientSecretRow], redirect_url: str) -> "IntegrationOut":
        """Return the row as the API shows it."""
        return cls(
            id=row.id,
            type=row.type,
            redirect_url=redirect_url,
            client_id=row.client_id,
            client_secrets=[
                ClientSecretOut(hint=secret.hint, expires_at=secret.expires_at, created_at=secret.created_at)
                for secret in secrets
            ],
            scopes=row.scopes,
            audience=row.audience,
            is_active=row.is_active,
            file_picker=row.file_picker,
            updated_at=row.updated_at,
        )


class CatalogEntry(BaseModel):
    """An integration that can be set up."""

    type: str
    name: str
    description: str
    documentation: str
    scopes: list[Scope]


class ConnectionOut(BaseModel):
    """One user's authorised account."""

    id: str
    user_id: str
    integration: str
    external_id: str | None
    status: Literal["valid", "invalid", "pending"]
    account: dict[str, str]
    scopes: list[str]
    created_at: datetime
    refreshed_at: datetime
    refresh_failures: int
    refresh_error: str | None

    @classmethod
    def of(cls, connected: Connected) -> "ConnectionOut":
        """Return the connection as the API shows it."""
        return cls.model_validate({name: getattr(connected.connection, name) for name in cls.model_fields})


class TokenIn(Given):
    """How long a token for trying out shall last; with `read_only` or `tools` it is for these tools alone."""

    lifetime_seconds: int = Field(default=3600, ge=60, le=86_400)
    read_only: bool = False
    tools: list[str] | None = None


class TokenOut(BaseModel):
    """A user token for trying out."""

    token: str
    expires_in: int
