"""The demonstration does what the README says, and leaves nothing running."""

import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.setup import TREE

STEPS = (
    "a local Microsoft is up",
    "Landbridge is up",
    "a project, OneDrive's client id and secret, a signing key",
    "the user signs in at Microsoft and consents",
    "the product lists the root of the drive",
    "downloads Notes.md",
    "uploads",
)


def test_once_it_shows_every_step_and_ends_by_itself(tmp_path: Path) -> None:
    mark = str(tmp_path)
    command = (sys.executable, "-m", "examples.demo")
    environment = {**os.environ, "ONCE": "1", "STARTED_BY": mark}

    ended = subprocess.run(command, check=False, cwd=TREE, env=environment, capture_output=True, text=True, timeout=110)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    done = [line for line in ended.stdout.splitlines() if "✓" in line]
    assert [step for step in STEPS if not any(f"✓ {step}" in line for line in done)] == []
    assert [line for line in done if not re.search(r" [\d,]+ ms$", line.rstrip())] == []
    assert _still_running(mark) == []


def _still_running(mark: str) -> list[str]:
    """Return the processes that were started with this in their environment, where the system tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"STARTED_BY={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text("utf-8"))
        except OSError:  # it has ended, or is not ours
            continue
    return found
