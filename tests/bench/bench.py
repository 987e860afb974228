"""What every benchmark is given, and how a pair is measured."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.records import Records


@dataclass(frozen=True)
class Bench:
    """One run: where to put records and files, and whether only the form matters."""

    folder: Path
    short: bool = False
    records: Records = field(default_factory=Records)

    @property
    def pairs(self) -> int:
        """How often a pair is measured: an odd number, for a median."""
        return 1 if self.short else 5

    @property
    def seconds(self) -> float:
        """How long one measurement of a rate lasts."""
        return 1 if self.short else 4


@dataclass(frozen=True)
class Pairs:
    """Measurements of ours and of the reference, taken in turns."""

    ours: list[float]
    theirs: list[float]

    @property
    def value(self) -> float:
        """Ours, in the middle."""
        return statistics.median(self.ours)

    @property
    def reference(self) -> float:
        """The reference, in the middle."""
        return statistics.median(self.theirs)

    @property
    def ratio(self) -> float:
        """The middle of the pairs' quotients: the two of a pair shared the machine's mood, as medians do not."""
        return statistics.median(our / their for our, their in zip(self.ours, self.theirs, strict=True))

    @property
    def difference(self) -> float:
        """The middle of the pairs' differences."""
        return statistics.median(our - their for our, their in zip(self.ours, self.theirs, strict=True))


def in_turns(times: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Measure each side, one after the other, beginning with another each time, so that no drift favours one."""
    measured: list[list[float]] = [[] for _ in sides]
    for turn in range(times):
        for position in range(len(sides)):
            side = (turn + position) % len(sides)
            measured[side].append(sides[side]())
    return measured
