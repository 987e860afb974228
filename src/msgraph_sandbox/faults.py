"""Faults that a test plants: the next matching requests fail, wait or break as a real service does on a bad day."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from msgraph_sandbox.http import Json, Request, Response
from msgraph_sandbox.identity.refusals import REASONS

Service = Literal["login", "graph", "upload", "download", "monitor"]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def _means_something(code: str) -> str:
    if code.isdecimal() and int(code) not in REASONS:
        raise ValueError("not an AADSTS code of the sandbox's")
    return code


class Fault(BaseModel):
    """Which requests to spoil (all conditions must hold) and how."""

    model_config = ConfigDict(extra="forbid")

    service: Service | None = Field(default=None, description="The origin asked; unset is any.")
    operation: str | None = Field(
        default=None, description="The operation's name as the ledger writes it, such as `token`."
    )
    method: str | None = Field(default=None, description="The HTTP method.")
    path: Annotated[str, AfterValidator(_compiles)] | None = Field(
        default=None, max_length=500, description="A regular expression to be found in the decoded path."
    )
    user: str | None = Field(default=None, description="The e-mail address of the user on whose behalf the request is.")
    client_id: str | None = Field(default=None, description="The application asking.")
    skip: int = Field(default=0, ge=0, description="Matching requests to let through first.")
    count: int | None = Field(default=1, ge=1, description="Matching requests to spoil; null is all, until removed.")
    rate: float = Field(default=1.0, gt=0, le=1, description="The share of matching requests to spoil, at random.")

    delay: float = Field(default=0, ge=0, le=600, description="Seconds to wait first.")
    effect: Literal[
        "respond", "delay", "reset", "truncate", "lose", "hang", "withhold", "empty_page", "repeat_page"
    ] = Field(
        default="respond",
        description="Answer with `status`; only wait; break the connection unanswered, or in mid-body, or unanswered "
        "once it is done; never answer, having done nothing, or having done it; give an empty page with a link to the "
        "real one; or a page whose link leads to itself.",
    )
    status: int = Field(default=503, ge=400, le=599)
    retry_after: float | None = Field(
        default=None, ge=0, le=1e9, description="Whole seconds for a Retry-After header; unset sends none."
    )
    retry_after_form: Literal["seconds", "date"] = "seconds"
    code: Annotated[str, AfterValidator(_means_something)] | None = Field(
        default=None, description="The error code; unset is the usual one for the status. A number is an AADSTS code."
    )
    message: str | None = None
    inner_code: str | None = Field(default=None, description="A `code` inside `innerError`.")
    headers: dict[str, str] = Field(default_factory=dict)

    def matches(self, service: str, operation: str, request: Request, user: str | None, client_id: str | None) -> bool:
        """Tell whether this fault is meant for the request."""
        wanted = ((self.service, service), (self.operation, operation), (self.user, user), (self.client_id, client_id))
        if any(want is not None and want != got for want, got in wanted):
            return False
        if self.method is not None and self.method.upper() != request.method:
            return False
        return self.path is None or re.search(self.path, request.path) is not None

    def retry_header(self, now: datetime) -> dict[str, str]:
        """Return the Retry-After header, in the form that was asked for, or none."""
        if self.retry_after is None:
            return {}
        if self.retry_after_form == "seconds":
            return {"Retry-After": str(math.ceil(self.retry_after))}
        return {"Retry-After": format_datetime(now + timedelta(seconds=self.retry_after), usegmt=True)}


class Planted:
    """A fault in the ground, and how often it has struck."""

    def __init__(self, name: str, fault: Fault) -> None:
        self.name = name
        self.fault = fault
        self.seen = 0
        self.struck = 0

    def strikes(self, dice: random.Random) -> bool:
        """Count a matching request and tell whether this one is spoilt."""
        self.seen += 1
        spent = self.fault.count is not None and self.struck >= self.fault.count
        if spent or self.seen <= self.fault.skip or dice.random() >= self.fault.rate:
            return False
        self.struck += 1
        return True

    def json(self) -> Json:
        """Return the fault as the control API shows it."""
        return {
            "id": self.name,
            "seen": self.seen,
            "struck": self.struck,
            **self.fault.model_dump(exclude_defaults=True),
        }


class Faults:
    """All planted faults; the first that matches and strikes wins."""

    def __init__(self) -> None:
        self._planted: dict[str, Planted] = {}
        self._numbers = itertools.count(1)
        self._dice = random.Random(0)  # noqa: S311 - the same on every run, so that a test can be repeated

    def plant(self, fault: Fault) -> Planted:
        """Add a fault and return it with its id."""
        planted = Planted(f"fault-{next(self._numbers)}", fault)
        self._planted[planted.name] = planted
        return planted

    def remove(self, name: str) -> bool:
        """Remove the fault of that id, and tell whether there was one."""
        return self._planted.pop(name, None) is not None

    def clear(self) -> None:
        """Remove all."""
        self._planted.clear()

    def all(self) -> list[Planted]:
        """Return all, the oldest first, spent ones included."""
        return list(self._planted.values())

    def strike(
        self, service: str, operation: str, request: Request, user: str | None, client_id: str | None
    ) -> Planted | None:
        """Return the fault that this request runs into, if any."""
        for planted in self._planted.values():
            matches = planted.fault.matches(service, operation, request, user, client_id)
            if matches and planted.strikes(self._dice):
                return planted
        return None


def truncated(response: Response, request: Request) -> Response:
    """Return `response` with its length announced in full and a body that breaks off half-way."""
    body = response.body
    total = len(body) if isinstance(body, bytes) else int(response.headers.get("Content-Length", "0"))

    async def half() -> AsyncIterator[bytes]:
        left = total // 2
        async for chunk in _pieces(body):
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                break
        request.transport.close()

    return Response(response.status, {**response.headers, "Content-Length": str(total)}, half())


def repaged(response: Response, request: Request, effect: str) -> Response:
    """Return a page of a list with its link turned back to itself, and for `empty_page` without its items."""
    body = json.loads(response.body) if isinstance(response.body, bytes) and response.body else {}
    if not isinstance(body.get("value"), list):
        return response
    body.pop("@odata.deltaLink", None)
    body["@odata.nextLink"] = request.origin + request.raw_target
    if effect == "empty_page":
        body["value"] = []
    return Response(response.status, dict(response.headers), json.dumps(body).encode())


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    async for chunk in body:
        yield chunk
