"""Names that OneDrive takes pass, and each other one is refused with what is wrong with it."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import NameNotAllowed
from landbridge.integrations.onedrive.names import LONGEST_NAME, LONGEST_PATH, check_name, encoded, segments
from msgraph_sandbox.drive.names import check_name as check_at_microsoft
from msgraph_sandbox.drive.refusals import GraphRefused


@given(st.text(max_size=300).map(lambda text: text.replace("_", "_vti_", 1)) | st.text(max_size=300))
def test_a_name_passes_exactly_if_the_sandbox_takes_it(name: str) -> None:
    try:
        check_at_microsoft(name)
        takes = True
    except GraphRefused:
        takes = False

    try:
        assert check_name(name) == name
        passes = True
    except NameNotAllowed:
        passes = False

    assert passes == takes


@given(before=st.from_regex(r"[a-z]{0,9}", fullmatch=True), character=st.sampled_from('"*:<>?/\\|\n\x00\x7f'))
def test_the_character_that_is_not_taken_is_named_with_its_place(before: str, character: str) -> None:
    with pytest.raises(NameNotAllowed) as refused:
        check_name(f"{before}{character}?.txt")

    assert (refused.value.meta["character"], refused.value.meta["position"]) == (character, len(before) + 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        (" a", "begins with a space"),
        ("a ", "ends with a space"),
        ("a.", "ends with a point"),
        ("..", "ends with a point"),
        ("~$draft.docx", "keeps for itself"),
        ("x_VTI_y", "keeps for itself"),
        ("Con", "keeps for itself"),
        ("lpt7", "keeps for itself"),
        ("a" * (LONGEST_NAME + 1), "256 characters"),
        ("a\ud800", "surrogate"),
    ],
)
def test_what_else_is_wrong_is_said(name: str, words: str) -> None:
    with pytest.raises(NameNotAllowed, match=words):
        check_name(name)


def test_a_path_is_the_same_with_and_without_its_outer_slashes() -> None:
    assert segments("/Reports/2026/") == segments("Reports/2026") == ("Reports", "2026")
    assert segments("/") == segments("") == ()


@pytest.mark.parametrize("path", ["a//b", "a/b:c", "a/../b", "a/ b", "x/" * (LONGEST_PATH // 2) + "yy"])
def test_a_path_that_onedrive_would_not_take_is_refused(path: str) -> None:
    with pytest.raises(NameNotAllowed):
        segments(path)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_encoded_names_are_plain_ascii_and_mean_themselves(names: list[str]) -> None:
    written = encoded(*names)

    assert written.isascii()
    assert not set(written) & set(" #?:+'\"<>|\\{}^`")
    assert [unquote(part) for part in written.split("/")] == names
