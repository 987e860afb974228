"""What app events must fit: a JSON Schema, looked at when it is set, and held against each report."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from landbridge.errors import InvalidRequest

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_LONGEST_SAID = 300


def must_be_schema(schema: dict[str, Any]) -> None:  # Any: JSON
    """Raise `InvalidRequest` for what is no JSON Schema, or refers to others: nothing is ever fetched for one."""
    try:
        _compiled(json.dumps(schema))
    except RecursionError:
        raise InvalidRequest("This JSON Schema is nested too deep.") from None
    except ValueError as error:
        raise InvalidRequest(f"This is no JSON Schema: {_said(error)}.") from None


def must_fit(payload: dict[str, Any], schema: dict[str, Any]) -> None:  # Any: JSON
    """Raise `InvalidRequest` with the first place at which a report does not fit its event's schema."""
    try:
        _compiled(json.dumps(schema)).validate(payload)
    except ValueError as error:
        place = "".join(f"[{part!r}]" if isinstance(part, int) else f".{part}" for part in _path(error))
        raise InvalidRequest(f"payload{place} does not fit the event's schema: {_said(error)}.") from None


@lru_cache(maxsize=200)
def _compiled(schema: str) -> "Validator":
    """Return what validates by a schema, of the draft that it names. Patterns take linear time, whatever they are."""
    from jsonschema_rs import RegexOptions, validator_for  # noqa: PLC0415 - 8 MB, and nothing to events without one

    return validator_for(schema, validate_formats=True, pattern_options=RegexOptions(), retriever=_refuse)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not in it")


def _said(error: ValueError) -> str:
    said = str(getattr(error, "message", error))
    return said if len(said) <= _LONGEST_SAID else f"{said[:_LONGEST_SAID]}…"


def _path(error: ValueError) -> list[str | int]:
    return list(getattr(error, "instance_path", ()))
