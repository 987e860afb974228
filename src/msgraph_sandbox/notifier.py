"""Change notifications: a subscription is told that its drive changed, with retries, states and mishaps as documented.

https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import uuid
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.http import Json
from msgraph_sandbox.switches import Switches

VALIDATION_SECONDS = 10
RETRY_HOURS = 4
# Shares of slow answers in ten minutes beyond which an endpoint is "slow" (its notifications wait) or in "drop" (they
# are lost), and how many answers it takes to judge.
_SLOW_SHARE, _DROP_SHARE, _JUDGED = 0.10, 0.15, 10
_WINDOW = 600


@dataclass(slots=True)
class Subscription:
    """Somebody's wish to be told of changes."""

    resource: str
    drive_id: str
    url: str
    lifecycle_url: str | None
    state: str | None
    expires: datetime
    tls: str
    tenant_id: str
    creator_id: str
    application_id: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def notification(self) -> dict[str, Json]:
        """Return what is sent: that something changed in the drive, never what."""
        return self._common() | {"changeType": "updated", "resource": self.resource, "resourceData": self._data()}

    def lifecycle(self, event: str) -> dict[str, Json]:
        """Return a lifecycle event."""
        return self._common() | {"lifecycleEvent": event}

    def _common(self) -> dict[str, Json]:
        expires = self.expires.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
        state = {"clientState": self.state} if self.state is not None else {}
        subscription = {"subscriptionId": self.id, "subscriptionExpirationDateTime": expires}
        return {**subscription, **state, "tenantId": self.tenant_id}

    def _data(self) -> Json:
        return {"@odata.type": "#Microsoft.Graph.DriveItem"}


@dataclass(slots=True)
class Endpoint:
    """How quickly a receiver has answered lately."""

    answers: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=1000))

    def note(self, now: float, *, slow: bool) -> None:
        """Remember an answer."""
        self.answers.append((now, slow))

    def state(self, now: float) -> str:
        """Return `normal`, `slow` or `drop`."""
        lately = [slow for at, slow in self.answers if at > now - _WINDOW]
        share = sum(lately) / len(lately) if len(lately) >= _JUDGED else 0.0
        return "drop" if share > _DROP_SHARE else "slow" if share > _SLOW_SHARE else "normal"


@dataclass(slots=True)
class Delivery:
    """One attempt to deliver, for tests to look at."""

    subscription_id: str
    status: int | None
    outcome: str


class Notifier:
    """All subscriptions, and the deliveries on their way."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: set[str] = set()
        self._held: list[Subscription] = []
        self._endpoints: dict[str, Endpoint] = {}
        self._client: aiohttp.ClientSession | None = None
        self._dice = random.Random(0)  # noqa: S311 - the same on every run
        self.subscriptions: dict[str, Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=10_000)

    # Subscriptions

    def now(self) -> datetime:
        """Return the sandbox's present."""
        return self._clock.now()

    def alive(self) -> list[Subscription]:
        """Return those that have not expired, and forget the others."""
        now = self._clock.now()
        for gone in [one.id for one in self.subscriptions.values() if one.expires <= now]:
            del self.subscriptions[gone]
        return list(self.subscriptions.values())

    async def validate(self, url: str) -> None:
        """Ask a receiver to echo a token within ten seconds, or refuse with 400 `ValidationError`."""
        token = (
            f"Validation: Testing client application reachability for subscription Request-Id: {secrets.token_hex(16)}"
        )
        timeout = aiohttp.ClientTimeout(total=min(VALIDATION_SECONDS, self._switches.slow_answer_seconds))
        try:
            target = URL(url).update_query(validationToken=token)
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            async with self._http().post(target, headers=headers, timeout=timeout, allow_redirects=False) as answer:
                body = await answer.content.read(len(token) * 4)
                _check_echo(answer.status, answer.content_type, body, token)
        except TimeoutError:
            raise _invalid("Subscription validation request timed out.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _invalid("Subscription validation request failed. The endpoint could not be reached.") from None

    # Changes

    def changed(self, drive_id: str) -> None:
        """Tell every subscription of a drive that it changed; what changes together is told once."""
        if drive_id in self._pending or not any(one.drive_id == drive_id for one in self.subscriptions.values()):
            return
        self._pending.add(drive_id)
        self._start(self._tell(drive_id))

    async def _tell(self, drive_id: str) -> None:
        await asyncio.sleep(self._switches.notification_delay_seconds)
        self._pending.discard(drive_id)
        for subscription in self.alive():
            if subscription.drive_id == drive_id:
                self._emit(subscription)

    def _emit(self, subscription: Subscription) -> None:
        """Send a notification, or what the switches make of one: none, several, or a later one first."""
        if self._dice.random() < self._switches.notification_loss:
            self.deliveries.append(Delivery(subscription.id, None, "lost"))
            return
        self._held.append(subscription)
        if self._switches.notification_shuffle and len(self._held) < 2:
            return
        for held in reversed(self._held):
            for _ in range(self._switches.notification_copies):
                self.send(held.id, held.url, held.notification())
        self._held.clear()

    def send(self, subscription_id: str, url: str, value: dict[str, Json]) -> None:
        """Deliver a notification or event, and try again as long as the receiver does not accept it."""
        self._start(self._deliver(subscription_id, url, value))

    async def _deliver(self, subscription_id: str, url: str, value: dict[str, Json]) -> None:
        loop = asyncio.get_running_loop()
        endpoint = self._endpoints.setdefault(urlsplit(url).netloc, Endpoint())
        state = endpoint.state(loop.time())
        if state == "drop":
            self.deliveries.append(Delivery(subscription_id, None, "dropped"))
            return
        if state == "slow":
            await asyncio.sleep(self._switches.slow_answer_seconds)
        wait, until = self._switches.notification_retry_seconds, loop.time() + RETRY_HOURS * 3600
        while not await self._attempt(subscription_id, url, value, endpoint) and loop.time() + wait < until:
            await asyncio.sleep(wait)
            wait *= 2

    async def _attempt(self, subscription_id: str, url: str, value: dict[str, Json], endpoint: Endpoint) -> bool:
        loop = asyncio.get_running_loop()
        started, status = loop.time(), None
        timeout = aiohttp.ClientTimeout(total=self._switches.slow_answer_seconds)
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._http().post(
                url, json={"value": [value]}, timeout=timeout, allow_redirects=False
            ) as answer:
                status = answer.status
        endpoint.note(loop.time(), slow=loop.time() - started >= self._switches.slow_answer_seconds)
        accepted = status is not None and 200 <= status < 300
        self.deliveries.append(Delivery(subscription_id, status, "accepted" if accepted else "refused"))
        return accepted

    # Inside

    def _http(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._client

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop delivering."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()


def _check_echo(status: int, content_type: str, body: bytes, token: str) -> None:
    if status != 200:
        raise _invalid(
            "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation "
            f"request. HTTP status code is '{status}'."
        )
    if body.decode(errors="replace") != token or content_type != "text/plain":
        raise _invalid("Subscription validation request failed. The response must be the token, as plain text.")


def _invalid(message: str) -> GraphRefused:
    return GraphRefused(400, "ValidationError", message)
