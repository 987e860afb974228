"""The record of runs that people read: masked, and short enough to be looked at."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import JsonValue

from landbridge.store.history import StepRow
from landbridge.workflows.masking import Mask
from landbridge.workflows.scope import Json

LONGEST_SHOWN: Final = 16 << 10
"""Characters of what a step was given, or gave, as JSON; of more, the beginning is kept, and how much it was."""

LARGEST_KEPT: Final = 4 << 20
"""Characters of such a value that is kept whole, in a file; of a longer one there is no more than the beginning."""

Part = Literal["input", "output"]

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

    def told(self, run_id: str, given: JsonValue, mask: Mask) -> "Told":
        """Return the record as it is kept."""
        input_, all_given = cut(given, mask)
        output, all_given_back = cut(self.output, mask)
        wholes: dict[Part, str | None] = {"input": all_given, "output": all_given_back}
        row = StepRow(
            run_id=run_id,
            step=self.step,
            position=self.position,
            type=self.type,
            state=self.state,
            attempts=self.attempts,
            started_at=self.began,
            finished_at=self.ended,
            input=input_,
            output=output,
            error=shown(self.error, mask),
        )
        return Told(row, {part: text for part, text in wholes.items() if text is not None})


@dataclass(frozen=True, slots=True)
class Told:
    """A step as its row tells it, and the whole of what is cut there, as JSON texts."""

    row: StepRow
    large: dict[Part, str]


async def tell(records: Iterable[StepRecord], run_id: str, mask: Mask) -> list[Told]:
    """Return records as they are kept. Long values are masked in a thread, where they hold up nobody."""
    given = [(record, record.given()) for record in records]

    def told() -> list[Told]:
        return [record.told(run_id, value, mask) for record, value in given]

    is_long = any(_is_long(value) or _is_long(record.output) for record, value in given)
    return await asyncio.to_thread(told) if is_long else told()


def shown(value: Any, mask: Mask) -> Any:  # Any: JSON
    """Return a value without secrets, and cut off if it is long: `{"truncated": true, "size": …, "preview": …}`."""
    return cut(value, mask)[0]


def cut(value: Any, mask: Mask) -> tuple[Any, str | None]:  # Any: JSON
    """Return a value as it is shown, and the whole of it if that is more and can be kept."""
    if value is None:
        return None, None
    masked = mask.over(value)
    text = json.dumps(masked, ensure_ascii=False, separators=(",", ":"))
    if len(text) <= LONGEST_SHOWN:
        return masked, None
    preview = {"truncated": True, "size": len(text), "preview": text[:_PREVIEW]}
    return preview, text if len(text) <= LARGEST_KEPT else None


def is_cut(value: Any) -> bool:  # Any: JSON
    """Return whether a value that is shown is the beginning of a longer one."""
    return isinstance(value, dict) and value.get("truncated") is True and "preview" in value


def _is_long(value: Any) -> bool:  # Any: JSON
    """Return whether a value may be too long to be shown, without looking through all of one that is."""
    room, left = LONGEST_SHOWN // 2, [value]
    while left and room > 0:
        match left.pop():
            case str() as text:
                room -= len(text)
            case dict() as fields:
                room -= 8 * len(fields)
                left += fields.values()
            case list() as entries:
                room -= 8 * len(entries)
                left += entries
    return room <= 0
