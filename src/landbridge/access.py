"""Who is calling: the host product's users by signed tokens, its operators by API keys."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.types import Options

from landbridge.clock import Clock
from landbridge.errors import Forbidden, Unauthenticated
from landbridge.projects import ProjectFacts, Projects, api_key_hash, is_user_id
from landbridge.settings import Settings
from landbridge.store import projects as store
from landbridge.store.cache import Kept
from landbridge.store.database import EVERYTHING, Database
from landbridge.store.projects import SigningKeyRow

LEEWAY = timedelta(seconds=60)
"""How far the clock of the machine that signs may be off."""

_LONGEST_TOKEN = 16 << 10
_END_OF_TIME = 1e11  # the year 5138; later times are in milliseconds, or no times
_SIGNATURE_ONLY: Options = {  # the claims are checked here, with our clock and in our words
    "require": ["sub", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_sub": False,
    "verify_jti": False,
}


TOOLS_CLAIM = "urn:landbridge:tools"
"""The claim of a token that is for tools alone: `{"readOnly": true, "only": ["ONEDRIVE_LIST_CONTENTS"]}`."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which tools may be used: all, or those that only read, or those that are named, in capitals."""

    read_only: bool = False
    only: frozenset[str] | None = None

    def claims(self) -> dict[str, Any]:  # Any: JSON
        """Return what a token claims that reaches so far: nothing special if that is everywhere."""
        only = {} if self.only is None else {"only": sorted(self.only)}
        return {TOOLS_CLAIM: {"readOnly": self.read_only, **only}} if self.read_only or only else {}


@dataclass(frozen=True, slots=True)
class Caller:
    """A connected user of a project, until the token expires; with a `reach` they may use tools and nothing else."""

    project_id: str
    user_id: str
    expires_at: datetime
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever holds an API key; without a project it may manage all of them."""

    key_id: str
    project_id: str | None

    def must_manage(self, project_id: str) -> None:
        """Raise `Forbidden` if this key is another project's."""
        if self.project_id not in {None, project_id}:
            raise Forbidden("This API key belongs to another project.")

    def must_manage_all(self) -> None:
        """Raise `Forbidden` unless this key is for the whole of Landbridge."""
        if self.project_id is not None:
            raise Forbidden("This needs an API key for all projects; this one is for a single project.")


class Access:
    """Verifies tokens and keys. Verified tokens are kept by digest for half a minute, never past their end."""

    def __init__(self, projects: Projects, database: Database, settings: Settings, clock: Clock) -> None:
        self._projects = projects
        self._database = database
        self._clock = clock
        self._audience_host = urlsplit(settings.base_url).netloc
        self._verified: Kept[bytes, Caller] = Kept(10_000)
        self._forgotten = 0
        database.on_change(self._forget)

    def _forget(self, scope: str) -> None:
        if scope == EVERYTHING or scope.startswith("project:"):
            self._forgotten += 1
            self._verified.clear()

    async def user(
        self, project_id: str, token: str, digest: bytes | None = None, *, for_tools: bool = False
    ) -> Caller:
        """Return whom a user token speaks for in a project.

        The token is a JWT that is signed by one of the project's keys with that key's own algorithm, and has `sub` and
        `exp`; `aud`, if present, must name this project. Raises `Unauthenticated`, or `NotFound` for the project, or
        `Forbidden` for a token that is for tools alone, unless the caller comes for these. `digest` is `digest_of` the
        token, if that is known.
        """
        if len(token) > _LONGEST_TOKEN:
            raise Unauthenticated("The user token is longer than any token of ours could be.")
        if not token.isascii():
            raise Unauthenticated("The user token is not a JWT.")
        digest = digest or digest_of(token)
        caller = self._verified.get(digest)
        if caller is None or caller.project_id != project_id or caller.expires_at <= self._clock.now():
            forgotten = self._forgotten
            caller = self._verify(await self._projects.facts(project_id), token)
            if forgotten == self._forgotten:  # else a key may have been revoked after the facts were read
                self._verified.put(digest, caller)
        if caller.reach is not None and not for_tools:
            raise Forbidden("This token is for tools alone.")
        return caller

    async def operator(self, key: str) -> Operator:
        """Return who holds an API key, or raise `Unauthenticated`."""
        async with self._database.read() as tx:
            row = await store.api_key_by_hash(tx, api_key_hash(key))
        if row is None:
            raise Unauthenticated("The API key is unknown or revoked.")
        return Operator(row.id, row.project_id)

    def _verify(self, project: ProjectFacts, token: str) -> Caller:
        claims, key = _claims(token, _candidates(token, project, self._clock.now()))
        expires_at = self._check_times(claims)
        user_id = claims["sub"]
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise Unauthenticated(
                "The user token's `sub` must be a text of 1 to 255 characters without control characters."
            )
        self._check_audience(claims, project.id)
        return Caller(project.id, user_id, min(expires_at, key.expires_at or expires_at) + LEEWAY, _reach(claims))

    def _check_times(self, claims: dict[str, Any]) -> datetime:
        now, expires_at = self._clock.now(), _instant(claims, "exp")
        if expires_at + LEEWAY <= now:
            raise Unauthenticated("The user token has expired; sign a new one.")
        if "nbf" in claims and _instant(claims, "nbf") - LEEWAY > now:
            raise Unauthenticated("The user token is not valid yet (`nbf`).")
        return expires_at

    def _check_audience(self, claims: dict[str, Any], project_id: str) -> None:
        audience = claims.get("aud")
        if audience is None:
            return
        named = audience if isinstance(audience, list) else [audience]
        if not {f"useparagon.com/{project_id}", f"{self._audience_host}/{project_id}", project_id} & set(
            map(str, named)
        ):
            raise Unauthenticated(f"The user token's `aud` names another project; for this one it is …/{project_id}.")


