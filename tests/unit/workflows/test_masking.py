"""What people read of runs, and that no secret is in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.workflows.masking import Mask

SECRETS = st.lists(st.text("abcdef", min_size=2, max_size=6), min_size=1, max_size=5)


@st.composite
def leaks(draw: st.DrawFn) -> tuple[list[str], Any]:
    """Return secrets, and JSON in which they stand anywhere."""
    secrets = draw(SECRETS)
    texts = st.lists(st.sampled_from([*secrets, "", "x", " - ", "{"]), max_size=4).map("".join)
    values = st.recursive(texts | st.integers() | st.none(), lambda inner: st.lists(inner) | _objects(texts, inner))
    return secrets, draw(values)


def _objects(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, values, max_size=3)


@given(leaks())
def test_no_secret_is_left_wherever_it_stands(given_: tuple[list[str], Any]) -> None:
    secrets, value = given_
    left = json.dumps(Mask(secrets).over(value)).replace("[redacted]", "").replace("null", "")
    assert not [secret for secret in secrets if secret in left]


@pytest.mark.parametrize("secret", ["-----BEGIN\nKEY-----\n", 'a "quoted" one', "schön"])
def test_no_secret_is_left_in_a_text_that_holds_it_as_json_or_without_its_last_line_break(secret: str) -> None:
    for text in (json.dumps({"q": secret}), json.dumps({"q": secret}, ensure_ascii=False), secret.strip()):
        assert "•••" in Mask([secret]).over(text)
        assert not {secret.strip(), json.dumps(secret.strip())[1:-1]} & {Mask([secret]).over(text)}


def test_of_a_secret_with_another_one_in_it_nothing_is_left() -> None:
    secrets = ["key-1", "key-1-and-its-tail", "key"]
    assert Mask(secrets).over("a key-1-and-its-tail b key-1 c key") == "a ••• b ••• c •••"


@pytest.mark.parametrize("number", [12345678, 12345678.0])
def test_a_number_that_a_secret_spells_is_hidden_and_others_are_not(number: float) -> None:
    assert Mask(["12345678"]).over([number, 1, True, 123456789]) == ["•••", 1, True, 123456789]
    assert Mask(["1"]).over({"is": True, "n": 1}) == {"is": True, "n": "•••"}


def test_what_more_is_known_is_hidden_too() -> None:
    assert Mask(["one"]).with_(["two"]).over("one two three") == "••• ••• three"


def test_nothing_is_hidden_by_an_empty_secret() -> None:
    assert Mask([""]).over({"": "text"}) == {"": "text"}


def test_no_entry_is_lost_whose_name_is_hidden() -> None:
    value = {"ann@acme.example": 1, "bob@acme.example": 2, "c": 3, "••• 2": 4}

    shown = Mask(["ann@acme.example", "bob@acme.example"]).over(value)

    assert sorted(shown.values()) == [1, 2, 3, 4]
    assert shown["•••"] == 1
    assert not any("example" in name for name in shown)
