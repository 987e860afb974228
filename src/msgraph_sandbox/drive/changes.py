"""The log of changes of a drive, from which delta pages are cut.

Every change gives the item the next number and appends it to the log; an item counts only where its latest number
stands. So a delta is "everything numbered above the token", a page costs what it shows and not what the drive holds,
and an item that changes while somebody pages is simply seen again later.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """What the log keeps: something that carries its latest number."""

    number: int


Entry = TypeVar("Entry", bound=Numbered)


class ChangeLog(Generic[Entry]):
    """Entries by the number of their last change."""

    def __init__(self) -> None:
        self.latest = 0
        self._numbers = array("q")
        self._times = array("d")
        self._entries: list[Entry] = []
        self._distinct = 0

    def touch(self, entry: Entry, at: float) -> None:
        """Record that `entry` changed at `at` (seconds since 1970)."""
        if not entry.number:
            self._distinct += 1
        self.latest += 1
        entry.number = self.latest
        self._numbers.append(self.latest)
        self._times.append(at)
        self._entries.append(entry)
        if len(self._entries) > 2 * self._distinct + 1024:
            self._compact()

    def restore(self, places: Iterable[tuple[int, float, Entry]], latest: int) -> None:
        """Take in the entries of an earlier run by their numbers, in that order, instead of those that there are."""
        self._numbers, self._times, self._entries = array("q"), array("d"), []
        for number, at, entry in places:
            entry.number = number
            self._numbers.append(number)
            self._times.append(at)
            self._entries.append(entry)
        self.latest, self._distinct = latest, len(self._entries)

    def after(self, number: int) -> Iterator[Entry]:
        """Yield what changed after `number`, in the order of the last changes."""
        numbers, entries = self._numbers, self._entries
        for index in range(bisect_right(numbers, number), len(entries)):
            if entries[index].number == numbers[index]:
                yield entries[index]

    def number_at(self, at: float) -> int:
        """Return the number of the last change before `at`."""
        index = bisect_left(self._times, at)
        return self._numbers[index - 1] if index else 0

    def _compact(self) -> None:
        kept = [i for i, entry in enumerate(self._entries) if entry.number == self._numbers[i]]
        self._numbers = array("q", (self._numbers[i] for i in kept))
        self._times = array("d", (self._times[i] for i in kept))
        self._entries = [self._entries[i] for i in kept]
