"""One call on behalf of a connection: where to, with which token, whether now, and what the answer teaches.

Only the provider's own API host ever receives the bearer. What it redirects to, pre-signed hosts that serve contents,
is followed without it.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from cachetools import TTLCache
from multidict import CIMultiDict

from landbridge.access import Caller
from landbridge.catalog import Catalog, Manifest
from landbridge.clock import Clock
from landbridge.connections.tokens import Opened, Tokens
from landbridge.errors import (
    InvalidRequest,
    LandbridgeError,
    OutboundRefused,
    ProviderBusy,
    ProviderFailed,
    TokenRenewed,
)
from landbridge.outbound import LONGEST_WAIT, Lines, Outbound, Stream, lines, retry_after
from landbridge.providers.microsoft import PERSONAL_TENANT
from landbridge.settings import Settings
from landbridge.telemetry import Metrics

Body = bytes | AsyncIterator[bytes] | None

LONGEST_PATH = 8 << 10
"""Bytes of path and query that are forwarded; Microsoft takes no longer ones."""

_MOST_HOPS = 5
_WRITTEN: CIMultiDict[str] = CIMultiDict()
_OURS = frozenset({"authorization", "user-agent"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ABSOLUTE = re.compile(r"^(https?):/{1,2}([a-z0-9.-]+(?::[0-9]{1,5})?)(/[^#]*)?$", re.IGNORECASE)
_LOOKS_ABSOLUTE = re.compile(r"^[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
_MAY_LEAVE = re.compile(r"//|/\.|/%2e", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\x21-\x7e]|[\\#<>\"{}|^`]")


class Pauses:
    """Until when the provider asked us to leave a connection, or a whole tenant, alone.

    A provider that throttles does not say whom: the user or the app in that user's tenant. One user's wait is taken as
    that user's; a second user's in the same tenant while the first one lasts is taken as the app's.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._until: TTLCache[str, datetime] = TTLCache(maxsize=20_000, ttl=LONGEST_WAIT.total_seconds())
        self._first: TTLCache[str, tuple[str, datetime]] = TTLCache(maxsize=5_000, ttl=LONGEST_WAIT.total_seconds())
        self._last: datetime | None = None  # when the last of them ends; most of the time there is none

    def check(self, opened: Opened) -> None:
        """Raise `ProviderBusy` while a pause lasts."""
        if self._last is None:
            return
        now = self._clock.now()
        if self._last <= now:
            self._last = None
            return
        for key in filter(None, (opened.connection_id, _tenant(opened))):
            until = self._until.get(key)
            if until is not None and until > now:
                raise ProviderBusy("The provider asked us to wait.", retry_after=until - now)

    def note(self, opened: Opened, wait: timedelta) -> None:
        """Remember that the provider asked this connection to wait."""
        now, tenant = self._clock.now(), _tenant(opened)
        until = now + wait
        self._last = max(until, self._last or until)
        self._until[opened.connection_id] = until
        self._metrics.throttled.labels("connection").inc()
        if tenant is None:
            return
        first, first_until = self._first.get(tenant, (opened.connection_id, until))
        if first != opened.connection_id and first_until > now:
            self._until[tenant] = until
            self._metrics.throttled.labels("tenant").inc()
        else:
            self._first[tenant] = (opened.connection_id, until)


class Outgoing(NamedTuple):
    """A request to a provider's API. `path` is percent-encoded as it came, with its query; or a URL of that API.

    `lines` are the `headers`, if they were written already for many requests.
    """

    method: str
    path: str
    headers: CIMultiDict[str]
    body: Body
    lines: Lines | None = None


