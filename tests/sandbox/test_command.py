"""The command: one line says where everything is, and a signal ends it cleanly."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

COMMAND = [sys.executable, "-m", "msgraph_sandbox.cli", "serve"]


def test_serve_prints_one_line_of_json_and_ends_with_zero_on_a_signal() -> None:
    with subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        for port in facts["ports"]:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(10) == 0
    assert facts.keys() == {
        *("login_url", "graph_url", "control_url", "ports", "client_id", "client_secret", "public_client_id", "users")
    }
    assert facts["users"][0].keys() == {"email", "password", "refresh_token"}


@pytest.mark.parametrize(
    ("drive", "first"), [("business", "ada@contoso.example"), ("personal", "mary@outlook.example")]
)
def test_the_first_user_has_the_kind_of_drive_that_was_asked_for(drive: str, first: str) -> None:
    with subprocess.Popen([*COMMAND, "--drive", drive], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert facts["users"][0]["email"] == first
    assert len({facts["login_url"], facts["graph_url"], facts["control_url"].removesuffix("/_sandbox")}) == 3


def test_whoever_asks_for_it_is_shown_no_page(tmp_path: Path) -> None:
    query = {"response_type": "code", "redirect_uri": "http://127.0.0.1:9/", "scope": "openid", "state": "s"}
    with subprocess.Popen([*COMMAND, "--auto-consent"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        login = urlsplit(facts["login_url"])
        asking = HTTPConnection(login.netloc)
        address = f"/common/oauth2/v2.0/authorize?{urlencode({**query, 'client_id': facts['client_id']})}"
        asking.request("GET", address)
        location = asking.getresponse().getheader("Location")
        asking.close()
        process.terminate()
        assert process.wait(10) == 0
    assert location
    assert "code=" in location


def test_a_seed_file_says_who_there_is(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(json.dumps({"users": [{"email": "zoe@contoso.example", "files": {"a": {"b.txt": "x"}}}]}))
    with subprocess.Popen([*COMMAND, "--seed", str(seed)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(10) == 0
    assert [user["email"] for user in facts["users"]] == ["zoe@contoso.example"]


def test_a_bad_seed_file_is_explained_and_not_served(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text('{"people": []}')
    done = subprocess.run([*COMMAND, "--seed", str(seed)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "people" in done.stderr
