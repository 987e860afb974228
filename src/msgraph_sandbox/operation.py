"""What a request turned out to ask for. Faults and the ledger know requests by these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from msgraph_sandbox.http import Refusal, Request, Response


@dataclass(slots=True)
class Operation:
    """A named operation on behalf of someone, not yet carried out."""

    name: str
    call: Callable[[], Awaitable[Response]]
    user: str | None = None
    client_id: str | None = None
    grant_type: str | None = None


class Service(Protocol):
    """One host of the sandbox."""

    @property
    def name(self) -> str:
        """The name in the ledger and in faults."""

    async def route(self, request: Request) -> Operation:
        """Return what the request asks for."""

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Return a refusal in the host's shape."""

    def fault(
        self, request: Request, status: int, code: str | None, message: str | None, inner: str | None
    ) -> Response:
        """Return a planted failure in the host's shape."""

    def decorate(self, request: Request, response: Response) -> None:
        """Add the headers that every answer of the host carries."""
