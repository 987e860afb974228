"""A schedule is due at the local times that it says, each once, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landbridge.errors import InvalidRequest
from landbridge.workflows.schedule import Cron

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # midnight was left out
    "Australia/Lord_Howe",  # half an hour is
    "Antarctica/Troll",  # two hours are
    "Africa/Casablanca",  # the clocks go back for Ramadan
    "Pacific/Apia",  # a whole day was left out
    "Asia/Kathmandu",
]


def due(text: str, zone: str, after: str, times: int = 1) -> list[str]:
    """Return the local times of the next runs after a local time."""
    cron, instant, found = Cron.parse(text, zone), datetime.fromisoformat(after), []
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=ZoneInfo(zone))
    for _ in range(times):
        instant = cron.next_after(instant)
        assert instant.tzinfo is UTC
        found.append(instant.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S%z").removesuffix("+0000"))
    return found


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2026-03-01T12:00:00", "2026-03-01 12:01:00"),
        ("* * * * *", "2026-03-01T12:00:59.999", "2026-03-01 12:01:00"),
        ("* * * * * *", "2026-03-01T12:00:00.5", "2026-03-01 12:00:01"),
        ("*/20 * * * * *", "2026-12-31T23:59:40", "2027-01-01 00:00:00"),
        ("0 0 9 * * *", "2026-03-01T09:00:00", "2026-03-02 09:00:00"),
        ("0 9 * * *", "2026-03-01T08:59:59.999999", "2026-03-01 09:00:00"),
        ("5-10/5,50 8,20 * * *", "2026-03-01T08:05:00", "2026-03-01 08:10:00"),
        ("5/20 * * * *", "2026-03-01T08:05:00", "2026-03-01 08:25:00"),
        ("0 0 1 JAN *", "2026-03-01T00:00:00", "2027-01-01 00:00:00"),
        ("0 0 * * 0", "2026-03-02T00:00:00", "2026-03-08 00:00:00"),
        ("0 0 * * 7", "2026-03-02T00:00:00", "2026-03-08 00:00:00"),
        ("0 0 * * fri-sun", "2026-03-02T00:00:00", "2026-03-06 00:00:00"),
        ("0 0 * * 0-0", "2026-03-02T00:00:00", "2026-03-08 00:00:00"),
        ("0 0 * * MON-FRI", "2026-03-06T12:00:00", "2026-03-09 00:00:00"),
        ("0 0 ? * 1", "2026-03-01T12:00:00", "2026-03-02 00:00:00"),
        ("0 0 13 * 5", "2026-03-01T12:00:00", "2026-03-06 00:00:00"),  # the 13th, or a Friday
        ("0 0 31 * *", "2026-03-31T00:00:00", "2026-05-31 00:00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00:00", "2104-02-29 00:00:00"),
        ("0 0 30 2 1", "2026-02-01T00:00:00", "2026-02-02 00:00:00"),  # there are Mondays
        ("  0   9 * * *  ", "2026-03-01T00:00:00", "2026-03-01 09:00:00"),
    ],
)
def test_a_schedule_is_due_at_the_next_time_that_its_fields_say(text: str, after: str, expected: str) -> None:
    assert due(text, "UTC", after) == [expected]


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # what falls into the gap is due as much later, once
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29 03:30:00+0200", "2026-03-30 02:30:00+0200"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-29T01:00", ["2026-03-29 03:30:00+0200", "2026-03-30 02:30:00+0200"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T03:10", ["2026-03-29 03:30:00+0200", "2026-03-30 02:30:00+0200"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T03:30", ["2026-03-30 02:30:00+0200"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T01:00", ["2026-03-29 03:00:00+0200", "2026-03-29 04:00:00+0200"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["2026-10-04 02:45:00+1100"]),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00",
            ["2018-11-04 01:00:00-0200", "2018-11-05 00:00:00-0200"],
        ),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00", ["2011-12-31 09:00:00+1400", "2012-12-30 09:00:00+1400"]),
        ("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00", ["2011-12-31 09:00:00+1400", "2012-01-01 09:00:00+1400"]),
        # what falls into the hour that comes twice is due the first time
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25 02:30:00+0200", "2026-10-26 02:30:00+0100"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:45:00+02:00", ["2026-10-26 02:30:00+0100"]),
        ("0 2-3 * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00", ["2026-10-25 03:00:00+0100"]),
        # and what is due every hour goes on evenly
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T01:30",
            ["2026-10-25 02:30:00+0200", "2026-10-25 02:30:00+0100", "2026-10-25 03:30:00+0100"],
        ),
        (
            "59 59 * * * *",
            "America/New_York",
            "2026-11-01T00:59:59",
            ["2026-11-01 01:59:59-0400", "2026-11-01 01:59:59-0500", "2026-11-01 02:59:59-0500"],
        ),
    ],
)
def test_clocks_that_change_leave_out_nothing_and_double_nothing(
    text: str, zone: str, after: str, expected: list[str]
) -> None:
    assert due(text, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0"),
        ("* * * *", "has 4"),
        ("* * * * * * *", "has 7"),
        ("@daily", "has 1"),
        ("60 * * * *", "minutes: “60” is not between 0 and 59"),
        ("* 24 * * *", "hours: “24”"),
        ("* * 0 * *", "days of the month: “0”"),
        ("* * * 13 *", "months: “13”"),
        ("* * * * 8", "days of the week: “8”"),
        ("* * * * monday", "days of the week: “monday”"),
        ("61 * * * * *", "seconds: “61”"),
        ("*/0 * * * *", "step"),
        ("*/61 * * * *", "step"),
        ("5-1 * * * *", "begins after its end"),
        ("1,,2 * * * *", "minutes: “” is not"),
        ("1- * * * *", "minutes: “1-” is not"),
        ("-1 * * * *", "minutes: “-1” is not"),
        ("*-5 * * * *", "minutes: “*-5” is not"),
        ("1.5 * * * *", "minutes: “1.5” is not"),
        ("L * * * *", "minutes: “L” is not"),
        ("٣ * * * *", "minutes: “٣” is not"),
        ("0 0 30 2 *", "no such month"),
        ("0 0 31 4,6,9,11 *", "no such month"),
    ],
)
def test_what_is_no_schedule_is_refused_naming_the_field(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Cron.parse(text)
    assert said in caught.value.message


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "UTC\0", "+02:00", "ü"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidRequest, match="time zone"):
        Cron.parse("* * * * *", zone)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, most - least).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), st.lists(st.one_of(number.map(str), ranges), min_size=1).map(",".join), steps)


def schedules(hours: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    days = st.one_of(st.just("*"), field(1, 28))
    return st.tuples(field(0, 59), hours, days, field(1, 12), field(0, 6)).map(" ".join)


CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 2, 15, 2, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]
instants = st.one_of(
    st.floats(0, 4e9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.builds(
        lambda change, hours: change + hours, st.sampled_from(CHANGES), st.timedeltas(-timedelta(2), timedelta(1))
    ),
)


@given(schedules(field(0, 22)), st.sampled_from(ZONES), instants)
def test_runs_come_one_after_the_other_each_once(text: str, zone: str, instant: datetime) -> None:
    cron, runs = Cron.parse(text, zone), [instant]
    for _ in range(5):
        runs.append(cron.next_after(runs[-1]))
    assert all(earlier < later for earlier, later in pairwise(runs))
    if text.split()[1] not in {"*", "*/1"}:
        local = [run.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for run in runs[1:]]
        shown = [(run.date(), run.hour, run.minute) for run in local]
        assert len(set(shown)) == len(shown)


@given(schedules(field(0, 23)), st.sampled_from(ZONES), instants)
def test_nothing_is_between_an_instant_and_the_next_run(text: str, zone: str, instant: datetime) -> None:
    """From whatever instant before it one looks, the next run is the same: it does not depend on who asks when."""
    cron = Cron.parse(text, zone)
    run = cron.next_after(instant)
    middle = instant + (run - instant) / 2
    if middle < run:
        assert cron.next_after(middle) == run
    assert cron.next_after(run - timedelta(microseconds=1)) == run


def due_by_hand(text: str, zone: str, around: datetime) -> set[datetime]:
    """Return when a schedule is due within a few days, by looking at every minute of the wall's clock."""
    minutes, hours, days, months, weekdays = (
        {value for part in field.split(",") for value in _meant(part, *limits)}
        for field, limits in zip(text.split(), [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)], strict=True)
    )
    either = not text.split()[2].startswith("*") and not text.split()[4].startswith("*")
    is_hourly = len(hours) == 24
    found, wall = set(), datetime.combine(around.date() - timedelta(days=3), datetime.min.time())
    for _ in range(6 * 1440):
        of_month, of_week = wall.day in days, wall.isoweekday() % 7 in weekdays
        is_day = wall.month in months and (of_month or of_week if either else of_month and of_week)
        if is_day and wall.hour in hours and wall.minute in minutes:
            first = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
            second = wall.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC)
            found |= {first, second} if is_hourly and second > first else {first}
        wall += timedelta(minutes=1)
    return found


