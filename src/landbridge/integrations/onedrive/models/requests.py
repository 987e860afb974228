"""Requests of one's own to Microsoft Graph, and where the lists that they ask for end."""

import re
from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from landbridge.integrations.onedrive.models.places import Limit, not_both
from landbridge.kit import File, Given, Result

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$")


class StopWhen(Given):
    """A condition on an item of a list: at the first item for which it holds, the list ends, without that item."""

    field: str = Field(description="The field to look at, such as `lastModifiedDateTime` or `file.mimeType`.")
    operator: Literal["equals", "notEquals", "greaterThan", "lessThan", "exists", "doesNotExist"] = Field(
        description="How to compare. Times are compared as times; things of different kinds are only unequal."
    )
    value: JsonValue = Field(default=None, description="What to compare with.")

    def holds(self, item: object) -> bool:
        """Return whether the condition holds for an item of a list."""
        for name in self.field.split("."):
            item = item.get(name) if isinstance(item, dict) else None
        left, right = _comparable(item), _comparable(self.value)
        match self.operator:
            case "exists" | "doesNotExist":
                return (item is not None) == (self.operator == "exists")
            case "equals" | "notEquals":
                same = type(left) is type(right) and left == right
                return same == (self.operator == "equals")
            case "lessThan":
                return _is_less(left, right)
            case "greaterThan":
                return _is_less(right, left)


class Paging(Given):
    """How to follow the pages of a list."""

    limit: Limit = None
    stop_when: StopWhen | None = Field(default=None, description="Where to stop, if not at the end.")


class OneDriveRequest(Given):
    """The form of OneDrive Request."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(default="GET", description="The HTTP method.")
    path: str = Field(
        min_length=1,
        description="The path, percent-encoded, such as `/me/drive/root/children`; or a whole URL of Microsoft Graph.",
    )
    query: dict[str, str] = Field(default_factory=dict, description="Query options, such as `$top`; not encoded.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers; authorization is added by itself.")
    body: JsonValue = Field(default=None, description="The body: JSON, or a text with its own `Content-Type`.")
    file: File | None = Field(default=None, description="A file to send as the body instead.")
    paging: Paging | None = Field(
        default=None, description="For lists: follow the pages, and give all items as one list."
    )

    _one_body = not_both("body", "file")


class RequestAnswer(Result):
    """What Graph answered."""

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="The headers, their names in lower case.")
    body: JsonValue = Field(default=None, description="The body, if it is JSON.")
    file: File | None = Field(default=None, description="The body, if it is anything else.")


def _comparable(value: object) -> object:
    """Return a value as what it is compared as: numbers as numbers, times as times."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _TIME.match(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _is_less(left: object, right: object) -> bool:
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left.timestamp() < right.timestamp()
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return isinstance(left, float) and isinstance(right, float) and left < right
