"""Only a token that a key of this project signed, for this project and this time, says who is calling."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.clock import START, FakeClock

from landbridge.access import LEEWAY, TOOLS_CLAIM, Access, Operator, Reach, bearer
from landbridge.errors import Forbidden, NotFound, Unauthenticated
from landbridge.projects import ProjectFacts, Projects
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.store.projects import SigningKeyRow

NOW = START.timestamp()


class Key:
    """A signing key with its private half, as the product that embeds us holds it."""

    def __init__(self, project: str, id_: str, algorithm: str, expires_at: datetime | None = None) -> None:
        private = (
            rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        self.pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.row = SigningKeyRow(id_, project, algorithm, public, START, expires_at)

    def sign(self, kid: str | None = None, **changes: Any) -> str:  # Any: claims; None leaves one out
        claims = {"sub": "ann", "exp": NOW + 3600, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        payload = json.dumps(claims).encode()
        headers = {"kid": kid} if kid else {}
        return jwt.api_jws.encode(payload, self.pem, algorithm=self.row.algorithm, headers=headers)


RSA, EC, OTHER_EC = Key("acme", "rsa", "RS256"), Key("acme", "ec", "ES256"), Key("acme", "other-ec", "ES256")
ENDED, FOREIGN = Key("acme", "ended", "ES256", START - LEEWAY), Key("globex", "foreign", "ES256")
STRANGER = Key("acme", "ec", "ES256")


class _Projects:
    """The facts of two projects, in memory."""

    def __init__(self) -> None:
        self.keys = [RSA.row, EC.row, OTHER_EC.row, ENDED.row, FOREIGN.row]
        self.asked = 0

    async def facts(self, project_id: str) -> ProjectFacts:
        self.asked += 1
        if project_id not in {"acme", "globex"}:
            raise NotFound("There is no such project.")
        return ProjectFacts(project_id, frozenset(), tuple(key for key in self.keys if key.project_id == project_id))


class _News:
    """A database that only tells what is to be forgotten."""

    def __init__(self) -> None:
        self.announce: Callable[[str], None] = lambda scope: None

    def on_change(self, forget: Callable[[str], None]) -> None:
        self.announce = forget


class World:
    """An `Access` with the little that it looks at."""

    def __init__(self) -> None:
        self.clock, self.projects, self.news = FakeClock(), _Projects(), _News()
        settings = Settings(public_url="https://lb.example:8443/prefix")
        self.access = Access(cast("Projects", self.projects), cast("Database", self.news), settings, self.clock)


@pytest.fixture
def world() -> World:
    return World()


def _part(value: Mapping[str, Any] | bytes) -> str:  # Any: JSON
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _by_hand(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, secret: bytes | None = None) -> str:
    signed = f"{_part(header)}.{_part(claims)}"
    signature = hmac.digest(secret, signed.encode(), hashlib.sha256) if secret else b""
    return f"{signed}.{_part(signature)}"


@pytest.mark.parametrize("key", [RSA, EC, OTHER_EC], ids=lambda key: key.row.id)
@pytest.mark.parametrize("names_its_key", [True, False])
async def test_every_active_key_of_the_project_signs_whether_or_not_the_token_names_it(
    world: World, key: Key, names_its_key: bool
) -> None:
    caller = await world.access.user("acme", key.sign(key.row.id if names_its_key else None))
    assert (caller.project_id, caller.user_id) == ("acme", "ann")


GOOD_CLAIMS: dict[str, dict[str, Any]] = {
    "aud of this project": {"aud": "useparagon.com/acme"},
    "aud with our own host": {"aud": "lb.example:8443/acme"},
    "aud is the project's id": {"aud": "acme"},
    "aud among others": {"aud": ["https://app.example", "useparagon.com/acme"]},
    "exp as a fraction": {"exp": NOW + 0.5},
    "expired within the leeway": {"exp": NOW - LEEWAY.total_seconds() + 1},
    "valid from within the leeway": {"nbf": NOW + LEEWAY.total_seconds()},
    "issued in the future": {"iat": NOW + 86400},
    "the longest sub": {"sub": "x" * 255},
    "sub in any script": {"sub": "Ännchen 🦊"},
    "claims that we do not know": {"name": "Ann", "admin": True},
}


@pytest.mark.parametrize("claims", GOOD_CLAIMS.values(), ids=GOOD_CLAIMS)
async def test_a_token_with_these_claims_is_good(world: World, claims: dict[str, Any]) -> None:
    assert (await world.access.user("acme", EC.sign("ec", **claims))).project_id == "acme"


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "no sub": ({"sub": None}, "has no `sub`"),
    "empty sub": ({"sub": ""}, "`sub` must be"),
    "numeric sub": ({"sub": 7}, "`sub` must be"),
    "sub is a list": ({"sub": ["ann"]}, "`sub` must be"),
    "sub is an object": ({"sub": {"id": "ann"}}, "`sub` must be"),
    "sub is true": ({"sub": True}, "`sub` must be"),
    "sub is too long": ({"sub": "x" * 256}, "`sub` must be"),
    "sub with a NUL": ({"sub": "ann\0"}, "`sub` must be"),
    "sub with a line break": ({"sub": "ann\n"}, "`sub` must be"),
    "sub with half a character": ({"sub": "ann\ud800"}, "`sub` must be"),
    "no exp": ({"exp": None}, "has no `exp`"),
    "expired": ({"exp": NOW - LEEWAY.total_seconds()}, "has expired"),
    "exp long ago": ({"exp": 1}, "has expired"),
    "exp is text": ({"exp": str(NOW + 3600)}, "`exp` is not a time"),
    "exp is true": ({"exp": True}, "`exp` is not a time"),
    "exp is a list": ({"exp": [NOW + 3600]}, "`exp` is not a time"),
    "exp is an object": ({"exp": {}}, "`exp` is not a time"),
    "exp is zero": ({"exp": 0}, "`exp` is not a time"),
    "exp is negative": ({"exp": -1}, "`exp` is not a time"),
    "exp in milliseconds": ({"exp": (NOW + 3600) * 1000}, "`exp` is not a time"),
    "exp is infinite": ({"exp": float("inf")}, "`exp` is not a time"),
    "exp is no number": ({"exp": float("nan")}, "`exp` is not a time"),
    "exp beyond any calendar": ({"exp": 10**400}, "`exp` is not a time"),
    "not yet valid": ({"nbf": NOW + LEEWAY.total_seconds() + 1}, "not valid yet"),
    "nbf is text": ({"nbf": "now"}, "`nbf` is not a time"),
    "nbf is no number": ({"nbf": float("nan")}, "`nbf` is not a time"),
    "nbf is true": ({"nbf": True}, "`nbf` is not a time"),
    "nbf beyond any calendar": ({"nbf": 10**400}, "`nbf` is not a time"),
    "aud of another project": ({"aud": "useparagon.com/globex"}, "`aud` names another project"),
    "aud on another host": ({"aud": "evil.example/acme"}, "`aud` names another project"),
    "aud is empty": ({"aud": ""}, "`aud` names another project"),
    "aud lists nothing": ({"aud": []}, "`aud` names another project"),
    "aud lists others": ({"aud": ["useparagon.com/globex", "x"]}, "`aud` names another project"),
    "aud is a number": ({"aud": 3}, "`aud` names another project"),
    "aud is an object": ({"aud": {"acme": 1}}, "`aud` names another project"),
    "aud lists an object": ({"aud": [{"acme": 1}]}, "`aud` names another project"),
}


@pytest.mark.parametrize(("claims", "message"), BAD_CLAIMS.values(), ids=BAD_CLAIMS)
async def test_a_token_with_these_claims_is_refused_and_told_which_one(
    world: World, claims: dict[str, Any], message: str
) -> None:
    with pytest.raises(Unauthenticated, match=message):
        await world.access.user("acme", EC.sign("ec", **claims))


NO_KEY_FITS, NOT_SIGNED, NO_JWT = "No active signing key", "not signed by any active key", "not a JWT"
GOOD = {"sub": "ann", "exp": NOW + 3600}
PUBLIC = EC.row.public_key.encode()
BAD_TOKENS: dict[str, tuple[str, str]] = {
    "empty": ("", NO_JWT),
    "a word": ("token", NO_JWT),
    "dots": ("..", NO_JWT),
    "two parts": (EC.sign("ec").rpartition(".")[0], NO_JWT),
    "four parts": (EC.sign("ec") + ".x", NO_JWT),
    "no base64": ("ey!.ey!.x", NO_JWT),
    "a header that is no object": (f"{_part(b'[]')}.{_part(GOOD)}.x", NO_JWT),
    "a deep header": (f"{_part(b'[' * 8000)}.{_part(GOOD)}.x", NO_JWT),
    "a kid that is no text": (_by_hand({"alg": "ES256", "kid": 7}, GOOD), NO_JWT),
    "a kid that is an object": (_by_hand({"alg": "ES256", "kid": {}}, GOOD), NO_JWT),
    "letters beyond ASCII": ("ü.ü.ü", NO_JWT),
    "half a letter": ("\ud800.x.x", NO_JWT),
    "claims that are no object": (jwt.api_jws.encode(b"[]", EC.pem, algorithm="ES256"), "not a JWT that can be read"),
    "claims that are no JSON": (jwt.api_jws.encode(b"{", EC.pem, algorithm="ES256"), "not a JWT that can be read"),
    "deep claims": (jwt.api_jws.encode(b"[" * 8000, EC.pem, algorithm="ES256"), "not a JWT that can be read"),
    "alg none": (_by_hand({"alg": "none"}, GOOD), NO_KEY_FITS),
    "alg none with the kid of a key": (_by_hand({"alg": "none", "kid": "ec"}, GOOD), NO_KEY_FITS),
    "alg NoNe": (_by_hand({"alg": "NoNe"}, GOOD), NO_KEY_FITS),
    "no alg": (_by_hand({"typ": "JWT"}, GOOD), NO_KEY_FITS),
    "alg that is a list": (_by_hand({"alg": ["ES256"]}, GOOD), NO_KEY_FITS),
    "HS256 with the public key as the secret": (_by_hand({"alg": "HS256", "kid": "ec"}, GOOD, PUBLIC), NO_KEY_FITS),
    "HS256 that says it is ES256": (_by_hand({"alg": "ES256", "kid": "ec"}, GOOD, PUBLIC), NOT_SIGNED),
    "no signature": (EC.sign("ec").rpartition(".")[0] + ".", NOT_SIGNED),
    "another algorithm than its key's": (
        jwt.encode(GOOD, RSA.pem, algorithm="RS512", headers={"kid": "rsa"}),
        NO_KEY_FITS,
    ),
    "PS256 with a key for RS256": (jwt.encode(GOOD, RSA.pem, algorithm="PS256", headers={"kid": "rsa"}), NO_KEY_FITS),
    "a stranger's key under the id of ours": (STRANGER.sign("ec"), NOT_SIGNED),
    "a stranger's key that is not named": (STRANGER.sign(), NOT_SIGNED),
    "a stranger's key that brings itself along": (
        jwt.encode(
            GOOD, STRANGER.pem, algorithm="ES256", headers={"jwk": {"kty": "EC"}, "jku": "https://evil.example"}
        ),
        NOT_SIGNED,
    ),
    "signed by one key and naming another": (EC.sign("other-ec"), NOT_SIGNED),
    "naming a key of another algorithm": (EC.sign("rsa"), NO_KEY_FITS),
    "a key that has ended": (ENDED.sign("ended"), NOT_SIGNED),
    "another project's key": (FOREIGN.sign("foreign"), NOT_SIGNED),
    "claims swapped": (
        ".".join((EC.sign("ec").split(".")[0], _part({**GOOD, "sub": "bob"}), EC.sign().split(".")[2])),
        NOT_SIGNED,
    ),
    "huge": (EC.sign("ec", padding="x" * (16 << 10)), "longer than any token"),
}


@pytest.mark.parametrize(("token", "message"), BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_a_bad_token_is_refused_in_plain_words_that_do_not_repeat_it(
    world: World, token: str, message: str
) -> None:
    with pytest.raises(Unauthenticated, match=message) as caught:
        await world.access.user("acme", token)
    assert len(token) < 10 or token not in str(caught.value.body())


@given(st.text() | st.binary().map(lambda raw: f"{_part(b'{}')}.{_part(raw)}.") | st.text(".=eyJ-_09azAZ", max_size=80))
async def test_no_noise_is_ever_a_token(noise: str) -> None:
    with pytest.raises(Unauthenticated):
        await World().access.user("acme", noise)


async def test_a_token_is_good_for_its_own_project_only_also_once_it_was_verified(world: World) -> None:
    token = EC.sign("ec")
    await world.access.user("acme", token)
    with pytest.raises(Unauthenticated):
        await world.access.user("globex", token)
    with pytest.raises(NotFound):
        await world.access.user("nowhere", token)
    assert (await world.access.user("acme", token)).project_id == "acme"


async def test_a_token_is_verified_once_in_a_while_and_never_served_past_its_end(world: World) -> None:
    token = EC.sign("ec", exp=NOW + 10)
    await world.access.user("acme", token)
    await world.access.user("acme", token)
    assert world.projects.asked == 1

    world.clock.advance(timedelta(seconds=10) + LEEWAY)

    with pytest.raises(Unauthenticated, match="has expired"):
        await world.access.user("acme", token)


@pytest.mark.parametrize("scope", ["project:acme", "everything"])
async def test_a_revoked_key_is_forgotten_as_soon_as_its_project_is_touched(world: World, scope: str) -> None:
    token = EC.sign("ec")
    await world.access.user("acme", token)
    world.projects.keys.remove(EC.row)
    await world.access.user("acme", token)  # nobody has told us yet

    world.news.announce(scope)

    with pytest.raises(Unauthenticated):
        await world.access.user("acme", token)


async def test_a_key_that_is_revoked_while_its_token_is_verified_does_not_stay_verified(world: World) -> None:
    token = EC.sign("ec")
    read_facts = world.projects.facts

    async def facts_then_revoke(project_id: str) -> ProjectFacts:
        facts = await read_facts(project_id)
        world.projects.keys.remove(EC.row)
        world.news.announce("project:acme")
        return facts

    world.projects.facts = facts_then_revoke  # type: ignore[method-assign]
    await world.access.user("acme", token)
    world.projects.facts = read_facts  # type: ignore[method-assign]

    with pytest.raises(Unauthenticated):
        await world.access.user("acme", token)


async def test_a_change_of_a_connection_forgets_no_token(world: World) -> None:
    await world.access.user("acme", EC.sign("ec"))
    world.news.announce("connection:1")
    assert world.access._verified


async def test_a_key_for_a_limited_time_ends_with_it(world: World) -> None:
    world.projects.keys.append((key := Key("acme", "trial", "ES256", START + timedelta(minutes=5))).row)
    await world.access.user("acme", key.sign("trial"))
    world.clock.advance(timedelta(minutes=5) + LEEWAY)
    with pytest.raises(Unauthenticated):
        await world.access.user("acme", key.sign("trial", jti="another"))


async def test_a_verified_token_is_not_served_past_the_end_of_the_key_that_signed_it(world: World) -> None:
    world.projects.keys.append((key := Key("acme", "trial", "ES256", START + timedelta(minutes=5))).row)
    token = key.sign("trial")
    await world.access.user("acme", token)
    world.clock.advance(timedelta(minutes=5) + LEEWAY)
    with pytest.raises(Unauthenticated):
        await world.access.user("acme", token)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "token", "Bearertoken", " Bearer x"])
def test_a_request_without_a_bearer_token_is_told_so(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer"):
        bearer(header)


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_the_bearer_token_is_taken_from_the_header(header: str) -> None:
    assert bearer(header) == "abc"


def test_an_api_key_of_one_project_manages_no_other_and_not_all() -> None:
    of_one, of_all = Operator("key", "acme"), Operator("key", None)
    of_one.must_manage("acme")
    of_all.must_manage("acme")
    of_all.must_manage_all()
    with pytest.raises(Forbidden):
        of_one.must_manage("globex")
    with pytest.raises(Forbidden):
        of_one.must_manage_all()


@pytest.mark.parametrize(
    ("claim", "reach"),
    [
        ({}, Reach()),
        ({"readOnly": True}, Reach(read_only=True)),
        ({"only": ["a_list", "B_SAVE"]}, Reach(only=frozenset({"A_LIST", "B_SAVE"}))),
        ({"only": []}, Reach(only=frozenset())),
    ],
)
async def test_a_token_for_tools_is_for_tools_alone(claim: dict[str, Any], reach: Reach) -> None:
    token = EC.sign(None, **{TOOLS_CLAIM: claim})
    access = World().access

    caller = await access.user("acme", token, for_tools=True)

    assert caller.reach == reach
    with pytest.raises(Forbidden):
        await access.user("acme", token)


@pytest.mark.parametrize(
    "claim", [True, [], "all", {"readonly": True}, {"readOnly": "yes"}, {"only": "A"}, {"only": [1]}]
)
async def test_a_claim_that_is_not_understood_widens_nothing(claim: Any) -> None:  # Any: JSON
    with pytest.raises(Unauthenticated, match=TOOLS_CLAIM):
        await World().access.user("acme", EC.sign(None, **{TOOLS_CLAIM: claim}), for_tools=True)


@pytest.mark.parametrize(
    "reach", [Reach(read_only=True), Reach(only=frozenset({"A"})), Reach(True, frozenset({"A", "B"}))]
)
async def test_what_a_reach_claims_is_that_reach(reach: Reach) -> None:
    caller = await World().access.user("acme", EC.sign(None, **reach.claims()), for_tools=True)

    assert caller.reach == reach
    assert Reach().claims() == {}
