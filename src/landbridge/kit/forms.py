"""What an action is given and gives."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel


class Given(BaseModel):
    """What an action is given: its form. Each field has a description; outside, names are in camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Result(BaseModel):
    """What an action gives. What the provider says beyond the fields that we know is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the result as the next step and the API read it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> bytes:
        """Return the same, written; that takes a fifth of the time for a long list."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


@dataclass(frozen=True, slots=True)
class Wait:
    """The action has not ended: call it again after `until`, with the same input and this token."""

    until: datetime
    token: JsonValue
