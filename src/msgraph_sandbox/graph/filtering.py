"""`$filter` on children, which Microsoft supports in part: names everywhere, more on personal drives.

https://learn.microsoft.com/onedrive/developer/rest-api/concepts/filtering-results
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import not_supported
from msgraph_sandbox.graph.visit import parse_time

Test = Callable[[Item], bool]
_TEXT = r"'((?:[^']|'')*)'"
_NAME = re.compile(rf"name (eq|ne) {_TEXT}")
_START = re.compile(rf"startswith\(name, ?{_TEXT}\)")
_FACET = re.compile(r"(folder|file) (eq|ne) null")
_ORDERED = re.compile(r"(size|createdDateTime|lastModifiedDateTime) (eq|ne|gt|ge|lt|le) '?([0-9TZ:.+-]+)'?")
_OPERATORS: dict[str, Callable[[object, object], bool]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "gt", "ge", "lt", "le")
}


def parse_filter(text: str, *, personal: bool) -> Test:
    """Return the test that a `$filter` stands for, or refuse what the drive's kind does not support.

    Work drives know names and `folder`; personal ones also `file`, sizes and times.
    """
    ways = [[_condition(part.strip(), personal) for part in _split(way, "and")] for way in _split(text, "or")]
    return lambda item: any(all(test(item) for test in way) for way in ways)


def _split(text: str, word: str) -> list[str]:
    """Return the parts between the word, which does not count inside quotes."""
    parts, part, quoted = [], [], False
    for piece in text.split(f" {word} "):
        part.append(piece)
        quoted ^= piece.count("'") % 2 == 1
        if not quoted:
            parts.append(f" {word} ".join(part))
            part = []
    return [*parts, *part]


def _condition(text: str, personal: bool) -> Test:
    if match := _NAME.fullmatch(text):
        holds, name = _OPERATORS[match[1]], _unquoted(match[2])
        return lambda item: holds(item.name.casefold(), name)
    if match := _START.fullmatch(text):
        start = _unquoted(match[1])
        return lambda item: item.name.casefold().startswith(start)
    if (match := _FACET.fullmatch(text)) and (personal or match[1] == "folder"):
        folders = (match[1] == "folder") == (match[2] == "ne")
        return lambda item: item.is_folder == folders
    if (match := _ORDERED.fullmatch(text)) and personal:
        return _comparison(match[1], _OPERATORS[match[2]], match[3])
    raise not_supported()


def _comparison(field: str, holds: Callable[[object, object], bool], value: str) -> Test:
    if field == "size":
        if not value.isdigit():
            raise not_supported()
        size = int(value[:19])
        return lambda item: holds(item.size, size)
    moment = parse_time(value)
    return lambda item: holds(_time(item, field), moment)


def _time(item: Item, field: str) -> datetime:
    return item.created if field == "createdDateTime" else item.modified


def _unquoted(text: str) -> str:
    return text.replace("''", "'").casefold()
