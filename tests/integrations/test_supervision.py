"""Processes that end, are killed or are asked to stop leave nothing half done and nobody alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import structlog
from tests.clock import FakeClock
from tests.integrations.conftest import Server
from tests.integrations.landbridge import Process, eventually, place, settings_for
from tests.integrations.microsoft import Microsoft
from tests.integrations.peer import Asked, peer

from landbridge.supervisor import Supervisor

MIB = 1 << 20


@pytest.fixture
def served(microsoft: Microsoft, tmp_path: Path) -> Iterator[Process]:
    """`landbridge serve` with the worker that it supervises."""
    process = Process(settings_for(microsoft.facts, tmp_path), "serve")
    yield process.ready()
    process.close()


async def test_a_worker_that_is_killed_is_replaced(served: Process) -> None:
    await eventually(lambda: bool(served.children()))
    (killed,) = served.children()

    os.kill(killed, signal.SIGKILL)

    await eventually(lambda: bool(served.children()) and served.children() != [killed])
    assert served.is_running()


async def test_a_worker_does_not_outlive_a_server_that_is_killed(served: Process) -> None:
    await eventually(lambda: bool(served.children()))
    (worker,) = served.children()

    served.signal(signal.SIGKILL)
    served.ended()

    await eventually(lambda: has_ended(worker))


async def test_a_server_that_is_asked_to_stop_ends_its_worker_too(served: Process) -> None:
    await eventually(lambda: bool(served.children()))
    (worker,) = served.children()

    served.signal(signal.SIGTERM)

    assert await asyncio.to_thread(served.ended) == 0
    assert has_ended(worker)


async def test_a_worker_that_cannot_be_started_is_tried_again_more_slowly_and_the_operator_told(tmp_path: Path) -> None:
    command, started = tmp_path / "worker", tmp_path / "started"
    with structlog.testing.capture_logs() as told:
        supervising = asyncio.create_task(Supervisor([str(command)], FakeClock()).run())
        await eventually(lambda: len(told) >= 3)
        whole = tmp_path / "draft"
        whole.write_text(f"#!/bin/sh\ntouch '{started}'\nexec cat\n")
        whole.chmod(0o700)
        whole.replace(command)
        await eventually(started.exists)
        supervising.cancel()
        with pytest.raises(asyncio.CancelledError):
            await supervising

    assert [line["in_seconds"] for line in told[:3]] == [1, 2, 4]
    assert {(line["log_level"], line["event"]) for line in told[:3]} == {("error", "the worker cannot be started")}
    assert "start more processes" in told[0]["remedy"]


async def test_a_worker_that_is_asked_to_stop_with_its_server_is_not_started_again(served: Process) -> None:
    await eventually(lambda: bool(served.children()))
    (worker,) = served.children()

    served.signal(signal.SIGINT)
    os.kill(worker, signal.SIGINT)

    assert await asyncio.to_thread(served.ended) == 0
    assert "started again" not in served.log.read_text()


async def test_no_worker_is_started_again_by_a_server_that_is_about_to_end() -> None:
    supervisor = Supervisor(["true"], FakeClock())
    supervisor.leave()

    with structlog.testing.capture_logs() as told:
        async with asyncio.timeout(20):
            await supervisor.run()

    assert not told


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for somebody to take note of that."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def test_a_download_under_way_is_finished_before_the_server_stops(
    http: aiohttp.ClientSession, microsoft: Microsoft, tmp_path: Path, server: Server
) -> None:
    async with peer() as graph:
        settings = settings_for(microsoft.facts, tmp_path, microsoft_graph_url=graph.url)
        async with place(settings, http, microsoft) as ours:
            person, _ = await ours.connected()
        process = server(settings).ready()
        go_on = asyncio.Event()

        async def in_two_parts(asked: Asked) -> None:
            await asked.head(200, {"Content-Type": "application/octet-stream", "Content-Length": str(2 * MIB)})
            await asked.send(bytes(MIB))
            await go_on.wait()
            await asked.send(bytes(MIB))

        graph.script = in_two_parts
        path = f"{process.url}/projects/{person.project}/sdk/proxy/onedrive/me/drive/items/1/content"
        async with http.get(path, headers={"Authorization": f"Bearer {person.token}"}) as download:
            first = await download.content.readexactly(1000)
            process.signal(signal.SIGTERM)
            await eventually(lambda: refuses(process.url))
            go_on.set()
            rest = await download.read()

        assert len(first) + len(rest) == 2 * MIB
        assert await asyncio.to_thread(process.ended) == 0


async def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    except ConnectionError:
        return True
    writer.close()
    return False
