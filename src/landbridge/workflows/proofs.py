"""What proves to a Request step's receiver who calls: what the author filled in, or a token that is fetched for it."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote_plus
from weakref import WeakValueDictionary

from cachetools import LRUCache

from landbridge.clock import Clock
from landbridge.errors import InvalidRequest, RequestFailed, RequestRefused
from landbridge.outbound import Answer, Outbound
from landbridge.workflows.bodies import Values, text

_MOST_TOKENS = 1_000
_LASTS = 300
_LONGEST = 86_400
_SPARE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Proof:
    """Headers, and parameters of the query. A token that was kept may be refused although a new one would not."""

    headers: Mapping[str, str] = field(default_factory=dict)
    params: tuple[tuple[str, str], ...] = ()
    kept_as: str | None = None


class Proofs:
    """Makes proofs of the definition's forms of auth. Tokens are kept until they expire, in memory only."""

    def __init__(self, outbound: Outbound, clock: Clock) -> None:
        self._outbound = outbound
        self._clock = clock
        self._tokens: LRUCache[str | None, tuple[str, datetime]] = LRUCache(_MOST_TOKENS)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of(self, auth: Values) -> Proof:
        """Return the proof that a resolved auth means.

        Raises `InvalidRequest` naming the field that is wrong; for a token also `RequestRefused`, `RequestFailed`, and
        what `Outbound.call` raises.
        """
        said = {name: text(value, f"auth.{name}") for name, value in auth.items()}
        match said.get("type"):
            case "bearer":
                return Proof({"Authorization": f"Bearer {said['token']}"})
            case "basic":
                return Proof({"Authorization": _basic(said["username"], said.get("password", ""))})
            case "query":
                return Proof(params=((said["name"], said["value"]),))
            case "header":
                return Proof({said["name"]: said["value"]})
            case "clientCredentials":
                return await self._token(said)
            case _:
                return Proof()

    def forget(self, proof: Proof) -> None:
        """Ask for a new token next time: the one that was kept was refused."""
        self._tokens.pop(proof.kept_as, None)

    async def _token(self, said: Mapping[str, str]) -> Proof:
        key = _key(said)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            kept = self._tokens.get(key)
            if kept and kept[1] > self._clock.now():
                return Proof({"Authorization": f"Bearer {kept[0]}"}, kept_as=key)
            token, lasts = _granted(await self._asked(said))
            self._tokens[key] = token, self._clock.now() + lasts - _SPARE
            return Proof({"Authorization": f"Bearer {token}"})

    async def _asked(self, said: Mapping[str, str]) -> Answer:
        """Ask for a token by client credentials (RFC 6749 §4.4.2, the client's proof as in §2.3.1)."""
        client, secret = said["clientId"], said["clientSecret"]
        form, headers = {"grant_type": "client_credentials"}, {"Accept": "application/json"}
        if said.get("scope"):
            form["scope"] = said["scope"]
        if said.get("clientAuthentication") == "body":
            form |= {"client_id": client, "client_secret": secret}
        else:
            headers["Authorization"] = _basic(quote_plus(client), quote_plus(secret))
        return await self._outbound.call("POST", said["tokenUrl"].strip(), headers=headers, form=form)


def _granted(answer: Answer) -> tuple[str, timedelta]:
    """Return a token and how long it lasts, at most a day, or raise what the answer means."""
    said = answer.json()
    if answer.status != 200 or not isinstance(said, dict) or not isinstance(said.get("access_token"), str):
        kind = RequestFailed if answer.status >= 500 else RequestRefused
        told = {name: said.get(name) for name in ("error", "error_description")} if isinstance(said, dict) else None
        meta = {"statusCode": answer.status, "body": told}
        raise kind(f"The token endpoint answered {answer.status}, without a token.", meta=meta)
    lasts = said.get("expires_in")
    try:
        seconds = int(lasts) if lasts is not None else _LASTS
    except (TypeError, ValueError, OverflowError):
        seconds = _LASTS
    return said["access_token"], timedelta(seconds=max(0, min(seconds, _LONGEST)))


def _basic(name: str, password: str) -> str:
    if ":" in name:
        raise InvalidRequest("auth.username: a name with a colon cannot be sent (RFC 7617 §2).")
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _key(auth: Mapping[str, str]) -> str:
    """Return what a token is kept under: all that decides what it may do, the secret too."""
    return hashlib.sha256(json.dumps(sorted(auth.items())).encode()).hexdigest()
