"""The record of runs that people read: masked, and short enough to be looked at."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from landbridge.store.history import StepRow
from landbridge.telemetry import redact
from landbridge.workflows.scope import MASKED, Json

LONGEST_SHOWN: Final = 16 << 10
"""Characters of what a step was given, or gave, as JSON; of more, the beginning is kept, and how much it was."""

_SECRET = re.compile(
    "authorization|cookie|password|passwd|secret|token|api[-_]?key|private[-_]?key|credential|(?:download|upload)url",
    re.IGNORECASE,
)
_PREVIEW = 4 << 10


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What became of a step in a leg. `given` tells what it was given, with masks where secrets were."""

    step: str
    type: str
    position: int
    state: str
    attempts: int
    began: datetime
    ended: datetime | None
    given: Callable[[], JsonValue]
    output: JsonValue
    error: Json | None

    def row(self, run_id: str, secrets: frozenset[str]) -> StepRow:
        """Return the record as it is kept; `secrets` are values that must not be in it, wherever they come from."""
        return StepRow(
            run_id=run_id,
            step=self.step,
            position=self.position,
            type=self.type,
            state=self.state,
            attempts=self.attempts,
            started_at=self.began,
            finished_at=self.ended,
            input=shown(self.given(), secrets),
            output=shown(self.output, secrets),
            error=shown(self.error, secrets),
        )


def shown(value: Any, secrets: frozenset[str]) -> Any:  # Any: JSON
    """Return a value without secrets, and cut off if it is long: `{"truncated": true, "size": …, "preview": …}`."""
    if value is None:
        return None
    masked = _masked(value, secrets)
    text = json.dumps(masked, ensure_ascii=False, separators=(",", ":"))
    if len(text) <= LONGEST_SHOWN:
        return masked
    return {"truncated": True, "size": len(text), "preview": text[:_PREVIEW]}


def _masked(value: Any, secrets: frozenset[str]) -> Any:  # Any: JSON
    if isinstance(value, str):
        return _text(value, secrets)
    if isinstance(value, dict):
        return {
            name: MASKED if inner and isinstance(inner, str) and _SECRET.search(name) else _masked(inner, secrets)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner, secrets) for inner in value]
    return value


def _text(text: str, secrets: frozenset[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASKED)
    return redact(text) if len(text) <= LONGEST_SHOWN else text
