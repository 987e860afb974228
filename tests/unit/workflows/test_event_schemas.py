"""JSON Schemas of app events: what is one, and what fits it."""

import time
from typing import Any

import pytest

from landbridge.errors import InvalidRequest
from landbridge.workflows.event_schemas import must_be_schema, must_fit

INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^[0-9-]+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "to": {"type": "string", "format": "email"},
    },
    "required": ["number"],
    "$defs": {"line": {"type": "object", "properties": {"amount": {"type": "number"}}}},
}


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"properties": value}
    return value


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, 'payload does not fit the event\'s schema: "number" is a required property.'),
        ({"number": 7}, 'payload.number does not fit the event\'s schema: 7 is not of type "string".'),
        ({"number": "7", "lines": [{}, {"amount": "1"}]}, "payload.lines[1].amount does not"),
        ({"number": "seven"}, "payload.number"),
        ({"number": "7", "to": "nobody"}, "payload.to"),
        ({"number": "7" + "x" * 9_000}, "xxx…."),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(payload: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        must_fit(payload, INVOICE)
    assert said in raised.value.message
    assert len(raised.value.message) < 500


def test_what_fits_passes() -> None:
    must_fit({"number": "2026-7", "lines": [{"amount": 1.5}], "to": "ada@contoso.example", "more": None}, INVOICE)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"properties": 5},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/hostname"},
        {"$schema": "https://example.com/of-our-own"},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"pattern": "(?=a)"}}},
        _deep(900),
    ],
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="no JSON Schema"):
        must_be_schema(schema)


def test_no_pattern_takes_long() -> None:
    schema = {"properties": {"text": {"pattern": "^(a+)+$"}}}
    began = time.perf_counter()
    with pytest.raises(InvalidRequest):
        must_fit({"text": "a" * 100_000 + "!"}, schema)
    assert time.perf_counter() - began < 5
