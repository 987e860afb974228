"""Subscriptions: the handshake, notifications, retries, mishaps and lifecycle."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.sandbox.caller import Caller
from tests.sandbox.receiver import Receiver


def _in(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


async def _subscribe(caller: Caller, url: str, status: int = 201, **changed: Any) -> Any:
    body = {
        "changeType": "updated",
        "notificationUrl": url,
        "resource": "/me/drive/root",
        "expirationDateTime": _in(days=20),
        "clientState": "secret",
    }
    headers = {"Prefer": prefer} if (prefer := changed.pop("prefer", "")) else {}
    return await caller.graph("POST", "/subscriptions", status, json=body | changed, headers=headers)


async def test_a_change_is_told_once_and_without_detail(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    for number in range(5):
        await caller.graph("PUT", f"/me/drive/root:/{number}.txt:/content", 201, data=b"x")
    told = await receiver.next()
    assert (told["subscriptionId"], told["clientState"]) == (made["id"], "secret")
    assert (told["changeType"], told["resource"]) == ("updated", "/me/drive/root")
    shown = await caller.graph("GET", f"/subscriptions/{made['id']}")
    assert shown["clientState"] is None
    assert [one["id"] for one in (await caller.graph("GET", "/subscriptions"))["value"]] == [made["id"]]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"changeType": "created"}, 400, "invalidRequest"),
        ({"includeResourceData": True}, 400, "invalidRequest"),
        ({"resource": "/me/drive/root:/Documents"}, 400, "invalidRequest"),
        ({"resource": "/me/messages"}, 400, "invalidRequest"),
        ({"resource": 7}, 400, "invalidRequest"),
        ({"notificationUrl": "http://app.example/hook"}, 400, "invalidRequest"),
        ({"notificationUrl": "http://127.0.0.1:1/hook"}, 400, "ValidationError"),
        ({"notificationUrl": "https://[::1"}, 400, "invalidRequest"),
        ({"clientState": "s" * 129}, 400, "invalidRequest"),
        ({"expirationDateTime": "yesterday"}, 400, "invalidRequest"),
        ({"expirationDateTime": "2001-01-01T00:00:00Z"}, 400, "invalidRequest"),
        ({"expirationDateTime": _in(days=31)}, 400, "ExtensionError"),
    ],
)
async def test_a_wrong_subscription_is_refused(
    caller: Caller, receiver: Receiver, changed: dict[str, Any], status: int, code: str
) -> None:
    assert (await _subscribe(caller, receiver.url, status, **changed))["error"]["code"] == code


async def test_a_receiver_must_echo_the_token_as_plain_text(caller: Caller, receiver: Receiver) -> None:
    receiver.kind = "text/html"
    assert (await _subscribe(caller, receiver.url, 400))["error"]["code"] == "ValidationError"
    receiver.kind, receiver.echo = "text/plain", False
    await _subscribe(caller, receiver.url, 400)


async def test_a_second_subscription_names_the_first(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    answer = await _subscribe(caller, receiver.url, 409)
    assert answer["error"]["code"] == "ObjectIdentifierInUse"
    assert made["id"] in answer["error"]["message"]
    renewed = await caller.graph("PATCH", f"/subscriptions/{made['id']}", json={"expirationDateTime": _in(days=25)})
    assert renewed["expirationDateTime"] > made["expirationDateTime"]
    await caller.graph("POST", f"/subscriptions/{made['id']}/reauthorize", 204)
    grace = await caller.as_user("grace@contoso.example")
    await grace.graph("DELETE", f"/subscriptions/{made['id']}", 404)
    await caller.graph("DELETE", f"/subscriptions/{made['id']}", 204)
    again = await caller.graph("PATCH", f"/subscriptions/{made['id']}", 404, json={})
    assert again["error"]["code"] == "ResourceNotFound"


async def test_a_subscription_that_is_deleted_while_its_new_address_is_tried_stays_gone(
    caller: Caller, receiver: Receiver
) -> None:
    made = await _subscribe(caller, receiver.url)
    path = f"/subscriptions/{made['id']}"
    receiver.meanwhile = lambda: caller.graph("DELETE", path, 204)
    await caller.graph("PATCH", path, 404, json={"notificationUrl": receiver.url})


async def test_a_short_life_is_raised_and_an_expired_subscription_is_gone(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url, expirationDateTime=_in(minutes=5))
    assert made["expirationDateTime"] > _in(minutes=40)
    await caller.control("POST", "/clock", json={"seconds": 3000})
    await caller.graph("GET", f"/subscriptions/{made['id']}", 404)


async def test_a_refused_notification_comes_again(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"notification_retry_seconds": 0.05})
    receiver.statuses = [500, 404]
    await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    await receiver.next()
    seen = (await caller.control("GET", "/subscriptions"))["deliveries"]
    assert [one["status"] for one in seen] == [500, 404, 202]


async def _deliveries(caller: Caller, count: int) -> list[str]:
    """What became of deliveries, once there are so many."""
    while True:
        seen = (await caller.control("GET", "/subscriptions"))["deliveries"]
        if len(seen) >= count:
            return [one["outcome"] for one in seen]


async def _notify(caller: Caller, subscription: str, count: int = 1) -> None:
    await caller.control("POST", f"/subscriptions/{subscription}/notify", json={"count": count})


async def test_slow_receivers_lose_notifications(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    await caller.control("PATCH", "/switches", json={"slow_answer_seconds": 0.05, "notification_retry_seconds": 3600})
    receiver.delay = 0.2
    await _notify(caller, made["id"], 10)
    await _deliveries(caller, 10)
    await _notify(caller, made["id"])
    assert (await _deliveries(caller, 11))[-1] == "dropped"


async def test_what_is_for_a_slow_receiver_waits(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    await _notify(caller, made["id"], 17)
    await _deliveries(caller, 17)
    await caller.control("PATCH", "/switches", json={"slow_answer_seconds": 0.2})
    receiver.delay = 0.4
    await _notify(caller, made["id"], 2)
    assert (await _deliveries(caller, 19))[-2:] == ["refused", "refused"]
    await caller.control("PATCH", "/switches", json={"slow_answer_seconds": None})
    receiver.delay = 0
    await _notify(caller, made["id"])
    assert (await _deliveries(caller, 20))[-1] == "held"
    await caller.control("POST", "/clock", json={"seconds": 10})
    assert "accepted" in (await _deliveries(caller, 21))[20:]


async def test_a_hundred_answers_judge_by_the_rules_of_2023(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    switches = {"slow_answer_seconds": 0.05, "notification_retry_seconds": 3600, "notification_profile": "2023"}
    await caller.control("PATCH", "/switches", json=switches)
    receiver.delay = 0.2
    for count, outcome in ((50, "refused"), (50, "refused"), (1, "dropped")):
        before = len((await caller.control("GET", "/subscriptions"))["deliveries"])
        await _notify(caller, made["id"], count)
        assert (await _deliveries(caller, before + count))[-1] == outcome


async def test_a_notification_that_nobody_takes_is_discarded_after_four_hours(
    caller: Caller, receiver: Receiver
) -> None:
    made = await _subscribe(caller, receiver.url)
    receiver.statuses = [500] * 100
    await _notify(caller, made["id"])
    for turn in range(10):
        await _deliveries(caller, turn + 1)
        await caller.control("POST", "/clock", json={"seconds": 10 * 2**turn})
    # The eleventh wait would be over after four hours.
    assert await _deliveries(caller, 12) == ["refused"] * 11 + ["discarded"]


async def test_a_reset_gives_up_what_is_on_its_way(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url)
    receiver.statuses = [500]
    await _notify(caller, made["id"])
    await _deliveries(caller, 1)
    await caller.control("POST", "/reset")
    await caller.control("POST", "/clock", json={"seconds": 60})
    await caller.sign_in()
    await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    await receiver.next()
    assert await _deliveries(caller, 1) == ["accepted"]


async def test_several_notifications_travel_in_one_request(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"notification_bundling": True, "notification_copies": 2})
    made = await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    for _ in range(2):
        assert (await receiver.next())["subscriptionId"] == made["id"]
    assert receiver.requests == 1


async def test_notifications_can_be_doubled_lost_and_forged(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"notification_copies": 3})
    made = await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    for _ in range(3):
        await receiver.next()
    await caller.control("PATCH", "/switches", json={"notification_loss": 1})
    await caller.graph("DELETE", "/me/drive/root:/Pictures", 204)
    await asyncio.sleep(0.2)
    assert receiver.received.empty()
    forged = {"changes": {"clientState": "guessed"}}
    await caller.control("POST", f"/subscriptions/{made['id']}/notify", json=forged)
    assert (await receiver.next())["clientState"] == "guessed"


async def test_notifications_can_come_in_the_wrong_order(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"notification_shuffle": True})
    await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    await asyncio.sleep(0.2)
    assert receiver.received.empty()
    await caller.graph("DELETE", "/me/drive/root:/Pictures", 204)
    await receiver.next()
    await receiver.next()


async def test_lifecycle_events_reach_their_own_url(caller: Caller, receiver: Receiver) -> None:
    made = await _subscribe(caller, receiver.url, lifecycleNotificationUrl=receiver.url + "&life=1")
    for event in ("reauthorizationRequired", "missed", "subscriptionRemoved"):
        await caller.control("POST", f"/subscriptions/{made['id']}/lifecycle", json={"event": event})
        assert (await receiver.next())["lifecycleEvent"] == event
    await caller.graph("GET", f"/subscriptions/{made['id']}", 404)


async def test_changes_of_permissions_are_told_to_those_who_prefer_so(caller: Caller, receiver: Receiver) -> None:
    link, deleted = "/me/drive/root:/Documents:/createLink", "/me/drive/root:/Notes.md"
    made = await _subscribe(caller, receiver.url)
    await caller.graph("POST", link, 201, json={"type": "view"})
    await caller.graph("DELETE", deleted, 204)
    await receiver.next()
    await caller.graph("DELETE", f"/subscriptions/{made['id']}", 204)
    assert receiver.received.empty()
    await _subscribe(caller, receiver.url, prefer="respond-async, includesecuritywebhooks")
    await caller.graph("POST", link, 201, json={"type": "view", "scope": "organization"})
    await receiver.next()


@pytest.mark.parametrize(
    ("switches", "method", "path", "body"),
    [
        ({}, "POST", "/users/{}/revoke", {}),
        ({}, "DELETE", "/users/{}/consents", None),
        ({}, "PATCH", "/users/{}", {"disabled": True}),
        ({"pause_notifications": "token"}, "POST", "/clock", {"seconds": 7200}),
    ],
)
async def test_notifications_wait_while_their_creator_has_no_grant(
    caller: Caller, receiver: Receiver, switches: dict[str, str], method: str, path: str, body: Any
) -> None:
    await caller.control("PATCH", "/switches", json=switches)
    made = await _subscribe(caller, receiver.url, lifecycleNotificationUrl=receiver.url + "&life=1")
    owner = caller.user["email"]
    await caller.control(method, path.format(owner), json=body)
    await caller.control("DELETE", f"/drives/{owner}/items/Notes.md")
    assert (await receiver.next())["lifecycleEvent"] == "reauthorizationRequired"
    assert receiver.received.empty()
    await caller.control("PATCH", f"/users/{owner}", json={"disabled": False})
    await caller.sign_in()
    await caller.graph("POST", f"/subscriptions/{made['id']}/reauthorize", 204)
    assert (await receiver.next())["changeType"] == "updated"


async def test_notifications_can_have_the_older_form(caller: Caller, receiver: Receiver) -> None:
    await caller.control("PATCH", "/switches", json={"notification_form": "onedrive"})
    made = await _subscribe(caller, receiver.url)
    await caller.graph("DELETE", "/me/drive/root:/Notes.md", 204)
    told = await receiver.next()
    assert told.keys() == {"subscriptionId", "expirationDateTime", "resource", "clientState"}
    assert told["subscriptionId"] == made["id"]
