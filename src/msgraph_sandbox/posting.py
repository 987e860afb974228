"""One HTTP POST, with which the sandbox speaks to the receivers of notifications."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import SplitResult, quote, urlsplit

import httptools

_ENOUGH = 64 * 1024


@dataclass(slots=True)
class Answer:
    """What the receiver said; of a long body the beginning."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    @property
    def media_type(self) -> str:
        """The type of the body in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    # The four below are called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Note that nothing is missing."""
        self.complete = True


async def post(url: str, body: bytes, media_type: str, *, seconds: float) -> Answer:
    """Return the answer to a POST, redirects not followed.

    Raises `TimeoutError` after `seconds`, and `OSError` if there is no answer or none that is HTTP.
    """
    async with asyncio.timeout(seconds):
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=_trust() if secure else None)
        try:
            writer.write(_request(parts, body, media_type))
            return await _read(reader)
        finally:
            writer.transport.abort()


def _request(parts: SplitResult, body: bytes, media_type: str) -> bytes:
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="/?%:@!$&'()*+,;=~-._")
    lines = (
        f"POST {target} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "User-Agent: msgraph-sandbox",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def _read(reader: asyncio.StreamReader) -> Answer:
    answer = Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.complete and len(answer.body) < _ENOUGH and (chunk := await reader.read(_ENOUGH)):
        try:
            parser.feed_data(chunk)
        except httptools.HttpParserError as error:
            raise OSError("The receiver did not answer in HTTP.") from error
    if not answer.headers and not answer.complete:
        raise OSError("The receiver closed the connection without an answer.")
    answer.status = parser.get_status_code()
    return answer


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()
