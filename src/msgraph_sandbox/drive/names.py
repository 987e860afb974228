"""Which names OneDrive takes, and which of them it holds to be the same.

https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint
"""

from __future__ import annotations

import re

from msgraph_sandbox.drive.refusals import bad_request

NAME_LIMIT = 255
PATH_LIMIT = 400
_RESERVED = re.compile(r'["*:<>?/\\|\x00-\x1f\x7f]')
_DEVICES = re.compile(r"\.lock|desktop\.ini|con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


def check_name(name: object, *, in_root: bool = False, business: bool = False) -> str:
    """Return `name` if OneDrive takes it, or refuse with 400 `invalidRequest` and an inner code that says why."""
    if not isinstance(name, str) or not name:
        raise bad_request("The name in the provided path or body is missing or empty.", "invalidRequest")
    if len(name) > NAME_LIMIT:
        raise bad_request("The provided name is too long.", "pathIsTooLong")
    if _forbidden(name) or (business and in_root and name.lower() == "forms"):
        raise bad_request(
            "The provided name contains invalid characters or is reserved.", "nameContainsInvalidCharacters"
        )
    return name


def _forbidden(name: str) -> bool:
    if _RESERVED.search(name) or name.strip(" ") != name or name.endswith("."):
        return True
    return bool(_DEVICES.fullmatch(name)) or name.startswith("~$") or "_vti_" in name.lower()


def check_path(path: str) -> None:
    """Refuse a path from the root that is longer than 400 characters."""
    if len(path) > PATH_LIMIT:
        raise bad_request("The provided path is too long.", "pathIsTooLong")


def key_of(name: str, *, personal: bool) -> str:
    """Return what two names share if they collide: case does not count, and on personal drives æ equals ae.

    Characters fold one by one, so `ß` stays apart from `ss`; composed and decomposed accents stay apart too.
    """
    key = name.lower() if name.isascii() else "".join(map(_fold, name))
    return key.replace("\u00e6", "ae") if personal else key


def _fold(char: str) -> str:
    upper = char.upper()
    lower = (upper if len(upper) == 1 else char).lower()
    return lower if len(lower) == 1 else char


def numbered(name: str, number: int, *, folder: bool) -> str:
    """Return the name that `conflictBehavior=rename` tries: `report 1.docx`."""
    stem, dot, extension = name.rpartition(".")
    if folder or not stem:
        return f"{name} {number}"
    return f"{stem} {number}{dot}{extension}"
