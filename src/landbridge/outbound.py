"""HTTP to the world: one pool, timeouts, and the guard that keeps us from being pointed at private addresses.

The only room that knows the HTTP client. Its errors leave here as ours: `ProviderUnreachable`, `ProviderTimedOut`,
`OutboundRefused`.
"""

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from landbridge.errors import LandbridgeError, OutboundRefused, ProviderTimedOut, ProviderUnreachable, TooLarge
from landbridge.settings import Settings

LONGEST_WAIT = timedelta(hours=1)
"""No provider may park us for longer than this."""

_ANSWER_LIMIT = 1 << 20
_CHUNK = 1 << 18
_NAT64 = IPv6Network("64:ff9b::/96")
_NEVER = (IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""A network's own NAT64 (RFC 8215) and IPv4-compatible addresses (RFC 4291 §2.5.5.1): some Pythons call them global."""

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
            return json.loads(self.body)
        except ValueError:
            return None


class Stream:
    """An answer whose body is still on its way. Close it when done, or its connection is not used again."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, still encoded as it was sent; reading slowly slows the sender down."""
        with translated():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def read(self, limit: int = _ANSWER_LIMIT) -> bytes:
        """Return the body up to `limit` bytes."""
        with translated():
            body = bytearray()
            async for chunk in self._response.content.iter_any():
                body += chunk[: limit - len(body)]
                if len(body) >= limit:
                    break
            return bytes(body)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._response.release()


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

    def check_literal(self, url: URL) -> None:
        """Raise `OutboundRefused` if the URL names a private address directly; names are checked when resolved."""
        host = url.host or ""
        try:
            ip_address(host)
        except ValueError:
            return
        self.check(host, url.port or 0, host)


def _faces(address: Address) -> Iterator[Address]:
    """Yield the addresses that packets to `address` may really reach: itself, and what is embedded in it."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded:
            yield embedded
        if address.ipv4_mapped:
            return
    yield address


class _GuardedResolver(AbstractResolver):
    """Resolves names and lets only permitted addresses through: what was checked is what is connected to."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`, or raise `OutboundRefused` if one of them is not permitted."""
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            self._guard.check(host, port, result["host"])
        return found

    async def close(self) -> None:
        """Nothing is held open."""


class Outbound:
    """The pool of connections to the world; one for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard = AddressGuard(settings)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_GuardedResolver(self._guard), limit=1000, ttl_dns_cache=30, keepalive_timeout=60
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_CHUNK,
            max_line_size=32 << 10,
            max_field_size=32 << 10,
            timeout=aiohttp.ClientTimeout(total=None, connect=30, sock_connect=10, sock_read=300),
            skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding", "Accept"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def open(
        self, method: str, url: str, headers: Mapping[str, str] | CIMultiDict[str], body: Any = None
    ) -> Stream:  # Any: bytes, or an async iterator of them
        """Send a request, its body streamed, and return as soon as the answer's headers are here.

        `url` is sent as it is written, without another encoding. Redirects are answers like any other. Raises
        `OutboundRefused`, `ProviderUnreachable`, `ProviderTimedOut`; what reading `body` raises comes through.
        """
        assert self._session, "enter the pool before using it"
        failures: list[Exception] = []
        given = _noting(body, failures) if isinstance(body, AsyncIterator) else body
        try:
            with translated():
                target = _target(url, encoded=True)
                self._guard.check_literal(target)
                response = await self._session.request(
                    method, target, headers=headers, data=given, allow_redirects=False
                )
        except LandbridgeError:
            if failures:
                raise failures[0] from None
            raise
        return Stream(response)

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
        assert self._session, "enter the pool before using it"
        with translated():
            target = _target(url)
            self._guard.check_literal(target)
            async with self._session.request(
                method,
                target,
                headers={"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **(headers or {})},
                data=form,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=within.total_seconds()),
            ) as response:
                body = await response.content.read(_ANSWER_LIMIT + 1)
                while len(body) <= _ANSWER_LIMIT and (more := await response.content.read(_ANSWER_LIMIT)):
                    body += more
        if len(body) > _ANSWER_LIMIT:
            raise TooLarge(f"{target.host} answered with more than {_ANSWER_LIMIT} bytes.")
        return Answer(response.status, response.headers, body)


async def _noting(body: AsyncIterator[bytes], failures: list[Exception]) -> AsyncIterator[bytes]:
    """Yield a body, and note what reading it raises: the client would turn that into an error of its own."""
    try:
        async for chunk in body:
            yield chunk
    except Exception as error:
        failures.append(error)
        raise


def _target(url: str, *, encoded: bool = False) -> URL:
    """Return a URL that can be called, or raise `OutboundRefused`: names are held to what the resolver can spell."""
    try:
        target = URL(url, encoded=encoded)
        (target.host or "").encode("idna")
    except ValueError:
        raise OutboundRefused("This is not a URL that can be called.") from None
    if target.scheme not in {"http", "https"} or not target.host:
        raise OutboundRefused("This is not a URL that can be called: it needs http or https, and a host.")
    return target


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the HTTP client's errors into ours, most specific first."""
    try:
        yield
    except TimeoutError as error:
        raise ProviderTimedOut("The provider took too long to answer.") from error
    except aiohttp.InvalidURL as error:
        raise OutboundRefused("This is not a URL that can be called.") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise ProviderUnreachable("The provider's certificate is not valid.") from error
    except aiohttp.ClientConnectorError as error:
        raise ProviderUnreachable(f"No connection to {error.host} could be made.") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise ProviderUnreachable("The provider broke the connection off.") from error


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
