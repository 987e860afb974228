"""A user's calls reach OneDrive and come back as they are: methods, bodies, ranges, pauses, and who is meant."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from tests.integrations.landbridge import Place, Process, serve
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import Person

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MIB = 1 << 20
RAW = {"X-Paragon-Use-Raw-Response": "1"}
ADA, GRACE, LINUS = "ada@contoso.example", "grace@contoso.example", "linus@fabrikam.example"
MARY = "mary@outlook.example"


async def test_every_method_does_its_work(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    made = await person.call("/me/drive/root/children", "POST", json={"name": "Reports", "folder": {}})
    item = f"/me/drive/items/{made.json['output']['id']}"
    renamed = await person.call(item, "PATCH", json={"name": "Archive"})
    seen = await person.call(item)
    gone = await person.call(item, "DELETE")

    assert (made.status, renamed.status, seen.status, gone.status) == (201, 200, 200, 204)
    assert seen.json["output"]["name"] == "Archive"
    assert gone.body == b""
    assert (await person.call(item)).status == 404


async def test_each_request_on_one_connection_is_its_own_senders(landbridge: Place) -> None:
    ada, _ = await landbridge.connected(email=ADA)
    grace, _ = await landbridge.connected(ada.project, email=GRACE)
    stranger = replace(ada, token="")
    told: list[tuple[int, object]] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as one_connection:
        for who in (ada, grace, ada, ada, stranger, grace):
            answer = await replace(who, http=one_connection).call("/me?$select=mail", headers=RAW)
            told.append((answer.status, answer.json.get("mail")))
        wrapped = await replace(ada, http=one_connection).call("/me?$select=mail")

    assert told == [(200, ADA), (200, GRACE), (200, ADA), (200, ADA), (401, None), (200, GRACE)]
    assert wrapped.json["output"]["mail"] == ADA


async def test_json_comes_in_an_envelope_unless_the_raw_answer_is_asked_for(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    wrapped = await person.call("/me/drive/root/children")
    raw = await person.call("/me/drive/root/children", headers=RAW)

    assert wrapped.json == {"output": raw.json}
    assert {child["name"] for child in raw.json["value"]} >= {"Documents", "Notes.md"}


async def test_a_providers_error_keeps_its_status_and_words_in_the_documented_shape(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    missing = await person.call("/me/drive/items/nothing-of-this-name")
    taken = await person.call(
        "/me/drive/root/children",
        "POST",
        json={"name": "Documents", "folder": {}, "@microsoft.graph.conflictBehavior": "fail"},
    )

    assert (missing.status, missing.code) == (404, "itemNotFound")
    assert missing.json["output"]["error"]["innerError"]["request-id"]
    assert (taken.status, taken.code) == (409, "nameAlreadyExists")


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 3 * MIB])
async def test_bytes_arrive_as_they_were_sent(landbridge: Place, size: int) -> None:
    person, _ = await landbridge.connected()
    data = os.urandom(size)

    written = await person.upload("any%20file.bin", data)
    read = await person.download("any%20file.bin")

    assert written.status == 201, written.body
    assert read.status == 200
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert read.body == data


async def test_a_body_without_announced_length_is_streamed(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%099d\n" % number

    written = await person.upload("pieces.txt", pieces())
    read = await person.download("pieces.txt")

    assert written.status == 201, written.body
    assert read.body == b"".join([piece async for piece in pieces()])


async def test_a_download_follows_to_the_other_origin_with_the_range_and_without_the_bearer(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, _ = await landbridge.connected()
    await person.upload("numbers.txt", b"0123456789")

    part = await person.download("numbers.txt", headers={"Range": "bytes=2-4"})
    beyond = await person.download("numbers.txt", headers={"Range": "bytes=20-"})

    assert (part.status, part.body) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert beyond.status == 416
    fetched = await microsoft.calls(service="download")
    assert len(fetched) == 2
    assert not any(entry["authorized"] for entry in fetched), "the bearer left Graph"


async def test_fifty_requests_at_once_do_not_mix(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    async def round_trip(number: int) -> bool:
        data = b"%d" % number * 5000
        await person.upload(f"file-{number}.bin", data)
        return (await person.download(f"file-{number}.bin")).body == data

    assert all(await asyncio.gather(*(round_trip(number) for number in range(50))))


# Who is meant


async def test_a_connection_is_chosen_by_its_id_or_external_id(landbridge: Place) -> None:
    work, first = await landbridge.connected(email=ADA)
    second = await Person(**{**vars(work), "email": GRACE}).connect(externalId="home", allowMultipleCredentials=True)

    async def who(**headers: str) -> str:
        answer = await work.call("/me", headers={name.replace("_", "-"): value for name, value in headers.items()})
        return str(answer.json["output"]["userPrincipalName"]) if answer.status == 200 else answer.code

    assert await who(X_Paragon_Credential=first) == ADA
    assert await who(X_Paragon_Credential=second) == GRACE
    assert await who(X_Paragon_Credential="home") == GRACE
    assert await who(X_Paragon_Credential="ext:home") == GRACE
    assert await who() == ADA, "without a choice it is the oldest"
    assert await who(X_Paragon_Credential="nobody") == "not_found"


async def test_another_users_connection_cannot_be_chosen(landbridge: Place) -> None:
    ada, mine = await landbridge.connected()
    stranger = await landbridge.person(ada.project)

    refused = await stranger.call("/me", headers={"X-Paragon-Credential": mine})

    assert (refused.status, refused.code) == (404, "not_found")


# When Graph refuses the token


async def test_a_401_refreshes_once_and_repeats_what_is_small(landbridge: Place, microsoft: Microsoft) -> None:
    person, _ = await landbridge.connected()
    await microsoft.expire_tokens(ADA)
    landbridge.clock.jump(timedelta(minutes=5))

    answers = await asyncio.gather(*(person.upload(f"{n}.txt", b"small") for n in range(10)))

    assert [answer.status for answer in answers] == [201] * 10
    assert await microsoft.refreshes() == 1


async def test_a_401_under_a_large_body_says_that_the_same_request_will_now_work(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, _ = await landbridge.connected()
    await microsoft.expire_tokens(ADA)
    landbridge.clock.jump(timedelta(minutes=5))
    data = os.urandom(MIB)

    refused = await person.upload("large.bin", data)

    assert (refused.status, refused.code) == (503, "token_renewed")
    assert refused.json["meta"]["retryable"]
    assert (await person.upload("large.bin", data)).status == 201
    assert await microsoft.refreshes() == 1


async def test_a_401_that_stays_is_handed_on_and_refreshes_no_second_time(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, _ = await landbridge.connected()
    landbridge.clock.jump(timedelta(minutes=5))
    await microsoft.plant(service="graph", status=401)

    answers = [await person.call("/me/drive") for _ in range(3)]

    assert {answer.status for answer in answers} == {401}
    assert answers[0].json["meta"]["provider"]
    assert await microsoft.refreshes() == 1
    assert await person.status() == "VALID"


# When Graph asks to wait


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_holds_back_that_connection_and_ends(
    landbridge: Place, microsoft: Microsoft, status: int, form: str
) -> None:
    project = await landbridge.project()
    busy, _ = await landbridge.connected(project, email=ADA)
    calm, _ = await landbridge.connected(project, email=GRACE)
    await microsoft.plant(service="graph", user=ADA, status=status, retry_after=30, retry_after_form=form, count=1)

    throttled = await busy.call("/me/drive")
    await microsoft.forget()
    held = [await busy.call("/me/drive") for _ in range(3)]

    assert throttled.status == status
    assert throttled.headers["Retry-After"]
    assert {(answer.status, answer.code) for answer in held} == {(429, "provider_busy")}
    assert 0 < int(held[0].headers["Retry-After"]) <= 30
    assert not await microsoft.calls(service="graph"), "throttled requests count too"
    assert (await calm.call("/me/drive")).status == 200

    landbridge.clock.jump(timedelta(seconds=31))
    assert (await busy.call("/me/drive")).status == 200


async def test_a_second_throttled_user_pauses_their_tenant_and_no_other(
    landbridge: Place, microsoft: Microsoft
) -> None:
    project = await landbridge.project()
    first, _ = await landbridge.connected(project, email=ADA)
    second, _ = await landbridge.connected(project, email=GRACE)
    third, _ = await landbridge.connected(project, email=ADA)
    abroad, _ = await landbridge.connected(project, email=LINUS)
    await microsoft.plant(service="graph", status=429, retry_after=30, count=2)

    assert (await first.call("/me/drive")).status == 429
    assert (await third.call("/me/drive", headers={"Prefer": "x"})).status == 429
    await microsoft.forget()

    assert (await second.call("/me/drive")).code == "provider_busy"
    assert not await microsoft.calls(service="graph")
    assert (await abroad.call("/me/drive")).status == 200
    landbridge.clock.jump(timedelta(seconds=31))
    assert {(await person.call("/me/drive")).status for person in (first, second, third)} == {200}


async def test_personal_accounts_are_throttled_each_for_itself(landbridge: Place, microsoft: Microsoft) -> None:
    project = await landbridge.project()
    accounts = [await landbridge.connected(project, email=MARY) for _ in range(3)]
    await microsoft.plant(service="graph", status=429, retry_after=30, count=2)

    statuses = [(await person.call("/me/drive")).status for person, _ in accounts]

    assert statuses == [429, 429, 200]


async def test_throttling_without_a_time_pauses_nobody(landbridge: Place, microsoft: Microsoft) -> None:
    person, _ = await landbridge.connected()
    await microsoft.plant(service="graph", status=429, count=1)

    assert (await person.call("/me/drive")).status == 429
    assert (await person.call("/me/drive")).status == 200


# Size


async def test_sixty_four_mebibytes_go_either_way_in_constant_memory(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    process = serve(landbridge.settings).ready()
    try:
        caller = person.at(process.url)
        await caller.upload("warm.bin", os.urandom(2 * MIB))
        await caller.download("warm.bin")
        before = process.resident()

        written = await watched(process, caller.upload("big.bin", zeros(64), headers={"Content-Length": str(64 * MIB)}))
        read = await watched(process, drained(caller, "big.bin"))

        assert max(written, read) - before < 16 * MIB
    finally:
        process.close()


async def zeros(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes * 4):
        yield bytes(MIB // 4)


async def drained(person: Person, name: str) -> None:
    path = f"{person.url}/projects/{person.project}/sdk/proxy/onedrive/me/drive/root:/{name}:/content"
    async with person.http.get(path, headers={"Authorization": f"Bearer {person.token}"}) as answer:
        assert answer.status == 200
        assert sum([len(chunk) async for chunk in answer.content.iter_any()]) == 64 * MIB


async def watched(process: Process, transfer: object) -> int:
    """Return the most memory that the process held during a transfer."""
    task = asyncio.ensure_future(transfer)  # type: ignore[call-overload]
    most = 0
    while not task.done():
        most = max(most, process.resident())
        await asyncio.wait([task], timeout=0.02)
    result = task.result()
    assert result is None or result.status == 201, result.body
    return most
