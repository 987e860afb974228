"""The tenant: its signing keys, its settings of integrations with their secrets, and the origins it trusts."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv6Address
from typing import Any
from unicodedata import category
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from landbridge.catalog import Catalog, Manifest, integration_id
from landbridge.clock import Clock
from landbridge.errors import Conflict, InvalidRequest, NotFound
from landbridge.providers.microsoft import App
from landbridge.store import projects as store
from landbridge.store.cache import Cache
from landbridge.store.database import Database, Transaction
from landbridge.store.projects import ApiKeyRow, ClientSecretRow, IntegrationRow, ProjectRow, SigningKeyRow
from landbridge.store.sealed import identity
from landbridge.vault import Vault

ALGORITHMS = ("RS256", "ES256")
SECRETS_KEPT = 2
"""A new client secret and the one it replaces, so that both places need not change at the same moment."""

_AUDIENCE = re.compile(
    r"(organizations|common|consumers|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z0-9-]+(\.[a-z0-9-]+)+)"
)

_ORIGIN = re.compile(  # narrow, since origins are written into headers
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:(?P<port>[1-9][0-9]{0,4}))?/?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ActiveIntegration:
    """An integration that may be used: its settings, and the app registration with its secrets opened."""

    settings: IntegrationRow
    app: App


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What is asked of a project at every request."""

    id: str
    allowed_origins: frozenset[str]
    signing_keys: tuple[SigningKeyRow, ...]


