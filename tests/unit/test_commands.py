"""What every command has in common, and how a command says that it could not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from landbridge.cli import cli
from landbridge.errors import BackupFailed


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # Any: typer's kinds of a command
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, inner in command.commands.items():
        yield from leaves(f"{name} {part}", inner)


COMMANDS = dict(leaves("landbridge", typer.main.get_command(cli)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_takes_json(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    assert "--json" in {spelt for one in command.params for spelt in one.opts}
    assert all(one.help or one.metavar for one in command.params if not one.hidden), "a parameter without a meaning"


@pytest.fixture(autouse=True)
def _untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the logging of this process to the tests."""
    monkeypatch.setattr("landbridge.cli.terminal.configure_logging", lambda _settings: None)


def test_a_table_cuts_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANDBRIDGE_DATA_DIR", str(tmp_path / "data"))
    origins = [f"https://a-rather-long-name-{number}.example" for number in range(9)]
    options = [f"--allow-origin={origin}" for origin in origins]

    cli(["projects", "create", "A name of some length", *options], standalone_mode=False)

    assert ", ".join(origins) in capfd.readouterr().out


@pytest.mark.parametrize(("place", "why"), [("ring", "there already"), ("no/ring", "cannot be written")])
def test_an_exported_key_ring_replaces_no_file(
    place: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDBRIDGE_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "ring").write_text("older")

    with pytest.raises(BackupFailed, match=why):
        cli(["keys", "export", "--output", str(tmp_path / place)], standalone_mode=False)

    assert (tmp_path / "ring").read_text() == "older"


def test_an_exported_key_ring_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_DATA_DIR", str(tmp_path / "data"))

    cli(["keys", "export", "--output", str(tmp_path / "ring")], standalone_mode=False)

    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600
    assert "# " not in (tmp_path / "ring").read_text()
