"""How a request is written, and what cannot be."""

from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, NewType

from multidict import CIMultiDict

Body = bytes | AsyncIterator[bytes] | None

_EXPECT_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONTROLS = bytes([*range(9), *range(10, 32), 127])


class Unsendable(ValueError):
    """What is to be sent cannot be written in HTTP."""


class Host(NamedTuple):
    """Whom a connection leads to."""

    scheme: str
    name: str
    port: int


Lines = NewType("Lines", bytes)
"""Headers as they are sent, checked and written by `lines`."""

NO_LINES = Lines(b"")


def lines(headers: Iterable[tuple[str, str]]) -> Lines:
    """Return headers as they are sent, or raise `Unsendable` for one that would be another header or request."""
    written = [": ".join(header) for header in headers]
    written.append("")
    try:
        text = "\r\n".join(written).encode("latin-1")
    except UnicodeEncodeError:
        raise Unsendable("A header holds letters that no header may hold.") from None
    if len(text) - len(text.translate(None, _CONTROLS)) != 2 * len(written) - 2:  # the lines' ends, and no others
        raise Unsendable("A header holds what no header may hold.")
    return Lines(text)


def head_of(
    method: str, host: Host, target: str, headers: Mapping[str, str] | CIMultiDict[str], body: Body, more: Lines
) -> tuple[bytes, bool]:
    """Return a request's head as it is sent, and whether its body is sent in chunks."""
    if not _is_visible(target) or not (method.isascii() and method.isalpha()):
        raise Unsendable("The request line holds what no request line may hold.")
    if not isinstance(headers, CIMultiDict):
        headers = CIMultiDict(headers)
    first = f"{method} {target} HTTP/1.1\r\n"
    if "host" not in headers:
        first += f"Host: {_authority(host)}\r\n"
    last = "\r\n"
    has_length = "content-length" in headers
    is_chunked = not has_length and body is not None and not isinstance(body, bytes)
    if is_chunked:
        last = "Transfer-Encoding: chunked\r\n\r\n"
    elif not has_length and (body or method in _EXPECT_BODY):
        last = f"Content-Length: {len(body) if isinstance(body, bytes) else 0}\r\n\r\n"
    given = lines(headers.items()) if headers else NO_LINES
    return b"".join((first.encode("ascii"), given, more, last.encode("ascii"))), is_chunked


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


@lru_cache(maxsize=100)
def _authority(host: Host) -> str:
    name = f"[{host.name}]" if ":" in host.name else host.name
    return name if host.port == {"http": 80, "https": 443}[host.scheme] else f"{name}:{host.port}"
