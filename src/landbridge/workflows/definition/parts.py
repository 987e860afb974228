"""What every part of a definition has in common."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

_ALWAYS = frozenset({"type", "format"})
_FIRST = ("id", "type", "title")
_LAST = ("autoRetry", "continueOnError", "timeout", "onError")


class Part(BaseModel):
    """A part of a definition. Written out, what is as it would be anyway goes without saying."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    @model_serializer(mode="wrap")
    def _tersely(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:  # Any: JSON
        written: dict[str, Any] = write(self)  # Any: as above
        for name, field in type(self).model_fields.items():
            if name not in _ALWAYS and getattr(self, name) == field.get_default():
                written.pop(field.alias or name, None)
        return in_order(written)


def in_order(fields: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return fields as they are best read: what it is, what it does, what happens if that fails."""
    first = {name: fields[name] for name in _FIRST if name in fields}
    last = {name: fields[name] for name in _LAST if name in fields}
    own = {name: of for name, of in fields.items() if name not in first and name not in last}
    return first | own | last


Identifier = Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9_]{0,63}$")]
Key = Annotated[str, Field(min_length=1, max_length=256)]
Line = Annotated[str, Field(max_length=200)]
Prose = Annotated[str, Field(max_length=5_000)]
Scalar = str | int | float | bool
Templates = dict[str, JsonValue]
