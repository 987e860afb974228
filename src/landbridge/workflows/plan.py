"""A definition, ready to be walked: read once, and kept for as long as it is used, since versions never change."""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from landbridge.workflows.definition import FanOutStep, ResponseStep, Step, Workflow
from landbridge.workflows.expressions import references


@dataclass(frozen=True)
class Plan:
    """A workflow with what a walk looks up: by step, its place, its templates, itself."""

    workflow: Workflow
    positions: dict[str, int]
    templates: dict[str, JsonValue]
    steps: dict[str, Step]
    secrets: frozenset[str]
    """The names of the secrets that it refers to."""

    answers: bool
    """Whether a step answers the request that starts it."""

    @classmethod
    def of(cls, definition: dict[str, Any]) -> "Plan":  # Any: JSON
        """Return the plan of a definition that was checked when it was saved."""
        workflow = Workflow.parse(definition)
        steps = [step for step, _ in workflow.walk()]
        templates: dict[str, JsonValue] = {step.id: step.templates() for step in steps}
        used = {
            str(reference.segments[0])
            for template in templates.values()
            for reference in references(template)
            if reference.root == "secrets" and reference.segments
        }
        return cls(
            workflow=workflow,
            positions={step.id: position for position, step in enumerate(steps)},
            templates=templates,
            steps={step.id: step for step in steps},
            secrets=frozenset(used),
            answers=any(isinstance(step, ResponseStep) for step in steps),
        )

    def fan_out(self, step: str) -> FanOutStep:
        """Return a fan-out by its id."""
        found = self.steps[step]
        assert isinstance(found, FanOutStep)
        return found
