"""Tokens: minting them, and finding what one stands for.

Work accounts get signed JWTs, personal accounts opaque tickets without dots, as with Microsoft, so that a client that
decodes access tokens fails here first. Validity is looked up and not computed: the sandbox issued every token that it
accepts.
"""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.identity.claims import LONG_LIFE
from msgraph_sandbox.identity.directory import GRAPH_RESOURCE, Application, User
from msgraph_sandbox.switches import Switches

# How long expired tokens are kept, so that using one says "expired" and not "malformed".
REMEMBERED = timedelta(days=1)


GRAPH_AUDIENCE = "https://graph.microsoft.com"


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """What an access token stands for. `user` is None for an app-only token, whose power is in `roles`."""

    user: User | None
    application: Application
    tenant_id: str
    scopes: frozenset[str]
    roles: frozenset[str]
    issued: datetime
    expires: datetime
    # Whether the client can take a claims challenge.
    capable: bool = False
    # Whom the token is for: Graph, or the host of the user's own drive.
    audience: str = GRAPH_AUDIENCE

    @property
    def challenged(self) -> datetime | None:
        """Since when a capable client must come with a newer token, if this one is older than that."""
        moments = () if self.user is None else (self.user.challenged, self.user.tokens_valid_from)
        latest = max((moment for moment in moments if moment is not None), default=None)
        return latest if self.capable and latest is not None and self.issued < latest else None


@dataclass(slots=True)
class RefreshGrant:
    """What a refresh token stands for."""

    user: User
    client_id: str
    scopes: frozenset[str]
    issued: datetime
    expires: datetime
    spa: bool = False
    spent: bool = False


@dataclass(slots=True)
class CodeGrant:
    """What an authorization code stands for."""

    user: User
    client_id: str
    redirect_uri: str
    authority: str
    scopes: frozenset[str]
    # The scopes as the application wrote them.
    asked: str
    challenge: str | None
    challenge_method: str
    nonce: str | None
    expires: datetime
    redeemed: bool = False
    capable: bool = False


@dataclass(slots=True)
class SigningKey:
    """An RSA key and its certificate, as JWKS shows them."""

    private: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def id(self) -> str:
        """`kid`, which Microsoft makes equal to `x5t`: the certificate's SHA-1 thumbprint."""
        return base64url(self.certificate.fingerprint(hashes.SHA1()))  # noqa: S303 - a name, not a protection

    def jwk(self, issuer: str) -> dict[str, Any]:
        """Return the public half with the fields that Microsoft publishes."""
        numbers = self.private.public_key().public_numbers()
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.id,
            "x5t": self.id,
            "n": base64url(numbers.n.to_bytes(256, "big")),
            "e": base64url(numbers.e.to_bytes(3, "big")),
            "x5c": [base64.b64encode(der).decode()],
            "cloud_instance_name": "microsoftonline.com",
            "issuer": issuer,
        }


