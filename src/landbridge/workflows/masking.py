"""The mask over what people read of runs: all secrets of the project, and what looks like one."""

import json
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import count
from typing import Any

from landbridge.telemetry import redact
from landbridge.workflows.scope import MASKED

_SECRET = re.compile(
    "authorization|cookie|password|passwd|secret|token|api[-_]?key|private[-_]?key|credential|(?:download|upload)url",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?[0-9]{1,300}(?:\.[0-9]{1,300})?")


class Mask:
    """Hides secrets in JSON: in texts and names wherever they stand, and numbers that one spells.

    Also as JSON in a text, and without the blanks around them. The longest go first: of a secret with another one in
    it, nothing is to be left.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = frozenset(filter(None, secrets))
        stripped = {secret.strip() for secret in self._known} - {""}
        written = {json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for secret in stripped for is_ascii in (True, False)}
        self._secrets = sorted(self._known | stripped | written, key=len, reverse=True)
        self._numbers = {_number(text) for text in stripped if _NUMBER.fullmatch(text)}

    def with_(self, secrets: Collection[str]) -> "Mask":
        """Return this mask, hiding some more."""
        return self if self._known.issuperset(secrets) else Mask({*self._known, *secrets})

    def over(self, value: Any) -> Any:  # Any: JSON
        """Return a value without what is to be hidden."""
        if isinstance(value, str):
            return redact(self._without_secrets(value))
        if isinstance(value, dict):
            hidden: dict[str, Any] = {}
            for name, inner in value.items():
                is_secret = inner and isinstance(inner, str) and _is_secret(name)
                hidden[_free(self._without_secrets(name), hidden)] = MASKED if is_secret else self.over(inner)
            return hidden
        if isinstance(value, list):
            return [self.over(inner) for inner in value]
        return MASKED if self._numbers and not isinstance(value, bool) and value in self._numbers else value

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:  # mostly there are none
            text = text.replace(secret, MASKED)
        return text


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name for an entry, numbered if the mask gave it to another one: none may be lost by being hidden."""
    if name not in taken:
        return name
    return next(free for n in count(len(taken) + 1) if (free := f"{name} {n}") not in taken)


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
