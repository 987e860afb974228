"""What a benchmark leaves behind: records, a table of them, and build/bench.json.

A record holds a figure, the reference's figure from the same run, their ratio, and what was promised. A promise is a
`Target`: about the ratio where there is something to compare with, about the figure itself where there is not.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Direction = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised: a number, and on which side of it a measurement must lie."""

    number: float
    direction: Direction
    of: Literal["value", "ratio"]

    def __str__(self) -> str:
        return f"{self.direction} {_plain(self.number)}{'x' if self.of == 'ratio' else ''}"


def at_most(number: float) -> Target:
    """The value may be this much and no more."""
    return Target(number, "at most", "value")


def ratio_at_least(number: float) -> Target:
    """The value must be this many times the reference, or more."""
    return Target(number, "at least", "ratio")


def met(measured: float | None, target: float | None, direction: Direction) -> bool | None:
    """Return whether a measurement keeps a promise; None if nothing was promised.

    What could not be measured, for want of a value or of the reference that it is compared with, keeps no promise.
    """
    if target is None:
        return None
    if measured is None or math.isnan(measured):
        return False
    return measured >= target if direction == "at least" else measured <= target


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the table."""

    name: str
    value: float | None
    unit: str
    reference: float | None
    ratio: float | None
    target: Target | None

    @property
    def met(self) -> bool | None:
        """Whether the promise was kept; None if there was none."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of == "ratio" else self.value
        return met(measured, self.target.number, self.target.direction)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the record as build/bench.json holds it."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "reference": self.reference,
            "ratio": self.ratio,
            "target": self.target.number if self.target else None,
            "met": self.met,
        }


@dataclass
class Records:
    """The records of one run."""

    kept: list[Record] = field(default_factory=list)

    def record(
        self,
        name: str,
        value: float | None,
        unit: str,
        *,
        reference: float | None = None,
        ratio: float | None = None,
        target: Target | None = None,
    ) -> None:
        """Keep a figure, rounded to what can be meant, and print its line at once.

        `ratio` is the quotient unless given: the median of several pairs' quotients is not the quotient of medians.
        Without a reference there is no ratio, and a promise about the ratio is not kept.
        """
        if reference is None or value is None:
            ratio = None
        elif ratio is None:
            ratio = value / reference if reference else None
        kept = Record(name, _rounded(value), unit, _rounded(reference), _rounded(ratio), target)
        self.kept.append(kept)
        print(f"  {name}: {_plain(kept.value)} {unit}", flush=True)

    def save(self, place: Path) -> None:
        """Write the records as a JSON list."""
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps([one.as_json() for one in self.kept], indent=2) + "\n", encoding="utf-8")


_HEAD = ("what", "value", "unit", "reference", "ratio", "promised", "kept")
_WORDS = {True: "yes", False: "NO", None: ""}


def table(records: Sequence[Record]) -> str:
    """Return the records as a Markdown table, aligned so that it reads well on a terminal too."""
    rows = [
        (
            one.name,
            _plain(one.value),
            one.unit,
            _plain(one.reference),
            _plain(one.ratio),
            str(one.target or ""),
            _WORDS[one.met],
        )
        for one in records
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = [_line(_HEAD, widths), _line(tuple("-" * width for width in widths), widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _rounded(number: float | None) -> float | None:
    """Four significant digits are more than any of these measurements can hold."""
    return None if number is None else float(f"{number:.4g}")


def _plain(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"
