"""How an error leaves over HTTP, the same from every route: JSON in the documented shape, with `Retry-After`."""

import json
import math
from collections.abc import Sequence
from typing import Any

import structlog

from landbridge.errors import LandbridgeError

log = structlog.get_logger(__name__)

Headers = list[tuple[bytes, bytes]]


def error_answer(error: LandbridgeError) -> tuple[int, Headers, bytes]:
    """Return status, headers and body for an error."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after.total_seconds()))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))  # RFC 9110 §15.5.2
    return error.status, headers, json.dumps(error.body()).encode()


def note_refusal(client: Sequence[Any] | None, error: LandbridgeError) -> None:  # Any: ASGI's host and port
    """Write down who was refused for want of a right, so that the operator can tell who tries; most errors are none."""
    if error.status in {401, 403}:
        log.info("a caller was refused", client=client[0] if client else None, error=error.code, reason=error.message)


def by_name(headers: Headers) -> dict[bytes, bytes]:
    """Return the first value of each header; its name is in lower case, as ASGI's and `outbound`'s are."""
    return dict(reversed(headers))
