"""HTTP to the world: one pool, timeouts, and the guard that keeps us from being pointed at private addresses.

The only room that uses the HTTP client, `http1`. Its errors leave here as ours: `ProviderUnreachable`,
`ProviderTimedOut`, `OutboundRefused`.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self
from urllib.parse import urlencode

from cachetools import TTLCache
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic_core import from_json
from yarl import URL

from landbridge import http1
from landbridge.errors import LandbridgeError, OutboundRefused, ProviderTimedOut, ProviderUnreachable, TooLarge
from landbridge.settings import Settings

Lines = http1.Lines
NO_LINES = http1.NO_LINES

LONGEST_WAIT = timedelta(hours=1)
"""No provider may park us for longer than this."""

_ANSWER_LIMIT = 1 << 20
_NAMES_KEPT_SECONDS = 30
_URL = re.compile(r"(https?://[^/?#]+)([^#]*)", re.IGNORECASE)
_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"))
"""NAT64 (RFC 6052) and IPv4-translated addresses (RFC 2765 §2.1), whose last 32 bits are an IPv4 address."""

_NEVER = tuple(
    map(
        ip_network,
        (
            "64:ff9b:1::/48",  # a network's own NAT64 (RFC 8215)
            "::/96",  # IPv4-compatible (RFC 4291 §2.5.5.1)
            "fec0::/10",  # site-local (RFC 3879)
            "3fff::/20",  # documentation (RFC 9637)
            "5f00::/16",  # identifiers of segments (RFC 9602)
            "100:0:0:1::/64",  # dummies (RFC 9780)
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "168.63.129.16/32",  # Azure's own, the same in each of its networks
        ),
    )
)
"""What some Pythons call global, or is, and yet means a place in our own network."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:  # Any: another system's JSON
        """Return the body as JSON, or None if it is none."""
        try:
            return from_json(self.body)
        except ValueError:
            return None


class Stream:
    """An answer whose body is still on its way. Close it when done, or its connection is not used again."""

    __slots__ = ("_incoming", "fields", "named", "rest", "status")

    def __init__(self, incoming: http1.Incoming) -> None:
        self._incoming = incoming
        self.status = incoming.status
        self.fields = incoming.fields
        self.named = incoming.named
        self.rest = incoming.rest

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers as text; `fields` are the same as they came, `named` the first of each name, and cost less."""
        return self._incoming.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, still encoded as it was sent; reading slowly slows the sender down."""
        with translated:
            while chunk := await self._incoming.next_chunk():
                yield chunk

    async def read(self, limit: int = _ANSWER_LIMIT) -> bytes:
        """Return the body up to `limit` bytes."""
        body = bytearray()
        with translated:
            while len(body) < limit and (chunk := await self._incoming.next_chunk()):
                body += chunk[: limit - len(body)]
        return bytes(body)

    def close(self) -> None:
        """Give the connection back if the body came to its end, else close it."""
        self._incoming.close()


class AddressGuard:
    """Knows which addresses may be called: public ones, and those that the operator named."""

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.allowed_networks
        self._hosts = settings.allowed_hosts

    def check(self, host: str, port: int, address: str) -> None:
        """Raise `OutboundRefused` unless `address`, which `host` stands for, may be called."""
        if {host.lower(), f"{host.lower()}:{port}"} & self._hosts:
            return
        for candidate in _faces(ip_address(address.split("%", 1)[0])):
            if any(candidate in network for network in self._networks if network.version == candidate.version):
                return
            if not candidate.is_global or candidate.is_multicast or any(candidate in network for network in _NEVER):
                raise OutboundRefused(f"“{host}” is at a private address, which is never called.")


def _faces(address: Address) -> Iterator[Address]:
    """Yield the addresses that packets to `address` may really reach: itself, and what is embedded in it."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if any(address in network for network in _EMBEDDING):
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded:
            yield embedded
        if address.ipv4_mapped:
            return
    yield address


class _GuardedResolver:
    """Resolves names and lets only permitted addresses through: what was checked is what is connected to."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._known: TTLCache[tuple[str, int], list[tuple[int, str]]] = TTLCache(maxsize=1000, ttl=_NAMES_KEPT_SECONDS)

    async def resolve(self, host: str, port: int) -> list[tuple[int, str]]:
        """Return the family and address of each place that `host` stands for; a literal address stands for itself.

        Raises `OutboundRefused` if one of them is not permitted.
        """
        known = self._known.get((host, port))
        if known is None:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            known = [(family, str(place[0])) for family, _, _, _, place in found]
            for _, address in known:
                self._guard.check(host, port, address)
            self._known[host, port] = known
        return known

    def forget(self) -> None:
        """Ask anew from now on."""
        self._known.clear()