def _meant(part: str, least: int, most: int) -> range:
    first, _, step = part.partition("/")
    if first == "*":
        return range(least, most + 1, int(step or 1))
    start, _, end = first.partition("-")
    return range(int(start), int(end or start) + 1)


@given(
    schedules(st.one_of(st.just("*"), field(0, 4), field(0, 23))), st.sampled_from(ZONES), st.sampled_from(CHANGES),
    st.timedeltas(-timedelta(days=1), timedelta(hours=12)),
)  # fmt: skip
def test_runs_are_those_that_one_finds_by_looking_at_every_minute(
    text: str, zone: str, change: datetime, away: timedelta
) -> None:
    instant = change + away
    later = {run for run in due_by_hand(text, zone, instant) if run > instant}
    found = Cron.parse(text, zone).next_after(instant)
    if later and min(later) < instant + timedelta(days=2):
        assert found == min(later)
    else:
        assert found > instant + timedelta(days=1)


def test_looking_far_ahead_is_quick() -> None:
    found = Cron.parse("0 0 29 2 */7", "Europe/Berlin").next_after(datetime(2026, 1, 1, tzinfo=UTC))
    local = found.astimezone(ZoneInfo("Europe/Berlin"))
    assert (local.date(), local.isoweekday()) == (date(2032, 2, 29), 7)


@given(
    st.sampled_from(["* * * * * *", "*/7 * * * *", "30 2 * * *", "0 9 * * MON", "0 0 1 * *"]),
    st.sampled_from(ZONES),
    st.integers(0, 20_000),
)
@settings(max_examples=60)
def test_the_last_time_that_was_missed_is_what_going_through_all_of_them_leads_to(
    text: str, zone: str, hours: int
) -> None:
    cron = Cron.parse(text, zone)
    until = datetime(2026, 1, 1, 12, 0, 0, 500_000, UTC) + timedelta(hours=hours)
    since = cron.next_after(until - timedelta(seconds=300))
    walked = since
    while (due := cron.next_after(walked)) <= until:
        walked = due
    assert cron.latest(since, until) == walked
