"""What a check is told, and what it tells."""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from landbridge.kit import Actions
from landbridge.workflows.definition import Workflow


@dataclass(frozen=True, slots=True)
class Facts:
    """What a definition refers to: actions, names of secrets, app events by name, deployed workflows by id.

    Of an event it is the JSON Schema, or an example, of which nothing is concluded. `workflow_id` is the id that the
    definition itself has, if it has one already.
    """

    actions: Actions
    secrets: Set[str]
    events: Mapping[str, JsonValue]
    workflows: Mapping[str, Workflow]
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot work, where it is (the step, its field, the reference in it), and what to do.

    Without a step it is of the workflow itself; `path` is empty if it is of no reference.
    """

    step: str
    field: str
    path: str
    message: str

    def __str__(self) -> str:
        place = ", ".join(filter(None, (self.step and f"step “{self.step}”", self.field)))
        return f"{place}: {self.message}" if place else self.message

    def as_json(self) -> dict[str, str]:
        """Return the problem as the API tells it."""
        return asdict(self)