class Proxy:
    """Calls providers' APIs for connected users."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        catalog: Catalog,
        outbound: Outbound,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._tokens = tokens
        self._catalog = catalog
        self._outbound = outbound
        self._api_urls: Mapping[str, str] = {"microsoft": settings.microsoft_graph_url}
        self._user_agent = settings.user_agent
        self._user_agent_line = lines({"User-Agent": settings.user_agent})
        self._clock = clock
        self._pauses = Pauses(clock, metrics)

    async def send(self, caller: Caller, integration: str, selector: str | None, outgoing: Outgoing) -> Stream:
        """Open the caller's connection, and return what `send_for` does. Raises what `Tokens.open` raises, too."""
        try:
            opened = await self._tokens.open(caller, integration, selector)
        except LandbridgeError as error:
            error.nothing_done = True
            raise
        return await self.send_for(opened, outgoing)

    async def send_for(self, opened: Opened, outgoing: Outgoing) -> Stream:
        """Return the provider's answer, whatever its status, its body still on its way.

        Raises `InvalidRequest` for a path that is not of this API, `ProviderBusy` while a pause lasts, `TokenRenewed`
        if the token turned out stale under a body that cannot be sent again, and what `Outbound.open` raises.
        """
        manifest = self._catalog.get(opened.integration)
        url = target(manifest, self._api_urls[manifest.provider], outgoing.path)
        self._pauses.check(opened)
        answer = await self._call(url, opened, outgoing)
        if answer.status == 401:
            opened, answer = await self._once_more(url, opened, outgoing, answer)
        if answer.status in {429, 503} and (wait := self._wait(answer)):
            self._pauses.note(opened, wait)
        if answer.status in _REDIRECTS and outgoing.method in {"GET", "HEAD"}:
            return await self._follow(url, opened, outgoing, answer)
        return answer

    async def send_signed(self, integration: str, outgoing: Outgoing) -> Stream:
        """Return the answer of a URL that the provider signed, which needs no bearer and never gets one.

        Such URLs are uploads and monitors on other hosts. Raises `OutboundRefused` for one that is not https although
        the API is, and what `Outbound.open` raises.
        """
        _must_not_downgrade(self._api_urls[self._catalog.get(integration).provider], outgoing.path)
        headers = outgoing.headers.copy()
        headers.popall("Authorization", None)
        headers["User-Agent"] = self._user_agent
        return await self._outbound.open(outgoing.method, outgoing.path, headers, outgoing.body)

    def _call(self, url: str, opened: Opened, outgoing: Outgoing) -> Awaitable[Stream]:
        headers, ours = outgoing.headers, opened.authorization + self._user_agent_line
        if outgoing.lines is not None:
            return self._outbound.open(outgoing.method, url, _WRITTEN, outgoing.body, Lines(outgoing.lines + ours))
        if "Authorization" in headers or "User-Agent" in headers:
            headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OURS)
        return self._outbound.open(outgoing.method, url, headers, outgoing.body, Lines(ours))

    async def _once_more(self, url: str, opened: Opened, outgoing: Outgoing, refused: Stream) -> tuple[Opened, Stream]:
        """Return a new token and the answer to a second try with it, or what there was if there is no newer token."""
        try:
            renewed = await self._tokens.renew(opened)
        except LandbridgeError as error:
            refused.close()
            error.nothing_done = True
            raise
        except BaseException:
            refused.close()
            raise
        if renewed.version == opened.version:
            return opened, refused
        refused.close()
        if isinstance(outgoing.body, AsyncIterator):
            raise TokenRenewed("The access token had ended while the body was being sent; it has been renewed.")
        return renewed, await self._call(url, renewed, outgoing)

    async def _follow(self, url: str, opened: Opened, outgoing: Outgoing, answer: Stream) -> Stream:
        """Return what redirects lead to; once they leave the API's origin, the bearer stays behind for good.

        So does a body, which means nothing with GET (RFC 9110 §9.3.1), and is read only once.
        """
        api, outgoing = _origin(url), _without_body(outgoing)
        for _ in range(_MOST_HOPS):
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            came_from, url = url, urljoin(url, location)
            _must_not_downgrade(came_from, url)
            if _origin(url) != api:
                api = ""
                answer = await self._outbound.open(outgoing.method, url, self._unauthorized(outgoing))
            else:
                answer = await self._call(url, opened, outgoing)
        answer.close()
        raise ProviderFailed("The provider redirects in a circle.")

    def _unauthorized(self, outgoing: Outgoing) -> CIMultiDict[str]:
        kept = {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "accept", "accept-encoding"}
        headers = CIMultiDict((name, value) for name, value in outgoing.headers.items() if name.lower() in kept)
        headers["User-Agent"] = self._user_agent
        return headers

    def _wait(self, answer: Stream) -> timedelta | None:
        return retry_after(answer.headers.get("Retry-After"), now=self._clock.now())


def _without_body(outgoing: Outgoing) -> Outgoing:
    if outgoing.body is None:
        return outgoing
    headers = outgoing.headers.copy()
    for name in ("Content-Length", "Content-Type"):
        headers.popall(name, None)
    return Outgoing(outgoing.method, outgoing.path, headers, None)


def target(manifest: Manifest, api_url: str, path: str) -> str:
    """Return the URL of a path of the integration's API, or of an absolute URL that lies on it.

    A path is relative to the API's version (`/me/drive` is `/v1.0/me/drive`); an absolute URL names its own. Raises
    `InvalidRequest` for anything that would leave the API or mean something else there than it seems to.
    """
    if len(path) > LONGEST_PATH:
        raise InvalidRequest(f"The path is longer than {LONGEST_PATH} bytes.")
    if _UNSAFE.search(path):
        raise InvalidRequest("The path holds characters that must be percent-encoded.")
    if ":/" in path and _LOOKS_ABSOLUTE.match(path):
        found = _ABSOLUTE.match(path)
        origin = f"{found[1]}://{found[2]}".lower() if found else ""
        if not found or origin not in {manifest.api.url, _origin(api_url)}:
            raise InvalidRequest(f"Only URLs of {manifest.name}'s API are called: {manifest.api.url}/…")
        rest = found[3] or "/"
        base = api_url
    else:
        rest, base = "/" + path.removeprefix("/"), api_url + manifest.api.version
    if _MAY_LEAVE.search(rest):
        _must_stay(rest)
    return base + rest


def _must_stay(rest: str) -> None:
    segments = rest.partition("?")[0].lower().replace("%2e", ".").split("/")
    if {".", ".."} & set(segments):
        raise InvalidRequest("The path holds `.` or `..` segments.")
    if "" in segments[1:-1]:
        raise InvalidRequest("The path holds an empty segment (`//`).")


def _must_not_downgrade(url: str, next_url: str) -> None:
    schemes = urlsplit(url).scheme, urlsplit(next_url).scheme
    if schemes[1] != "https" and schemes != ("http", "http"):
        raise OutboundRefused("The provider redirects to an address that is not https.")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _tenant(opened: Opened) -> str | None:
    """Return whose limits a connection shares with others; personal accounts, though of one tenant, share none."""
    return None if opened.tenant_id == PERSONAL_TENANT else f"{opened.client_id}/{opened.tenant_id}"
