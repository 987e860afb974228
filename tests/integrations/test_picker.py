"""A token for the file picker goes to the user's own page, if the operator lets it, and to nobody else."""

from __future__ import annotations

import pytest
from tests.integrations.landbridge import Place
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import APP, Answer, Person

ASK = "/credentials?integration=onedrive&includeAccountAuth=true"
GRACE = "grace@contoso.example"


@pytest.fixture
async def project(landbridge: Place) -> str:
    """A project whose operator has switched the file picker on."""
    return await landbridge.project(file_picker=True)


async def ask(person: Person, **headers: str) -> Answer:
    return await person.sdk("GET", ASK, headers=headers)


async def test_a_user_is_given_a_token_for_their_own_drive_and_keeps_what_they_have(
    landbridge: Place, microsoft: Microsoft, project: str
) -> None:
    person, _ = await landbridge.connected(project)
    await microsoft.forget()

    answer = await ask(person, Origin=APP)

    given = answer.json["accountAuth"]
    assert given["DOMAIN"] == "https://contoso-my.sharepoint.example"
    assert answer.headers["Cache-Control"] == "no-store"
    (call,) = await microsoft.calls(operation="token")
    assert call["status"] == 200
    assert (await person.call("/me/drive")).status == 200
    assert await microsoft.refreshes() == 1, "the connection's own token was not touched"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_it_is_for_ones_own_connection_on_ones_own_page_where_it_is_switched_on(
    landbridge: Place, microsoft: Microsoft, project: str
) -> None:
    person, connection = await landbridge.connected(project)
    stranger = await landbridge.person(project)
    elsewhere, _ = await landbridge.connected(email=GRACE)
    await microsoft.forget()

    refused = {
        "nothing connected": await ask(stranger),
        "another's connection": await ask(stranger, **{"X-Paragon-Credential": connection}),
        "where it is off": await ask(elsewhere),
        "a strange page": await ask(person, Origin="https://evil.example"),
        "not asked for": await person.sdk("GET", ASK.replace("true", "undefined")),
    }

    assert {why: answer.status for why, answer in refused.items()} == {
        "nothing connected": 404,
        "another's connection": 404,
        "where it is off": 409,
        "a strange page": 400,
        "not asked for": 200,
    }
    assert not any(b"accountAuth" in answer.body for answer in refused.values())
    assert not await microsoft.calls(operation="token")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_app_without_sharepoints_permissions_is_told_so_and_nobody_is_disconnected(
    landbridge: Place, microsoft: Microsoft, project: str
) -> None:
    person, _ = await landbridge.connected(project)
    await microsoft.plant(operation="token", status=400, code="invalid_grant")

    answer = await ask(person)

    assert (answer.status, answer.code) == (409, "conflict")
    assert "AllSites.Read" in answer.json["message"]
    assert await person.status() == "VALID"
