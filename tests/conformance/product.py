"""What an integration brings to be judged: a product that answers, scenes in it, and a case of each action.

It is the module `tests.integrations.NAME.conformance`, which holds `KINDS`, `CASES` and `product`, as `Subject` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any, Protocol, cast

from landbridge.errors import LandbridgeError
from msgraph_sandbox.server import Sandbox

Values = Mapping[str, Any]  # Any: an action's input, as JSON


class Trouble(StrEnum):
    """What one request may meet."""

    BUSY = "busy"
    """429, and to come back in 2 seconds."""

    VERY_BUSY = "very busy"
    """429, and to come back in two minutes."""

    STALE = "stale"
    """401, although the token should still be good."""

    FAILING = "failing"
    """503, and nothing done."""

    CUT = "cut"
    """The connection breaks, and nothing is done."""

    LOST = "lost"
    """It is done, and the connection breaks before the answer."""

    HANGING = "hanging"
    """Nothing is done, and no answer ever comes."""

    WITHHELD = "withheld"
    """It is done, and no answer ever comes."""


@dataclass(frozen=True)
class Case:
    """One use of an action. `of` gives its input for a scene."""

    of: Callable[[str], Values]
    unsure: tuple[type[LandbridgeError], ...] = ()
    """What it may end with where an answer was lost, since nobody can tell whether it was done."""

    scopes: frozenset[str] | None = None
    """What this use needs, if that is less than what the action names."""


@dataclass(frozen=True)
class Asked:
    """A request that the product received."""

    method: str
    has_bearer: bool

    @property
    def changes_something(self) -> bool:
        """Whether it may have an effect."""
        return self.method not in {"GET", "HEAD"}


class Product(Protocol):
    """A product that answers over HTTP. What was asked of it counts from the last `heal`."""

    email: str
    """The user of the sandbox who connects their account."""

    api_url: str | None
    """Where its API is, if that is not the sandbox's."""

    def scopes(self, scopes: Set[str]) -> Set[str]:
        """Return what these scopes for the user's own things are called for those that lie here."""
        ...

    def lay_out(self) -> str:
        """Lay out a new scene, equal to those before it but for its name, and return the name."""
        ...

    def state(self, scene: str) -> object:
        """Return all that a user can see in a scene, without ids and times; scenes with equal contents are equal."""
        ...

    def asked(self) -> Sequence[Asked]:
        """Return the requests, oldest first."""
        ...

    def spoil(self, number: int, trouble: Trouble) -> None:
        """Let the request of that number, from 0, meet trouble; those that met trouble before it do not count."""
        ...

    def has_struck(self) -> bool:
        """Whether a request has met the trouble; one that hangs or is withheld has done all that it ever will."""
        ...

    def heal(self) -> None:
        """Take all trouble away, and forget what was asked."""
        ...


class Subject(Protocol):
    """What an integration's own module brings."""

    KINDS: Sequence[str]
    """The kinds of accounts that the product has."""

    CASES: Mapping[str, Sequence[Case]]
    """At least one case of each action, by its name."""

    def product(self, kind: str, sandbox: Sandbox) -> AbstractAsyncContextManager[Product]:
        """Give the product with an account of that kind; people sign in at the sandbox."""
        ...


def subject(integration: str) -> Subject:
    """Return what an integration brings."""
    return cast("Subject", import_module(f"tests.integrations.{integration}.conformance"))
