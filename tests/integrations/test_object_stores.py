"""File contents in object stores: the same as in a folder, at servers that speak as S3 and Azure do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest
from scripts.setup import BIN
from tests.ground.ports import free_port
from tests.integrations.landbridge import eventually

from landbridge.errors import FilesFailed, FileUnknown
from landbridge.files import Files, Reading
from landbridge.settings import Settings
from landbridge.vault import KeyRing, KeySetting, Vault

VAULT = Vault(KeySetting(KeyRing.generate().text()))
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that everybody's Azurite has, as Microsoft publishes it."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts programs, and ends them with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str | Path) -> None:
        with (tmp_path / "store.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path))

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def program(name: str) -> Path:
    """Return a stand-in, or skip the test where it could not be had."""
    if not (BIN / name).exists():
        pytest.skip(f"{name} is not here: run `python3 scripts/setup.py stores`.")
    return BIN / name


async def s3(start: Callable[..., None], environment: pytest.MonkeyPatch) -> str:
    port = free_port()
    start(program("moto_server"), "-H", "127.0.0.1", "-p", str(port))
    await eventually(lambda: answers(port))
    async with aiohttp.ClientSession() as http, http.put(f"http://127.0.0.1:{port}/box") as made:
        assert made.status == 200
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        environment.setenv(name, value)
    return "s3://box/landbridge"


async def azure(start: Callable[..., None], environment: pytest.MonkeyPatch) -> str:
    azurite, port = program("azurite"), free_port()
    start(
        azurite,
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
        "--inMemoryPersistence",
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    )
    await eventually(lambda: answers(port))
    url = f"http://127.0.0.1:{port}/devstoreaccount1"
    path = "/devstoreaccount1/devstoreaccount1/box"
    headers = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2021-08-06"}
    said = "\n".join(f"{name}:{value}" for name, value in sorted(headers.items()))
    to_sign = "PUT" + "\n" * 12 + f"{said}\n{path}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(AZURITE_KEY), to_sign.encode(), hashlib.sha256)).decode()
    headers["Authorization"] = f"SharedKey devstoreaccount1:{signature}"
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http,
        http.put(f"{url}/box?restype=container", headers=headers) as made,
    ):
        assert made.status == 201, await made.text()
    for name, value in {
        "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
        "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_ALLOW_HTTP": "true",
    }.items():
        environment.setenv(name, value)
    return "az://box/landbridge"


@pytest.fixture(params=[s3, azure], ids=["s3", "azure"])
async def files(
    request: pytest.FixtureRequest, started: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Files:
    url = await request.param(started, monkeypatch)
    return Files.from_settings(Settings(data_dir=tmp_path, files_url=url), VAULT)


async def read(files: Files, run: str, file: object, *span: int) -> bytes:
    with closing(Reading(files.of("project", run).open(file))) as reading:  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in reading.chunks(*(span or (0, reading.size)))])


@pytest.mark.parametrize("size", [0, 1, (13 << 20) + 7])
async def test_contents_go_there_in_parts_and_come_back_as_they_were(files: Files, size: int) -> None:
    whole = os.urandom(size)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 300_000):
            yield whole[start : start + 300_000]

    file = await files.of("project", "run").save("a.bin", "application/octet-stream", pieces())

    assert (file.size, file.sha256) == (size, hashlib.sha256(whole).hexdigest())
    assert await read(files, "run", file) == whole
    assert await read(files, "run", file, size // 3, size // 2) == whole[size // 3 : size // 2]


async def test_runs_are_cleared_trimmed_and_swept(files: Files) -> None:
    runs = {name: files.of("project", name) for name in ("cleared", "trimmed", "kept")}
    saved = {name: await run.save("a", "text/plain", b"12345") for name, run in runs.items()}

    await runs["cleared"].clear()
    await runs["trimmed"].trim(datetime.now(UTC) - timedelta(hours=1), 4)
    for name in ("cleared", "trimmed"):
        with pytest.raises(FileUnknown):
            await read(files, name, saved[name])
    assert await read(files, "kept", saved["kept"]) == b"12345"
    assert await files.sweep(datetime.now(UTC) + timedelta(days=1)) == 1
    with pytest.raises(FileUnknown):
        await read(files, "kept", saved["kept"])


async def test_a_store_that_refuses_is_told_of_in_plain_words(
    started: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await s3(started, monkeypatch)
    files = Files.from_settings(Settings(data_dir=tmp_path, files_url="s3://nowhere/landbridge"), VAULT)

    with pytest.raises(FilesFailed, match="no such place for files"):
        await files.of("project", "run").save("a", "text/plain", b"12345")
