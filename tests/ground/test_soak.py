"""A soak passes if nothing grew, and fails if something did."""

import pytest
from scripts.soak import MOST_FILES, MOST_GROWTH, Sample, complaints


def hours(*, memory: int = 0, files: int = 0, answers: dict[int, int] | None = None) -> list[Sample]:
    """Forty samples, the last half of which have gained so much."""
    answers = answers or {200: 100}
    early = [Sample(minute, {200: 100}, 100 << 20, 40) for minute in range(20)]
    late = [Sample(minute, answers, (100 << 20) + memory, 40 + files) for minute in range(20, 40)]
    return early + late


def test_a_run_that_stays_as_it_was_is_good() -> None:
    assert complaints(hours()) == []


def test_a_run_that_gains_within_bounds_is_good() -> None:
    assert complaints(hours(memory=MOST_GROWTH, files=MOST_FILES)) == []


@pytest.mark.parametrize(
    ("run", "said"),
    [(hours(memory=MOST_GROWTH + 1), "memory grew"), (hours(files=MOST_FILES + 1), "files grew")],
    ids=["memory", "files"],
)
def test_a_run_that_gains_more_says_what_grew(run: list[Sample], said: str) -> None:
    (complaint,) = complaints(run)

    assert complaint.startswith(said)


def test_an_answer_that_nobody_planned_is_a_complaint() -> None:
    assert complaints(hours(answers={200: 100, 424: 1})) == ["424 was answered, which nobody planned"]


def test_a_run_in_which_nothing_succeeds_any_more_is_not_good() -> None:
    assert complaints(hours(answers={503: 100})) == ["nothing succeeded in the end"]


def test_a_short_run_is_judged_too() -> None:
    assert complaints(hours()[:1]) == []
