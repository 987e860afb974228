"""Every snippet of the how-to page works, in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "sandbox.md"


def test_what_the_guide_shows_can_be_done(tmp_path: Path) -> None:
    script = ["set -eu", "trap 'kill $(jobs -p)' EXIT"]
    for number, (language, code) in enumerate(re.findall(r"```(\w+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)):
        name = f"test_snippet_{number}.py"
        (tmp_path / name).write_text(code)
        runner = "pytest -q -p no:cacheprovider" if "\ndef test_" in code else "python"
        script.append(code if language == "sh" else f"{runner} {name}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "sandbox.json" in done.stdout  # what rclone lists
    assert "2 passed" in done.stdout
