"""The hosts beside Graph that need no token: downloads, uploads, monitors of copies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgraph_sandbox import cors
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.graph.service import graph_fault
from msgraph_sandbox.http import Refusal, Request, Response, json_response
from msgraph_sandbox.operation import Operation


@dataclass(slots=True)
class TransferService:
    """A host with a single operation, whose every URL carries its own permission."""

    name: str
    operation: str
    answer: Callable[[Request], Awaitable[Response]]

    async def route(self, request: Request) -> Operation:
        """Return the operation."""

        async def call() -> Response:
            return await (cors.preflight(request) if cors.is_preflight(request) else self.answer(request))

        return Operation(self.operation, call)

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Return the refusal in Graph's shape, with the older spelling `innererror` that these hosts keep."""
        if not isinstance(refusal, GraphRefused):
            return refusal.response(request)
        return json_response(refusal.body(request, "innererror"), refusal.status, refusal.headers)

    def fault(
        self, request: Request, status: int, code: str | None, message: str | None, inner: str | None
    ) -> Response:
        """Return a planted failure in Graph's shape."""
        return graph_fault(status, code, message, inner).response(request)

    def decorate(self, request: Request, response: Response) -> None:
        """Add what tells requests apart, and what lets a browser read the answer from another origin."""
        response.headers |= request.ids()
        cors.expose(request, response)