class Projects:
    """The projects of this Landbridge, with what is asked often kept in bounded caches for half a minute."""

    def __init__(self, database: Database, vault: Vault, catalog: Catalog, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._catalog = catalog
        self._clock = clock
        self._facts: Cache[ProjectFacts] = Cache(database, scopes=1000)
        self._active: Cache[ActiveIntegration] = Cache(database, scopes=1000)

    async def create(self, name: str, allowed_origins: Sequence[str] = ()) -> ProjectRow:
        """Create a project. Raises `InvalidRequest` for an origin that is none."""
        row = ProjectRow(str(uuid4()), _name(name), [origin(text) for text in allowed_origins], self._clock.now())
        async with self._database.begin() as tx:
            await store.insert_project(tx, row)
        return row

    async def change(
        self, project_id: str, *, name: str | None = None, allowed_origins: Sequence[str] | None = None
    ) -> ProjectRow:
        """Rename a project or replace its allowed origins, as given."""
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = _name(name)
        if allowed_origins is not None:
            changes["allowed_origins"] = [origin(text) for text in allowed_origins]
        async with self._database.begin() as tx:
            row = await store.project(tx, project_id)
            if changes:
                await store.update_project(tx, project_id, **changes)
        return replace(row, **changes)

    async def get(self, project_id: str) -> ProjectRow:
        """Return a project, or raise `NotFound`."""
        async with self._database.read() as tx:
            return await store.project(tx, project_id)

    async def all(self) -> list[ProjectRow]:
        """Return every project, oldest first."""
        async with self._database.read() as tx:
            return await store.all_projects(tx)

    async def delete(self, project_id: str) -> None:
        """Delete a project with its keys, connections and tokens, for good."""
        async with self._database.begin() as tx:
            await store.project(tx, project_id)
            await store.delete_project(tx, project_id)

    async def facts(self, project_id: str) -> ProjectFacts:
        """Return what is asked of a project at every request, or raise `NotFound`."""
        scope = f"project:{project_id}"
        return self._facts.get(scope) or await self._facts.read(scope, lambda: self._read_facts(project_id))

    async def _read_facts(self, project_id: str) -> ProjectFacts:
        async with self._database.read() as tx:
            project = await store.project(tx, project_id)
            keys = await store.signing_keys_of(tx, project_id)
        living = tuple(key for key in keys if key.revoked_at is None)
        return ProjectFacts(project.id, frozenset(project.allowed_origins), living)

    async def is_trusted(self, page_origin: str) -> bool:
        """Return whether any project trusts an origin: the portal is loaded before it knows for which project."""
        return any(page_origin in project.allowed_origins for project in await self.all())

    async def create_signing_key(
        self, project_id: str, algorithm: str = "RS256", *, lifetime: timedelta | None = None
    ) -> tuple[SigningKeyRow, str]:
        """Create a key that signs user tokens; return it and its private half (PEM), which is kept nowhere."""
        if algorithm not in ALGORITHMS:
            raise InvalidRequest(f"The algorithm is one of {', '.join(ALGORITHMS)}.")
        private = (
            rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        row = await self._add_signing_key(project_id, algorithm, _pem(private.public_key()), lifetime)
        return row, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    async def import_signing_key(self, project_id: str, public_key: str) -> SigningKeyRow:
        """Add the public half (PEM) of a key that the product already has: RSA of 2048 bits or more, or P-256."""
        try:
            key = load_pem_public_key(public_key.encode())
        except ValueError as error:
            raise InvalidRequest("The public key is not PEM (`-----BEGIN PUBLIC KEY-----`).") from error
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            algorithm = "RS256"
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            algorithm = "ES256"
        else:
            raise InvalidRequest("The public key must be RSA of at least 2048 bits, or elliptic on P-256.")
        # Written anew: what was given may hold more than the key, such as its private half.
        return await self._add_signing_key(project_id, algorithm, _pem(key), None)

    async def _add_signing_key(
        self, project_id: str, algorithm: str, public_key: str, lifetime: timedelta | None
    ) -> SigningKeyRow:
        now = self._clock.now()
        row = SigningKeyRow(str(uuid4()), project_id, algorithm, public_key, now, now + lifetime if lifetime else None)
        async with self._database.begin() as tx:
            await store.project(tx, project_id)
            await store.insert_signing_key(tx, row)
        return row

    async def signing_keys(self, project_id: str) -> list[SigningKeyRow]:
        """Return a project's signing keys, revoked ones too."""
        async with self._database.read() as tx:
            await store.project(tx, project_id)
            return await store.signing_keys_of(tx, project_id)

    async def revoke_signing_key(self, project_id: str, key_id: str) -> None:
        """End a signing key: tokens that it signed are refused everywhere within half a second."""
        async with self._database.begin() as tx:
            await store.revoke_signing_key(tx, project_id, key_id, self._clock.now())

    async def user_token(
        self, project_id: str, user_id: str, lifetime: timedelta, claims: Mapping[str, Any] | None = None
    ) -> str:
        """Return a token for trying out as `user_id`, signed by a key of its own that ends with it."""
        if not is_user_id(user_id):
            raise InvalidRequest("A user id has 1 to 255 characters, none of them control characters.")
        key, private = await self.create_signing_key(project_id, "ES256", lifetime=lifetime)
        now = self._clock.now()
        usual = {"sub": user_id, "iat": now, "exp": now + lifetime, "aud": f"useparagon.com/{project_id}"}
        return jwt.encode({**usual, **(claims or {})}, private, algorithm="ES256", headers={"kid": key.id})

    async def create_api_key(self, name: str, project_id: str | None = None) -> tuple[ApiKeyRow, str]:
        """Create a key of the management API, for one project or all; return it and its text, shown only now."""
        text = f"lb_key_{secrets.token_urlsafe(32)}"
        row = ApiKeyRow(str(uuid4()), project_id, _name(name), api_key_hash(text), self._clock.now(), None)
        async with self._database.begin() as tx:
            if project_id:
                await store.project(tx, project_id)
            await store.insert_api_key(tx, row)
        return row, text

    async def api_keys(self) -> list[ApiKeyRow]:
        """Return every API key, revoked ones too."""
        async with self._database.read() as tx:
            return await store.all_api_keys(tx)

    async def revoke_api_key(self, key_id: str) -> None:
        """End an API key at once."""
        async with self._database.begin() as tx:
            await store.revoke_api_key(tx, key_id, self._clock.now())

    async def integration(self, project_id: str, type_: str) -> tuple[IntegrationRow, list[ClientSecretRow]]:
        """Return a project's settings of an integration with its sealed secrets, or raise `NotFound`."""
        row, sealed = await self._integration(project_id, self._catalog.get(type_).type)
        if row is None:
            raise NotFound(f"{type_} is not set up in this project yet: `landbridge integrations set {type_} …`.")
        return row, sealed

    async def _integration(self, project_id: str, type_: str) -> tuple[IntegrationRow | None, list[ClientSecretRow]]:
        async with self._database.read() as tx:
            await store.project(tx, project_id)
            row = await store.integration(tx, project_id, type_)
            return row, await store.client_secrets_of(tx, row.id) if row else []

    async def integrations(self, project_id: str) -> list[IntegrationRow]:
        """Return the integrations that a project has settings for."""
        async with self._database.read() as tx:
            await store.project(tx, project_id)
            return await store.integrations_of(tx, project_id)

    async def set_integration(
        self,
        project_id: str,
        type_: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        client_secret_expires_at: datetime | None = None,
        scopes: Sequence[str] | None = None,
        audience: str | None = None,
        is_active: bool | None = None,
        file_picker: bool | None = None,
    ) -> IntegrationRow:
        """Configure an integration; what is not given stays. A new client secret replaces the older of two.

        Raises `NotFound`, and `InvalidRequest` with what is wrong or missing.
        """
        manifest = self._catalog.get(type_)
        changes = _checked(manifest, client_id=client_id, scopes=scopes, audience=audience)
        switches = {"is_active": is_active, "file_picker": file_picker}
        changes |= {name: value for name, value in switches.items() if value is not None}
        now = self._clock.now()
        async with self._database.begin() as tx:
            await store.project(tx, project_id)
            before = await store.integration(tx, project_id, type_) or _fresh(project_id, manifest, now)
            row = replace(before, **changes, updated_at=now)
            if not row.client_id:
                raise InvalidRequest("The client id is missing: Application (client) ID on the app's page in Azure.")
            await store.put_integration(tx, row)
            if client_secret is not None:
                await self._add_client_secret(tx, row, client_secret, client_secret_expires_at)
            if row.is_active and not await store.client_secrets_of(tx, row.id):
                raise InvalidRequest("An active integration needs a client secret.")
        return row

    async def _add_client_secret(
        self, tx: Transaction, integration: IntegrationRow, secret: str, expires_at: datetime | None
    ) -> None:
        if not 8 <= len(secret) <= 1000 or not secret.isprintable() or secret != secret.strip():
            raise InvalidRequest("The client secret is not one: copy the Value from Certificates & secrets.")
        project_id, id_ = integration.project_id, str(uuid4())
        sealed = self._vault.seal(secret.encode(), identity("client_secrets", project_id, id_))
        older = await store.client_secrets_of(tx, integration.id)
        row = ClientSecretRow(id_, project_id, integration.id, sealed, secret[:3], expires_at, self._clock.now())
        await store.insert_client_secret(tx, row)
        await store.delete_client_secrets(tx, project_id, [old.id for old in older[SECRETS_KEPT - 1 :]])

    async def active(self, project_id: str, type_: str) -> ActiveIntegration:
        """Return an integration that may be used, or raise `NotFound` or `Conflict` with what is missing."""
        scope = f"project:{project_id}"
        return self._active.get(scope, type_) or await self._active.read(
            scope, lambda: self._read_active(project_id, type_), type_
        )

    async def _read_active(self, project_id: str, type_: str) -> ActiveIntegration:
        manifest = self._catalog.get(type_)
        row, sealed = await self._integration(project_id, type_)
        if row is None or not row.is_active:
            raise Conflict(
                f"{manifest.name} is not active in this project. "
                f"Set it up with `landbridge integrations set {type_} --active`."
            )
        return ActiveIntegration(row, App(row.client_id, self._open(sealed), row.audience))

    def _open(self, rows: Sequence[ClientSecretRow]) -> tuple[str, ...]:
        """Return the secrets, the best first: those not expired, newest before older."""
        now = self._clock.now()
        ordered = sorted(rows, key=lambda row: row.expires_at is not None and row.expires_at <= now)
        return tuple(
            self._vault.open(row.sealed, identity("client_secrets", row.project_id, row.id)).decode() for row in ordered
        )


def _fresh(project_id: str, manifest: Manifest, now: datetime) -> IntegrationRow:
    """Return an integration of which nothing was set yet."""
    return IntegrationRow(
        id=integration_id(project_id, manifest.type),
        project_id=project_id,
        type=manifest.type,
        client_id="",
        scopes=list(manifest.default_scopes),
        audience="common",
        is_active=False,
        created_at=now,
        updated_at=now,
    )


def _checked(
    manifest: Manifest,
    *,
    client_id: str | None,
    scopes: Sequence[str] | None,
    audience: str | None,
) -> dict[str, Any]:  # Any: columns of an integration
    """Return the settings that are given, or raise `InvalidRequest` for the first that cannot be."""
    if unknown := manifest.unknown_scopes(scopes or ()):
        raise InvalidRequest(f"{manifest.name} has no scope {', '.join(unknown)}. See `landbridge integrations list`.")
    if audience is not None and not _AUDIENCE.fullmatch(audience):
        raise InvalidRequest("The audience is `organizations`, `common`, `consumers`, or a tenant's id or domain.")
    changes = {
        "client_id": None if client_id is None else _client_id(client_id),
        "scopes": None if scopes is None else sorted(set(scopes)),
        "audience": audience,
    }
    return {name: value for name, value in changes.items() if value is not None}


def api_key_hash(text: str) -> str:
    """Return the digest by which an API key is stored; the key is 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_user_id(text: str) -> bool:
    """Return whether a product may name a user so: in 1 to 255 characters that every database and header can hold."""
    return 0 < len(text) <= 255 and not any(category(character) in {"Cc", "Cs"} for character in text)


def origin(text: str) -> str:
    """Return `scheme://host[:port]` in the form that browsers send, or raise `InvalidRequest`."""
    parts = _ORIGIN.fullmatch(text.strip().lower())
    if not parts or int(parts["port"] or 0) > 65535:
        raise InvalidRequest(
            f"“{text[:100]}” is not an origin: write scheme://host[:port], such as https://app.example."
        )
    scheme, host, port = parts["scheme"], parts["host"], parts["port"]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            raise InvalidRequest(f"“{text[:100]}” is not an origin: the address in it is none.") from None
    is_default = port is None or port == {"http": "80", "https": "443"}[scheme]
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{port}"


def _pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _name(text: str) -> str:
    if not 0 < len(text.strip()) <= 200 or not text.isprintable():
        raise InvalidRequest("A name has 1 to 200 printable characters.")
    return text.strip()


def _client_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text):
        raise InvalidRequest("The client id is not one: copy Application (client) ID from the app's page in Azure.")
    return text
