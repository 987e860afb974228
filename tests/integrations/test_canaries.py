"""Secrets that are known are looked for everywhere that a whole run wrote to, in every spelling, and are not found."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import asyncpg
import pytest
from tests.integrations.landbridge import Process, place, run, serve, settings_for
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, Peer, peer
from tests.integrations.person import Person

SECRET = "canary~Client.Secret-0123456789+abc/def="


def spellings(secret: str) -> Iterator[bytes]:
    """Yield a secret raw and as it looks inside base64 at any offset, base64url, hex, a URL and JSON."""
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield binascii.hexlify(raw)
    yield binascii.hexlify(raw).upper()
    for offset in range(3):
        # Whole groups of three bytes look the same wherever they stand; the edges depend on their neighbours.
        inner = raw[offset:]
        whole = inner[: len(inner) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)


class Recorder:
    """A token endpoint's witness: passes requests on to the sandbox and keeps what was secret in them."""

    def __init__(self, login_url: str, http: aiohttp.ClientSession) -> None:
        self._login_url = login_url
        self._http = http
        self.secrets: dict[str, str] = {}

    async def pass_on(self, asked: Asked) -> None:
        await asked.read()
        url = self._login_url + asked.target
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with self._http.request(asked.method, url, data=asked.body, headers=headers) as answer:
            body = await answer.read()
        self._keep(parse_qs(asked.body.decode()))
        if answer.status == 200 and "token" in asked.target:
            found: dict[str, Any] = await answer.json(content_type=None)
            self._keep({name: [value] for name, value in found.items() if isinstance(value, str)})
        await asked.answer(answer.status, body)

    def _keep(self, fields: dict[str, list[str]]) -> None:
        names = {"access_token", "refresh_token", "id_token", "code", "code_verifier", "client_secret"}
        for name in names & fields.keys():
            self.secrets[f"{name} {len(self.secrets)}"] = fields[name][0]


@pytest.fixture
async def login(microsoft: Microsoft, http: aiohttp.ClientSession) -> AsyncIterator[tuple[Peer, Recorder]]:
    """The sandbox's sign-in with a witness in front of its token endpoint."""
    recorder = Recorder(microsoft.facts["login_url"], http)
    async with peer() as running:
        running.script = recorder.pass_on
        yield running, recorder


def files_in(folder: Path, when: str = "") -> dict[str, bytes]:
    """Return what the files in a folder hold, by their names."""
    return {f"{when}{file}": file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def now_in(database_url: str) -> str:
    """Return the name of the file to which PostgreSQL writes what it has not put in place yet."""
    async with connected(database_url) as connection:
        name: str = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    return name


async def contents_of(database_url: str) -> bytes:
    """Return all that a PostgreSQL database holds, as text."""
    async with connected(database_url) as connection:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dbos')"
        )
        rows = [row for schema, name in tables for row in await connection.fetch(f'SELECT * FROM "{schema}"."{name}"')]
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row.values()
    )


async def files_of(database_url: str, since: str) -> dict[str, bytes]:
    """Return what the files of a PostgreSQL database on this machine hold, and its log from one of its files on."""
    async with connected(database_url) as connection:
        await connection.execute("CHECKPOINT")
        folder = Path(await connection.fetchval("SHOW data_directory"))
        its_own = await connection.fetchval("SELECT oid::text FROM pg_database WHERE datname = current_database()")
    log = [file for file in (folder / "pg_wal").glob("[0-9A-F]*") if file.name >= since]
    assert log or not folder.exists()
    return {**files_in(folder / "base" / its_own), **{str(file): file.read_bytes() for file in log}}


