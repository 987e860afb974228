"""When a scheduler trigger is due: cron with 5 or 6 fields, in a time zone of the IANA database.

croniter reads more (hashes, random fields, years) and decides other than we do when clocks change; what a schedule of
ours can say fits on this page.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import NoReturn, Self
from zoneinfo import ZoneInfo

from landbridge.errors import InvalidRequest

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?", re.ASCII)
_SECOND = timedelta(seconds=1)
_WINDOW = timedelta(hours=26)
"""Longer than any change of a clock: Samoa once left out a whole day."""


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field may hold, and by which names."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        """Return the numbers that a field means, or raise `InvalidRequest`."""
        values: set[int] = set()
        for part in text.split(","):
            values.update(self._part(part))
        return frozenset(values)

    def _part(self, text: str) -> range:
        found = _PART.fullmatch(text)
        if not found:
            self._refuse(text, "is not a number, range, list or step")
        first, last, step = found["first"], found["last"], int(found["step"] or 1)
        if first == "*":
            if last:
                self._refuse(text, "is not a range")
            start, end = self.least, self.most
        else:
            start = self._number(first)
            end = self._number(last) if last else self.most if found["step"] else start
            if self.names == _WEEKDAYS and start > end == 0:
                end = 7  # from Friday to Sunday is as good as from Sunday to Friday
        if start > end:
            self._refuse(text, "begins after its end")
        if not 1 <= step <= self.most - self.least + 1:
            self._refuse(text, f"takes a step that is not between 1 and {self.most - self.least + 1}")
        return range(start, end + 1, step)

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.least
        if not text.isdigit() or len(text) > 2 or not self.least <= int(text) <= self.most:
            self._refuse(text, f"is not between {self.least} and {self.most}")
        return int(text)

    def _refuse(self, text: str, why: str) -> NoReturn:
        raise InvalidRequest(f"The schedule's field for {self.name}: “{text[:50]}” {why}.")


_FIELDS = (
    _Field("seconds", 0, 59),
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("days of the month", 1, 31),
    _Field("months", 1, 12, _MONTHS),
    _Field("days of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule. The finest is every second.

    When clocks go forward, what falls into the hour that is left out is due as much later: daily at 02:30 is 03:30 on
    that day. When they go back, what is due in the hour that comes twice is due the first time only, unless the
    schedule is for every hour of the day: it goes on evenly then.
    """

    text: str
    zone: ZoneInfo
    _seconds: tuple[int, ...]
    _minutes: tuple[int, ...]
    _hours: tuple[int, ...]
    _days: frozenset[int]
    _months: frozenset[int]
    _weekdays: frozenset[int]
    _either_day: bool

    @classmethod
    def parse(cls, text: str, timezone: str = "UTC") -> Self:
        """Return the schedule that fields mean, or raise `InvalidRequest` naming the field that is wrong.

        Minutes, hours, days of the month, months, days of the week; with six fields, seconds come first. A field is
        `*`, or numbers, ranges and steps with commas between them; months and days of the week have their English
        names, Sunday is 0 and 7. If both kinds of day are limited, either is enough, as cron always had it.
        """
        fields = text.split()
        if len(fields) not in {5, 6}:
            raise InvalidRequest(f"A schedule has 5 fields, or 6 with seconds first; this has {len(fields)}.")
        if len(fields) == 5:
            fields.insert(0, "0")
        fields[3:] = [fields[3].replace("?", "*"), fields[4], fields[5].replace("?", "*")]
        seconds, minutes, hours, days, months, weekdays = (
            field.parse(part) for field, part in zip(_FIELDS, fields, strict=True)
        )
        either = not (fields[3].startswith("*") or fields[5].startswith("*"))
        if not either and min(days) > max(_LONGEST_MONTHS[month] for month in months):
            raise InvalidRequest("The schedule is for a day that no such month has.")
        return cls(
            text=" ".join(text.split()),
            zone=_zone(timezone),
            _seconds=tuple(sorted(seconds)),
            _minutes=tuple(sorted(minutes)),
            _hours=tuple(sorted(hours)),
            _days=days,
            _months=months,
            _weekdays=frozenset(day % 7 for day in weekdays),
            _either_day=either,
        )

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant after this one at which the schedule is due, in UTC."""
        start = instant.astimezone(UTC)
        while True:
            end = start + _WINDOW
            if found := self._first_in(start, end):
                return found
            day = next(self._dates(end.astimezone(self.zone).date() - timedelta(days=1)))
            start = max(end, datetime.combine(day, time(), UTC) - _WINDOW)

    def latest(self, since: datetime, until: datetime) -> datetime:
        """Return the last instant after `since`, up to `until`, at which the schedule is due; `since` if there is none.

        It halves the time between them, so that what was missed in a year costs little more than in an hour.
        """
        if self.next_after(since) > until:
            return since
        while until - since >= _SECOND:
            middle = since + (until - since) / 2
            if (due := self.next_after(middle)) <= until:
                since = due
            else:
                until = middle
        return since

    def _first_in(self, start: datetime, end: datetime) -> datetime | None:
        """Return the first instant after `start`, up to `end`; in so short a time clocks change once at most.

        Under each offset from UTC that counts, local times and instants have the same order. The offset before `start`
        counts too: what falls into a gap is due by the clock before it.
        """
        offsets = dict.fromkeys(map(self._offset, (start, start - _WINDOW, end)))
        for due, offset, local in heapq.merge(*(self._under(offset, start) for offset in offsets)):
            if due > end:
                return None
            if self._is_due(local, offset):
                return due
        return None

    def _under(self, offset: timedelta, start: datetime) -> Iterator[tuple[datetime, timedelta, datetime]]:
        """Yield what would be due after `start` if this were the offset all along: instant, offset and local time."""
        for local in self._times((start + offset).replace(tzinfo=None)):
            yield (local - offset).replace(tzinfo=UTC), offset, local

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or timedelta()

    def _is_due(self, local: datetime, offset: timedelta) -> bool:
        first, second = (local.replace(tzinfo=self.zone, fold=fold).utcoffset() for fold in (0, 1))
        is_twice = first is not None and second is not None and first > second
        return offset == first or (offset == second and is_twice and len(self._hours) == 24)

    def _times(self, after: datetime) -> Iterator[datetime]:
        """Yield the local times of the schedule after one, in order."""
        start = after.replace(microsecond=0) + _SECOND
        for day in self._dates(start.date()):
            least = start.time() if day == start.date() else time()
            for hour in self._hours:
                if hour < least.hour:
                    continue
                for minute in self._minutes:
                    if (hour, minute) < (least.hour, least.minute):
                        continue
                    for second in self._seconds:
                        if (hour, minute, second) >= (least.hour, least.minute, least.second):
                            yield datetime.combine(day, time(hour, minute, second))

    def _dates(self, start: date) -> Iterator[date]:
        """Yield the dates of the schedule from one on; a leap day on one day of the week may be 40 years off."""
        for days in count():
            day = start + timedelta(days=days)
            if day.month in self._months and self._has_day(day):
                yield day

    def _has_day(self, day: date) -> bool:
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return of_month or of_week if self._either_day else of_month and of_week


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequest(f"“{name[:100]}” is no time zone: write a name such as Europe/Berlin, or UTC.") from None
