"""How an error leaves over HTTP, the same from every route: JSON in the documented shape, with `Retry-After`."""

import json
import math

from landbridge.errors import LandbridgeError

Headers = list[tuple[bytes, bytes]]


def error_answer(error: LandbridgeError) -> tuple[int, Headers, bytes]:
    """Return status, headers and body for an error."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after.total_seconds()))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))  # RFC 9110 §15.5.2
    return error.status, headers, json.dumps(error.body()).encode()


def by_name(headers: Headers) -> dict[bytes, bytes]:
    """Return the first value of each header; its name is in lower case, as ASGI's and `outbound`'s are."""
    return dict(reversed(headers))
