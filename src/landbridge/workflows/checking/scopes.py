"""What references can lead to, at a step, as far as it is certain."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from pydantic import BaseModel, JsonValue

from landbridge.errors import InvalidRequest
from landbridge.kit import Actions
from landbridge.workflows.checking.problems import Facts
from landbridge.workflows.checking.shapes import (
    AN_OBJECT,
    ANYTHING,
    TEXT,
    WHOLE_NUMBER,
    Impossible,
    Shape,
)
from landbridge.workflows.definition import (
    ActionStep,
    AppEventTrigger,
    ConditionalStep,
    FanOutStep,
    FunctionStep,
    RequestStep,
    RequestTrigger,
    RunWorkflowStep,
    Step,
    Workflow,
)
from landbridge.workflows.expressions import Reference, instead, lone_reference

_SCHEMA_WORDS: Final = frozenset(
    {"title", "description", "type", "properties", "required", "additionalProperties", "items", "$defs", "examples"}
)
_KINDS: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


@dataclass(frozen=True, slots=True)
class Known:
    """What a step gives. One that is not certain to run may give nothing."""

    shape: Shape
    certain: bool = True


@dataclass(frozen=True)
class Scope:
    """What a step sees. `items` are the entries of the fan-outs around it, the innermost last."""

    roots: Mapping[str, Shape]
    steps: Mapping[str, Known] = field(default_factory=dict)
    items: Mapping[str, Shape] = field(default_factory=dict)

    @classmethod
    def at_the_beginning(cls, workflow: Workflow, facts: Facts) -> "Scope":
        """Return what the first step sees."""
        settings = Shape.closed({setting.id: ANYTHING for setting in workflow.settings})
        user = Shape.closed({"id": TEXT, "metadata": AN_OBJECT, "account": AN_OBJECT})
        run = Shape.closed({"id": TEXT, "startedAt": TEXT})
        return cls({"trigger": _of_trigger(workflow, facts), "settings": settings, "user": user, "run": run})

    def after(self, step: Step, shape: Shape) -> "Scope":
        """Return what is seen after a step that gives this."""
        return replace(self, steps={**self.steps, step.id: Known(shape)})

    def beside(self, other: "Scope", *, certain: bool) -> "Scope":
        """Return this, with the steps of a branch that was taken only if it is `certain`."""
        new = {
            id_: Known(known.shape, known.certain and certain)
            for id_, known in other.steps.items()
            if id_ not in self.steps
        }
        return replace(self, steps={**self.steps, **new})

    def within(self, fan_out: FanOutStep) -> "Scope":
        """Return what the steps of a fan-out see, given what the fan-out sees."""
        over = lone_shape(fan_out.over, self)
        item = over.inside(0, "") if over and over.may_be({"array"}) else ANYTHING
        return replace(self, items={**self.items, fan_out.id: item})

    def shape(self, reference: Reference) -> Shape:
        """Return what a reference leads to. Raises `Impossible`, saying what there is instead."""
        shape = self._root(reference)
        for depth, segment in enumerate(reference.segments):
            shape = shape.inside(segment, reference.upto(depth))
        return Shape({"anyOf": [shape, Shape({"type": "null"})]}) if any(reference.optional) else shape

    def _root(self, reference: Reference) -> Shape:
        match reference.root:
            case "steps":
                return Shape.closed({id_: known.shape for id_, known in self.steps.items()})
            case "secrets":
                return ANYTHING
            case "item" | "index" | "fanOut":
                return self._of_fan_outs(reference.root)
            case root if root in self.roots:
                return self.roots[root]
            case root:
                known = [*self.roots, "steps", "secrets", "item", "index", "fanOut"]
                raise Impossible(f"there is no `{root}` to look things up in. {instead(root, known)}")

    def _of_fan_outs(self, root: str) -> Shape:
        if not self.items:
            raise Impossible(f"`{root}` is known inside a fan-out only. Move the step into one, or refer to a step.")
        if root == "item":
            return list(self.items.values())[-1]
        if root == "index":
            return WHOLE_NUMBER
        return Shape.closed(
            {id_: Shape.closed({"item": item, "index": WHOLE_NUMBER}) for id_, item in self.items.items()}
        )


def lone_shape(template: JsonValue, scope: Scope) -> Shape | None:
    """Return what a template leads to that is exactly one reference; None for others, and for one that is wrong."""
    try:
        reference = lone_reference(template)
        return scope.shape(reference) if reference else None
    except (Impossible, InvalidRequest):
        return None


def output_of(step: Step, workflow: Workflow, actions: Actions) -> Shape:
    """Return what a step gives when nothing went wrong."""
    match step:
        case ActionStep():
            gives = {"result": _of_action(step, workflow, actions)}
        case RequestStep():
            gives = {"response": Shape.closed({"statusCode": WHOLE_NUMBER, "headers": AN_OBJECT, "body": ANYTHING})}
        case FunctionStep():
            gives = {"result": ANYTHING, "logs": ANYTHING}
        case ConditionalStep():
            gives = {"selectedChoice": TEXT}
        case FanOutStep():
            gives = {"results": Shape.list_of(ANYTHING)}
        case RunWorkflowStep(wait=True):
            gives = {"result": ANYTHING}
        case _:
            gives = {}
    return Shape.closed(gives)


FAILED: Final = Shape.closed({"error": AN_OBJECT})
"""What a step gives that failed."""


def either(shape: Shape, other: Shape) -> Shape:
    """Return the shape of what has one of two."""
    return Shape({"anyOf": [shape, other]})


def _of_action(step: ActionStep, workflow: Workflow, actions: Actions) -> Shape:
    for action in actions.of(step.integration or workflow.integration):
        if action.name == step.action:
            return _of_result(action.result)
    return ANYTHING


@cache
def _of_result(model: type[BaseModel]) -> Shape:
    return Shape.of(model.model_json_schema(by_alias=True))


def _of_trigger(workflow: Workflow, facts: Facts) -> Shape:
    match workflow.trigger:
        case RequestTrigger():
            request = {"headers": AN_OBJECT, "params": AN_OBJECT, "body": ANYTHING, "file": ANYTHING}
            return Shape.closed({"request": Shape.closed(request)})
        case AppEventTrigger(event=event):
            schema = facts.events.get(event)
            return Shape.closed({"event": Shape.of(schema) if _is_schema(schema) else ANYTHING})
        case _:
            return ANYTHING


def _is_schema(value: JsonValue) -> bool:
    """Return whether this is a JSON Schema, and no example that looks a little like one."""
    if not isinstance(value, dict):
        return False
    return "$schema" in value or (value.get("type") in _KINDS and value.keys() <= _SCHEMA_WORDS)
