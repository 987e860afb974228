"""A server whose background work breaks ends, and says so, instead of going on without it."""

import asyncio
from pathlib import Path

import pytest

from landbridge import server
from landbridge.settings import Settings
from landbridge.store.database import Database


async def test_a_server_that_can_hear_no_news_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: Database) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Database, "watch", broken)
    monkeypatch.setattr(server, "on_signals", lambda _stop: None)
    settings = Settings(data_dir=tmp_path, port=0, worker=False)
    listening = server._listen(settings)

    with pytest.raises(RuntimeError, match="a defect"):
        async with asyncio.timeout(20):
            await server._serve(settings, listening, [], lambda _settings: None)
