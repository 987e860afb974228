"""The guide to a new integration, followed to the letter in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.setup import TREE

GUIDE = TREE / "docs" / "how-to" / "new-integration.md"
PLACE = re.compile(r"In `(?P<path>[\w/.]+)`,\s(?P<where>at the end|before|instead of)(?: `(?P<anchor>[^`]+)`)?:\s*\Z")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".tools", "build", "node_modules", ".hypothesis", "__pycache__", ".*_cache"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with this one's environment."""
    copy = tmp_path_factory.mktemp("copy") / "landbridge"
    shutil.copytree(TREE, copy, ignore=NOT_COPIED, symlinks=True)
    (copy / ".venv").symlink_to(TREE / ".venv")
    return copy


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield the language of each block of the guide, its text, and what stands before it."""
    parts = re.split(r"```(\w+)\n(.*?)```\n", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from zip(parts[1::3], parts[2::3], parts[0::3], strict=False)


def run(tree: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy; the copy uses this tree's environment, so it sets up none."""
    path = f"{TREE / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = os.environ | {"PATH": path, "PYTHONPATH": str(tree / "src")}
    words = command.replace("make ", "make SETUP=true ", 1)
    return subprocess.run(words, shell=True, cwd=tree, env=given, check=False, capture_output=True, text=True)


def edit(tree: Path, snippet: str, before: str) -> None:
    """Put a snippet where the words before it say."""
    place = PLACE.search(before)
    assert place, f"The guide does not say where this goes: {snippet}"
    file = tree / place["path"]
    text = file.read_text(encoding="utf-8")
    if place["where"] == "at the end":
        file.write_text(f"{text}\n\n{snippet}", encoding="utf-8")
        return
    assert text.count(place["anchor"]) == 1, place["anchor"]
    new = snippet + place["anchor"] if place["where"] == "before" else snippet.rstrip()
    file.write_text(text.replace(place["anchor"], new), encoding="utf-8")


@pytest.mark.timeout(900)
def test_the_guide_leads_to_an_integration_that_passes_all_checks_and_is_judged_well(tree: Path) -> None:
    done = []
    for language, text, before in steps():
        if language == "console":
            for command in re.findall(r"^\$ (.+)$", text, flags=re.MULTILINE):
                ended = run(tree, command)
                assert ended.returncode == 0, ended.stdout + ended.stderr
                done.append((command.split()[1], ended.stdout))
        else:
            edit(tree, text, before)

    judged = [int(re.findall(r"(\d+) passed", said)[-1]) for command, said in done if command == "test"]
    assert [command for command, _ in done] == ["new-integration", *(["docs", "check", "test"] * 2)]
    assert 30 < judged[0] < judged[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("todo --scope Tasks --tree /", "no checkout"),
        ("onedrive --scope Files", "a folder"),
        ("To-Do --scope Tasks", "The name"),
        ("import --scope Tasks", "no Python word"),
        ("todo --scope tasks", "first word"),
        ("todo --scope Tasks --title 'a\"b'", "The title"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is(tree: Path, arguments: str, words: str) -> None:
    before = folders_of(tree)

    ended = run(tree, f"landbridge new-integration {arguments}")

    assert ended.returncode == 1
    assert words in ended.stderr
    assert folders_of(tree) == before


def folders_of(tree: Path) -> set[str]:
    """Return the names of the integrations' folders, and of what else lies there but what Python has compiled."""
    return {path.name for path in (tree / "src/landbridge/integrations").iterdir()} - {"__pycache__"}
