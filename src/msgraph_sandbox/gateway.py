"""The door of the sandbox: every request passes here, meets its faults, and is written into the ledger."""

from __future__ import annotations

import asyncio
import logging
import time

from msgraph_sandbox.faults import Planted, repaged, truncated
from msgraph_sandbox.http import (
    BadRequest,
    Disconnected,
    Receive,
    Refusal,
    Request,
    Response,
    Scope,
    Send,
    send_response,
)
from msgraph_sandbox.ledger import Entry, Ledger
from msgraph_sandbox.operation import Operation, Service
from msgraph_sandbox.world import World

log = logging.getLogger("msgraph_sandbox")


class Gateway:
    """An ASGI application in front of one service."""

    def __init__(self, world: World, service: Service) -> None:
        self._world = world
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        request, entry = self._open(Request(scope, receive))
        try:
            response = await self._answer(request, entry)
            if response is None:
                request.transport.abort()
                await request.gone()
                return
            self._world.keep(with_people=_concerns_people(entry))
            self._service.decorate(request, response)
            entry.status = response.status
            self._world.ledger.write(entry)
            entry.bytes_out = await send_response(response, send)
        except Disconnected:
            entry.error = "disconnected"
        finally:
            entry.bytes_in = request.received
            entry.milliseconds = round((time.perf_counter() - started) * 1000, 3)

    def _open(self, request: Request) -> tuple[Request, Entry]:
        request.asked_at = self._world.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        request.again = self._inner
        return request, _entry(request, self._service.name, self._world.ledger)

    async def _inner(self, request: Request) -> Response:
        """Carry out a part of a batch, which can be refused and spoilt like any request, but not cut off."""
        request, entry = self._open(request)
        response = await self._answer(request, entry) or self._service.fault(request, 503, None, None, None)
        self._service.decorate(request, response)
        entry.status = response.status
        self._world.ledger.write(entry)
        return response

    async def _answer(self, request: Request, entry: Entry) -> Response | None:
        """Return the answer, or None if a fault breaks the connection instead."""
        try:
            operation = await self._service.route(request)
            _identify(entry, operation)
            faults = self._world.faults
            planted = faults.strike(self._service.name, operation.name, request, operation.user, operation.client_id)
            if planted is None:
                return await operation.call()
            return await self._spoilt(request, entry, operation, planted)
        except Refusal as refusal:
            entry.error = str(refusal)
            return self._service.refuse(request, refusal)
        except Disconnected:
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_target)
            entry.error = "generalException"
            return self._service.refuse(request, BadRequest("An unexpected error occurred in the sandbox.", 500))

    async def _spoilt(self, request: Request, entry: Entry, operation: Operation, planted: Planted) -> Response | None:
        fault = planted.fault
        entry.fault = planted.name
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.effect in {"reset", "lose", "hang", "withhold"}:
            if fault.effect in {"lose", "withhold"}:
                entry.status = (await operation.call()).status
            entry.error = fault.effect
            self._world.ledger.write(entry)  # whoever reads it there knows that it is done, or never will be
            if fault.effect in {"hang", "withhold"}:
                await request.gone()
            return None
        if fault.effect != "respond":
            return _bent(await operation.call(), request, fault.effect)
        entry.error = fault.code or str(fault.status)
        response = self._service.fault(request, fault.status, fault.code, fault.message, fault.inner_code)
        response.headers |= {**fault.retry_header(self._world.clock.now()), **fault.headers}
        return response


def _concerns_people(entry: Entry) -> bool:
    return entry.service == "login" or entry.operation.startswith(("sessions.", "subscriptions."))


def _bent(response: Response, request: Request, effect: str) -> Response:
    if effect == "truncate":
        return truncated(response, request)
    return response if effect == "delay" else repaged(response, request, effect)


def _entry(request: Request, service: str, ledger: Ledger) -> Entry:
    return Entry(
        number=ledger.next_number(),
        at=request.asked_at + "Z",
        service=service,
        operation="unknown",
        method=request.method,
        target=request.raw_target,
        user_agent=request.headers.get("user-agent", ""),
        authorized="authorization" in request.headers,
        request_id=request.id,
        client_request_id=request.client_request_id,
    )


def _identify(entry: Entry, operation: Operation) -> None:
    entry.operation = operation.name
    entry.user = operation.user
    entry.client_id = operation.client_id
    entry.grant_type = operation.grant_type
