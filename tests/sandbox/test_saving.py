"""Drives keep what is on them between runs, if a folder is given for it."""

from __future__ import annotations

import gc
from pathlib import Path

from msgraph_sandbox.server import Sandbox

ADA = "ada@contoso.example"


def test_a_drive_is_found_again_by_the_next_run(tmp_path: Path) -> None:
    large = bytes(range(256)) * 1000
    with Sandbox(data=tmp_path) as first:
        first.control.write(ADA, "Kept/large.bin", b"old")
        first.control.write(ADA, "Kept/large.bin", large)
        first.control.delete(ADA, "Notes.md")
        before = first.control.tree(ADA)
    del first
    gc.collect()
    with Sandbox(data=tmp_path) as second:
        assert second.control.tree(ADA) == before
        assert second.control.read(ADA, "Kept/large.bin") == large
        made = second.control.write(ADA, "new.txt", b"x")
        assert made["id"] not in {row["id"] for row in before.values()}
        second.control.write(ADA, "Kept/large.bin", b"new")
    with Sandbox(data=tmp_path) as third:
        assert third.control.read(ADA, "Kept/large.bin") == b"new"
        assert third.control.tree(ADA)["new.txt"]["size"] == 1
