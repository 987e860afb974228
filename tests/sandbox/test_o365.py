"""O365, the other Python client, unmodified: sign-in by msal, uploads in sessions, copies watched to their end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from O365 import Account, MSGraphProtocol
from O365.utils.token import MemoryTokenBackend

from msgraph_sandbox.server import Sandbox

REDIRECT = "http://localhost:5555/callback"
SCOPES = [f"https://graph.microsoft.com/{name}" for name in ("Files.ReadWrite.All", "User.Read")]
# It leaves connections behind, and msal warns of what it does.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _signed_in(sandbox: Sandbox, user: str) -> Any:
    facts = sandbox.announcement
    account = Account(
        (facts["client_id"], facts["client_secret"]), protocol=MSGraphProtocol(), token_backend=MemoryTokenBackend()
    )
    url, flow = account.con.get_authorization_url(requested_scopes=SCOPES, redirect_uri=REDIRECT)
    location = sandbox.control.authorize(url, user=user)
    assert account.con.request_token(location, flow=flow, redirect_uri=REDIRECT)
    return account


@pytest.mark.parametrize("user", ["ada@contoso.example", "mary@outlook.example"])
def test_a_script_works_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    with Sandbox(tls=True) as sandbox:
        facts, control = sandbox.announcement, sandbox.control
        monkeypatch.setenv("HTTPS_PROXY", facts["proxy_url"])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", facts["ca_file"])
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        drive = _signed_in(sandbox, user).storage().get_default_drive()
        root = drive.get_root_folder()
        assert {item.name for item in root.get_items()} == {"Documents", "Notes.md", "Pictures"}
        folder = root.create_child_folder("a folder")
        (tmp_path / "small.txt").write_text("small")
        (tmp_path / "big.bin").write_bytes(content := os.urandom(7_000_000))
        small = folder.upload_file(tmp_path / "small.txt")
        assert folder.upload_file(tmp_path / "big.bin").size == len(content)
        assert control.read(user, "a folder/big.bin") == content
        assert [item.name for item in drive.search("small.txt")] == ["small.txt"]
        assert drive.get_item_by_path("/a folder/small.txt").download(tmp_path, "down.txt")
        assert (tmp_path / "down.txt").read_text() == "small"
        assert small.share_with_link(share_type="view").share_link.startswith("https://")
        list(small.copy(target=root, name="copied.txt").check_status())
        assert control.read(user, "copied.txt") == b"small"
        assert len(list(small.get_versions())) == 1
        assert small.update(name="renamed.txt")
        assert small.move(root)
        assert control.read(user, "renamed.txt") == b"small"
        assert small.delete()
        assert "renamed.txt" not in control.tree(user)
