"""Access tokens stay good: one refresh at a time, whoever asks, whatever the token endpoint does, whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.integrations.conftest import Server
from tests.integrations.landbridge import Place, eventually, run
from tests.integrations.microsoft import Microsoft
from tests.integrations.person import Answer, Person

from landbridge.app import worker_of
from landbridge.connections.tokens import LEASE
from landbridge.outbound import Outbound
from landbridge.settings import Settings
from landbridge.store import connections as store
from landbridge.store.connections import ConnectionRow
from landbridge.store.database import NEWS_EVERY
from landbridge.worker import Worker
from landbridge.workflows.jail import Jail

HOUR = timedelta(hours=1)
TOKEN_LIFE = timedelta(seconds=3599)
ACCOUNTS = ("ada@contoso.example", "mary@outlook.example")
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def connected_with_an_ended_token(landbridge: Place, microsoft: Microsoft, **who: str) -> tuple[Person, str]:
    """Return a user whose connection needs a refresh before it can be used."""
    await microsoft.switch(access_token_seconds=0)
    found = await landbridge.connected(**who)
    await microsoft.switch(access_token_seconds=None)
    await microsoft.forget()
    return found


async def stored(landbridge: Place, person: Person, connection_id: str) -> ConnectionRow:
    async with landbridge.house.database.read() as tx:
        row = await store.connection(tx, person.project, connection_id)
    assert row
    return row


@contextlib.asynccontextmanager
async def nobody_can_write(settings: Settings) -> AsyncIterator[None]:
    """Hold the database so that whoever wants to write waits."""
    url = settings.effective_database_url
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
            holder.execute("ROLLBACK")
        return
    connection: Any = await asyncpg.connect(url)  # Any: asyncpg has no types
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE connections IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


# One refresh


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_hundred_requests_on_an_ended_token_make_one_token_call(
    landbridge: Place, microsoft: Microsoft, server: Server, processes: int
) -> None:
    person, _ = await connected_with_an_ended_token(landbridge, microsoft)
    started = [server(landbridge.settings) for _ in range(processes)] if processes > 1 else []
    urls = [process.ready().url for process in started] or [landbridge.url]
    await microsoft.plant(operation="token", effect="delay", delay=0.3)

    answers = await asyncio.gather(*(person.at(urls[n % len(urls)]).call("/me/drive") for n in range(100)))

    assert [answer.status for answer in answers] == [200] * 100
    assert await microsoft.refreshes() == 1


@ONE_DATABASE
async def test_one_users_refresh_does_not_wait_for_anothers(landbridge: Place, microsoft: Microsoft) -> None:
    slow, _ = await connected_with_an_ended_token(landbridge, microsoft)
    quick, _ = await connected_with_an_ended_token(landbridge, microsoft, email="grace@contoso.example")
    held = await microsoft.plant(operation="token", user=slow.email, effect="delay", delay=8)

    waiting = asyncio.create_task(slow.call("/me/drive"))
    await eventually(lambda: struck(microsoft, held))
    answer = await quick.call("/me/drive")

    assert answer.status == 200
    assert not waiting.done()
    assert (await waiting).status == 200


async def struck(microsoft: Microsoft, fault: str) -> bool:
    return await microsoft.struck(fault) > 0


# A bad day at the token endpoint

BAD_DAYS: dict[str, dict[str, object]] = {
    "unavailable": {"status": 503},
    "busy": {"status": 429, "retry_after": 20},
    "broken": {"effect": "reset"},
    "hanging": {"effect": "delay", "delay": 8},
}


@ONE_DATABASE
@pytest.mark.parametrize("bad_day", BAD_DAYS)
async def test_a_valid_token_keeps_serving_on_a_bad_day_of_the_token_endpoint_without_a_storm(
    landbridge: Place, microsoft: Microsoft, bad_day: str
) -> None:
    await microsoft.switch(access_token_seconds=3600)
    person, _ = await landbridge.connected()
    await microsoft.forget()
    fault = await microsoft.plant(operation="token", **BAD_DAYS[bad_day])
    landbridge.clock.jump(TOKEN_LIFE - timedelta(minutes=4))  # inside the time in which it is renewed ahead

    for _ in range(12):
        answers = await asyncio.gather(*(person.call("/me/drive") for _ in range(10)))
        assert {answer.status for answer in answers} == {200}
        landbridge.clock.jump(timedelta(seconds=5))

    await eventually(lambda: struck(microsoft, fault))
    assert await microsoft.struck(fault) <= 5  # in a minute: rests of 2, 4, 8, 16 and 32 seconds
    assert await person.status() == "VALID"


@ONE_DATABASE
@pytest.mark.parametrize(
    ("bad_day", "status"), [("unavailable", 502), ("busy", 429), ("broken", 502), ("hanging", 504)]
)
async def test_an_ended_token_waits_for_the_token_endpoint_and_works_once_it_is_back(
    landbridge: Place, microsoft: Microsoft, monkeypatch: pytest.MonkeyPatch, bad_day: str, status: int
) -> None:
    assert Outbound.call.__kwdefaults__
    person, _ = await connected_with_an_ended_token(landbridge, microsoft)
    monkeypatch.setitem(Outbound.call.__kwdefaults__, "within", timedelta(seconds=3))
    await microsoft.plant(operation="token", **BAD_DAYS[bad_day])

    first, second = await person.call("/me/drive"), await person.call("/me/drive")

    assert first.status == status, first.body
    assert int(first.headers["Retry-After"]) > 0
    assert int(second.headers["Retry-After"]) > 0
    assert first.json["meta"]["retryable"]
    assert not await microsoft.calls(service="graph"), "a token that has ended must not be sent"
    assert await person.status() == "VALID"

    assert (second.status, second.json) == (first.status, first.json), "the cause does not change while we wait"

    await microsoft.heal()
    landbridge.clock.jump(timedelta(seconds=int(second.headers["Retry-After"]) + 1))
    assert (await person.call("/me/drive")).status == 200


# Whose fault it is


@ONE_DATABASE
@pytest.mark.parametrize("email", ACCOUNTS)
async def test_a_lost_grant_asks_for_a_reconnect_that_keeps_id_and_settings(
    landbridge: Place, microsoft: Microsoft, email: str
) -> None:
    person, id_ = await connected_with_an_ended_token(landbridge, microsoft, email=email)
    config = {"sharedSettings": {"folder": "Invoices"}}
    assert (await person.sdk("PATCH", f"/credentials/{id_}", json={"config": config})).status == 200
    await microsoft.revoke(email)

    refused = await person.call("/me/drive")
    again = await person.call("/me/drive")

    assert (refused.status, refused.code) == (424, "reconnect_required")
    assert refused.json["meta"]["providerError"] == "invalid_grant"
    assert (again.status, again.json) == (424, refused.json)
    assert await microsoft.refreshes() == 1
    assert await person.status() == "INVALID"

    assert await person.connect(selectedCredentialId=id_) == id_
    assert await person.status() == "VALID"
    assert (await person.call("/me/drive")).status == 200
    credential = (await person.sdk("GET", f"/credentials/{id_}")).json
    assert credential["configurations"][0]["sharedSettings"] == {"folder": "Invoices"}


@ONE_DATABASE
async def test_our_own_rejected_secret_disconnects_nobody_alarms_the_operator_and_heals_with_a_new_one(
    landbridge: Place, microsoft: Microsoft, server: Server
) -> None:
    person, _ = await connected_with_an_ended_token(landbridge, microsoft)
    process = server(landbridge.settings).ready()
    await microsoft.expire_secrets()
    caller = person.at(process.url)

    refused = [await caller.call("/me/drive") for _ in range(3)]

    assert (refused[0].status, refused[0].code) == (502, "app_rejected")
    assert refused[0].json == refused[1].json == refused[2].json
    other = await person.call("/me/drive")
    assert (other.status, other.json) == (502, refused[0].json), "another process tells the same"
    assert await person.status() == "VALID"
    alarm = [line for line in process.log.read_text().splitlines() if '"level": "error"' in line]
    assert len(alarm) == 1, alarm
    assert "client id or secret" in alarm[0]

    await microsoft.add_secret("a-new-secret.of~the-app")
    await run(
        landbridge.settings,
        *("integrations", "set", "onedrive", "--project", person.project, "--client-secret", "-"),
        stdin="a-new-secret.of~the-app\n",
    )
    await eventually(lambda: works(caller), within=20)


async def works(person: Person) -> bool:
    return (await person.call("/me/drive")).status == 200


@ONE_DATABASE
async def test_a_new_and_an_old_secret_may_overlap(landbridge: Place, microsoft: Microsoft) -> None:
    person, _ = await connected_with_an_ended_token(landbridge, microsoft)
    projects = landbridge.house.projects

    await projects.set_integration(person.project, "onedrive", client_secret="not.known-there~yet")
    assert (await person.call("/me/drive")).status == 200, "the old secret is tried after the new one"

    await microsoft.add_secret("not.known-there~yet")
    await microsoft.expire_secrets()
    await microsoft.add_secret("not.known-there~yet")
    landbridge.clock.jump(2 * HOUR - timedelta(minutes=1))
    assert (await person.call("/me/drive")).status == 200, "the new secret works without the old one"


@ONE_DATABASE
@pytest.mark.parametrize("email", ACCOUNTS)
async def test_an_account_works_through_many_lives_of_its_tokens(
    landbridge: Place, microsoft: Microsoft, email: str
) -> None:
    await microsoft.switch(strict_refresh_rotation=True)
    person, id_ = await landbridge.connected(email=email)

    for _ in range(4):
        landbridge.clock.jump(2 * HOUR)
        await microsoft.advance(7200)
        token = await landbridge.token(person.project, person.id)
        answer = await Person(**{**vars(person), "token": token}).call("/me/drive")
        assert answer.status == 200, answer.body

    assert await microsoft.refreshes() == 4
    assert (await stored(landbridge, person, id_)).token_version == 5


# Who dies, sleeps or disconnects meanwhile


@pytest.mark.parametrize("is_strict", [False, True], ids=["lenient", "strict rotation"])
async def test_a_process_killed_between_the_answer_and_the_save_leaves_no_lie_behind(
    landbridge: Place, microsoft: Microsoft, server: Server, is_strict: bool
) -> None:
    """Microsoft honours the older token too, and all is well; where it would not, the user is asked to reconnect."""
    person, id_ = await connected_with_an_ended_token(landbridge, microsoft)
    await microsoft.switch(strict_refresh_rotation=is_strict)
    process = server(landbridge.settings).ready()
    fault = await microsoft.plant(operation="token", effect="delay", delay=3, count=1)
    calling = asyncio.create_task(person.at(process.url).call("/me/drive"))
    await eventually(lambda: struck(microsoft, fault))

    async with nobody_can_write(landbridge.settings):
        await eventually(lambda: answered_a_refresh(microsoft))
        process.signal(signal.SIGKILL)
        process.ended()
    with contextlib.suppress(Exception):
        await calling

    landbridge.clock.jump(LEASE)
    answer = await person.call("/me/drive")
    if is_strict:
        assert (answer.status, answer.code) == (424, "reconnect_required")
        assert await person.status() == "INVALID"
        assert await person.connect(selectedCredentialId=id_) == id_
        answer = await person.call("/me/drive")
    assert answer.status == 200, answer.body


async def answered_a_refresh(microsoft: Microsoft) -> bool:
    return await microsoft.refreshes(status=200) > 0


@pytest.mark.parametrize("is_strict", [False, True], ids=["lenient", "strict rotation"])
async def test_a_process_stopped_past_its_lease_cannot_put_old_tokens_over_new_ones(
    landbridge: Place, microsoft: Microsoft, server: Server, is_strict: bool
) -> None:
    person, id_ = await connected_with_an_ended_token(landbridge, microsoft)
    await microsoft.switch(strict_refresh_rotation=is_strict)
    zombie = server(landbridge.settings).ready()
    fault = await microsoft.plant(operation="token", effect="delay", delay=5, count=1)
    calling = asyncio.create_task(person.at(zombie.url).call("/me/drive"))
    await eventually(lambda: struck(microsoft, fault))
    zombie.signal(signal.SIGSTOP)

    landbridge.clock.jump(LEASE)
    assert (await person.call("/me/drive")).status == 200
    saved = await stored(landbridge, person, id_)
    assert saved.token_version == 2
    await eventually(lambda: refreshed_twice(microsoft))
    zombie.signal(signal.SIGCONT)

    assert (await calling).status == 200, "the one that comes late uses what the other one saved"
    now = await stored(landbridge, person, id_)
    assert (now.token_version, now.sealed_tokens) == (2, saved.sealed_tokens)
    assert now.status == "valid"


async def refreshed_twice(microsoft: Microsoft) -> bool:
    return await microsoft.refreshes() == 2


async def test_disconnecting_during_a_refresh_does_not_bring_the_account_back(
    landbridge: Place, microsoft: Microsoft
) -> None:
    person, _ = await connected_with_an_ended_token(landbridge, microsoft)
    fault = await microsoft.plant(operation="token", effect="delay", delay=3)
    calling = asyncio.create_task(person.call("/me/drive"))
    await eventually(lambda: struck(microsoft, fault))

    assert (await person.sdk("DELETE", "/integrations/onedrive")).status == 200
    answer = await calling

    assert (answer.status, answer.code) == (404, "not_found")
    assert await person.status() == ""
    assert not await microsoft.calls(service="graph", operation="drive.get")


async def test_reconnecting_during_a_refresh_keeps_the_newer_tokens(landbridge: Place, microsoft: Microsoft) -> None:
    person, id_ = await connected_with_an_ended_token(landbridge, microsoft)
    fault = await microsoft.plant(operation="token", effect="delay", delay=3, count=1)
    calling = asyncio.create_task(person.call("/me/drive"))
    await eventually(lambda: struck(microsoft, fault))

    assert await person.connect(selectedCredentialId=id_) == id_
    saved = await stored(landbridge, person, id_)

    assert (await calling).status == 200
    assert (await stored(landbridge, person, id_)).sealed_tokens == saved.sealed_tokens


async def test_a_disconnect_in_one_process_stops_another_within_half_a_second(
    landbridge: Place, server: Server
) -> None:
    other = server(landbridge.settings).ready()
    quickest = 60.0
    loop = asyncio.get_running_loop()
    for _ in range(10):  # the best of ten, since the machine may be busy with other things
        person, _ = await landbridge.connected()
        caller = person.at(other.url)
        assert (await caller.call("/me/drive")).status == 200
        assert (await person.sdk("DELETE", "/integrations/onedrive")).status == 200
        done = loop.time()
        await eventually(lambda: is_gone(caller))  # noqa: B023 - awaited before the loop goes on
        quickest = min(quickest, loop.time() - done)
        if quickest < 0.5:
            break

    assert quickest < 0.5
    assert timedelta(seconds=0.5) > 2 * NEWS_EVERY


async def is_gone(person: Person) -> bool:
    answer: Answer = await person.call("/me/drive")
    assert answer.status in {200, 404}
    return answer.status == 404


# The worker


@ONE_DATABASE
@pytest.mark.parametrize("email", ACCOUNTS)
async def test_the_worker_refreshes_ahead_so_that_no_request_waits(
    landbridge: Place, microsoft: Microsoft, email: str
) -> None:
    await microsoft.switch(access_token_seconds=3600)
    person, id_ = await landbridge.connected(email=email)
    house = landbridge.house

    async with working(worker_of(house, Jail())):
        landbridge.clock.jump(TOKEN_LIFE - timedelta(minutes=9))
        await eventually(lambda: comes_to_version(landbridge, person, id_, 2))
    await microsoft.plant(operation="token", status=503)
    landbridge.clock.jump(timedelta(minutes=10))

    assert (await person.call("/me/drive")).status == 200


@pytest.mark.parametrize("email", ACCOUNTS)
async def test_the_worker_keeps_an_account_alive_that_nobody_uses_for_half_a_year(
    landbridge: Place, microsoft: Microsoft, email: str
) -> None:
    person, id_ = await landbridge.connected(email=email)
    house, month = landbridge.house, timedelta(days=36)

    async with working(worker_of(house, Jail())):
        for version in range(2, 7):
            await microsoft.advance(month.total_seconds())
            landbridge.clock.jump(month)
            await eventually(lambda: comes_to_version(landbridge, person, id_, version))  # noqa: B023 - awaited here

    token = await landbridge.token(person.project, person.id)
    assert (await Person(**{**vars(person), "token": token}).call("/me/drive")).status == 200


@ONE_DATABASE
async def test_the_worker_leaves_an_account_alone_that_is_neither_used_nor_old(
    landbridge: Place, microsoft: Microsoft
) -> None:
    _, _ = await landbridge.connected()
    landbridge.clock.jump(timedelta(days=7))

    assert await landbridge.house.tokens.renew_due() == 0
    assert await microsoft.refreshes() == 0


@ONE_DATABASE
async def test_tokens_that_nobody_can_refresh_hold_up_no_others(landbridge: Place) -> None:
    database, tokens = landbridge.house.database, landbridge.house.tokens
    broken, broken_id = await landbridge.connected()
    whole, whole_id = await landbridge.connected()
    async with database.begin() as tx:
        await store.update_connection(tx, await stored(landbridge, broken, broken_id), sealed_tokens=b"not ours")
    landbridge.clock.jump(timedelta(days=1))
    async with database.begin() as tx:
        now = landbridge.clock.now()
        await store.update_connection(tx, await stored(landbridge, whole, whole_id), expires_at=now, used_at=now)
        await store.update_connection(tx, await stored(landbridge, broken, broken_id), used_at=now)

    with capture_logs() as told:
        refreshed = [await tokens.renew_due(at_most=1) for _ in range(3)]

    assert refreshed == [0, 1, 0]
    assert [(line["log_level"], line["connection"]) for line in told] == [("error", broken_id)]


@ONE_DATABASE
async def test_a_switched_off_integration_holds_up_no_others(landbridge: Place) -> None:
    off, off_id = await landbridge.connected()
    on, on_id = await landbridge.connected()
    landbridge.clock.jump(timedelta(days=1))
    async with landbridge.house.database.begin() as tx:
        now = landbridge.clock.now()
        await store.update_connection(tx, await stored(landbridge, off, off_id), used_at=now)
        await store.update_connection(tx, await stored(landbridge, on, on_id), used_at=now, expires_at=now)
    await landbridge.house.projects.set_integration(off.project, "onedrive", is_active=False)

    assert await landbridge.house.tokens.renew_due(at_most=1) == 1
    assert await comes_to_version(landbridge, on, on_id, 2)


@contextlib.asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def comes_to_version(landbridge: Place, person: Person, connection_id: str, version: int) -> bool:
    landbridge.clock.jump(timedelta(seconds=40))  # the worker looks every half a minute
    return (await stored(landbridge, person, connection_id)).token_version >= version
