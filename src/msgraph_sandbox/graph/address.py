"""Drive addresses, in all the spellings that clients use.

The grammar is Microsoft's and lenient as the service is: the closing colon is optional, colons and slashes may arrive
percent-encoded (a name can contain neither), `.` means nothing, and `/items/{id}:/` without a path is the item itself.
The case of its own words does not count; that of ids does.
https://learn.microsoft.com/graph/onedrive-addressing-driveitems
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"/(?:v1\.0|v2\.0|beta)(?=/|$)", re.IGNORECASE)
_DRIVE = re.compile(
    r"/(?P<me>me)/drive(?=/|$)"
    r"|(?:/me|/users/[^/]+|/groups/[^/]+|/sites/[^/:]+(?::/[^:]*:)?)?/drives/(?P<drive>[^/]+)"
    r"|/users/(?P<user>[^/]+)/drive(?=/|$)"
    r"|/sites/(?P<site>[^/:]+(?::/[^:]*:)?)/drive(?=/|$)"
    r"|/groups/(?P<group>[^/]+)/drive(?=/|$)"
    r"|/drive(?P<own>)(?=/|$)",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"/(?:(?P<root>root)|items/(?P<item>[^/:]+)|special/(?P<special>[^/:]+))(?P<rest>(?:[:/].*)?)$",
    re.DOTALL | re.IGNORECASE,
)
_SHARE = re.compile(r"/shares/(?P<share>[^/:]+)(?P<rest>(?:/.*)?)$", re.DOTALL | re.IGNORECASE)
_CALL = re.compile(r"(?:microsoft\.graph\.)?(?P<name>[A-Za-z]+)\((?P<arguments>.*)\)$", re.DOTALL)
_ARGUMENT = re.compile(
    r"\s*(?:(?P<name>[A-Za-z]+)\s*=\s*)?(?P<value>'(?:[^']|'')*'|@[A-Za-z0-9]+|[^,'()]*)\s*(?:,|$)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class DriveRef:
    """Which drive: `by` is `me`, `drive`, `user`, `site`, `group` or `share`."""

    by: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a drive and what is asked of it.

    `item` is an item id, `root`, `special:{name}`, or None when the drive itself is meant. `path` leads on from
    there. `tail` is the rest, such as `("children",)` or `("permissions", "abc")`.
    """

    drive: DriveRef
    item: str | None
    path: tuple[str, ...]
    tail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An OData function such as `search(q='it''s')`: its name and arguments, quotes taken off."""

    name: str
    arguments: dict[str, str]


def strip_version(path: str) -> str:
    """Return the path without `/v1.0`, `/beta` or `/v2.0`, or an empty string if it has none of them."""
    match = _VERSION.match(path)
    return path[match.end() :] or "/" if match else ""


def parse_address(path: str) -> Address | None:
    """Return the drive address in a decoded path (its version stripped), or None if it is not about a drive."""
    if share := _SHARE.match(path):
        return _share_address(share["share"], share["rest"])
    match = _DRIVE.match(path)
    if match is None:
        return None
    drive = _drive_ref(match)
    rest = path[match.end() :]
    item = _ITEM.match(rest)
    if item is None:
        return Address(drive, None, (), _segments(rest))
    where = item["item"] or ("root" if item["root"] else f"special:{item['special']}")
    names, tail = _split(item["rest"])
    return Address(drive, where, names, tail)


def _drive_ref(match: re.Match[str]) -> DriveRef:
    kind = match.lastgroup or "me"
    return DriveRef("me") if kind in ("me", "own") else DriveRef(kind, match[kind])


def _share_address(token: str, rest: str) -> Address:
    match = re.match(r"/(?:driveItem|root|items/[^/:]+)(?P<rest>(?:[:/].*)?)$", rest, re.DOTALL | re.IGNORECASE)
    names, tail = _split(match["rest"]) if match else ((), _segments(rest))
    return Address(DriveRef("share", token), "root" if match else None, names, tail)


def _split(rest: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not rest.startswith(":"):
        return (), _segments(rest)
    path, _, tail = rest[1:].partition(":")
    return tuple(name for name in path.split("/") if name not in ("", ".")), _segments(tail)


def _segments(text: str) -> tuple[str, ...]:
    """Return the parts between slashes; a slash inside the quotes of a call such as `search(q='a/b')` does not part."""
    parts, part, quoted, depth = [], "", False, 0
    for char in text:
        if char == "/" and not quoted:
            parts.append(part)
            part = ""
            continue
        depth += (char == "(") - (char == ")") if not quoted else 0
        quoted ^= char == "'" and depth > 0
        part += char
    return tuple(filter(None, [*parts, part]))


def parse_call(segment: str, query: dict[str, str]) -> Call:
    """Return the call in a segment; a bare name is a call without arguments. `@a1` is looked up in the query."""
    match = _CALL.match(segment)
    if match is None:
        return Call(segment.removeprefix("microsoft.graph."), {})
    arguments: dict[str, str] = {}
    for found in _ARGUMENT.finditer(match["arguments"]):
        value = found["value"]
        # An alias is looked up, and so is one in quotes, as some clients write it.
        if (alias := value.strip("'")).startswith("@") and (alias in query or alias == value):
            value = query.get(alias, "")
        if value.startswith("'") and value.endswith("'") and len(value) > 1:
            value = value[1:-1].replace("''", "'")
        if found["value"]:
            arguments[found["name"] or ""] = value
    return Call(match["name"], arguments)
