"""What starts a workflow, and what a user fills in before it can start."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from landbridge.errors import InvalidRequest
from landbridge.workflows.definition.parts import Identifier, Key, Line, Part, Prose
from landbridge.workflows.schedule import Cron


class Setting(Part):
    """Something that a user fills in before they switch the workflow on: `{{ settings.ID }}`."""

    id: Identifier
    """What the value is kept under: a new id loses what users have filled in."""
    type: Literal["text", "longText", "number", "email", "url", "password", "boolean", "choice"] = "text"
    """What the user can fill in."""
    title: Line
    """What the user reads beside the field."""
    tooltip: Prose = ""
    """What the user reads when they ask for help."""
    required: bool = True
    """Whether the workflow can be switched on only when this is filled in."""
    default: JsonValue = None
    """The value until the user fills in another."""
    choices: tuple[Line, ...] = Field(default=(), max_length=200)
    """What a user can choose from, if the type is `choice`."""


class Validation(Part):
    """Something that a request must hold."""

    key: Key
    """The name of a header, of a query parameter, or of a field of the body."""
    required: bool = True
    """Whether it must be there; if not, only its type is looked at."""
    data_type: Literal["STRING", "NUMBER", "DATE", "BOOLEAN", "EMAIL", "OBJECT", "ARRAY", "ANY", "FILE"] = "ANY"
    """What kind of value it must be."""


class RequestTrigger(Part):
    """Runs when your product asks for it: `{{ trigger.request.body.NAME }}`, and `.headers`, `.params`, `.file`."""

    type: Literal["request"] = "request"
    headers: tuple[Validation, ...] = Field(default=(), max_length=100)
    """What the headers must hold, their names in lower case; a request that does not is refused."""
    body: tuple[Validation, ...] = Field(default=(), max_length=100)
    """What the body must hold."""
    params: tuple[Validation, ...] = Field(default=(), max_length=100)
    """What the query must hold."""


class AppEventTrigger(Part):
    """Runs when your product tells of an event: `{{ trigger.event.NAME }}`."""

    type: Literal["appEvent"] = "appEvent"
    event: Key
    """The event's name, as the project has it."""


class SchedulerTrigger(Part):
    """Runs at the times that a plan says, for each user who switched it on."""

    type: Literal["scheduler"] = "scheduler"
    cron: Annotated[str, Field(max_length=200)]
    """Minute, hour, day, month, day of the week; with six fields, the first is the second: `0 0 9 * * *`."""
    timezone: Annotated[str, Field(max_length=200)] = "UTC"
    """A name as `Europe/Berlin`, or a template on the user's metadata: `{{ user.metadata.timezone }}`."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        try:
            Cron.parse(self.cron, "UTC" if "{{" in self.timezone else self.timezone)
        except InvalidRequest as error:
            raise ValueError(error.message) from None
        return self


class IntegrationEnabledTrigger(Part):
    """Runs once when a user has connected their account and the workflow is on."""

    type: Literal["integrationEnabled"] = "integrationEnabled"


Trigger = Annotated[
    RequestTrigger | AppEventTrigger | SchedulerTrigger | IntegrationEnabledTrigger, Field(discriminator="type")
]
