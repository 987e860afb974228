"""What is installed without the tools that we develop with is enough to serve."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from scripts.setup import BIN, TREE


def uv(*words: str | Path, **environment: str) -> None:
    given = os.environ | {"UV_PYTHON_DOWNLOADS": "never"} | environment
    subprocess.run((BIN / "uv", *words, "--quiet"), check=True, cwd=TREE, env=given, stdout=subprocess.DEVNULL)


def install_as_the_image_does(home: Path) -> None:
    uv("sync", "--frozen", "--no-dev", "--no-editable", UV_PROJECT_ENVIRONMENT=str(home))


def install_the_wheel(home: Path) -> None:
    """Install as `pip install landbridge` does, but in the locked versions, so that tomorrow is like today."""
    locked = home.with_name("locked.txt")
    uv("export", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--output-file", locked)
    uv("build", "--wheel", "--out-dir", home.parent)
    uv("venv", home)
    uv("pip", "install", "--python", home / "bin" / "python", "--constraint", locked, *home.parent.glob("*.whl"))


@pytest.fixture(scope="module", params=[install_as_the_image_does, install_the_wheel])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product in an environment of its own."""
    home = tmp_path_factory.mktemp("installed") / "landbridge"
    request.param(home)
    return home


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of an installed server that has nothing but its data folder."""
    environment = {"PATH": os.environ["PATH"], "LANDBRIDGE_DATA_DIR": str(tmp_path / "data")}
    command = (installed / "bin" / "landbridge", "serve", "--port", "0", "--json")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield json.loads(server.stdout.readline())["url"]
        server.terminate()
        server.communicate()
        assert server.returncode == 0


def test_an_installed_server_is_ready_and_shows_its_portal(served: str) -> None:
    for path in ("/readyz", "/ui", "/integrations/onedrive.svg"):
        with urlopen(f"{served}{path}") as answer:
            assert answer.status == 200


def test_the_containerfile_installs_with_the_words_that_the_test_uses() -> None:
    lines = (TREE / "Containerfile").read_text(encoding="utf-8").splitlines()

    assert "RUN uv sync --frozen --no-dev --no-editable" in lines
