"""Which names and paths OneDrive takes, checked before anything is sent: Graph finds out only when all is uploaded.

https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint
"""

import re
from urllib.parse import quote

from landbridge.errors import NameNotAllowed

LONGEST_NAME = 255
LONGEST_PATH = 400
"""Characters of a decoded path; Microsoft also counts what lies above it on the server, and may refuse earlier."""

_RESERVED = re.compile(r'["*:<>?/\\|\x00-\x1f\x7f]')
_DEVICES = re.compile(r"\.lock|desktop\.ini|con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)


def check_name(name: str) -> str:
    """Return a name that OneDrive takes, or raise `NameNotAllowed` naming the character, and where it stands."""
    shown = f"“{name[:100]}”"
    if not name:
        raise NameNotAllowed("A name is needed; this one is empty.")
    if found := _RESERVED.search(name):
        character = found[0] if found[0].isprintable() else f"U+{ord(found[0]):04X}"
        raise NameNotAllowed(
            f"{shown} holds “{character}” at position {found.start() + 1}; OneDrive takes it in no name.",
            meta={"name": name, "character": found[0], "position": found.start() + 1},
        )
    if len(name) > LONGEST_NAME:
        raise NameNotAllowed(f"{shown} has {len(name)} characters; OneDrive takes {LONGEST_NAME} at most.")
    if name != name.strip(" ") or name.endswith("."):
        where = "begins" if name.startswith(" ") else "ends"
        raise NameNotAllowed(f"{shown} {where} with a {'point' if name.endswith('.') else 'space'}.")
    if _DEVICES.fullmatch(name) or name.startswith("~$") or "_vti_" in name.lower():
        raise NameNotAllowed(f"{shown} is a name that OneDrive keeps for itself.")
    _check_encodable(name)
    return name


def segments(path: str) -> tuple[str, ...]:
    """Return the names in a path from the root of a drive, or raise `NameNotAllowed`.

    `/Reports/2026` and `Reports/2026/` are the same; `/` and nothing are the root itself. Names are as a person reads
    them, not percent-encoded.
    """
    inner = path.strip("/")
    if not inner:
        return ()
    check_path(inner)
    if "//" in inner:
        raise NameNotAllowed("The path holds an empty name (`//`).")
    return tuple(check_name(name) for name in inner.split("/"))


def check_path(*path: str) -> None:
    """Raise `NameNotAllowed` if the names, from the root on, make too long a path."""
    length = len("/".join(path))
    if length > LONGEST_PATH:
        raise NameNotAllowed(f"The path would have {length} characters; OneDrive takes {LONGEST_PATH} at most.")


def is_kept_at_work(name: str, *, in_root: bool, is_folder: bool) -> bool:
    """Return whether work drives keep a name for themselves there, which personal ones take."""
    return (in_root and name.lower() == "forms") or (is_folder and name.startswith("~"))


def encoded(*names: str) -> str:
    """Return names as they stand in a URL: each encoded by itself, then joined by slashes."""
    return "/".join(quote(name, safe="") for name in names)


def _check_encodable(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NameNotAllowed("The name holds half of a surrogate pair, which is no character.") from None
