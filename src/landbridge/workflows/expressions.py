"""What `{{ }}` in a definition leads to: a small pure language that can only look things up.

    {{ steps.find.result.id }}            a root, then names of objects
    {{ trigger.event.files[0].name }}     places in lists; [-1] is the last
    {{ item["@odata.etag"] }}             any name, in quotes
    {{ steps.find.result.owner?.name }}   null, all of it, if there is no owner or it is null
    {{ "{{" }}                            a text, for writing braces

A text that is exactly one reference becomes the value that it leads to, of whatever type. Otherwise the texts are
joined: strings as they are, null as nothing, all else as compact JSON. Templates may lie anywhere in JSON, but not in
names. There are no calls, no arithmetic, no filters; attributes of Python's objects are out of reach.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydantic import JsonValue

from landbridge.errors import InvalidRequest, ReferenceFailed, TooLarge

_KINDS = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (Mapping, "an object"), (list, "a list"))

ROOTS: Final = ("trigger", "steps", "settings", "user", "secrets", "item", "index", "fanOut", "run")
"""What a reference may begin with."""

LARGEST_TEXT: Final = 16 << 20
"""Characters of a text that is joined of references."""

LONGEST_REFERENCE: Final = 1024
"""Characters of one reference, which keeps errors short too."""

_REMEMBERED = 2048  # parsed texts
_LONGEST_REMEMBERED = 512  # characters
_NAME = r"[^\W\d][\w-]*"
_QUOTED = r""""(?:[^"\\]|\\["\\])*"|'(?:[^'\\]|\\['\\])*'"""
_SEGMENT = re.compile(rf"(?:\.({_NAME})|\[(-?[0-9]{{1,9}})\]|\[({_QUOTED})\])(\?)?")
_SEGMENTS = rf"(?:(?:\.{_NAME}|\[-?[0-9]{{1,9}}\]|\[(?:{_QUOTED})\])\??)*"
_INSIDE = re.compile(rf"\{{\{{\s*(?:({_NAME})({_SEGMENTS})|({_QUOTED}))\s*\}}\}}")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Reference:
    """One `{{ }}`: a root and what follows it. `optional` says of each segment whether a `?` follows it."""

    root: str
    segments: tuple[str | int, ...] = ()
    optional: tuple[bool, ...] = ()

    def __str__(self) -> str:
        return self.upto(len(self.segments))

    def upto(self, count: int) -> str:
        """Return the reference with its first `count` segments only, as it is written."""
        marks = ("?" if optional else "" for optional in self.optional)
        return self.root + "".join(
            _spelt(segment) + mark for segment, mark in zip(self.segments[:count], marks, strict=False)
        )


Part = str | Reference


def resolve(template: JsonValue, names: Mapping[str, JsonValue]) -> JsonValue:
    """Return the template with each reference replaced by what it leads to in `names`.

    Only the roots that are used are looked up, so `names` and what is in it may be lazy mappings. Values are shared,
    not copied. Raises `ReferenceFailed` naming field, path and what there is instead; `InvalidRequest` for a reference
    that cannot be read; `TooLarge`.
    """
    try:
        return _resolved(template, names)
    except ReferenceFailed as failed:
        raise _placed(failed, template, names) from None


def references(template: JsonValue) -> list[Reference]:
    """Return the references in a template, in order. Raises `InvalidRequest` for one that cannot be read."""
    return [part for _, text in texts(template) for part in parse(text) if isinstance(part, Reference)]


def lone_reference(template: JsonValue) -> Reference | None:
    """Return the reference that a template is, if it is exactly one."""
    parts = parse(template) if isinstance(template, str) else ()
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Reference) else None


def texts(template: JsonValue, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text in a template with its place, as `input.names[2]`."""
    if isinstance(template, str):
        yield place, template
    elif isinstance(template, Mapping):
        for name, inner in template.items():
            yield from texts(inner, f"{place}.{name}" if place else name)
    elif isinstance(template, Sequence):
        for index, inner in enumerate(template):
            yield from texts(inner, f"{place}[{index}]")


def parse(text: str) -> Sequence[Part]:
    """Return the parts of a text, in order. Raises `InvalidRequest` for a reference that cannot be read."""
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _parsed(text)


def instead(name: object, known: Iterable[object]) -> str:
    """Return a sentence on what there is instead of a name."""
    names = [str(one) for one in known]
    if close := difflib.get_close_matches(str(name)[:64], names[:200], n=1):
        return f"Did you mean `{close[0]}`?"
    shown = ", ".join(f"`{one[:64]}`" for one in names[:10]) + (", …" if len(names) > 10 else "")
    return f"There is: {shown}." if names else "There is nothing."


def _resolved(template: JsonValue, names: Mapping[str, JsonValue]) -> JsonValue:
    if isinstance(template, str):
        return _text(template, names) if "{{" in template else template
    if isinstance(template, dict):
        return {name: _resolved(inner, names) for name, inner in template.items()}
    if isinstance(template, list):
        return [_resolved(inner, names) for inner in template]
    return template


def _text(text: str, names: Mapping[str, JsonValue]) -> JsonValue:
    parts = parse(text)
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else _found(parts[0], names)
    joined, length = [], 0
    for part in parts:
        written = part if isinstance(part, str) else _written(_found(part, names))
        joined.append(written)
        length += len(written)
        if length > LARGEST_TEXT:
            raise TooLarge(f"A text that is joined of references has at most {LARGEST_TEXT} characters.")
    return "".join(joined)


def _written(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """Return a lazy mapping as JSON's own."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _found(reference: Reference, names: Mapping[str, JsonValue]) -> JsonValue:
    try:
        value = names[reference.root]
    except KeyError:
        raise ReferenceFailed(
            f"`{reference}`: there is no `{reference.root}` here. {instead(reference.root, names)}",
            path=str(reference),
        ) from None
    for depth, segment in enumerate(reference.segments):
        try:
            value = _inside(value, segment)
        except LookupError:
            if reference.optional[depth]:
                return None
            raise _missing(reference, depth, value) from None
        if value is None and reference.optional[depth]:
            return None
    return value


def _inside(value: JsonValue, segment: str | int) -> JsonValue:
    if isinstance(segment, str):
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - the first is ten times as fast
            return value[segment]
    elif isinstance(value, list):
        return value[segment]
    raise LookupError


def _missing(reference: Reference, depth: int, value: JsonValue) -> ReferenceFailed:
    segment, before = reference.segments[depth], f"`{reference.upto(depth)}`"
    if isinstance(segment, str) and isinstance(value, Mapping):
        said = f"there is no `{segment}` in {before}. {instead(segment, value)}"
    elif isinstance(segment, int) and isinstance(value, list):
        said = f"{before} has {len(value)} entries, so there is no [{segment}]."
    else:
        said = f"{before} is {kind_of(value)}, so nothing can be looked up in it by {_spelt(segment)}."
    return ReferenceFailed(f"`{reference}`: {said}", path=str(reference))


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words."""
    return next((words for kind, words in _KINDS if isinstance(value, kind)), "null")


def _placed(failed: ReferenceFailed, template: JsonValue, names: Mapping[str, JsonValue]) -> ReferenceFailed:
    """Return the error with the place in the template: that of the first text which fails."""
    for place, text in texts(template):
        try:
            _text(text, names)
        except ReferenceFailed:
            message = f"{place}: {failed.message}" if place else failed.message
            return ReferenceFailed(message, path=failed.path, field=place)
    return failed


def _parsed(text: str) -> Sequence[Part]:
    parts: list[Part] = []
    end = 0
    while (start := text.find("{{", end)) >= 0:
        if start > end:
            parts.append(text[end:start])
        found = _INSIDE.match(text, start)
        if found is None:
            raise _unreadable(text, start)
        if found[1] and found.end() - start > LONGEST_REFERENCE:
            raise InvalidRequest(f"`{found[0][:40]}…`: a reference has at most {LONGEST_REFERENCE} characters.")
        parts.append(_reference(found[1], found[2]) if found[1] else _unquoted(found[3]))
        end = found.end()
    if end < len(text) or not parts:
        parts.append(text[end:])
    return tuple(parts)


_remembered = lru_cache(maxsize=_REMEMBERED)(_parsed)


def _reference(root: str, rest: str) -> Reference:
    segments: list[str | int] = []
    optional = []
    for name, index, quoted, mark in _SEGMENT.findall(rest):
        segments.append(name or (int(index) if index else _unquoted(quoted)))
        optional.append(bool(mark))
    return Reference(root, tuple(segments), tuple(optional))


def _unreadable(text: str, start: int) -> InvalidRequest:
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return InvalidRequest(
        f"`{text[start : start + 40]}` (line {line}, column {column}) cannot be read. A reference is a root and what "
        'follows it, as {{ steps.find.result["a name"][0] }}; braces themselves are written {{ "{{" }}.'
    )


def _unquoted(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted[1:-1])


def _spelt(segment: str | int) -> str:
    if isinstance(segment, int):
        return f"[{segment}]"
    return f".{segment}" if re.fullmatch(_NAME, segment) else f"[{json.dumps(segment, ensure_ascii=False)}]"
