"""A benchmark's record says whether a promise was kept, and never that it was when nobody could know."""

import json
import math
from pathlib import Path

import pytest
from tests.bench.records import Record, Records, Target, at_most, met, ratio_at_least, table


@pytest.mark.parametrize(
    ("measured", "target", "direction", "expected"),
    [
        (0.26, 0.25, "at least", True),
        (0.25, 0.25, "at least", True),
        (0.24, 0.25, "at least", False),
        (0.5, 0.6, "at most", True),
        (0.6, 0.6, "at most", True),
        (0.7, 0.6, "at most", False),
        (0, 16, "at most", True),
        (-1, 16, "at most", True),
        (None, 0.25, "at least", False),
        (None, 16, "at most", False),
        (math.nan, 0.25, "at least", False),
        (math.nan, 16, "at most", False),
        (0.1, None, "at least", None),
        (None, None, "at most", None),
    ],
)
def test_a_promise_is_kept_on_its_side_of_the_number(
    measured: float | None, target: float | None, direction: str, expected: bool | None
) -> None:
    assert met(measured, target, "at least" if direction == "at least" else "at most") is expected


def test_the_ratio_is_the_quotient_unless_it_is_given() -> None:
    records = Records()

    records.record("quotient", 50, "requests/s", reference=200)
    records.record("median of pairs", 50, "requests/s", reference=200, ratio=0.27)

    assert [one.ratio for one in records.kept] == [0.25, 0.27]


def test_a_promise_about_the_ratio_is_judged_by_the_ratio() -> None:
    fast = Record("speed", 10, "requests/s", 20, 0.5, ratio_at_least(0.25))
    slow = Record("speed", 10, "requests/s", 100, 0.1, ratio_at_least(0.25))

    assert (fast.met, slow.met) == (True, False)


def test_a_promise_about_the_value_is_judged_by_the_value_whatever_the_reference() -> None:
    assert Record("growth", 3, "MiB", 0.1, 30, at_most(16)).met is True
    assert Record("growth", 30, "MiB", 100, 0.3, at_most(16)).met is False


@pytest.mark.parametrize("ratio", [None, 0.9])
def test_without_a_reference_a_promise_about_the_ratio_is_not_kept(ratio: float | None) -> None:
    records = Records()

    records.record("speed", 10, "requests/s", reference=None, ratio=ratio, target=ratio_at_least(0.25))

    assert records.kept[0].as_json() == {
        "name": "speed",
        "value": 10,
        "unit": "requests/s",
        "reference": None,
        "ratio": None,
        "target": 0.25,
        "met": False,
    }


def test_without_a_value_no_promise_is_kept() -> None:
    records = Records()

    records.record("speed", None, "requests/s", reference=10, target=ratio_at_least(0.25))
    records.record("growth", None, "MiB", target=at_most(16))

    assert [one.met for one in records.kept] == [False, False]


def test_a_reference_of_nothing_gives_no_ratio() -> None:
    records = Records()

    records.record("speed", 10, "requests/s", reference=0, target=ratio_at_least(0.25))

    assert records.kept[0].ratio is None
    assert records.kept[0].met is False


def test_without_a_promise_there_is_nothing_to_keep() -> None:
    assert Record("idle", 150, "MB", None, None, None).met is None


def test_the_records_are_saved_as_a_list_with_exactly_these_fields(tmp_path: Path) -> None:
    records = Records()
    records.record("speed", 8123.456, "requests/s", reference=28000, target=ratio_at_least(0.25))

    records.save(tmp_path / "build" / "bench.json")

    saved = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert [list(one) for one in saved] == [["name", "value", "unit", "reference", "ratio", "target", "met"]]
    assert saved[0]["value"] == 8123
    assert saved[0]["met"] is True


def test_the_table_names_what_was_promised_and_shouts_what_was_not_kept() -> None:
    shown = table(
        [
            Record("speed", 8123, "requests/s", 28000, 0.29, ratio_at_least(0.25)),
            Record("growth", 30, "MiB", None, None, at_most(16)),
            Record("cpu", 120, "us", 30, 4, None),
        ]
    ).splitlines()

    assert [cell.strip() for cell in shown[2].split("|")[1:-1]] == [
        "speed", "8123", "requests/s", "28000", "0.29", "at least 0.25x", "yes"
    ]  # fmt: skip
    assert shown[3].endswith("| at most 16     | NO   |")
    assert shown[4].endswith("|                |      |")
    assert len(set(map(len, shown))) == 1


def test_a_target_says_its_direction() -> None:
    assert str(Target(0.9, "at least", "ratio")) == "at least 0.9x"
    assert str(at_most(16)) == "at most 16"
