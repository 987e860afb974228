"""The tree says what it holds, and holds nothing of the machine that it was written on."""

import os
import re
import subprocess

import pytest
from scripts.setup import TREE

MACHINE_PATHS = re.compile(rb"(?<![\w.$~{])/(?:(?:home|Users|work|mnt)/[\w.-]+|root/\.\w+)")
"""Of root's home only what begins with a dot, since `/root/children` is where a drive begins."""


def tracked_files() -> list[str]:
    listing = subprocess.run(("git", "ls-files", "-z"), cwd=TREE, check=True, capture_output=True, text=True)
    return [name for name in listing.stdout.split("\0") if name and (TREE / name).is_file()]


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    found = {name: paths for name in tracked_files() if (paths := MACHINE_PATHS.findall((TREE / name).read_bytes()))}

    assert found == {}


@pytest.mark.parametrize("before", [b"", b" ", b"'", b"=", b"(", b"file://"])
@pytest.mark.parametrize("place", [b"home/ann/tree", b"Users/ann", b"root/.cache", b"mnt/disk"])
def test_a_path_of_somebodys_machine_is_recognised(before: bytes, place: bytes) -> None:
    assert MACHINE_PATHS.search(before + b"/" + place)


@pytest.mark.parametrize(
    "other", [b"/v1.0/me/drive/root/children", b"'/root/children'", b"https://host/home/page", b"$HOME/x", b"~/work/x"]
)
def test_other_paths_are_not(other: bytes) -> None:
    assert not MACHINE_PATHS.search(other)


def test_make_help_lists_every_target() -> None:
    makefile = (TREE / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))

    said = subprocess.run(("make", "help"), cwd=TREE, check=True, capture_output=True, text=True).stdout

    assert set(re.findall(r"^  make ([a-z]+)", said, flags=re.MULTILINE)) == targets
    assert targets == {"help", "demo", "dev", "check", "test", "bench", "soak", "docs", "clean"}


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    command = (TREE / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1].removeprefix("exec ")

    assert os.access(TREE / ".ci" / "run", os.X_OK)
    assert f"\n$ {command}\n" in (TREE / "README.md").read_text(encoding="utf-8")
    assert command == "make test"


def test_every_target_is_phony() -> None:
    makefile = (TREE / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)

    assert phony
    assert set(phony[1].split()) == targets


def test_the_npm_lock_files_name_no_registry_of_ours() -> None:
    for name in ("tests/acceptance/package-lock.json", "scripts/chromium/package-lock.json"):
        hosts = set(re.findall(r"https?://[^/\"]+", (TREE / name).read_text(encoding="utf-8")))

        assert hosts <= {"https://registry.npmjs.org"}


def _looks() -> list[str]:
    """Return the commands of `make check`, without its set-up."""
    makefile = (TREE / "Makefile").read_text(encoding="utf-8")
    _, _, recipe = makefile.partition("\ncheck:")
    return re.findall(r"^\t@(\.venv/bin/.+)$", recipe.partition("\n\n")[0], flags=re.MULTILINE)


@pytest.mark.parametrize("command", _looks())
@pytest.mark.timeout(600)
def test_whatever_make_check_looks_at_is_as_it_should_be(command: str) -> None:
    looked = subprocess.run(command.split(), cwd=TREE, capture_output=True, text=True, check=False)

    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_make_check_looks_at_style_format_types_and_layers() -> None:
    assert [command.split("/")[-1].split()[0] for command in _looks()] == ["ruff", "ruff", "mypy", "lint-imports"]
