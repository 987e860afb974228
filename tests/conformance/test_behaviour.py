"""What every action has to stand, whatever it does: little consent, haste, stale tokens, lost answers, kill -9.

Each case is played once in peace. What the product holds after it has been played in trouble must be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib.resources import files

import pytest
from tests.conformance.product import Case, Trouble, subject
from tests.conformance.stage import Stage

from landbridge.app import gather_actions
from landbridge.catalog import Catalog
from landbridge.errors import AccessDenied
from landbridge.kit import Action

_SOME_TIME = timedelta(minutes=5)
"""A token that is younger than a minute is not refreshed again, whatever a product says of it."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


EVERY = [
    (integration, kind, action, number, case)
    for integration, action in gather_actions(Catalog.read(files("landbridge.integrations")))
    for kind in subject(integration).KINDS
    for number, case in enumerate(subject(integration).CASES.get(action.name, ()))
]


def _each(wanted: Callable[[Action], bool]) -> pytest.MarkDecorator:
    cases = [
        pytest.param((integration, kind), action, case, id=f"{integration}-{kind}-{action.name}-{number}")
        for integration, kind, action, number, case in EVERY
        if wanted(action)
    ]
    return pytest.mark.parametrize(("staged", "action", "case"), cases, indirect=["staged"])


each_case = _each(lambda _: True)
each_case_that_must_not_be_repeated = _each(lambda action: not action.repeatable)


@each_case
async def test_it_works_with_the_scopes_that_it_names_and_not_with_less(
    staged: Stage, action: Action, case: Case
) -> None:
    offered = {scope.name for scope in staged.house.catalog.get(staged.integration).scopes}
    needed = case.scopes or action.scopes
    reading = {scope.replace("ReadWrite", "Read") for scope in needed} & offered

    enough = await (await staged.with_consent(needed)).play(action, case)
    less = [await (await staged.with_consent(scopes)).play(action, case) for scopes in (reading - needed, set())]

    assert enough.error is None
    assert [type(outcome.error) for outcome in less] == [AccessDenied, AccessDenied]
    assert [outcome.after for outcome in less] == [outcome.before for outcome in less]


@each_case
@pytest.mark.parametrize("trouble", [Trouble.BUSY, Trouble.VERY_BUSY, Trouble.FAILING])
async def test_asked_to_come_back_later_at_any_request_it_does_and_ends_as_in_peace(
    staged: Stage, action: Action, case: Case, trouble: Trouble
) -> None:
    peace = await staged.play(action, case)

    for number in range(len(peace.asked)):
        began = staged.clock.now()
        outcome = await staged.play(action, case, number, trouble=trouble)

        assert staged.product.has_struck()
        assert _is_as(peace.after, outcome.after, outcome.error, case, trouble, before=outcome.before)
        if trouble is Trouble.VERY_BUSY:
            assert staged.clock.now() - began >= timedelta(minutes=2)


@each_case
async def test_asked_to_come_back_later_at_every_request_it_sleeps_no_longer_for_that_and_ends_as_in_peace(
    staged: Stage, action: Action, case: Case
) -> None:
    peace = await staged.play(action, case)

    outcome = await staged.play(action, case, *range(len(peace.asked)), trouble=Trouble.BUSY)

    assert staged.product.has_struck()
    assert _is_as(peace.after, outcome.after, outcome.error, case, Trouble.BUSY, before=outcome.before)


@each_case
async def test_with_a_stale_token_it_has_it_refreshed_once_and_ends_as_in_peace(
    staged: Stage, action: Action, case: Case
) -> None:
    peace = await staged.play(action, case)

    for number in [number for number, asked in enumerate(peace.asked) if asked.has_bearer]:
        staged.clock.advance(_SOME_TIME)
        outcome = await staged.play(action, case, number, trouble=Trouble.STALE)

        assert outcome.error is None
        assert outcome.after == peace.after
        assert _refreshes(staged) == 1

    staged.clock.advance(_SOME_TIME)
    staged.sandbox.world.issuer.expire_access(None)
    assert (await staged.play(action, case)).after == peace.after
    assert _refreshes(staged) == 1


@each_case
@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.CUT])
async def test_whichever_answer_is_lost_it_is_done_once(
    staged: Stage, action: Action, case: Case, trouble: Trouble
) -> None:
    peace = await staged.play(action, case)

    for number in range(len(peace.asked)):
        outcome = await staged.play(action, case, number, trouble=trouble)

        assert staged.product.has_struck()
        assert _is_as(peace.after, outcome.after, outcome.error, case, trouble, before=outcome.before)


@each_case_that_must_not_be_repeated
@pytest.mark.parametrize("trouble", [Trouble.HANGING, Trouble.WITHHELD])
async def test_killed_before_or_after_the_product_did_it_and_run_again_it_is_done_once(
    staged: Stage, action: Action, case: Case, trouble: Trouble
) -> None:
    peace = await staged.play(action, case)

    for number in [number for number, asked in enumerate(peace.asked) if asked.changes_something]:
        outcome = await staged.play_killed(action, case, number, trouble)

        assert _is_as(peace.after, outcome.after, outcome.error, case, trouble, before=outcome.before)


def _is_as(
    peace: object, after: object, error: Exception | None, case: Case, trouble: Trouble, *, before: object
) -> bool:
    """Whether it ended as in peace; or, where nobody can tell, with that said and as the product was left."""
    if error is None:
        return after == peace
    is_done = trouble in {Trouble.LOST, Trouble.WITHHELD}
    return isinstance(error, case.unsure) and after == (peace if is_done else before)


def _refreshes(staged: Stage) -> int:
    return len(list(staged.sandbox.world.ledger.find({"operation": "token", "grant_type": "refresh_token"})))
