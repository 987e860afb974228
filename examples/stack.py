"""A Landbridge beside a local Microsoft, each a process of its own, set up as an operator would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.host.server import Product


@dataclass(frozen=True)
class Microsoft:
    """The sandbox as it told about itself when it was ready."""

    login_url: str
    graph_url: str
    control_url: str
    client_id: str
    client_secret: str
    users: list[dict[str, str]]

    @property
    def settings(self) -> dict[str, str]:
        """What Landbridge must be told to use this one instead of the real one."""
        return {
            "LANDBRIDGE_MICROSOFT_LOGIN_URL": self.login_url,
            "LANDBRIDGE_MICROSOFT_GRAPH_URL": self.graph_url,
            "LANDBRIDGE_OUTBOUND_ALLOW": "127.0.0.1",
        }


@contextmanager
def sandbox() -> Iterator[Microsoft]:
    """Run a local Microsoft until left."""
    program = str(Path(sys.executable).with_name("msgraph-sandbox"))
    with _process("sandbox", [program, "serve", "--port", "0"], {}) as told:
        yield Microsoft(**{name: told[name] for name in Microsoft.__dataclass_fields__})


@contextmanager
def landbridge(settings: Mapping[str, str]) -> Iterator[str]:
    """Serve Landbridge with its worker until left; give its URL."""
    with _process("landbridge", [sys.executable, "-m", "landbridge", "serve", "--json"], settings) as told:
        yield told["url"]


def set_up(settings: Mapping[str, str], microsoft: Microsoft, *, landbridge_url: str, origin: str) -> Product:
    """Create a project with OneDrive and a signing key, by the commands that an operator types."""
    project = _run(settings, "projects", "create", "Acme Notes", "--allow-origin", origin)["id"]
    # fmt: off
    _run(settings, "integrations", "set", "onedrive", "--project", project, "--active",
         "--client-id", microsoft.client_id, "--client-secret", microsoft.client_secret)
    # fmt: on
    key = _run(settings, "signing-keys", "create", "--project", project)
    return Product(landbridge_url, project, key["id"], key["private_key"])


def _run(settings: Mapping[str, str], *words: str) -> Any:  # Any: the command's JSON
    command = [sys.executable, "-m", "landbridge", *words, "--json"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:5])} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


@contextmanager
def _process(name: str, command: list[str], settings: Mapping[str, str]) -> Iterator[Any]:  # Any: the JSON it prints
    """Run a program that prints one line of JSON when it is ready, and end it when left."""
    log = Path("build") / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{name} did not start; see {log}:\n{log.read_text()[-2000:]}")
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout
            process.stdout.close()
