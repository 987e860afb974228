"""`onedrive`, Debian's client for Linux, unmodified: it syncs both ways.

It knows Microsoft's hosts and the machine's authorities only, so it runs behind the sandbox's proxy, in a mount
namespace where the sandbox's authority is one of the machine's.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from scripts import setup

from msgraph_sandbox.seed import Seed, SeedApplication
from msgraph_sandbox.server import Sandbox

ONEDRIVE = setup.BIN / "onedrive"
ADA, MARY = "ada@contoso.example", "mary@outlook.example"
# The registration that is built into the program.
BUILT_IN = SeedApplication(
    client_id="d50ca740-c83f-4d1b-b616-12c519384f0c",
    name="OneDrive Client for Linux",
    redirect_uris=["https://login.microsoftonline.com/common/oauth2/nativeclient"],
)
TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")

pytestmark = pytest.mark.skipif(
    not ONEDRIVE.exists() or os.geteuid() != 0 or not TRUSTED.exists(),
    reason="needs Debian's `onedrive` (`python3 scripts/setup.py onedrive`), and root for a mount namespace",
)


class Client:
    """The program with folders of its own."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.synced = folder / "synced"
        self._asked, self._told = folder / "asked", folder / "told"
        bundle = folder / "bundle.pem"
        bundle.write_bytes(TRUSTED.read_bytes() + Path(sandbox.announcement["ca_file"]).read_bytes())
        (folder / "configuration").mkdir()
        self.synced.mkdir()
        self._environment = {**os.environ, "HOME": str(folder), "HTTPS_PROXY": sandbox.announcement["proxy_url"]}
        program = f'mount --bind {bundle} {TRUSTED} && exec {ONEDRIVE} "$@"'
        places = ("--confdir", str(folder / "configuration"), "--syncdir", str(self.synced))
        self._command = ("unshare", "--mount", "sh", "-c", program, "onedrive", *places, "--synchronize")

    def sync(self) -> None:
        """Sync once."""
        subprocess.run(self._command, env=self._environment, check=True, capture_output=True, timeout=60)

    def sign_in(self, sandbox: Sandbox, user: str) -> None:
        """Sign in as a person does who is shown an address and pastes another; then sync."""
        files = ("--auth-files", f"{self._asked}:{self._told}")
        with subprocess.Popen((*self._command, *files), env=self._environment, stdout=subprocess.DEVNULL) as running:
            while running.poll() is None and not (self._asked.exists() and self._asked.read_text()):
                time.sleep(0.05)
            written = self._told.with_suffix(".new")  # the client reads the other as soon as it is there
            written.write_text(sandbox.control.authorize(self._asked.read_text().strip(), user=user))
            written.rename(self._told)
        assert running.returncode == 0


@pytest.mark.parametrize("user", [ADA, MARY])
def test_it_syncs_both_ways(tmp_path: Path, user: str) -> None:
    seed = Seed()
    seed.applications.append(BUILT_IN)
    with Sandbox(tls=True, seed=seed) as sandbox:
        client, control = Client(tmp_path, sandbox), sandbox.control
        client.sign_in(sandbox, user)
        assert (client.synced / "Documents" / "Reports" / "Q1 #1 (100%).pdf").stat().st_size == 120_000
        content = os.urandom(12_000_000)
        (client.synced / "big.bin").write_bytes(content)
        (client.synced / "Sub dir").mkdir()
        (client.synced / "Sub dir" / "é & #1 %.txt").write_text("up")
        (client.synced / "Notes.md").unlink()
        client.sync()
        assert control.read(user, "big.bin") == content
        assert control.read(user, "Sub dir/é & #1 %.txt") == b"up"
        assert "Notes.md" not in control.tree(user)
        control.advance(2)  # the client takes two versions of one second for one
        control.write(user, "Documents/Welcome.txt", b"changed there")
        control.delete(user, "Pictures")
        client.sync()
        assert (client.synced / "Documents" / "Welcome.txt").read_bytes() == b"changed there"
        assert not (client.synced / "Pictures").exists()
