"""Whether a conditional step's conditions hold: Paragon's operators, decided as data.

A value of a kind that an operator cannot compare is a *no*, never an error: a list is greater than no number, and what
is no date is neither before nor after. An operator with *not* in it is the exact opposite of the one without.

Texts: numbers, true and false are compared as they are written; capitals count. Numbers: texts that are numbers count.
Dates: ISO 8601 texts; without a zone they are in UTC, without a time they are midnight. A reference that leads to
nothing fails as it does everywhere, except where the operator asks just that.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from pydantic import JsonValue

from landbridge.errors import ReferenceFailed
from landbridge.workflows.definition import Condition
from landbridge.workflows.expressions import resolve

Conditions = Sequence[Sequence[Condition]]
Compare = Callable[[JsonValue, JsonValue], bool]
_T = TypeVar("_T")

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_LONGEST_NUMBER = 400
_ASKS_WHETHER_MISSING = frozenset({"$isUndefinedOrNull", "$isNotUndefinedOrNull"})


@dataclass(frozen=True)
class Operand(Generic[_T]):
    """What an operator can compare: JSON Schema types, in words, and what it takes a value for, None if for nothing."""

    kinds: frozenset[str]
    words: str
    read: Callable[[JsonValue], _T | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an operator asks. An operand that is None may be anything."""

    holds: Compare
    meaning: str
    """What *left* is when it holds."""

    left: Operand[Any] | None = None  # Any: whatever it is taken for
    right: Operand[Any] | None = None
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


def _boolean(value: JsonValue) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _entries(value: JsonValue) -> list[JsonValue] | None:
    """Return a list, or what stands between a text's commas."""
    if isinstance(value, str):
        return list(value.split(","))
    return value if isinstance(value, list) else None


def _is_one_of(left: JsonValue, right: JsonValue) -> bool:
    text, entries = _text(left), _entries(right)
    return text is not None and any(text.strip() == (_text(one) or "").strip() for one in entries or ())


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


_TEXT = Operand(frozenset({"string", "number", "integer", "boolean", "null"}), "a text", _text)
_NUMERIC = Operand(frozenset({"string", "number", "integer", "null"}), "a number", _number)
_DATE = Operand(frozenset({"string", "null"}), "a date, as 2026-01-31T12:00:00Z", _instant)
_BOOLEAN = Operand(frozenset({"string", "boolean", "null"}), "true or false", _boolean)
_LIST = Operand(frozenset({"array", "string", "null"}), "a list", _entries)


def _comparing(operand: Operand[_T], compare: Callable[[_T, _T], bool], meaning: str) -> Rule:
    """Return the rule that holds if both sides can be compared, and compare so."""

    def holds(left: JsonValue, right: JsonValue) -> bool:
        one, other = operand.read(left), operand.read(right)
        return one is not None and other is not None and compare(one, other)

    return Rule(holds, meaning, operand, operand)


def _asking(
    holds: Callable[[JsonValue], bool], meaning: str, left: Operand[Any] | None = None
) -> Rule:  # Any: as above
    """Return the rule that looks at the left side only."""
    return Rule(lambda value, _: holds(value), meaning, left, takes_right=False)


def _opposite(rule: Rule) -> Rule:
    return replace(rule, holds=lambda left, right: not rule.holds(left, right), meaning="anything else")


_contains = _comparing(_TEXT, operator.contains, "a text that has *right* in it")
_matches = _comparing(_TEXT, operator.eq, "the same text as *right*")
_starts = _comparing(_TEXT, str.startswith, "a text that starts with *right*")
_ends = _comparing(_TEXT, str.endswith, "a text that ends with *right*")
_one_of = Rule(_is_one_of, "one of the texts in *right*: a list, or a text with commas between them", _TEXT, _LIST)
_equals = _comparing(_NUMERIC, operator.eq, "the same number as *right*: 1, 1.0 and the text “1” are one")
_entry = Rule(_is_entry, "an entry of the list *right*; or a list with the entry *right*")
_empty = _asking(lambda left: left is None or left == [], "a list without entries, or null")

OPERATORS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "$stringContains": _contains,
        "$stringDoesNotContain": _opposite(_contains),
        "$stringExactlyMatches": _matches,
        "$stringDoesNotExactlyMatch": _opposite(_matches),
        "$stringIsIn": _one_of,
        "$stringIsNotIn": _opposite(_one_of),
        "$stringStartsWith": _starts,
        "$stringDoesNotStartWith": _opposite(_starts),
        "$stringEndsWith": _ends,
        "$stringDoesNotEndWith": _opposite(_ends),
        "$stringGreaterThan": _comparing(_TEXT, operator.gt, "a text after *right*, by code points"),
        "$stringLessThan": _comparing(_TEXT, operator.lt, "a text before *right*, by code points"),
        "$numberGreaterThan": _comparing(_NUMERIC, operator.gt, "a number greater than *right*"),
        "$numberLessThan": _comparing(_NUMERIC, operator.lt, "a number less than *right*"),
        "$numberGreaterThanOrEqualTo": _comparing(_NUMERIC, operator.ge, "a number, *right* or more"),
        "$numberLessThanOrEqualTo": _comparing(_NUMERIC, operator.le, "a number, *right* or less"),
        "$numberEquals": _equals,
        "$numberDoesNotEqual": _opposite(_equals),
        "$dateTimeAfter": _comparing(_DATE, operator.gt, "a time after *right*"),
        "$dateTimeBefore": _comparing(_DATE, operator.lt, "a time before *right*"),
        "$dateTimeEquals": _comparing(_DATE, operator.eq, "the same instant as *right*"),
        "$booleanTrue": _asking(lambda left: _boolean(left) is True, "true, or the text “true”", _BOOLEAN),
        "$booleanFalse": _asking(lambda left: _boolean(left) is False, "false, or the text “false”", _BOOLEAN),
        "$exists": _asking(lambda left: left is not None, "not null; fails if it is missing"),
        "$doesNotExist": _asking(lambda left: left is None, "null; fails if it is missing"),
        "$isNotUndefinedOrNull": _asking(lambda left: left is not None, "there, and not null"),
        "$isUndefinedOrNull": _asking(lambda left: left is None, "missing, or null"),
        "$arrayIsIn": _entry,
        "$arrayIsNotIn": _opposite(_entry),
        "$arrayIsEmpty": _empty,
        "$arrayIsNotEmpty": _opposite(_empty),
        "$none": _asking(lambda _: True, "anything"),
    }
)
"""What each operator means; the names are the browser SDK's."""
