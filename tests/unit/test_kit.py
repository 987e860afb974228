"""An action is its function's signature and words."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import Field

from landbridge.errors import NotFound
from landbridge.kit import Actions, Client, Given, Result, Wait, action


class Greet(Given):
    """The form of Greet."""

    first_name: str = Field(description="Whom.")


class Greeting(Result):
    """A greeting."""

    text: str = Field(description="The words.")
    read_by: str | None = Field(default=None, description="Who read it.")


class Post(Client):
    """A client of its own."""


@action(scopes={"Post.Send"}, repeatable=False)
async def greet_by_id(post: Post, given: Greet) -> Greeting | Wait:
    """Greet somebody.

    They may take their time.
    """
    assert isinstance(post, Post)
    if given.first_name == "slow":
        return Wait(datetime(2026, 1, 1, tzinfo=UTC), {"letter": 1})
    return Greeting(text=f"Hello {given.first_name}", extra=1)


ACTIONS = Actions({"post": types.SimpleNamespace(greet=greet_by_id, Greet=Greet, number=5)})  # type: ignore[dict-item]
NOTHING: Any = None


def test_title_words_forms_and_promises_come_from_the_function() -> None:
    assert (greet_by_id.name, greet_by_id.title) == ("greet_by_id", "Greet by ID")
    assert greet_by_id.summary == "Greet somebody."
    assert greet_by_id.description == "Greet somebody.\n\nThey may take their time."
    assert (greet_by_id.given, greet_by_id.result) == (Greet, Greeting)
    assert (greet_by_id.scopes, greet_by_id.repeatable) == (frozenset({"Post.Send"}), False)


async def test_it_runs_with_its_own_client_and_speaks_camel_case_outside() -> None:
    outcome = await greet_by_id.run(NOTHING, greet_by_id.parse({"firstName": "Ada"}))

    assert isinstance(outcome, Greeting)
    assert outcome.as_json() == {"text": "Hello Ada", "extra": 1}


async def test_it_may_say_that_it_has_to_be_called_again() -> None:
    outcome = await greet_by_id.run(NOTHING, greet_by_id.parse({"first_name": "slow"}))

    assert outcome == Wait(datetime(2026, 1, 1, tzinfo=UTC), {"letter": 1})


def test_actions_are_found_by_integration_and_name_and_an_unknown_one_is_told_which_there_are() -> None:
    assert ACTIONS.get("post", "greet_by_id") is greet_by_id
    assert list(ACTIONS) == [("post", greet_by_id)]
    assert list(ACTIONS.of("nothing")) == []
    with pytest.raises(NotFound, match="There is: greet_by_id"):
        ACTIONS.get("post", "nothing")
    with pytest.raises(NotFound, match="There is: none"):
        ACTIONS.get("nothing", "greet_by_id")
