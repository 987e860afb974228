"""JSON and YAML as definitions are written in them: the same values in both, and nothing that surprises.

YAML is read by version 1.2's core rules, so that `no`, `12:30` and `2026-01-31` are texts. Anchors, aliases and tags
are refused: a text of a few lines could otherwise mean gigabytes.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

import yaml
from pydantic import JsonValue

from landbridge.errors import InvalidRequest, TooLarge

LARGEST: Final = 1 << 20
"""Bytes of a definition, as UTF-8."""

DEEPEST: Final = 100
"""Levels of objects and lists within each other."""

_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_NO_BLOCK = re.compile("[^\n\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\U00010000-\U0010ffff]| (?:\n|\\Z)|\\A[ \n]")


def read_json(text: str | bytes) -> JsonValue:
    """Return what a JSON text means, or raise `InvalidRequest` or `TooLarge`."""
    _must_be_small(text)
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise InvalidRequest(f"This is not JSON: {error}.") from None
    return bounded(value)


def read_yaml(text: str | bytes) -> JsonValue:
    """Return what a YAML text means, or raise `InvalidRequest` or `TooLarge`."""
    _must_be_small(text)
    try:
        _look_over(text)
        return bounded(yaml.load(text, _Loader))  # noqa: S506 - derived from the safe loader
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidRequest(f"This is not YAML that we understand: {' '.join(str(error).split())}.") from None


def write_json(value: JsonValue) -> str:
    """Return the value as JSON for people to read."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def write_yaml(value: JsonValue) -> str:
    """Return the value as YAML for people to read, texts of several lines as blocks."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def bounded(value: object) -> JsonValue:
    """Return the value if it is JSON of sane depth and characters, or raise `InvalidRequest`."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value  # type: ignore[return-value]  # each part of it was looked at
    raise _too_deep()


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidRequest(f"A name is a text: write “{key}” in quotes.")
            _must_be_text(key)
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, str):
        _must_be_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest("A number is too large, or none at all.")
    elif not (value is None or isinstance(value, bool | int | float)):
        raise InvalidRequest(f"A {type(value).__name__} is no JSON value.")


def _must_be_text(text: str) -> None:
    if found := _NO_TEXT.search(text):
        raise InvalidRequest(f"A text holds U+{ord(found[0]):04X}, which cannot be kept: take it out.")


def _must_be_small(text: str | bytes) -> None:
    if len(text) > LARGEST or len(text.encode(errors="replace") if isinstance(text, str) else text) > LARGEST:
        raise TooLarge(f"A definition has at most {LARGEST} bytes.")


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"Objects and lists lie within each other at most {DEEPEST} deep.")


def _without_doubles(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"“{next(name for name in names if names.count(name) > 1)[:64]}” is there twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _look_over(text: str | bytes) -> None:
    """Refuse what would grow, or go deep, when it is built. The parser's events come one by one, at any depth."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InvalidRequest("Anchors and aliases (`&`, `*`) are not understood: write it out, or quote it.")
        if getattr(event, "tag", None):
            raise InvalidRequest("Tags (`!`) are not understood: put the text in quotes.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _too_deep()


class _Loader(yaml.CSafeLoader):
    """Reads plain texts by the core rules of YAML 1.2, which are JSON's but for a few spellings."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Return the object, or raise if a name is in it twice."""
        found = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError(f"a name is there twice in one object{node.start_mark}")
        return found


class _Dumper(yaml.CSafeDumper):
    """Quotes what any version of YAML would take for something else than a text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out, since we read no aliases."""
        return True


_CORE = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
)
for _kind, _pattern, _first in _CORE:
    for _side in (_Loader, _Dumper):
        _firsts = [*_first, ""] if _kind == "null" else [*_first]
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _firsts)


def _represented(dumper: _Dumper, text: str) -> yaml.Node:
    is_block = "\n" in text and not _NO_BLOCK.search(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if is_block else None)


_Dumper.add_representer(str, _represented)
