"""How Graph says no: `{"error": {"code", "message", "innerError"}}`.

https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

from collections.abc import Mapping

from msgraph_sandbox.http import Json, Refusal, Request, Response, json_response


class GraphRefused(Refusal):
    """A Graph error. `inner` is the more specific code that Graph nests inside `innerError`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = dict(headers or {})

    def response(self, request: Request) -> Response:
        return json_response(self.body(request), self.status, self.headers)

    def body(self, request: Request, spelling: str = "innerError") -> Json:
        """Return the error as JSON."""
        nested: dict[str, Json] = {"code": self.inner} if self.inner else {}
        inner = {**nested, **request.inner_error()}
        return {"error": {"code": self.code, "message": self.message, spelling: inner}}


def bad_request(message: str, inner: str | None = None) -> GraphRefused:
    """Return 400 `invalidRequest`."""
    return GraphRefused(400, "invalidRequest", message, inner=inner)


def not_found(message: str = "The resource could not be found.") -> GraphRefused:
    """Return 404 `itemNotFound`."""
    return GraphRefused(404, "itemNotFound", message)


def access_denied(message: str = "Access denied") -> GraphRefused:
    """Return 403 `accessDenied`."""
    return GraphRefused(403, "accessDenied", message)


def name_taken() -> GraphRefused:
    """Return 409 `nameAlreadyExists`."""
    return GraphRefused(409, "nameAlreadyExists", "An item with the same name already exists under the parent")


def changed() -> GraphRefused:
    """Return 412 `resourceModified`, the answer to an `If-Match` that no longer matches."""
    return GraphRefused(412, "resourceModified", "ETag does not match current item's value")


def no_segment(segment: str) -> GraphRefused:
    """Return 400 `BadRequest`, the answer to an address that leads nowhere."""
    return GraphRefused(400, "BadRequest", f"Resource not found for the segment '{segment}'.")


def not_supported(message: str = "Operation not supported") -> GraphRefused:
    """Return 501 `notSupported`... which Graph gives as a 400 for requests that can never work."""
    return GraphRefused(400, "notSupported", message)
