"""Sites and their libraries, and the search over every drive."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sandbox.caller import Caller


async def test_a_site_is_found_and_its_library_used(caller: Caller) -> None:
    found = (await caller.graph("GET", "/sites?search=engin"))["value"]
    assert [site["displayName"] for site in found] == ["Engineering"]
    site = found[0]["id"]
    for key in (site, "contoso.sharepoint.example:/sites/engineering", "root:/sites/engineering"):
        assert (await caller.graph("GET", f"/sites/{key}"))["id"] == site
    drive = (await caller.graph("GET", f"/sites/{site}/drives"))["value"][0]
    assert drive["driveType"] == "documentLibrary"
    assert (await caller.graph("GET", f"/sites/{site}/drive"))["id"] == drive["id"]
    grace = await caller.as_user("grace@contoso.example")
    await grace.graph("PUT", f"/sites/{site}/drive/root:/new.txt:/content", 201, data=b"x")
    assert (await caller.graph("GET", f"/sites/{site}/drives/{drive['id']}/root:/new.txt"))["size"] == 1
    assert (await caller.graph("GET", f"/drives/{drive['id']}/root:/Plans/Roadmap.md"))["name"] == "Roadmap.md"


async def test_all_sites_are_listed_and_the_root_is_one(caller: Caller) -> None:
    assert len((await caller.graph("GET", "/sites?search=*"))["value"]) == 2
    assert (await caller.graph("GET", "/sites/root"))["root"] == {}
    assert len((await caller.graph("GET", "/sites/root/drives"))["value"]) == 1
    await caller.graph("GET", "/sites/nowhere", 404)
    await caller.graph("GET", "/sites/nowhere/drive/root", 404)


async def test_strangers_and_narrow_tokens_do_not_get_in(caller: Caller, personal: Caller) -> None:
    drive = (await caller.graph("GET", "/sites/root/drive"))["id"]
    linus = await caller.as_user("linus@fabrikam.example")
    assert (await linus.graph("GET", "/sites?search=*"))["value"] == []
    await linus.graph("GET", f"/drives/{drive}/root", 403)
    await personal.graph("GET", "/sites?search=*", 400)
    await caller.sign_in("Files.ReadWrite")
    await caller.graph("GET", f"/drives/{drive}/root", 403)


def _search(text: str, **more: Any) -> dict[str, Any]:
    return {"requests": [{"entityTypes": ["driveItem"], "query": {"queryString": text}} | more]}


async def _hits(caller: Caller, text: str, **more: Any) -> Any:
    found = await caller.graph("POST", "/search/query", json=_search(text, **more))
    return found["value"][0]["hitsContainers"][0]


async def test_a_search_query_reaches_every_drive_that_the_user_may_read(caller: Caller) -> None:
    found = await _hits(caller, "roadmap")
    assert [(hit["rank"], hit["resource"]["name"]) for hit in found["hits"]] == [(1, "Roadmap.md")]
    mine = await _hits(caller, "welcome")
    assert mine["total"] == 1
    grace = await caller.as_user("grace@contoso.example")
    body = {"recipients": [{"email": "grace@contoso.example"}], "roles": ["read"]}
    await caller.graph("POST", "/me/drive/root:/Documents:/invite", json=body)
    assert (await _hits(grace, "welcome"))["total"] == 2
    page = await _hits(grace, "*", size=1)
    assert (len(page["hits"]), page["moreResultsAvailable"]) == (1, True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"requests": [1]},
        {"requests": [{}]},
        _search(""),
        _search("x", size=0),
        _search("x", **{"from": -1}),
        _search("x", size="1"),
    ],
)
async def test_a_malformed_search_is_refused(caller: Caller, body: Any) -> None:
    await caller.graph("POST", "/search/query", 400, json=body)


async def test_personal_accounts_have_no_search_query(personal: Caller) -> None:
    await personal.graph("POST", "/search/query", 403, json=_search("x"))