def digest_of(token: str) -> bytes:
    """Return what a user token is known by once it is verified."""
    return hashlib.blake2b(token.encode(), digest_size=32).digest()  # OpenSSL's would make a system call


def bearer(authorization: str | None) -> str:
    """Return the token in an `Authorization` header, or raise `Unauthenticated`."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The request has no `Authorization: Bearer` header.")
    return token.strip()


def _candidates(token: str, project: ProjectFacts, now: datetime) -> list[SigningKeyRow]:
    """Return the project's keys that may have signed the token: the one it names, or those of its algorithm."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError):
        raise Unauthenticated("The user token is not a JWT.") from None
    living = [key for key in project.signing_keys if key.expires_at is None or key.expires_at + LEEWAY > now]
    named = [key for key in living if key.id == header.get("kid")]
    suited = [key for key in named or living if key.algorithm == header.get("alg")]
    if not suited:
        raise Unauthenticated(
            "No active signing key of this project fits the user token, whose algorithm must be its key's."
        )
    return suited


def _claims(token: str, keys: list[SigningKeyRow]) -> tuple[dict[str, Any], SigningKeyRow]:
    """Return what the token claims, and the key that signed it."""
    for key in keys:
        try:
            return jwt.decode(token, key.public_key, algorithms=[key.algorithm], options=_SIGNATURE_ONLY), key
        except jwt.InvalidSignatureError:
            continue
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"The user token has no `{error.claim}`.") from None
        except (jwt.InvalidTokenError, RecursionError):
            raise Unauthenticated("The user token is not a JWT that can be read.") from None
    raise Unauthenticated("The user token is not signed by any active key of this project.")


def _reach(claims: dict[str, Any]) -> Reach | None:
    """Return which tools the token is for; what we do not understand of it must not widen it."""
    if TOOLS_CLAIM not in claims:
        return None
    match claims[TOOLS_CLAIM]:
        case dict() as said if said.keys() <= {"readOnly", "only"}:
            read_only, only = said.get("readOnly", False), said.get("only")
            is_list = only is None or (isinstance(only, list) and all(isinstance(name, str) for name in only))
            if isinstance(read_only, bool) and is_list:
                return Reach(read_only, None if only is None else frozenset(name.upper() for name in only))
    raise Unauthenticated(f"The user token's `{TOOLS_CLAIM}` holds `readOnly` (a boolean) and `only` (names), no more.")


def _instant(claims: dict[str, Any], name: str) -> datetime:
    seconds = claims[name]
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < _END_OF_TIME:
        raise Unauthenticated(f"The user token's `{name}` is not a time in seconds.")
    return datetime.fromtimestamp(seconds, UTC)
