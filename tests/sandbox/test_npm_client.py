"""Microsoft's JavaScript client, unmodified."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import aiohttp
import pytest
from scripts import setup
from tests.sandbox.caller import Caller

from msgraph_sandbox.server import Sandbox

HERE = Path(__file__).parent / "npm"


def _run(base_url: str, token: str, authority: str) -> str:
    """Run the script with Node, its packages fetched before the first time."""
    setup.provide_node()
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": authority}
    environment["PATH"] = f"{setup.BIN}{os.pathsep}{os.environ['PATH']}"
    if not (HERE / "node_modules" / "@microsoft").exists():
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
        subprocess.run(
            [str(setup.BIN / "npm"), "ci", *quiet], cwd=HERE, env=environment, check=True, capture_output=True
        )
    command = [str(setup.BIN / "node"), "drive.mjs", base_url, token]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.mark.timeout(600)  # it may have to fetch the client first
async def test_it_reads_writes_pages_and_uploads(session: aiohttp.ClientSession) -> None:
    async with Sandbox(tls=True) as sandbox:
        facts = sandbox.announcement
        caller = await Caller(session, facts).sign_in()
        printed = await asyncio.to_thread(_run, facts["graph_https_url"], caller.token, facts["ca_file"])
    found = json.loads(printed)
    assert found == {
        "me": "ada@contoso.example",
        "item": "a #1.txt",
        "text": "hello",
        "names": [*(f"{number}.txt" for number in range(7)), "a #1.txt"],
        "large": 12 * 1024 * 1024 + 3,
        "refused": [404, "itemNotFound"],
    }
