"""Whom links and invitations open what to, and how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.sandbox.caller import Caller

GRACE, LINUS, MARY = "grace@contoso.example", "linus@fabrikam.example", "mary@outlook.example"
DOCUMENTS = "/me/drive/root:/Documents"


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


async def _invite(caller: Caller, path: str = DOCUMENTS, **changed: Any) -> Any:
    body = {"recipients": [{"email": GRACE}], "roles": ["read"]} | changed
    return (await caller.graph("POST", f"{path}:/invite", json=body))["value"][0]


@pytest.mark.parametrize(
    ("scope", "who", "status"),
    [
        ("anonymous", LINUS, 200),
        ("organization", GRACE, 200),
        ("organization", LINUS, 403),
        ("organization", MARY, 403),
        ("users", LINUS, 403),
        ("users", GRACE, 403),
    ],
)
async def test_a_link_is_for_those_in_its_scope(caller: Caller, scope: str, who: str, status: int) -> None:
    link = await caller.graph("POST", f"{DOCUMENTS}:/createLink", 201, json={"type": "view", "scope": scope})
    other = await caller.as_user(who)
    for place in ("", "/driveItem", "/root:/Welcome.txt", "/permission"):
        await other.graph("GET", f"/shares/{link['shareId']}{place}", status)
    await caller.graph("GET", f"/shares/{link['shareId']}/driveItem")
    await _invite(caller)
    if who == GRACE:
        await other.graph("GET", f"/shares/{link['shareId']}/driveItem")


async def test_links_and_invitations_expire(caller: Caller) -> None:
    grace = await caller.as_user(GRACE)
    item = await caller.graph("GET", DOCUMENTS)
    inside = f"/drives/{item['parentReference']['driveId']}/items/{item['id']}"
    asked = {"type": "view", "scope": "organization", "expirationDateTime": _tomorrow()}
    link = await caller.graph("POST", f"{DOCUMENTS}:/createLink", 201, json=asked)
    await _invite(caller, expirationDateTime=_tomorrow())
    for path in (f"/shares/{link['shareId']}/driveItem", inside):
        await grace.graph("GET", path)
    await caller.control("POST", "/clock", json={"seconds": 86400})
    for who in (caller, grace):
        await who.sign_in()
    await grace.graph("GET", f"/shares/{link['shareId']}/driveItem", 404)
    await grace.graph("GET", inside, 403)
    assert (await grace.graph("GET", "/me/drive/sharedWithMe"))["value"] == []
    del asked["expirationDateTime"]
    assert (await caller.graph("POST", f"{DOCUMENTS}:/createLink", 201, json=asked))["id"] != link["id"]


async def test_a_share_shows_little_of_what_it_leads_to(caller: Caller) -> None:
    link = await caller.graph("POST", f"{DOCUMENTS}:/createLink", 201, json={"type": "view"})
    linus = await caller.as_user(LINUS)
    share = await linus.graph("GET", f"/shares/{link['shareId']}")
    assert (share["id"], share["name"], share["owner"]["user"]["displayName"]) == (
        link["shareId"],
        "Documents",
        "Ada Lovelace",
    )
    assert not share.keys() & {"quota", "driveType", "folder"}
    whole = await linus.graph("GET", f"/shares/{link['shareId']}?$expand=driveItem")
    assert whole["driveItem"]["folder"]["childCount"] == 3
    assert (await linus.graph("GET", f"/shares/{link['shareId']}/permission"))["id"] == link["id"]


async def test_people_can_be_invited_by_their_object_ids(caller: Caller) -> None:
    users = (await caller.control("GET", "/state"))["users"]
    oid = next(user["id"] for user in users if user["email"] == GRACE)
    made = await _invite(caller, recipients=[{"objectId": oid}])
    assert made["grantedToV2"]["user"]["email"] == GRACE
    nobody = {"recipients": [{"objectId": "nobody"}]}
    await caller.graph("POST", f"{DOCUMENTS}:/invite", 400, json=nobody)


async def test_what_is_below_inherits_and_says_from_where(caller: Caller) -> None:
    folder, made = await caller.graph("GET", DOCUMENTS), await _invite(caller)
    below = f"{DOCUMENTS}/Reports:/permissions"
    owner, inherited = (await caller.graph("GET", below))["value"]
    assert (owner["roles"], inherited["id"]) == (["owner"], made["id"])
    assert inherited["inheritedFrom"]["id"] == folder["id"]
    assert inherited["inheritedFrom"]["path"].endswith("/root:/Documents")
    assert "inheritedFrom" not in (await caller.graph("GET", f"{DOCUMENTS}:/permissions"))["value"][1]
    assert (await caller.graph("GET", f"{below}/{made['id']}"))["inheritedFrom"] == inherited["inheritedFrom"]
    await caller.graph("DELETE", f"{below}/{made['id']}", 400)
    await caller.graph("PATCH", f"{below}/{made['id']}", 400, json={"roles": ["write"]})


async def test_what_personal_links_can_and_others_cannot(caller: Caller, personal: Caller) -> None:
    for body in ({"type": "embed"}, {"type": "view", "password": "secret"}):
        link = await personal.graph("POST", f"{DOCUMENTS}:/createLink", 201, json=body | {"scope": "anonymous"})
        assert (link["link"]["type"], link["hasPassword"]) == (body["type"], "password" in body)
        await caller.graph("POST", f"{DOCUMENTS}:/createLink", 400, json=body)


async def test_who_was_granted_access_is_spelt_in_two_ways(caller: Caller, personal: Caller) -> None:
    assert (await _invite(caller))["grantedToV2"]["user"]["email"] == GRACE
    made = await _invite(personal)
    assert made["grantedTo"]["user"]["email"] == GRACE
    assert "grantedToV2" not in made
