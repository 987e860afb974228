"""A sign-in and its connection are one thing: whoever asks for the outcome is told of what was connected."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest
from tests.integrations.landbridge import Place, place
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import APP, Answer, Person
from yarl import URL

from landbridge.errors import StoreFailed
from landbridge.settings import Settings
from landbridge.store import sign_ins

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_an_install_that_the_product_completes_is_the_outcome_of_its_sign_in(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, key = await landbridge.person(), "key"
    location = URL(await microsoft.consent(await person.authorize_url(key), person.email))

    body = {"integrationId": "onedrive", "code": location.query["code"]}
    completed = await person.sdk("POST", "/credentials", json=body)
    outcome = await person.sdk("GET", f"/actions/session-id/{key}")

    assert completed.status == 201, completed.body
    assert outcome.json == {"connectCredentialId": completed.json["id"]}
    assert b'landbridge_installs_total{outcome="connected"} 1.0' in landbridge.house.metrics.exposition()


async def test_an_install_that_the_product_cannot_complete_ends_its_sign_in(landbridge: Place) -> None:
    person, key = await landbridge.person(), "key"
    await person.authorize_url(key)

    refused = await person.sdk("POST", "/credentials", json={"integrationId": "onedrive", "code": "nonsense"})

    assert refused.status == 400, refused.body
    told = await outcome(person, key)
    assert (told.status, told.code) == (400, refused.code)


@pytest.mark.parametrize(("old", "minutes"), [("state", (0, 11)), ("cookie", (6, 5))])
async def test_a_sign_in_that_takes_longer_than_ten_minutes_connects_nobody(
    landbridge: Place, microsoft: Microsoft, old: str, minutes: tuple[int, int]
) -> None:
    person, key = await landbridge.person(), "key"
    before, after = (timedelta(minutes=some) for some in minutes)
    await person.visit_nonce_page()
    landbridge.clock.jump(before)
    url = await person.authorize_url(key)
    landbridge.clock.jump(after)

    location = await microsoft.consent(url, person.email)
    async with person.http.get(URL(location, encoded=True)) as page:
        shown = await page.text()

    assert {"state": "This sign-in is over or unknown", "cookie": "another browser"}[old] in shown
    assert await person.status() == ""
    assert (await outcome(person, key)).code == "install_failed"


async def outcome(person: Person, key: str) -> Answer:
    """Return what the SDK learns of a sign-in that is over."""
    over = await person.sdk("GET", f"/actions/session-id/{key}")
    return await person.sdk("GET", f"/credentials/{over.json['connectCredentialId']}")


async def test_microsoft_is_asked_for_an_account_and_for_what_lasts_whatever_the_operator_chose(
    landbridge: Place,
) -> None:
    person = await landbridge.person(await landbridge.project(scopes=["Files.Read"]))

    asked = [URL(await person.authorize_url(key)).query for key in ("one", "two")]

    for query in asked:
        assert query["scope"].split() == ["offline_access", "openid", "profile", "email", "User.Read", "Files.Read"]
        assert (query["prompt"], query["response_type"]) == ("select_account", "code")
        assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
    for once in ("state", "nonce", "code_challenge"):
        assert asked[0][once] != asked[1][once]


async def test_a_sign_in_whose_outcome_cannot_be_written_connects_nothing(
    landbridge: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, finish = await landbridge.person(), sign_ins.finish

    async def failing(tx: object, row: object, **outcome: object) -> None:
        if "connection_id" in outcome:
            raise StoreFailed("The disk is full.")
        await finish(tx, row, **outcome)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(sign_ins, "finish", failing)

    key = await person.sign_in()
    outcome = await person.sdk("GET", f"/actions/session-id/{key}")
    told = await person.sdk("GET", f"/credentials/{outcome.json['connectCredentialId']}")

    assert (told.status, told.json["message"]) == (400, "The disk is full.")
    assert await person.status() == ""


@pytest.mark.parametrize(("name", "status"), [("__Host-{}", "VALID"), ("{}", "")], ids=["ours", "planted"])
async def test_over_https_no_neighbouring_host_can_plant_the_cookie(
    settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft, name: str, status: str
) -> None:
    """Whoever holds a host beside ours may set cookies for both, but browsers let only us set one named `__Host-`."""
    secure = settings.model_copy(update={"zeus_public_url": "https://127.0.0.1"})
    async with place(secure, http, microsoft) as ours:
        user = await ours.person()
        query = {"action": "onedrive", "originForPostMessage": APP, "userToken": user.token}
        page = f"{user.url}/projects/{user.project}/sdk/actions/oauth-nonce"
        async with http.get(page, params=query, headers={"Referer": f"{APP}/"}) as answer:
            (cookie,) = answer.cookies.values()
        location = URL(await microsoft.consent(await user.authorize_url("key"), user.email)).raw_query_string

        sent = {"Cookie": f"{name.format(cookie.key.removeprefix('__Host-'))}={cookie.value}"}
        async with http.get(URL(f"{user.url}/oauth?{location}", encoded=True), headers=sent) as answer:
            assert ("another browser" in await answer.text()) is (status == "")

        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
        assert await user.status() == status
