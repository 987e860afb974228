"""What can become of a step, as the journal keeps it, and of a leg, as the agenda does."""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

from pydantic import JsonValue

from landbridge.errors import (
    CallerMistake,
    ConnectionUnusable,
    FunctionLimit,
    GrantLost,
    LandbridgeError,
    ProviderBusy,
    ReferenceFailed,
)

RETRIES: Final = tuple(timedelta(seconds=seconds) for seconds in (10, 20, 30, 50, 80))
"""How long a step with automatic retry waits before each further attempt, give or take a fifth."""

LONGEST_PAUSE: Final = timedelta(hours=1)
MOST_PAUSES: Final = 200
"""How often a step comes back to a provider that asks it to wait, before the run fails and says so."""

Why = Literal["delay", "retry", "rate limit", "provider", "children", "defect"]
"""What a run waits for."""


@dataclass(frozen=True, slots=True)
class Gave:
    """A step is done. `began` and `ended` are of the attempt that did it."""

    output: JsonValue


@dataclass(frozen=True, slots=True)
class Failed:
    """A step is over, in vain. `error` is `{code, message, remedy}`."""

    error: dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Again:
    """A step is to be called again after `until`, as attempt `attempt`, with the token that an action's `Wait` held."""

    until: datetime
    why: Why
    attempt: int
    pauses: int = 0
    token: JsonValue = None


StepOutcome = Gave | Failed | Again


def as_json(outcome: StepOutcome) -> dict[str, Any]:  # Any: JSON
    """Return an outcome as the journal and the carry hold it."""
    match outcome:
        case Gave(output):
            return {"output": output}
        case Failed(error):
            return {"error": error}
        case Again(until, why, attempt, pauses, token):
            wait = {"until": until.isoformat(), "why": why, "attempt": attempt, "pauses": pauses, "token": token}
            return {"again": wait}


def of_json(value: Any) -> StepOutcome:  # Any: JSON
    """Return the outcome that `as_json` wrote."""
    if "again" in value:
        wait = value["again"]
        return Again(**{**wait, "until": datetime.fromisoformat(wait["until"])})
    return Failed(value["error"]) if "error" in value else Gave(value["output"])


def outputs_of(carry: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return what `{{ steps }}` leads to, of the steps that a carry tells are over: of a failed one its error."""
    over = {id_: kept for id_, kept in carry.items() if "output" in kept or "error" in kept}
    return {id_: kept["output"] if "output" in kept else {"error": kept["error"]} for id_, kept in over.items()}


def after_failure(
    error: LandbridgeError, now: datetime, *, attempt: int, pauses: int, token: JsonValue, auto_retry: bool
) -> StepOutcome:
    """Return what follows from an error: a pause if the provider asks for one, another attempt, or failure."""
    if isinstance(error, ProviderBusy) and pauses < MOST_PAUSES:
        wait = min(error.retry_after or RETRIES[min(pauses, len(RETRIES) - 1)], LONGEST_PAUSE)
        return Again(now + wait, "rate limit", attempt, pauses + 1, token)
    if auto_retry:
        asked = min(error.retry_after or timedelta(), LONGEST_PAUSE)
        return again_or_failed(told(error), now, attempt=attempt, pauses=pauses, token=token, asked=asked)
    return Failed(told(error))


def again_or_failed(
    error: dict[str, Any],  # Any: JSON
    now: datetime,
    *,
    attempt: int,
    pauses: int = 0,
    token: JsonValue = None,
    asked: timedelta = timedelta(),
) -> StepOutcome:
    """Return another attempt after an error as steps read it, or failure if it would be of no use or one too many."""
    if attempt > len(RETRIES) or error["code"] in _FINAL:
        return Failed(error)
    wait = RETRIES[attempt - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - spreads work, hides nothing
    return Again(now + max(wait, asked), "retry", attempt + 1, pauses, token)


def _codes(kind: type[LandbridgeError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


_FINAL = frozenset().union(*map(_codes, (CallerMistake, ReferenceFailed, FunctionLimit, ConnectionUnusable, GrantLost)))
"""After these another attempt can only end the same way: the definition is wrong, or the user must act."""


def writable(value: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return JSON that can be written down and sent on: half of a surrogate pair, which some send, becomes U+FFFD."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return cast("dict[str, Any]", _of_whole_characters(value))
    return value


def _of_whole_characters(value: Any) -> Any:  # Any: JSON
    match value:
        case dict():
            return {_of_whole_characters(name): _of_whole_characters(inner) for name, inner in value.items()}
        case list():
            return [_of_whole_characters(inner) for inner in value]
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def told(error: LandbridgeError) -> dict[str, Any]:  # Any: JSON
    """Return an error as steps and people read it."""
    return {"code": error.code, "message": error.message, "remedy": error.remedy}