def base64url(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opaque(prefix: str, length: int) -> str:
    """Return an unguessable token of `length` characters after `prefix`, without dots."""
    return prefix + secrets.token_urlsafe(length)[:length]


def challenge_of(verifier: str, method: str) -> str:
    """Return what a PKCE verifier must have announced (RFC 7636 §4.2)."""
    return verifier if method == "plain" else base64url(hashlib.sha256(verifier.encode()).digest())


def half_hash(code: str) -> str:
    """Return the `c_hash` of a code, which binds it to the ID token beside it (OpenID Connect Core §3.3.2.11)."""
    return base64url(hashlib.sha256(code.encode()).digest()[:16])


def _authenticated_by(application: Application) -> str:
    """Return `appidacr`: 0 for a public client, 1 for a secret, 2 for a certificate."""
    if application.public:
        return "0"
    return "1" if application.secrets else "2"


@cache
def signing_key() -> SigningKey:
    """Return the key that every sandbox of this process begins with; making one takes a tenth of a second."""
    return new_signing_key()


def new_signing_key() -> SigningKey:
    """Return a new key with a self-signed certificate."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "accounts.accesscontrol.windows.net")])
    start = datetime(2020, 1, 1)  # noqa: DTZ001 - x509 wants naive UTC
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(start).not_valid_after(start.replace(year=2099)).sign(private, hashes.SHA256())
    )
    return SigningKey(private, certificate)


@dataclass(slots=True)
class Issuer:
    """Mints tokens and remembers them."""

    clock: Clock
    switches: Switches
    # The newest signs; the others are still published for a while.
    keys: list[SigningKey] = field(default_factory=lambda: [signing_key()])
    access: dict[str, AccessGrant] = field(default_factory=dict)
    refresh: dict[str, RefreshGrant] = field(default_factory=dict)
    codes: dict[str, CodeGrant] = field(default_factory=dict)

    def access_token(
        self,
        user: User | None,
        application: Application,
        tenant_id: str,
        scopes: frozenset[str],
        *,
        capable: bool = False,
        audience: str = GRAPH_AUDIENCE,
    ) -> tuple[str, int]:
        """Return an access token and its life in whole seconds, one less than its true life, as Microsoft says 3599."""
        now = self.clock.now()
        life = self._life(user, capable)
        roles = frozenset() if user else frozenset(application.roles)
        expires = now + timedelta(seconds=life)
        grant = AccessGrant(user, application, tenant_id, scopes, roles, now, expires, capable, audience)
        token = opaque("EwB", 900) if user and user.personal else self._signed_access(grant)
        self._forget_expired(now)
        self.access[token] = grant
        return token, max(int(life) - 1, 0)

    def _life(self, user: User | None, capable: bool) -> float:
        if self.switches.access_token_seconds is not None:
            return self.switches.access_token_seconds
        if capable:
            return random.randint(*(hours * 3600 for hours in LONG_LIFE))  # noqa: S311
        return 3600 if user and user.personal else random.randint(3600, 5400)  # noqa: S311

    def _forget_expired(self, now: datetime) -> None:
        if len(self.access) % 1000 == 999:
            old = now - REMEMBERED
            self.access = {token: grant for token, grant in self.access.items() if grant.expires > old}

    def _signed_access(self, grant: AccessGrant) -> str:
        claims: dict[str, Any] = {
            "aud": grant.audience,
            "iss": f"https://sts.windows.net/{grant.tenant_id}/",
            "iat": int(grant.issued.timestamp()),
            "nbf": int(grant.issued.timestamp()),
            "exp": int(grant.expires.timestamp()),
            "app_displayname": grant.application.name,
            "appid": grant.application.client_id,
            "appidacr": _authenticated_by(grant.application),
            "tid": grant.tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        if grant.capable:
            claims["xms_cc"] = ["CP1"]
        if grant.user is None:
            claims |= {"idtyp": "app", "roles": sorted(grant.roles)}
        else:
            claims |= {
                "idtyp": "user",
                "oid": grant.user.oid,
                "scp": " ".join(sorted(grant.scopes - {"offline_access"})),
                "sub": grant.user.subject(GRAPH_RESOURCE),
                "name": grant.user.name,
                "upn": grant.user.email,
                "unique_name": grant.user.email,
            }
        return self._sign(claims, {"nonce": secrets.token_urlsafe(24)})

    def id_token(
        self, user: User, application: Application, scopes: frozenset[str], nonce: str | None, origin: str, **extra: str
    ) -> str:
        """Return an ID token, good for an hour, whose issuer is the tenant at the origin that the client used."""
        now = int(self.clock.timestamp())
        claims: dict[str, Any] = {
            "aud": application.client_id,
            "iss": f"{origin}/{user.tenant.id}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "sub": user.subject(application.client_id),
            "tid": user.tenant.id,
            "uti": secrets.token_urlsafe(16),
            "ver": "2.0",
            **extra,
        }
        if "profile" in scopes:
            claims |= {"oid": user.oid, "name": user.name, "preferred_username": user.email}
        if "email" in scopes:
            claims["email"] = user.email
        if nonce is not None:
            claims["nonce"] = nonce
        return self._sign(claims, {})

    def _sign(self, claims: dict[str, Any], headers: dict[str, Any]) -> str:
        key = self.keys[-1]
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.id, "x5t": key.id, **headers})

    def refresh_token(
        self,
        user: User,
        client_id: str,
        scopes: frozenset[str],
        *,
        parent: RefreshGrant | None = None,
        spa: bool = False,
        token: str = "",
    ) -> str:
        """Return a refresh token: long, opaque, and for personal accounts with characters that a form must escape.

        A single-page application's lives for a day, and those that descend from it no longer.
        """
        now = self.clock.now()
        expires = now + (timedelta(days=1) if spa else timedelta(seconds=self.switches.refresh_token_seconds))
        if parent is not None and parent.spa:
            spa, expires = True, parent.expires
        fresh = f"M.C542_BAY.0.U.-{opaque('', 380)}*!{opaque('', 24)}$$" if user.personal else "1.AX" + opaque("", 900)
        token = token or fresh
        self.refresh[token] = RefreshGrant(user, client_id, scopes, now, expires, spa)
        return token

    def code(self, grant: CodeGrant) -> str:
        """Return an authorization code for `grant`."""
        code = f"M.C542_BAY.2.U.{uuid.uuid4()}" if grant.user.personal else "1.AX" + opaque("", 600)
        self.codes[code] = grant
        return code

    def clear(self) -> None:
        """Forget every token and code."""
        self.access.clear()
        self.refresh.clear()
        self.codes.clear()

    def expire_access(self, user: User | None = None) -> int:
        """Expire the access tokens of `user`, or everyone's, and return how many that were."""
        now = self.clock.now()
        hit = [t for t, g in self.access.items() if g.expires > now and user in (None, g.user)]
        for token in hit:
            self.access[token] = replace(self.access[token], expires=now)
        return len(hit)

    def rotate_key(self) -> str:
        """Sign with a new key from now on and return its id. Microsoft does so unannounced."""
        self.keys = [*self.keys[-1:], new_signing_key()]
        return self.keys[-1].id

    def revoke_refresh(self, user: User) -> None:
        """Revoke every refresh token that `user` has, as *revoke sessions* does."""
        user.tokens_valid_from = self.clock.now()
