"""What a run knows: what started it, what its steps gave, whose it is. Pure data, and the names that lead to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

Json = dict[str, Any]  # Any: JSON

MASKED: Final = "•••"
"""What stands for a secret wherever people read."""


@dataclass(frozen=True, slots=True)
class Item:
    """Where in which fan-outs a run is: the innermost last."""

    fan_out: str
    index: int
    value: JsonValue


@dataclass(frozen=True)
class Scope:
    """What is settled when a run begins, and does not change: the same for each leg, in each process."""

    trigger: JsonValue
    settings: Json
    user: Json
    run: Json
    items: tuple[Item, ...] = ()
    outer: Mapping[str, JsonValue] = field(default_factory=dict)
    """What steps before the fan-out gave, in the run that this one is an item of."""

    until: datetime | None = None
    """When it must be over, if the step that runs it has no more time than that."""


class Names(Mapping[str, JsonValue]):
    """What references lead to. Secrets are looked up in `secrets`, which may hold masks instead."""

    def __init__(self, scope: Scope, outputs: Mapping[str, JsonValue], secrets: Mapping[str, str]) -> None:
        self._scope = scope
        self._outputs = outputs
        self._secrets = secrets

    def __getitem__(self, root: str) -> Any:  # Any: JSON, or a mapping that is read as it
        scope = self._scope
        match root:
            case "steps":
                return {**scope.outer, **self._outputs} if scope.outer else self._outputs
            case "trigger" | "settings" | "user" | "run":
                return getattr(scope, root)
            case "secrets":
                return self._secrets
            case "item" | "index" | "fanOut" if scope.items:
                return _of_items(scope.items)[root]
        raise KeyError(root)

    def __iter__(self) -> Iterator[str]:
        yield from ("trigger", "steps", "settings", "user", "run", "secrets")
        if self._scope.items:
            yield from ("item", "index", "fanOut")

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _of_items(items: tuple[Item, ...]) -> Json:
    return {
        "item": items[-1].value,
        "index": items[-1].index,
        "fanOut": {item.fan_out: {"item": item.value, "index": item.index} for item in items},
    }