class Outbound:
    """The pool of connections to the world; one for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._resolver = _GuardedResolver(AddressGuard(settings))
        self._client: http1.Client | None = None

    async def __aenter__(self) -> Self:
        self._client = http1.Client(self._resolver.resolve)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client:
            await self._client.close()

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | CIMultiDict[str],
        body: http1.Body = None,
        more: Lines = NO_LINES,
    ) -> Stream:
        """Send a request, its body streamed, and return as soon as the answer's headers are here.

        `url` is sent as it is written, without another encoding; `more` are headers too, written by `lines` once for
        many requests. Redirects are answers like any other. Raises `OutboundRefused`, `ProviderUnreachable`,
        `ProviderTimedOut`; what reading `body` raises comes through.
        """
        assert self._client, "enter the pool before using it"
        host, target = _target(url)
        with translated:
            return Stream(await self._client.send(method, host, target, headers, body, more))

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        within: timedelta = timedelta(seconds=20),
    ) -> Answer:
        """Send a small request and return its answer whole. Raises what `open` raises, and `TooLarge`."""
        sent = CIMultiDict({"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **(headers or {})})
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        with translated:
            async with asyncio.timeout(within.total_seconds()):
                answer = await self.open(method, _quoted(url), sent, urlencode(form).encode() if form else None)
                try:
                    body = await answer.read(_ANSWER_LIMIT + 1)
                finally:
                    answer.close()
        if len(body) > _ANSWER_LIMIT:
            raise TooLarge(f"{URL(url).host} answered with more than {_ANSWER_LIMIT} bytes.")
        return Answer(answer.status, answer.headers, body)


def lines(headers: Mapping[str, str]) -> Lines:
    """Return headers as `Outbound.open` sends them, for those that are long and the same in many requests.

    Raises `OutboundRefused` for one that cannot be sent.
    """
    with translated:
        return http1.lines(headers.items())


_NO_URL = "This is not a URL that can be called"


def _quoted(url: str) -> str:
    try:
        return str(URL(url))
    except ValueError:
        raise OutboundRefused(f"{_NO_URL}.") from None


def _target(url: str) -> tuple[http1.Host, str]:
    """Return whom a URL leads to and what is asked of them, or raise `OutboundRefused`."""
    found = _URL.match(url)
    if not found:
        raise OutboundRefused(f"{_NO_URL}: it needs http or https, and a host.")
    rest: str = found[2]
    return _host(found[1]), rest if rest.startswith("/") else f"/{rest}"


@lru_cache(maxsize=1000)
def _host(origin: str) -> http1.Host:
    """Return the host of an origin; names are held to what the resolver can spell."""
    try:
        url = URL(origin)
        (url.host or "").encode("idna")
    except ValueError:
        raise OutboundRefused(f"{_NO_URL}.") from None
    if not url.raw_host or not url.port or url.user is not None or url.password is not None:
        raise OutboundRefused(f"{_NO_URL}: it needs a host, and no password.")
    return http1.Host(url.scheme, url.raw_host, url.port)


class _Translated:
    """Turns the HTTP client's errors into ours, most specific first."""

    def __enter__(self) -> None:
        """Nothing is prepared."""

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is not None and (ours := _ours(error)):
            raise ours from error


translated = _Translated()


def _ours(error: BaseException) -> LandbridgeError | None:
    ours = _kind_of(error)
    if ours is not None:
        ours.nothing_done = isinstance(error, http1.Unreached)
    return ours


def _kind_of(error: BaseException) -> LandbridgeError | None:
    if isinstance(error, TimeoutError):
        return ProviderTimedOut("The provider took too long to answer.")
    if isinstance(error, http1.Unsendable):
        return OutboundRefused(f"{_NO_URL}: {error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProviderUnreachable("The provider's certificate is not valid.")
    if isinstance(error, http1.Unreached):
        return ProviderUnreachable(str(error))
    if isinstance(error, (ConnectionError, ssl.SSLError)):
        return ProviderUnreachable("The provider broke the connection off.")
    return None


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Return the wait that a `Retry-After` header asks for, or None if it asks for none.

    The header holds seconds or a date (RFC 9110 §10.2.3); a date in the past means now. No provider may park a run
    for ever: past `LONGEST_WAIT` we come back anyway, since a run that fails and says why is kinder than one that
    hangs.
    """
    if not value:
        return None
    try:
        wait = timedelta(seconds=min(float(value), LONGEST_WAIT.total_seconds()))
    except (ValueError, OverflowError):
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    return max(timedelta(0), min(wait, LONGEST_WAIT))
