"""Change notifications: a subscription is told that its drive changed, with retries, states and mishaps as documented.

https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.http import Json
from msgraph_sandbox.posting import Answer, post
from msgraph_sandbox.switches import Switches

VALIDATION_SECONDS = 10
RETRY_HOURS = 4
# Shares of slow answers in ten minutes beyond which an endpoint is "slow" (its notifications wait) or in "drop" (they
# are lost).
_SLOW_SHARE, _DROP_SHARE = 0.10, 0.15
_WINDOW = 600
# What is sent: the subscription's id, and a notification or event.
Message = tuple[str, dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules for receivers, in seconds: how long one may take, from when on it is slow, how long the slow wait.

    `judged` is how many answers it takes to judge.
    """

    cut_off: float
    slow: float
    hold: float
    judged: int


PROFILES = {"current": Profile(10, 10, 10, 10), "2023": Profile(3, 2.9, 600, 100)}


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
    # When its creator last vouched for it with a token, and until when that token was good.
    authorized: datetime
    token_expires: datetime
    # Whether changes of permissions count too (`Prefer: includesecuritywebhooks`).
    security: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def notification(self, form: str = "graph") -> dict[str, Json]:
        """Return what is sent: that something changed in the drive, never what. `form` may be the older `onedrive`."""
        common = self._common()
        if form == "onedrive":
            expires = common["subscriptionExpirationDateTime"]
            kept: dict[str, Json] = {n: common[n] for n in ("subscriptionId", "clientState") if n in common}
            return {**kept, "expirationDateTime": expires, "resource": self.resource}
        return common | {"changeType": "updated", "resource": self.resource, "resourceData": self._data()}

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

    def state(self, now: float, judged: int) -> str:
        """Return `normal`, `slow` or `drop`."""
        lately = [slow for at, slow in self.answers if at > now - _WINDOW]
        share = sum(lately) / len(lately) if len(lately) >= judged else 0.0
        return "drop" if share > _DROP_SHARE else "slow" if share > _SLOW_SHARE else "normal"


@dataclass(slots=True)
class Delivery:
    """One attempt to deliver, for tests to look at."""

    subscription_id: str
    status: int | None
    outcome: str


