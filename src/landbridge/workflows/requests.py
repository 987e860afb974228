"""One HTTP exchange for a Request step: from its resolved fields to an answer that later steps can refer to.

Only public addresses are called, and those that the operator named (`outbound`). What proves who calls goes to the
origin that the author wrote and to no other: a redirect to elsewhere is followed without it.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from multidict import CIMultiDict
from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.errors import (
    InvalidRequest,
    LandbridgeError,
    OutboundRefused,
    ProviderBusy,
    ProviderTimedOut,
    RequestFailed,
    RequestRefused,
    TooLarge,
)
from landbridge.files import RunFiles
from landbridge.outbound import Outbound, Stream, retry_after
from landbridge.workflows import bodies
from landbridge.workflows.bodies import ENCODING, LARGEST_TEXT, Payload, Values, text
from landbridge.workflows.proofs import Proofs

LARGEST_ERROR: Final = 16 << 10
"""Bytes of an error's body that are kept with the error."""

_MOST_HOPS = 5
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "range", "user-agent"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_URL_SAFE = "!$%&'()*+,/:;=?@[]~"

Through = Callable[[str, str, CIMultiDict[str], bytes | AsyncIterator[bytes] | None], Awaitable[Stream]]
"""Sends a request (method, path or URL, headers, body) on behalf of a connection."""


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A Request step's fields with nothing left to resolve; `body` and `auth` are of the definition's forms."""

    method: str
    url: str
    params: Values = field(default_factory=dict)
    headers: Values = field(default_factory=dict)
    body: Values = field(default_factory=dict)
    auth: Values = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=300)

    @classmethod
    def of(cls, method: str, resolved: Values, timeout: timedelta) -> Self:
        """Return the request that a step's templates resolved to, by their fields. Raises `InvalidRequest`."""
        parts: dict[str, Values] = {}
        for name in ("params", "headers", "body", "auth"):
            value = resolved.get(name, {})
            if not isinstance(value, dict):
                raise InvalidRequest(f"{name}: this is an object.")
            parts[name] = value
        return cls(method, text(resolved.get("url"), "url"), timeout=timeout, **parts)

    @property
    def is_repeatable(self) -> bool:
        """Whether twice is the same as once (RFC 9110 §9.2.2), so that it may be sent again when no answer came."""
        return self.method in _REPEATABLE