@contextlib.asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Any]:  # Any: asyncpg has no types
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.timeout(300)  # it looks for 800 spellings in all that a database writes
async def test_no_secret_is_written_anywhere_in_any_spelling(
    database_url: str,
    microsoft: Microsoft,
    login: tuple[Peer, Recorder],
    http: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    proxy, recorder = login
    facts = {**microsoft.facts, "login_url": proxy.url}
    configured = settings_for(facts, tmp_path, database_url=database_url, log_level="debug")
    await microsoft.add_secret(SECRET)
    secrets, shown = recorder.secrets, []
    places: dict[str, bytes] = {}
    since = await now_in(database_url) if database_url.startswith("postgresql") else ""
    async with place(configured, http, microsoft, answers=False) as ours:
        project = await ours.project(client_secret=SECRET)
        _, key = await ours.house.projects.create_api_key("Canary")
        server = serve(configured).ready()
        worker = Process(configured, "worker")
        try:
            person = (await ours.person(project)).at(server.url)
            secrets |= {"API key": key, "user token": person.token, "client secret": SECRET}
            shown += [answer async for answer in a_whole_life(microsoft, person, secrets, key)]
            listed = await run(configured, "connections", "list", "--project", project)
            shown.append(str(listed).encode())
            async with http.get(f"{server.url}/metrics") as metrics:
                shown.append(await metrics.read())
            places |= files_in(tmp_path, "while it ran: ")
        finally:
            server.close()
            worker.close()
    assert {name.split()[0] for name in secrets} >= {"access_token", "refresh_token", "id_token", "code", "state"}
    assert len(secrets) > 12

    places |= files_in(tmp_path)
    if database_url.startswith("postgresql"):
        places |= {"the database": await contents_of(database_url), **await files_of(database_url, since)}
    else:
        assert any(name.endswith(".db-wal") for name in places), "what is not in its place yet is among them"
    places |= {f"answer {number}": answer for number, answer in enumerate(shown)}
    assert any(b"account connected" in text for text in places.values()), "the logs are among them"
    assert any(project.encode() in text for name, text in places.items() if "log" not in name), "so is the database"
    found = [
        (name, where, spelling[:60])
        for name, secret in secrets.items()
        for spelling in spellings(secret)
        for where, text in places.items()
        if spelling in text
    ]
    assert not found


async def a_whole_life(microsoft: Microsoft, person: Person, secrets: dict[str, str], key: str) -> AsyncIterator[bytes]:
    """Connect, call, refresh, fail in every way there is, reconnect; yield every answer, and note what was secret."""

    async def sign_in(**options: Any) -> bytes:
        number = f"{len(secrets)}"
        await person.visit_nonce_page()
        url = await person.authorize_url(f"session-{number}", **options)
        secrets[f"state {number}"] = parse_qs(urlsplit(url).query)["state"][0]
        secrets[f"nonce {number}"] = parse_qs(urlsplit(url).query)["nonce"][0]
        location = await microsoft.consent(url, person.email)
        async with person.http.get(location) as page:
            return await page.read()

    yield await sign_in()
    for path in ("/me/drive", "/me/drive/items/none", "/me//x", f"/x?userToken={person.token}&state=x"):
        yield (await person.call(path)).body
    yield (await person.upload("a.txt", b"x")).body
    yield (await person.download("a.txt")).body
    await microsoft.expire_tokens(person.email)  # Graph says 401 to a token that is younger than any refresh could be
    yield (await person.call("/me/drive")).body

    for fault in ({"status": 503}, {"effect": "reset"}, {"effect": "truncate"}, {"code": "7000215"}, {"code": "50173"}):
        await microsoft.switch(access_token_seconds=0)
        yield await sign_in()
        await microsoft.switch(access_token_seconds=None)
        fault_id = await microsoft.plant(operation="token", **fault)
        refused = await person.call("/me/drive")
        assert refused.status in {424, 502}, refused
        assert await microsoft.struck(fault_id)
        yield refused.body
        await microsoft.heal()
    yield await sign_in()
    assert (await person.call("/me/drive")).status == 200
    async with person.http.get(f"{person.url}/oauth?state=unknown&code={secrets['API key']}") as page:
        yield await page.read()
    headers = {"Origin": "https://evil.example", "X-Paragon-Proxy-Url": f"https://evil.example/?token={person.token}"}
    yield (await person.call("/x", headers=headers)).body
    yield (await person.send("GET", "/api/v1/projects", headers={"Authorization": f"Bearer {key}"})).body
    yield (await person.send("GET", "/api/v1/projects", headers={"Authorization": f"Bearer {key}x"})).body
    path = f"/api/v1/projects/{person.project}/integrations/onedrive"
    body = {"client_secret": SECRET, "nonsense": SECRET}
    yield (await person.send("PATCH", path, json=body, headers={"Authorization": f"Bearer {key}"})).body
    yield (await person.sdk("DELETE", "/integrations/onedrive")).body
