"""`$filter`: as far as Microsoft supports it, and refused elsewhere."""

from __future__ import annotations

import pytest
from tests.sandbox.caller import Caller


@pytest.mark.parametrize(
    ("text", "names", "on_work"),
    [
        ("name eq 'notes.MD'", ["Notes.md"], True),
        ("startswith(name, 'pic') or name eq 'Notes.md'", ["Notes.md", "Pictures"], True),
        ("folder ne null", ["Documents", "Pictures"], True),
        ("folder ne null and name ne 'Documents'", ["Pictures"], True),
        ("name eq 'a or b''s'", [], True),
        ("file ne null", ["Notes.md"], False),
        ("size gt 1000 and lastModifiedDateTime gt 2020-01-01T00:00:00Z", ["Documents", "Pictures"], False),
        ("size lt abc", None, False),
        ("contains(name, 'x')", None, False),
        ("name eq 'open", None, False),
    ],
)
async def test_children_are_filtered_as_far_as_the_kind_of_drive_can(
    caller: Caller, personal: Caller, text: str, names: list[str] | None, on_work: bool
) -> None:
    for who in (caller, personal):
        able = names is not None and (on_work or who is personal)
        path = "/me/drive/root/children?$filter=" + text.replace(" ", "%20")
        answer = await who.graph("GET", path, 200 if able else 400)
        if able:
            assert [item["name"] for item in answer["value"]] == names
        else:
            assert answer["error"]["code"] in ("notSupported", "invalidRequest")


@pytest.mark.parametrize("path", ["/me/drive/root/delta", "/me/drive/root/search(q='a')"])
async def test_a_filter_elsewhere_is_refused_and_not_ignored(caller: Caller, path: str) -> None:
    await caller.graph("GET", f"{path}?$filter=name%20eq%20'x'", 400)