class Requests:
    """Sends the requests that authors wrote; one for each event loop, as its pool of connections is."""

    def __init__(self, outbound: Outbound, clock: Clock, user_agent: str) -> None:
        self._outbound = outbound
        self._clock = clock
        self._user_agent = user_agent
        self._proofs = Proofs(outbound, clock)

    async def send(
        self, request: ResolvedRequest, files: RunFiles, *, key: str, through: Through | None = None
    ) -> dict[str, JsonValue]:
        """Return `{"response": {"statusCode", "headers", "body"}}`, the headers' names in lower case.

        `key` lets a receiver know a repeated request: `<run>:<step>`. `through` serves the auth `connection`. Raises
        `InvalidRequest` for a field that is not what it must be, `RequestRefused` and `RequestFailed` for statuses of
        400 and above, `ProviderBusy` if they say when to come back, `ProviderTimedOut`, what `Outbound.open` raises.
        """
        try:
            async with asyncio.timeout(request.timeout.total_seconds()):
                return {"response": await self._sent(request, files, key, through)}
        except TimeoutError:
            seconds = f"{request.timeout.total_seconds():g}"
            raise ProviderTimedOut(f"{_host(request.url)} took longer than the step's {seconds} s.") from None
        except UnicodeEncodeError:
            raise InvalidRequest("A text holds half a character (a lone surrogate), which cannot be sent.") from None

    async def fetch(self, url: str, method: str, headers: Mapping[str, str], body: JsonValue) -> JsonValue:
        """Return `{"statusCode", "headers", "body"}` for a function, whatever the status.

        Raises `TooLarge` for answers over 1 MiB, `InvalidRequest` for those that are no text and for headers that
        cannot be sent, and what `Outbound.open` raises.
        """
        payload = Payload()
        if isinstance(body, str):
            payload = Payload("text/plain; charset=utf-8", (body.encode(),))
        elif body is not None:
            payload = Payload("application/json", (json.dumps(body).encode(),))
        stream, _ = await self._exchange(method.upper(), _full(url, ()), self._headers(headers, payload), payload)
        try:
            whole = await stream.read(LARGEST_TEXT + 1)
        finally:
            stream.close()
        if len(whole) > LARGEST_TEXT:
            raise TooLarge(f"{_host(url)} answered with more than {LARGEST_TEXT >> 20} MiB: use a Request step.")
        try:
            return _answer(stream, bodies.readable(whole, stream.headers) if whole else None)
        except ValueError:
            raise InvalidRequest(f"{_host(url)} answered with what is no text: use a Request step.") from None

    async def _sent(
        self, request: ResolvedRequest, files: RunFiles, key: str, through: Through | None
    ) -> dict[str, JsonValue]:
        given = {name: text(value, f"headers.{name}") for name, value in request.headers.items()}
        encoding = next((given.pop(name) for name in list(given) if name.lower() == ENCODING.lower()), None)
        payload = await bodies.payload(request.body, encoding, files)
        headers = self._headers(given, payload)
        if request.body.get("type") == "multipart":
            headers["Content-Type"] = payload.content_type or ""  # its boundary is ours
        if not request.is_repeatable:
            headers.setdefault("Idempotency-Key", key)
        stream, url = await self._proved(request, headers, payload, through)
        try:
            if stream.status >= 400:
                raise await self._failure(request, stream)
            return _answer(stream, await bodies.received(stream, url, files))
        finally:
            stream.close()

    async def _proved(
        self, request: ResolvedRequest, headers: CIMultiDict[str], payload: Payload, through: Through | None
    ) -> tuple[Stream, str]:
        """Return the answer to a request that says who calls, and where it came from."""
        params = list(bodies.fields(request.params, "params"))
        if request.auth.get("type") == "connection":
            if through is None:
                raise InvalidRequest("auth: there is no connection that this could go through.")
            url = _full(request.url, params)
            return await through(request.method, url, headers, payload.body()), url
        while True:
            proof = await self._proofs.of(request.auth)
            proved = headers.copy()
            proved.update(_sendable(proof.headers))
            stream, url = await self._exchange(
                request.method, _full(request.url, [*params, *proof.params]), proved, payload
            )
            if stream.status != 401 or proof.kept_as is None:
                return stream, url
            self._proofs.forget(proof)
            stream.close()

    async def _exchange(self, method: str, url: str, headers: CIMultiDict[str], payload: Payload) -> tuple[Stream, str]:
        """Return the answer and its URL, having followed where a GET or HEAD was redirected to."""
        for _ in range(_MOST_HOPS + 1):
            stream = await self._outbound.open(method, url, headers, payload.body())
            location = stream.headers.get("Location")
            if stream.status not in _REDIRECTS or not location or method not in {"GET", "HEAD"}:
                return stream, url
            stream.close()
            came_from, url = url, _full(urljoin(url, location), ())
            if _origin(came_from).startswith("https:") and not _origin(url).startswith("https:"):
                raise OutboundRefused(f"{_host(came_from)} redirects from https to what is not.")
            if _origin(came_from) != _origin(url):
                headers = CIMultiDict((name, value) for name, value in headers.items() if name.lower() in _HARMLESS)
                payload = Payload()
        raise RequestRefused(f"{_host(url)} redirects more than {_MOST_HOPS} times.")

    def _headers(self, given: Mapping[str, str], payload: Payload) -> CIMultiDict[str]:
        """Return the headers that are sent: the author's, and what they left to us."""
        headers = CIMultiDict(_sendable(given))
        headers["Accept-Encoding"] = "identity"
        headers.setdefault("User-Agent", self._user_agent)
        if payload.parts:
            headers.setdefault("Content-Type", payload.content_type or "")
            headers["Content-Length"] = str(payload.size)
        return headers

    async def _failure(self, request: ResolvedRequest, stream: Stream) -> LandbridgeError:
        """Return what a status of 400 or above means, with the start of its body."""
        body = await stream.read(LARGEST_ERROR)
        try:
            said = bodies.readable(body, stream.headers)
        except ValueError:
            said = body.decode(errors="replace")
        message = f"{request.method} to {_host(request.url)} was answered with {stream.status}."
        meta = {"statusCode": stream.status, "body": said}
        wait = retry_after(stream.headers.get("Retry-After"), now=self._clock.now())
        if stream.status in {429, 503} and wait is not None:
            return ProviderBusy(message, meta=meta, retry_after=wait)
        kind = RequestFailed if stream.status >= 500 or stream.status in _PASSING else RequestRefused
        return kind(message, meta=meta, retry_after=wait)


def _answer(stream: Stream, body: JsonValue) -> dict[str, JsonValue]:
    headers: dict[str, JsonValue] = {}
    for name in dict.fromkeys(name.lower() for name in stream.headers):
        headers[name] = ", ".join(stream.headers.getall(name))
    return {"statusCode": stream.status, "headers": headers, "body": body}


def _sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers, or raise `InvalidRequest` for one that frames the message, or is none."""
    for name, value in headers.items():
        if name.lower() in _OURS:
            raise InvalidRequest(f"headers.{name}: Landbridge sets this header itself.")
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidRequest(f"headers.{name[:100]}: no header can be called this.")
        if not value.isprintable() or not value.isascii():
            raise InvalidRequest(f"headers.{name}: a header holds printable ASCII on one line.")
    return headers


def _full(url: str, params: Sequence[tuple[str, str]]) -> str:
    """Return a URL with more in its query; what must be percent-encoded and is not, becomes so.

    The rest stays as the author wrote it: a signed URL does not survive being tidied up.
    """
    whole = url.strip().partition("#")[0]
    found = _ORIGIN.match(whole)
    origin = found[0] if found else ""
    rest = quote(whole[len(origin) :], safe=_URL_SAFE)
    if params:
        joint = "" if rest.endswith(("?", "&")) else "&" if "?" in rest else "?"
        rest += joint + urlencode(params, quote_via=quote, safe="$")
    return origin + rest


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _host(url: str) -> str:
    """Return what a message may say of a URL: not its path or query, which may hold secrets."""
    found = _ORIGIN.match(url.strip())
    return found[0].rpartition("@")[2].partition("://")[2] or found[0].rpartition("@")[2] if found else "The service"
