"""Whether a conditional step's conditions hold: Paragon's operators, decided as data.

A value of a kind that an operator cannot compare is a *no*, never an error: a list is greater than no number, and what
is no date is neither before nor after. An operator with *not* in it is the exact opposite of the one without.

Texts: numbers, true and false are compared as they are written; capitals count. Numbers: texts that are numbers count.
Dates: ISO 8601 texts; without a zone they are in UTC, without a time they are midnight. A reference that leads to
nothing fails as it does everywhere, except where the operator asks just that.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from landbridge.errors import ReferenceFailed
from landbridge.workflows.definition import Condition
from landbridge.workflows.expressions import resolve

Conditions = Sequence[Sequence[Condition]]
Compare = Callable[[JsonValue, JsonValue], bool]

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_LONGEST_NUMBER = 400
_ASKS_WHETHER_MISSING = frozenset({"$isUndefinedOrNull", "$isNotUndefinedOrNull"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What an operator asks of its operands, and in words."""

    holds: Compare
    meaning: str
    """What *left* is when it holds."""

    takes_right: bool = True


def decide(conditions: Conditions, names: Mapping[str, JsonValue]) -> bool:
    """Return whether all conditions of any group hold; no group is a no. Left to right, no further than needed.

    Raises what `expressions.resolve` raises, with the field as `if[0][1].left`.
    """
    return any(
        all(_holds(condition, names, f"if[{i}][{j}]") for j, condition in enumerate(group))
        for i, group in enumerate(conditions)
    )


def _holds(condition: Condition, names: Mapping[str, JsonValue], place: str) -> bool:
    rule = OPERATORS[condition.operator]
    left = _operand(condition.left, names, f"{place}.left", or_null=condition.operator in _ASKS_WHETHER_MISSING)
    return rule.holds(left, _operand(condition.right, names, f"{place}.right") if rule.takes_right else None)


def _operand(template: JsonValue, names: Mapping[str, JsonValue], place: str, *, or_null: bool = False) -> JsonValue:
    try:
        return resolve(template, names)
    except ReferenceFailed as failed:
        if or_null:
            return None
        field = f"{place}.{failed.field}" if failed.field else place
        raise ReferenceFailed(f"{field}: {failed.message}", path=failed.path, field=field) from None


def _text(value: JsonValue) -> str | None:
    """Return a text, or how a number, true or false is written; None of all else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    return value if isinstance(value, str) else None


def _number(value: JsonValue) -> Decimal | None:
    """Return a number, or that which a text is; true and false are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    written = repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else ""
    return Decimal(written) if len(written) <= _LONGEST_NUMBER and _NUMBER.fullmatch(written) else None


def _instant(value: JsonValue) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _texts(compare: Callable[[str, str], bool]) -> Compare:
    def holds(left: JsonValue, right: JsonValue) -> bool:
        one, other = _text(left), _text(right)
        return one is not None and other is not None and compare(one, other)

    return holds


def _numbers(compare: Callable[[Decimal, Decimal], bool]) -> Compare:
    def holds(left: JsonValue, right: JsonValue) -> bool:
        one, other = _number(left), _number(right)
        return one is not None and other is not None and compare(one, other)

    return holds


def _instants(compare: Callable[[datetime, datetime], bool]) -> Compare:
    def holds(left: JsonValue, right: JsonValue) -> bool:
        one, other = _instant(left), _instant(right)
        return one is not None and other is not None and compare(one, other)

    return holds


def _not(holds: Compare) -> Compare:
    return lambda left, right: not holds(left, right)


def _is_one_of(left: JsonValue, right: JsonValue) -> bool:
    """Return whether a text is in a list of texts, which may be one text with commas."""
    entries = right.split(",") if isinstance(right, str) else right if isinstance(right, list) else []
    return (text := _text(left)) is not None and any(text.strip() == (_text(one) or "").strip() for one in entries)


def _is_entry(left: JsonValue, right: JsonValue) -> bool:
    """Return whether one side is a list and the other is in it."""
    if isinstance(right, list):
        return any(_is_same(left, entry) for entry in right)
    return isinstance(left, list) and any(_is_same(right, entry) for entry in left)


