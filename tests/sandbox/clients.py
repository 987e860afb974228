"""Real clients, unmodified: what they need to take the sandbox for Microsoft."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any


class Rclone:
    """rclone, set up for a drive of the sandbox as for OneDrive."""

    def __init__(self, program: str, folder: Path, facts: dict[str, Any], drive: dict[str, Any]) -> None:
        self._program = program
        self._folder = folder
        self._facts = facts
        self._config = folder / "rclone.conf"
        token = {
            "access_token": "expired",
            "token_type": "Bearer",
            "refresh_token": facts["users"][0]["refresh_token"],
            "expiry": "2020-01-01T00:00:00Z",
        }
        self._config.write_text(
            "[one]\n"
            "type = onedrive\n"
            f"client_id = {facts['client_id']}\n"
            f"client_secret = {facts['client_secret']}\n"
            f"drive_id = {drive['id']}\n"
            f"drive_type = {drive['driveType']}\n"
            f"token = {json.dumps(token)}\n"
        )

    @property
    def version(self) -> tuple[int, ...]:
        """The program's version."""
        found = re.search(r"v(\d+)\.(\d+)", self("version"))
        assert found
        return int(found[1]), int(found[2])

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command, demand an exit code, and return what it prints, complaints included."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "HTTPS_PROXY": self._facts["proxy_url"]}
        # rclone watches copies with a client of its own, which knows only the system's authorities.
        environment["SSL_CERT_FILE"] = self._facts["ca_file"]
        fixed = ("--config", str(self._config), "--ca-cert", self._facts["ca_file"], "--retries", "1")
        done = subprocess.run(
            [self._program, *arguments, *fixed],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout
