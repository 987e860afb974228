"""When a step that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from landbridge.errors import ItemLocked, LandbridgeError, ProviderFailed
from landbridge.workflows.outcomes import LONGEST_PAUSE, Again, after_failure

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize("kind", [ItemLocked, ProviderFailed])
@pytest.mark.parametrize(
    ("asked", "waited"), [(timedelta(minutes=50), timedelta(minutes=50)), (timedelta(days=9), LONGEST_PAUSE)]
)
def test_no_other_attempt_is_made_before_the_time_that_the_provider_says(
    kind: type[LandbridgeError], asked: timedelta, waited: timedelta
) -> None:
    error = kind("Not now.", retry_after=asked)

    outcome = after_failure(error, NOW, attempt=1, pauses=0, token=None, auto_retry=True)

    assert isinstance(outcome, Again)
    assert outcome.until == NOW + waited
