"""What the headers of requests say, worked out once for all that come with the same ones on a connection."""

import time
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain

from multidict import CIMultiDict

from landbridge.access import bearer, digest_of
from landbridge.connections.tokens import Opened
from landbridge.outbound import Lines, lines
from landbridge.store.cache import KEPT_SECONDS
from landbridge.web.answers import Headers, by_name

HEAD = "landbridge.head"
"""Where a request's scope holds its `Head`, if its connection keeps one."""

HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
}
_NOT_FORWARDED = HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"cookie",
    b"origin",
    b"referer",
    b"user-agent",
    b"accept-encoding",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"dnt",
    b"x-request-id",
}
_NOT_FORWARDED_PREFIXES = (b"x-paragon-", b"x-forwarded-", b"sec-", b"access-control-")


class Opening:
    """A connection that headers led to at a place (project and integration), and how long it may be relied on."""

    __slots__ = ("_at", "_news", "_until", "opened", "place")

    def __init__(self, place: tuple[str, str], opened: Opened, until: datetime, news: int) -> None:
        self.place = place
        self.opened = opened
        self._until = until
        self._news = news
        self._at = time.monotonic()

    def holds(self, news: int, now: datetime) -> bool:
        """Return whether it is still what the store would lead to, as far as a cache may be wrong."""
        return news == self._news and now < self._until and time.monotonic() < self._at + KEPT_SECONDS


class Head:
    """A request's headers. Nobody changes what it gives out: the next request may be given the same."""

    def __init__(self, fields: Headers) -> None:
        self.opening: Opening | None = None
        self.fields = fields
        self.named = by_name(fields)
        self.size = sum(map(len, chain.from_iterable(fields)))
        """How many bytes they hold."""

    def text(self, name: bytes) -> str | None:
        """Return the first header of a name."""
        value = self.named.get(name)
        return None if value is None else value.decode("latin-1")

    @cached_property
    def token(self) -> str:
        """The user token; raises `Unauthenticated` if there is none."""
        return bearer(self.text(b"authorization"))

    @cached_property
    def token_digest(self) -> bytes:
        """What the user token is known by once it is verified."""
        return digest_of(self.token)

    @cached_property
    def has_body(self) -> bool:
        """Whether a body comes with the request, be it an empty one."""
        return b"content-length" in self.named or b"transfer-encoding" in self.named

    @cached_property
    def wants_raw(self) -> bool:
        """Whether the caller wants the provider's answer as it is."""
        return self.named.get(b"x-paragon-use-raw-response", b"").lower() in {b"1", b"true"}

    def forwarded(self, *, with_body: bool) -> CIMultiDict[str]:
        """Return the headers that the provider may see: not ours, not the connection's, none of a browser's."""
        not_its = nominated(self.fields) if b"connection" in self.named else frozenset()
        forwarded: CIMultiDict[str] = CIMultiDict()
        for given, value in self.fields:
            name = _forwarded_name(given)
            if name is not None and given not in not_its:
                forwarded.add(name, value.decode("latin-1"))
        forwarded["Accept-Encoding"] = (self.wants_raw and self.text(b"accept-encoding")) or "identity"
        if b"content-type" in self.named:
            _settle_content_type(forwarded, with_body=with_body)
        return forwarded

    @cached_property
    def without_body(self) -> CIMultiDict[str]:
        """What the provider may see of them if no body comes with them, as mostly."""
        return self.forwarded(with_body=False)

    @cached_property
    def lines_without_body(self) -> Lines:
        """The same as they are sent; raises `OutboundRefused` if they cannot be."""
        return lines(self.without_body)


def nominated(headers: Headers) -> frozenset[bytes]:
    """Return the names of the headers that are this connection's own affair (RFC 9110 §7.6.1)."""
    return _names(b",".join([value for name, value in headers if name == b"connection"]))


@lru_cache(maxsize=100)
def _names(value: bytes) -> frozenset[bytes]:
    return frozenset(map(bytes.strip, value.lower().split(b",")))


@lru_cache(maxsize=1000)
def _forwarded_name(name: bytes) -> str | None:
    """Return the name of a header of the caller's as the provider gets it, or None if the provider gets no such one."""
    return None if name in _NOT_FORWARDED or name.startswith(_NOT_FORWARDED_PREFIXES) else name.decode("latin-1")


def _settle_content_type(headers: CIMultiDict[str], *, with_body: bool) -> None:
    """Replace the SDK's `Content-Type: auto`, alone or in front of another, by what the body is."""
    given = ", ".join(headers.popall("content-type", ()))
    named = ", ".join(part for part in map(str.strip, given.split(",")) if part and part.lower() != "auto")
    if named:
        headers["Content-Type"] = named
    elif with_body and given:
        headers["Content-Type"] = "application/json"
