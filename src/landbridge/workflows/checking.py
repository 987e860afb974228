"""What would keep a definition from running, told when it is saved and not when it fails."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue

from landbridge.errors import LandbridgeError
from landbridge.kit import Actions
from landbridge.workflows.definition import ActionStep, FanOutStep, RequestTrigger, ResponseStep, Step, Workflow
from landbridge.workflows.expressions import Reference, instead, references


@dataclass(frozen=True, slots=True)
class Facts:
    """What a definition refers to: actions, names of secrets, app events by name, deployed workflows by id."""

    actions: Actions
    secrets: Set[str]
    events: Mapping[str, JsonValue]
    workflows: Mapping[str, Workflow]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot work, and where it is: the step, its field, the reference in it."""

    step: str
    field: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"step “{self.step}”, {self.field}: {self.message}" if self.step else self.message

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the problem as the API tells it."""
        return asdict(self)


def check(workflow: Workflow, facts: Facts) -> list[Problem]:
    """Return every problem that can be told before the workflow runs."""
    return list(_problems(workflow, facts))


def _problems(workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    seen: set[str] = set()
    for step, around in workflow.walk():
        if step.id in seen:
            yield Problem(step.id, "id", "", "Another step has this id; each has its own.")
        yield from _of_references(step, around, seen, facts)
        if isinstance(step, ActionStep):
            yield from _of_action(step, workflow, facts)
        if isinstance(step, ResponseStep) and not isinstance(workflow.trigger, RequestTrigger):
            yield Problem(step.id, "type", "", "Only a workflow that a request starts can answer one.")
        seen.add(step.id)


def _of_action(step: ActionStep, workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    try:
        facts.actions.get(step.integration or workflow.integration, step.action)
    except LandbridgeError as error:
        yield Problem(step.id, "action", "", error.message)


def _of_references(step: Step, around: tuple[Step, ...], seen: set[str], facts: Facts) -> Iterator[Problem]:
    for field, template in step.templates().items():
        if isinstance(step, FanOutStep) and field == "result":
            seen = seen | {inner.id for inner in step.steps}
        try:
            found = references(template)
        except LandbridgeError as error:
            yield Problem(step.id, field, "", error.message)
            continue
        for reference in found:
            if message := _wrong(reference, step, around, seen, facts):
                yield Problem(step.id, field, str(reference), message)


def _wrong(reference: Reference, step: Step, around: tuple[Step, ...], seen: set[str], facts: Facts) -> str | None:
    """Return what is wrong with a reference, if anything surely is."""
    first = str(reference.segments[0]) if reference.segments else ""
    if reference.root == "steps" and first not in seen:
        return f"`{reference}`: no step “{first}” runs before this one. {instead(first, seen)}"
    if reference.root == "secrets" and not step.MAY_HOLD_SECRETS:
        return f"`{reference}`: a secret cannot be used here, since what it leads to is kept."
    if reference.root == "secrets" and first not in facts.secrets:
        return f"`{reference}`: the project has no such secret. {instead(first, facts.secrets)}"
    inside = any(isinstance(one, FanOutStep) for one in (*around, step))
    if reference.root in {"item", "index", "fanOut"} and not inside:
        return f"`{reference}`: this step is not in a fan-out."
    return None
