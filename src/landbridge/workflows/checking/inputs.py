"""Whether an action can take what a step gives it, as far as it is certain before the step runs."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

from pydantic import BaseModel, JsonValue, ValidationError

from landbridge.errors import InvalidRequest
from landbridge.kit import Action, File
from landbridge.workflows.checking.problems import Problem
from landbridge.workflows.checking.scopes import Scope, lone_shape
from landbridge.workflows.checking.shapes import in_words
from landbridge.workflows.definition import ActionStep
from landbridge.workflows.expressions import instead, lone_reference, references, resolve

_SAMPLES: Final[Mapping[str, JsonValue]] = MappingProxyType(
    {"object": {}, "array": [], "string": "", "integer": 1, "number": 1.5, "boolean": True, "null": None}
)


def of_input(step: ActionStep, action: Action, scope: Scope) -> Iterator[Problem]:
    """Yield what is wrong with the input of an action: fields unknown, missing, or of a wrong kind."""
    names = _names(action)
    for name in step.input:
        if name not in names:
            known = instead(name, (field.alias or own for own, field in action.given.model_fields.items()))
            said = f"{action.title} takes no `{name[:64]}`. {known}"
            yield Problem(step.id, f"input.{name[:64]}", "", said)
    given = {name: value for name, value in step.input.items() if name in names}
    yield from _of_literals(step, action, given)
    for name, value in given.items():
        shape = lone_shape(value, scope)
        kinds = shape.kinds() if shape else None
        if kinds is not None and not any(_takes(action.given, name, kind) for kind in kinds):
            said = f"This leads to {in_words(kinds)}, which {action.title} does not take here: refer to another."
            yield Problem(step.id, f"input.{name}", str(lone_reference(value)), said)


def _of_literals(step: ActionStep, action: Action, given: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Yield what the action's form says to the values without references; the others may turn out right."""
    names = _names(action)
    literal = {name: resolve(value, {}) for name, value in given.items() if _is_literal(value, action, names[name])}
    elsewhere = {names[name] for name in given.keys() - literal.keys()}
    try:
        action.given.model_validate(literal)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False):
            place = ".".join(str(part) for part in problem["loc"])
            field = names.get(str(problem["loc"][0])) if problem["loc"] else None
            if field in elsewhere or (field is None and elsewhere):
                continue
            said = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "missing" and field and len(problem["loc"]) == 1:
                said = f"{action.title} needs this. {action.given.model_fields[field].description or ''}".strip()
            where = f"input.{place}" if place else "input"
            yield Problem(step.id, where, "", said if said.endswith(".") else f"{said}.")


def _names(action: Action) -> dict[str, str]:
    """Return each spelling of each field, with the field's name."""
    return {spelt: name for name, field in action.given.model_fields.items() for spelt in (name, field.alias or name)}


def _is_literal(value: JsonValue, action: Action, field: str) -> bool:
    """Return whether a value is known now, and no file, which is taken in when the step runs."""
    annotation: Any = action.given.model_fields[field].annotation  # Any: a type expression
    if File in (annotation, *get_args(annotation)):
        return False
    try:
        return not references(value)
    except InvalidRequest:
        return False


def _takes(form: type[BaseModel], name: str, kind: str) -> bool:
    """Return whether a field may take a value of a kind: unless a sample of it is refused for its type alone."""
    try:
        form.model_validate({name: _SAMPLES.get(kind)})
    except ValidationError as error:
        own = [problem for problem in error.errors(include_url=False) if problem["loc"][:1] == (name,)]
        return not own or not all(problem["type"].endswith("_type") for problem in own)
    return True