class Notifier:
    """All subscriptions, and the deliveries on their way."""

    def __init__(self, clock: Clock, switches: Switches, permitted: Callable[[Subscription], bool]) -> None:
        self._clock = clock
        self._switches = switches
        # Whether a subscription's creator may still read what it is about.
        self._permitted = permitted
        self._paused: dict[str, list[tuple[datetime, dict[str, Json]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: set[tuple[str, bool]] = set()
        self._held: list[Subscription] = []
        self._endpoints: dict[str, Endpoint] = {}
        self._outgoing: dict[str, list[Message]] = {}
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
        seconds = min(VALIDATION_SECONDS, self._switches.slow_answer_seconds or VALIDATION_SECONDS)
        target = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token, safe='')}"
        try:
            answer = await post(target, b"", "text/plain; charset=utf-8", seconds=seconds)
        except TimeoutError:
            raise _invalid("Subscription validation request timed out.") from None
        except (OSError, ValueError):
            raise _invalid("Subscription validation request failed. The endpoint could not be reached.") from None
        _check_echo(answer, token)

    # Changes

    def changed(self, drive_id: str, *, security: bool = False) -> None:
        """Tell every subscription of a drive that it changed; what changes together is told once.

        A change of permissions (`security`) concerns only those who asked for such.
        """
        key = drive_id, security
        if key in self._pending or not self._concerned(*key):
            return
        self._pending.add(key)
        self._start(self._tell(*key))

    def _concerned(self, drive_id: str, security: bool) -> list[Subscription]:
        return [
            one for one in self.subscriptions.values() if one.drive_id == drive_id and (one.security or not security)
        ]

    async def _tell(self, drive_id: str, security: bool) -> None:
        await self._clock.wait(self._switches.notification_delay_seconds)
        self._pending.discard((drive_id, security))
        self.alive()
        for subscription in self._concerned(drive_id, security):
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
                self._deliver_or_hold(held)
        self._held.clear()

    def _deliver_or_hold(self, subscription: Subscription) -> None:
        value = subscription.notification(self._switches.notification_form)
        if self._permitted(subscription):
            self.send(subscription.id, subscription.url, value)
            return
        self.deliveries.append(Delivery(subscription.id, None, "paused"))
        held = self._paused.setdefault(subscription.id, [])
        if not held and subscription.lifecycle_url:
            self.send(subscription.id, subscription.lifecycle_url, subscription.lifecycle("reauthorizationRequired"))
        held.append((self._clock.now(), value))

    def resume(self, subscription: Subscription, token_expires: datetime) -> None:
        """Take the creator's new token, and deliver what was held for want of one in the last four hours."""
        subscription.authorized, subscription.token_expires = self._clock.now(), token_expires
        oldest = self._clock.now() - timedelta(hours=RETRY_HOURS)
        for at, value in self._paused.pop(subscription.id, []):
            if at > oldest:
                self.send(subscription.id, subscription.url, value)

    def send(self, subscription_id: str, url: str, value: dict[str, Json]) -> None:
        """Deliver a notification or event, and try again as long as the receiver does not accept it."""
        if not self._switches.notification_bundling:
            self._start(self._deliver(url, [(subscription_id, value)]))
            return
        waiting = self._outgoing.setdefault(url, [])
        waiting.append((subscription_id, value))
        if len(waiting) == 1:
            self._start(self._deliver_together(url))

    async def _deliver_together(self, url: str) -> None:
        await asyncio.sleep(0)
        await self._deliver(url, self._outgoing.pop(url))

    def _profile(self) -> Profile:
        profile, seconds = PROFILES[self._switches.notification_profile], self._switches.slow_answer_seconds
        return replace(profile, cut_off=seconds, slow=seconds) if seconds else profile

    async def _deliver(self, url: str, messages: list[Message]) -> None:
        endpoint, profile = self._endpoints.setdefault(urlsplit(url).netloc, Endpoint()), self._profile()
        state = endpoint.state(self._clock.timestamp(), profile.judged)
        if state == "drop":
            self._note(messages, None, "dropped")
            return
        if state == "slow":
            self._note(messages, None, "held")
            await self._clock.wait(profile.hold)
        wait, until = self._switches.notification_retry_seconds, self._clock.timestamp() + RETRY_HOURS * 3600
        while not await self._attempt(url, messages, endpoint):
            if self._clock.timestamp() + wait > until:
                self._note(messages, None, "discarded")
                return
            await self._clock.wait(wait)
            wait *= 2

    async def _attempt(self, url: str, messages: list[Message], endpoint: Endpoint) -> bool:
        loop, profile = asyncio.get_running_loop(), self._profile()
        started, status = loop.time(), None
        body = json.dumps({"value": [value for _, value in messages]}).encode()
        with contextlib.suppress(OSError, ValueError):
            status = (await post(url, body, "application/json", seconds=profile.cut_off)).status
        endpoint.note(self._clock.timestamp(), slow=loop.time() - started >= profile.slow)
        accepted = status is not None and 200 <= status < 300
        self._note(messages, status, "accepted" if accepted else "refused")
        return accepted

    def _note(self, messages: list[Message], status: int | None, outcome: str) -> None:
        self.deliveries.extend(Delivery(subscription_id, status, outcome) for subscription_id, _ in messages)

    # Inside

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def clear(self) -> None:
        """Forget every subscription and delivery, those on their way too, and what is known of receivers."""
        for task in self._tasks:
            task.cancel()
        for kept in (self.subscriptions, self._paused, self._held, self._pending, self._outgoing, self._endpoints):
            kept.clear()
        self.deliveries.clear()

    async def close(self) -> None:
        """Stop delivering."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _check_echo(answer: Answer, token: str) -> None:
    if answer.status != 200:
        raise _invalid(
            "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation "
            f"request. HTTP status code is '{answer.status}'."
        )
    if answer.body.decode(errors="replace") != token or answer.media_type != "text/plain":
        raise _invalid("Subscription validation request failed. The response must be the token, as plain text.")


def _invalid(message: str) -> GraphRefused:
    return GraphRefused(400, "ValidationError", message)
