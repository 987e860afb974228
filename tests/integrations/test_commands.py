"""The commands that keep an installation, on one that is in use."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
from tests.integrations.conftest import Server
from tests.integrations.landbridge import environment, place, run, settings_for
from tests.integrations.microsoft import Microsoft

from landbridge.settings import Settings


async def test_what_was_backed_up_and_is_sealed_anew_serves_on_once_it_is_restored(
    settings: Settings, http: aiohttp.ClientSession, microsoft: Microsoft, server: Server, tmp_path: Path
) -> None:
    async with place(settings, http, microsoft) as ours:
        person, _ = await ours.connected()
    backup = str(tmp_path / "landbridge.backup")
    running = server(settings).ready()

    token = (await run(settings, "users", "token", person.id, "--project", person.project))["token"]
    caller = replace(person, token=token, url=running.url)
    before = await caller.call("/me/drive")
    written = await run(settings, "backup", backup)
    await caller.sdk("DELETE", "/integrations/onedrive")
    rotated = await run(settings, "keys", "rotate")
    await run(settings, "restore", backup, "--replace")
    again = await run(settings, "keys", "rotate", "--no-new-key")
    await run(settings, "migrate")
    after = [await who.call("/me/drive") for who in (caller, caller.at(server(settings).ready().url))]

    assert {answer.status for answer in (before, *after)} == {200}
    assert written["rows"] > 0
    assert rotated["key_id"] == again["key_id"]
    assert again["rewrapped"] > 0


def test_whichever_command_makes_the_key_ring_says_where_it_is(microsoft: Microsoft, tmp_path: Path) -> None:
    settings = settings_for(microsoft.facts, tmp_path)
    command = (sys.executable, "-m", "landbridge", "projects", "create", "Acme", "--json")

    first, second = (
        subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    )

    assert str(settings.key_file) in first
    assert "apart" in first
    assert not second