def _is_same(one: JsonValue, other: JsonValue) -> bool:
    """Return whether two values are the same: texts and numbers that are written alike, or equal numbers, are."""
    text, other_text = _text(one), _text(other)
    if text is None or other_text is None:
        return one == other
    are_numbers = not isinstance(one, str | bool) and not isinstance(other, str | bool)
    return text == other_text or (are_numbers and one == other)


def _is_empty(left: JsonValue, _: JsonValue) -> bool:
    return left is None or left == []


def _is_true(left: JsonValue, _: JsonValue) -> bool:
    return left is True or (isinstance(left, str) and left.strip().lower() == "true")


def _is_false(left: JsonValue, _: JsonValue) -> bool:
    return left is False or (isinstance(left, str) and left.strip().lower() == "false")


def _is_null(left: JsonValue, _: JsonValue) -> bool:
    return left is None


_contains = _texts(lambda left, right: right in left)
_matches = _texts(lambda left, right: left == right)
_starts = _texts(lambda left, right: left.startswith(right))
_ends = _texts(lambda left, right: left.endswith(right))
_equals = _numbers(lambda left, right: left == right)

OPERATORS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "$stringContains": Rule(_contains, "a text that has *right* in it"),
        "$stringDoesNotContain": Rule(_not(_contains), "not so"),
        "$stringExactlyMatches": Rule(_matches, "the same text as *right*"),
        "$stringDoesNotExactlyMatch": Rule(_not(_matches), "not so"),
        "$stringIsIn": Rule(_is_one_of, "one of the texts in *right*: a list, or a text with commas between them"),
        "$stringIsNotIn": Rule(_not(_is_one_of), "not so"),
        "$stringStartsWith": Rule(_starts, "a text that starts with *right*"),
        "$stringDoesNotStartWith": Rule(_not(_starts), "not so"),
        "$stringEndsWith": Rule(_ends, "a text that ends with *right*"),
        "$stringDoesNotEndWith": Rule(_not(_ends), "not so"),
        "$stringGreaterThan": Rule(_texts(lambda left, right: left > right), "a text after *right*, by code points"),
        "$stringLessThan": Rule(_texts(lambda left, right: left < right), "a text before *right*, by code points"),
        "$numberGreaterThan": Rule(_numbers(lambda left, right: left > right), "a number greater than *right*"),
        "$numberLessThan": Rule(_numbers(lambda left, right: left < right), "a number less than *right*"),
        "$numberGreaterThanOrEqualTo": Rule(_numbers(lambda left, right: left >= right), "a number, *right* or more"),
        "$numberLessThanOrEqualTo": Rule(_numbers(lambda left, right: left <= right), "a number, *right* or less"),
        "$numberEquals": Rule(_equals, "the same number as *right*: 1, 1.0 and the text “1” are one"),
        "$numberDoesNotEqual": Rule(_not(_equals), "not so"),
        "$dateTimeAfter": Rule(_instants(lambda left, right: left > right), "a time after *right*"),
        "$dateTimeBefore": Rule(_instants(lambda left, right: left < right), "a time before *right*"),
        "$dateTimeEquals": Rule(_instants(lambda left, right: left == right), "the same instant as *right*"),
        "$booleanTrue": Rule(_is_true, "true, or the text “true”", takes_right=False),
        "$booleanFalse": Rule(_is_false, "false, or the text “false”", takes_right=False),
        "$exists": Rule(_not(_is_null), "there, and not null; fails if it is missing", takes_right=False),
        "$doesNotExist": Rule(_is_null, "there, and null; fails if it is missing", takes_right=False),
        "$isNotUndefinedOrNull": Rule(_not(_is_null), "there, and not null", takes_right=False),
        "$isUndefinedOrNull": Rule(_is_null, "missing, or null", takes_right=False),
        "$arrayIsIn": Rule(_is_entry, "an entry of the list *right*; or a list with the entry *right*"),
        "$arrayIsNotIn": Rule(_not(_is_entry), "not so"),
        "$arrayIsEmpty": Rule(_is_empty, "a list without entries, or null", takes_right=False),
        "$arrayIsNotEmpty": Rule(_not(_is_empty), "not so", takes_right=False),
        "$none": Rule(lambda _left, _right: True, "anything: the condition always holds", takes_right=False),
    }
)
"""What each operator means; the names are the browser SDK's."""
