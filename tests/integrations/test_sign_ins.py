"""A sign-in and its connection are one thing: whoever asks for the outcome is told of what was connected."""

from __future__ import annotations

import pytest
from tests.integrations.landbridge import Place
from tests.integrations.microsoft import Microsoft
from yarl import URL

from landbridge.errors import StoreFailed
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
