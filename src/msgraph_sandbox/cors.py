"""What lets pages of other origins call: Graph and the hosts beside it allow all, as Microsoft's do.

https://learn.microsoft.com/onedrive/developer/rest-api/concepts/working-with-cors
"""

from __future__ import annotations

from msgraph_sandbox.http import Request, Response

_EXPOSED = (
    "ETag, Location, Preference-Applied, Content-Range, request-id, client-request-id, ReadWriteConsistencyToken, "
    "SdkVersion, WWW-Authenticate, x-ms-client-gcc-tenant, Retry-After"
)


def is_preflight(request: Request) -> bool:
    """Whether a browser asks on its own, without the caller's token, what a page may send."""
    headers = request.headers
    return request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


async def preflight(request: Request) -> Response:
    """Return that the page may send what it wants to."""
    asked = request.headers
    allowed = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": asked["access-control-request-method"],
        "Access-Control-Max-Age": "600",
    }
    if headers := asked.get("access-control-request-headers"):
        allowed["Access-Control-Allow-Headers"] = headers
    return Response(200, allowed)


def expose(request: Request, response: Response) -> None:
    """Let a page of another origin read the answer, and the headers that a client of Graph needs."""
    if "origin" in request.headers:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers.setdefault("Access-Control-Expose-Headers", _EXPOSED)
