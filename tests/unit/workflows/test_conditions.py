"""Which way a conditional step goes."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from tests.unit.workflows.definitions import VALUES

from landbridge.errors import ReferenceFailed
from landbridge.workflows.conditions import OPERATORS, decide
from landbridge.workflows.definition import Condition, Operator

OPPOSITES = [
    ("$stringContains", "$stringDoesNotContain"),
    ("$stringExactlyMatches", "$stringDoesNotExactlyMatch"),
    ("$stringIsIn", "$stringIsNotIn"),
    ("$stringStartsWith", "$stringDoesNotStartWith"),
    ("$stringEndsWith", "$stringDoesNotEndWith"),
    ("$numberEquals", "$numberDoesNotEqual"),
    ("$exists", "$doesNotExist"),
    ("$isNotUndefinedOrNull", "$isUndefinedOrNull"),
    ("$arrayIsIn", "$arrayIsNotIn"),
    ("$arrayIsEmpty", "$arrayIsNotEmpty"),
]


def _is(left: JsonValue, operator: Any, right: JsonValue = None) -> bool:  # Any: one of the operators
    names: dict[str, JsonValue] = {"trigger": {"left": left, "right": right}}
    asked = Condition(left="{{ trigger.left }}", operator=operator, right="{{ trigger.right }}")
    return decide([[asked]], names)


@pytest.mark.parametrize(
    ("left", "operator", "right", "holds"),
    [
        ("report.pdf", "$stringContains", "port", True),
        ("report.pdf", "$stringContains", "Port", False),
        ("report.pdf", "$stringContains", "", True),
        (["port"], "$stringContains", "port", False),
        (None, "$stringContains", "", False),
        (None, "$stringDoesNotContain", "x", True),
        (12345, "$stringContains", 34, True),
        (True, "$stringExactlyMatches", "true", True),
        ("a", "$stringExactlyMatches", "a ", False),
        (None, "$stringExactlyMatches", None, False),
        ("b", "$stringIsIn", ["a", "b"], True),
        ("b", "$stringIsIn", "a, b,c", True),
        ("b", "$stringIsIn", "abc", False),
        (2, "$stringIsIn", [1, 2], True),
        ("b", "$stringIsIn", {"b": 1}, False),
        ("b", "$stringIsNotIn", 7, True),
        ("Report", "$stringStartsWith", "Rep", True),
        ("Report", "$stringEndsWith", "ort", True),
        ("b", "$stringGreaterThan", "a", True),
        ("a", "$stringLessThan", "B", False),
        ("10", "$stringLessThan", "9", True),
        (3, "$numberGreaterThan", 2, True),
        ("3", "$numberGreaterThan", " 2.5 ", True),
        ("10", "$numberGreaterThan", "9", True),
        (3, "$numberGreaterThan", "two", False),
        (None, "$numberLessThan", 1, False),
        (True, "$numberGreaterThan", 0, False),
        ([3], "$numberGreaterThan", 2, False),
        (2, "$numberGreaterThanOrEqualTo", 2.0, True),
        (2, "$numberLessThanOrEqualTo", "2", True),
        (0.1, "$numberEquals", "0.1", True),
        (2**60 + 1, "$numberEquals", 2**60, False),
        ("1e3", "$numberEquals", 1000, True),
        ("NaN", "$numberEquals", "NaN", False),
        ("1_000", "$numberEquals", 1000, False),
        ("x", "$numberDoesNotEqual", 1, True),
        ("2026-01-31T12:00:00Z", "$dateTimeAfter", "2026-01-31T12:30:00+01:00", True),
        ("2026-01-31", "$dateTimeBefore", "2026-01-31T00:00:01", True),
        ("2026-01-31T00:00:00.0000000Z", "$dateTimeEquals", "2026-01-31", True),
        ("yesterday", "$dateTimeBefore", "2026-01-31", False),
        (1769817600, "$dateTimeBefore", "2030-01-01", False),
        ("0001-01-01T00:00:00+23:00", "$dateTimeBefore", "2030-01-01", False),
        (True, "$booleanTrue", None, True),
        (" TRUE", "$booleanTrue", None, True),
        (1, "$booleanTrue", None, False),
        ("false", "$booleanFalse", None, True),
        (None, "$booleanFalse", None, False),
        (0, "$exists", None, True),
        (None, "$exists", None, False),
        (None, "$doesNotExist", None, True),
        ("", "$isNotUndefinedOrNull", None, True),
        (None, "$isUndefinedOrNull", None, True),
        (2, "$arrayIsIn", [1, 2], True),
        ([1, 2], "$arrayIsIn", "2", True),
        ({"a": 1}, "$arrayIsIn", [{"a": 1}], True),
        (1, "$arrayIsIn", [True, "x"], False),
        (1.0, "$arrayIsIn", [1], True),
        (None, "$arrayIsIn", [None], True),
        ("a", "$arrayIsIn", "abc", False),
        ("a", "$arrayIsNotIn", "abc", True),
        ([], "$arrayIsEmpty", None, True),
        (None, "$arrayIsEmpty", None, True),
        ("", "$arrayIsEmpty", None, False),
        ([None], "$arrayIsNotEmpty", None, True),
        (None, "$none", None, True),
    ],
)
def test_a_condition(left: JsonValue, operator: str, right: JsonValue, holds: bool) -> None:
    assert _is(left, operator, right) is holds


def test_every_operator_of_the_sdk_is_decided() -> None:
    assert set(OPERATORS) == set(get_args(Operator))


@given(VALUES, st.sampled_from(get_args(Operator)), VALUES)
def test_no_value_is_too_odd_to_decide(left: JsonValue, operator: str, right: JsonValue) -> None:
    assert _is(left, operator, right) in {True, False}


@given(VALUES, st.sampled_from(OPPOSITES), VALUES)
def test_opposites_never_agree(left: JsonValue, operators: tuple[str, str], right: JsonValue) -> None:
    assert _is(left, operators[0], right) is not _is(left, operators[1], right)


def test_all_conditions_of_any_group_hold() -> None:
    yes, no = Condition(operator="$none"), Condition(operator="$exists")

    assert decide([[yes, no], [yes, yes]], {})
    assert decide([[]], {})
    assert not decide([[yes, no], [no]], {})
    assert not decide([], {})


def test_what_is_decided_already_is_not_looked_up() -> None:
    missing = Condition(left="{{ steps.never.result }}", operator="$booleanTrue")
    yes, no = Condition(operator="$none"), Condition(operator="$exists")

    assert decide([[yes], [missing]], {"steps": {}})
    assert not decide([[no, missing]], {"steps": {}})


@pytest.mark.parametrize(("operator", "holds"), [("$isUndefinedOrNull", True), ("$isNotUndefinedOrNull", False)])
def test_what_is_missing_can_be_asked_for(operator: Any, holds: bool) -> None:
    assert decide([[Condition(left="{{ steps.never.result }}", operator=operator)]], {"steps": {}}) is holds


@pytest.mark.parametrize("operator", ["$exists", "$doesNotExist", "$stringContains", "$arrayIsEmpty"])
def test_what_is_missing_otherwise_fails_and_says_where(operator: Any) -> None:
    asked = Condition(left={"a": "{{ steps.never }}"}, operator=operator, right="x")

    with pytest.raises(ReferenceFailed, match=r"^if\[1\]\[0\]\.left") as failed:
        decide([[Condition(operator="$exists")], [asked]], {"steps": {}})

    assert (failed.value.field, failed.value.path) == ("if[1][0].left.a", "steps.never")


def test_what_may_be_missing_is_null() -> None:
    assert decide([[Condition(left="{{ steps.never?.result }}", operator="$doesNotExist")]], {"steps": {}})
