"""What a server refuses to do: go on deaf, replace a lost key ring, show itself to strange pages."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.landbridge import serve

from landbridge import app, server
from landbridge.errors import Misconfigured
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.web import site
from landbridge.web.gate import Gate


async def test_a_server_that_can_hear_no_news_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: Database) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Database, "watch", broken)
    monkeypatch.setattr(server, "on_signals", lambda _stop: None)
    monkeypatch.setattr(server, "spare_the_collector", lambda: None)
    settings = Settings(data_dir=tmp_path, port=0, worker=False)
    listening = server._listen(settings)

    with pytest.raises(RuntimeError, match="a defect"):
        async with asyncio.timeout(20):
            await server._serve(settings, listening, [], lambda _settings: None)


async def test_a_lost_key_ring_is_not_replaced_beside_secrets_that_it_sealed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with app.assemble(settings) as house:
        project = await house.projects.create("A product")
        await house.projects.set_integration(project.id, "onedrive", client_id="an-app", client_secret="a-secret-value")
    settings.key_file.unlink()

    with pytest.raises(Misconfigured, match="is gone, and the database holds secrets"):
        async with app.assemble(settings):
            pass

    assert not settings.key_file.exists()


async def test_only_what_lies_in_a_project_may_be_read_by_pages_of_other_origins(tmp_path: Path) -> None:
    async with app.assemble(Settings(data_dir=tmp_path)) as house:
        project = await house.projects.create("A product")
        site_ = site.build(server.rooms_of(house))

        assert "access-control-allow-origin" not in await _headers(site_, "/metrics")
        assert "access-control-allow-origin" in await _headers(site_, f"/projects/{project.id}/sdk/me")


def test_a_server_opens_as_many_files_as_it_may_need(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    process = serve(Settings(data_dir=tmp_path))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        process.ready()
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] >= min(8000, hard)
    finally:
        process.close()


@pytest.mark.parametrize(("files", "callers"), [(1024, 412), (65536, 4000), (resource.RLIM_INFINITY, 4000)])
def test_there_is_room_for_as_many_callers_as_there_may_be_files(
    monkeypatch: pytest.MonkeyPatch, files: int, callers: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (files, files))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, _limits: None)

    assert server._room_for_callers() == callers


def test_where_no_process_may_ask_for_its_limits_there_is_room_for_the_usual_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_kind: int) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", refuse)

    assert server._room_for_callers() == 4000


async def _headers(site_: Gate, path: str) -> set[str]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await site_(scope | {"headers": [(b"origin", b"http://evil.example")], "app": None}, receive, send)
    return {name.decode() for name, _ in sent[0]["headers"]}
