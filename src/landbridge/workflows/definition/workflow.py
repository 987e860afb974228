"""A workflow as a whole, in and out of JSON and YAML."""

from collections.abc import Iterator
from typing import Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from landbridge.errors import InvalidRequest
from landbridge.workflows import notation
from landbridge.workflows.definition.parts import Key, Line, Part, Prose
from landbridge.workflows.definition.steps import Step
from landbridge.workflows.definition.triggers import Setting, Trigger

MOST_STEPS: Final = 200
MOST_LEVELS: Final = 10
"""Of steps within steps, those of the workflow itself being the first."""


class Workflow(Part):
    """What is to be done, and when."""

    format: Literal[1] = 1
    """The version of this format."""
    name: Line
    """What people call it."""
    description: Prose = ""
    """What it does, for the users who may switch it on."""
    integration: Key = "onedrive"
    """The integration whose users can switch it on."""
    trigger: Trigger
    """What starts it."""
    settings: tuple[Setting, ...] = Field(default=(), max_length=100)
    """What a user fills in before they switch it on."""
    steps: tuple[Step, ...] = ()
    """What it does, one after the other."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the workflow that JSON means, or raise `InvalidRequest` naming each step and field that is wrong."""
        notation.bounded(value)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InvalidRequest(_in_plain_words(error, value)) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the workflow that a JSON text means. Raises `InvalidRequest`, or `TooLarge`: at most 1 MiB."""
        return cls.parse(notation.read_json(text))

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Self:
        """Return the workflow that a YAML text means. Raises `InvalidRequest`, or `TooLarge`: at most 1 MiB."""
        return cls.parse(notation.read_yaml(text))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the workflow as JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """Return the workflow as a JSON text, which means the same workflow."""
        return notation.write_json(self.as_json())

    def to_yaml(self) -> str:
        """Return the workflow as a YAML text, which means the same workflow."""
        return notation.write_yaml(self.as_json())

    def walk(self) -> Iterator[tuple[Step, tuple[Step, ...]]]:
        """Yield every step with those around it, outermost first, in the order in which they are written."""
        yield from _walk(self.steps, ())

    @model_validator(mode="after")
    def _of_bounded_size(self) -> Self:
        for count, (step, around) in enumerate(self.walk(), start=1):
            if count > MOST_STEPS:
                raise ValueError(f"a workflow has at most {MOST_STEPS} steps: move some into another workflow")
            if len(around) >= MOST_LEVELS:
                raise ValueError(f"“{step.id}” lies deeper than {MOST_LEVELS} levels: move it into another workflow")
        return self


def _walk(steps: tuple[Step, ...], around: tuple[Step, ...]) -> Iterator[tuple[Step, tuple[Step, ...]]]:
    for step in steps:
        yield step, around
        for branch in step.branches().values():
            yield from _walk(branch, (*around, step))


_PLAINLY = {
    "missing": "this is missing",
    "extra_forbidden": "there is no such field here",
    "union_tag_not_found": "say which kind it is by `type`",
    "model_type": "this is an object",
    "model_attributes_type": "this is an object",
}
_MOST_SAID = 10


def _in_plain_words(error: ValidationError, value: object) -> str:
    """Return what is wrong, naming step and field: `step “find”, input: this is missing`."""
    said = []
    for problem in error.errors(include_url=False)[:_MOST_SAID]:
        place = _place(problem["loc"], value)
        message = _PLAINLY.get(problem["type"], problem["msg"].removeprefix("Value error, ").rstrip("."))
        said.append(f"{place}: {message}" if place else message)
    rest = error.error_count() - _MOST_SAID
    return "; ".join(said) + (f"; and {rest} more" if rest > 0 else "") + "."


def _place(location: tuple[int | str, ...], value: object) -> str:
    """Return where a problem is, leaving out the kinds of things, which pydantic puts between the fields."""
    step, field = "", ""
    for depth, part in enumerate(location):
        if isinstance(value, list | tuple) and isinstance(part, int):
            value = value[part]
            if isinstance(value, dict) and field.rpartition(".")[2] in {"steps", "then", "else", "onError"}:
                step, field = f"step “{value['id']}”" if "id" in value else f"{field}[{part}]", ""
            else:
                field += f"[{part}]"
        elif isinstance(value, dict) and (part in value or depth == len(location) - 1):
            value = value.get(part)
            field += f".{part}" if field else str(part)
    return ", ".join(filter(None, (step, field)))
