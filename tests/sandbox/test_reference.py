"""The reference page knows every switch, address, field and option that there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from msgraph_sandbox.cli import main
from msgraph_sandbox.control.app import ROUTES
from msgraph_sandbox.faults import Fault
from msgraph_sandbox.ledger import Entry
from msgraph_sandbox.switches import Switches

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "sandbox.md").read_text()
# Addresses as the page writes them, with `{}` for every name in them.
ADDRESSES = {re.sub(r"\{\w+\}", "{}", text) for text in re.findall(r"(/[a-z][\w/{}.-]*)", PAGE)}


@pytest.mark.parametrize("name", sorted(Switches.model_fields))
def test_every_switch_is_described(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("pattern", sorted({pattern for _, pattern, _ in ROUTES}))
def test_every_address_is_described(pattern: str) -> None:
    address = pattern.replace("(?:/state)?", "/state").replace("([^/]+)", "{}").replace("(.+)", "{}")
    assert address in ADDRESSES


@pytest.mark.parametrize("name", sorted(Fault.model_fields) + [field.name for field in fields(Entry)])
def test_every_field_of_faults_and_of_the_ledger_is_described(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_option_of_the_command_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    for option in re.findall(r"--[a-z-]+", capsys.readouterr().out):
        assert option == "--help" or f"`{option}" in PAGE
