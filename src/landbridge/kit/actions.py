"""What makes an action of a function, and where actions are found."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import ValidationError

from landbridge.errors import InvalidRequest, NotFound
from landbridge.files import File, RunFiles
from landbridge.kit.client import Client
from landbridge.kit.forms import Given, Result, Wait
from landbridge.kit.steps import Context

_SPELLINGS = MappingProxyType({"id": "ID", "by": "by", "onedrive": "OneDrive", "of": "of", "to": "to", "for": "for"})

Effect = Literal["reads", "adds", "changes"]
"""What an action does to what is there: nothing, or it adds to it, or it may change, replace or delete it."""


@dataclass(frozen=True)
class Action:
    """Something that can be done with a product, on behalf of a connected user."""

    name: str
    title: str
    summary: str
    """One sentence."""

    description: str
    """The sentence, and what else is worth knowing."""

    given: type[Given]
    result: type[Result]
    scopes: frozenset[str]
    """The least that the user must have consented to, for their own drive."""

    repeatable: bool
    """Whether twice is the same as once."""

    effect: Effect
    """Whether it only reads, or only adds: what people let an agent do by itself."""

    _function: Callable[[Any, Any], Awaitable[Result | Wait]] = field(repr=False)  # Any: see `action`, which knows them
    _client: type[Client] = field(repr=False)

    def parse(self, values: Mapping[str, Any]) -> Given:  # Any: JSON, or Files
        """Return the input that `values` means, or raise `InvalidRequest` naming each field that is wrong."""
        try:
            return self.given.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidRequest(f"{self.title}: {_in_plain_words(error)}") from None

    async def receive(self, values: Mapping[str, Any], files: RunFiles) -> Given:  # Any: JSON
        """Return the input that `values` means, taking the contents of files that lie in it into the run's files."""
        received = dict(values)
        for name, of in self.given.model_fields.items():
            if File in (of.annotation, *get_args(of.annotation)):
                for key in {name, of.alias or name} & set(received):
                    if received[key] is not None:
                        received[key] = await files.receive(received[key])
        return self.parse(received)

    async def run(self, context: Context, given: Given) -> Result | Wait:
        """Do it. Raises any `LandbridgeError`."""
        return await self._function(self._client(context), given)


_ClientT = TypeVar("_ClientT", bound=Client)
_GivenT = TypeVar("_GivenT", bound=Given)


def action(
    *, scopes: Set[str], repeatable: bool, effect: Effect = "changes"
) -> Callable[[Callable[[_ClientT, _GivenT], Awaitable[Result | Wait]]], Action]:
    """Make an action of an async function of a client and a form.

    `repeatable` is the one promise that no engine can infer: whether twice is the same as once. An action that is not
    looks for what it may already have done, before it does it again. `effect` is the other one: whoever does not say
    that an action only reads, or only adds, has it kept from those who may do no more.
    """

    def make(function: Callable[[_ClientT, _GivenT], Awaitable[Result | Wait]]) -> Action:
        hints = get_type_hints(function)
        returned = hints.pop("return")
        client, given = hints.values()
        (result,) = [kind for kind in (get_args(returned) or (returned,)) if kind is not Wait]
        description = inspect.getdoc(function) or ""
        return Action(
            name=function.__name__,
            title=_title(function.__name__),
            summary=description.partition("\n")[0],
            description=description,
            given=given,
            result=result,
            scopes=frozenset(scopes),
            repeatable=repeatable,
            effect=effect,
            _function=function,
            _client=client,
        )

    return make


class Actions:
    """All actions of all integrations."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._actions: Mapping[str, Mapping[str, Action]] = {
            integration: {
                found.name: found
                for name in getattr(module, "__all__", vars(module))
                if isinstance(found := getattr(module, name), Action)
            }
            for integration, module in modules.items()
        }

    def __iter__(self) -> Iterator[tuple[str, Action]]:
        for integration, actions in self._actions.items():
            for found in actions.values():
                yield integration, found

    def of(self, integration: str) -> Iterable[Action]:
        """Return the actions of an integration, in the order in which its module names them."""
        return self._actions.get(integration, {}).values()

    def get(self, integration: str, name: str) -> Action:
        """Return an action, or raise `NotFound` naming those that there are."""
        found = self._actions.get(integration, {}).get(name)
        if found is None:
            known = ", ".join(self._actions.get(integration, {})) or "none"
            raise NotFound(f"There is no action “{name[:64]}” of {integration[:64]}. There is: {known}.")
        return found


def _title(name: str) -> str:
    return " ".join(_SPELLINGS.get(word, word.capitalize()) for word in name.split("_"))


def _in_plain_words(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{place}: {said}" if place else said)
    return "; ".join(problems)
