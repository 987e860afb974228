"""The kinds of steps."""

from typing import Annotated, ClassVar, Final, Literal, Self, get_args

from pydantic import Field, JsonValue, model_validator

from landbridge.workflows.definition.calls import Auth, Body, NoAuth, NoBody
from landbridge.workflows.definition.parts import Identifier, Key, Line, Part, Scalar, Templates

LONGEST_CODE: Final = 64 << 10
"""Characters of a Function step."""

LONGEST_WAIT: Final = 365 * 86_400
"""Seconds for which a workflow may wait."""

Operator = Literal[
    "$stringContains",
    "$stringDoesNotContain",
    "$stringExactlyMatches",
    "$stringDoesNotExactlyMatch",
    "$stringIsIn",
    "$stringIsNotIn",
    "$stringStartsWith",
    "$stringDoesNotStartWith",
    "$stringEndsWith",
    "$stringDoesNotEndWith",
    "$stringGreaterThan",
    "$stringLessThan",
    "$numberGreaterThan",
    "$numberLessThan",
    "$numberGreaterThanOrEqualTo",
    "$numberLessThanOrEqualTo",
    "$numberEquals",
    "$numberDoesNotEqual",
    "$dateTimeAfter",
    "$dateTimeBefore",
    "$dateTimeEquals",
    "$booleanTrue",
    "$booleanFalse",
    "$exists",
    "$doesNotExist",
    "$isNotUndefinedOrNull",
    "$isUndefinedOrNull",
    "$arrayIsIn",
    "$arrayIsNotIn",
    "$arrayIsEmpty",
    "$arrayIsNotEmpty",
    "$none",
]


class _Step(Part):
    id: Identifier
    """What later steps call it: `{{ steps.ID… }}`. It is its own in the whole workflow."""
    title: Line = ""
    """What people see in the editor and in the history."""

    TEMPLATES: ClassVar[tuple[str, ...]] = ()
    """The fields, as they are spelt outside, that take templates."""

    MAY_HOLD_SECRETS: ClassVar[bool] = False

    def branches(self) -> dict[str, "tuple[Step, ...]"]:
        """Return the lists of steps within this one, by field."""
        return {}

    def templates(self) -> dict[str, JsonValue]:
        """Return what is templated, by field, as it is written outside."""
        written = self.model_dump(mode="json", by_alias=True)
        return {name: written[name] for name in self.TEMPLATES if name in written}


class _Fallible(_Step):
    auto_retry: bool = False
    """Whether it is tried again when it fails: after about 10, 20, 30, 50 and 80 seconds."""
    continue_on_error: bool = False
    """Whether the workflow goes on if it fails; its output is then `{{ steps.ID.error }}`."""
    on_error: "tuple[Step, ...] | None" = None
    """Steps to run if it fails; `{{ steps.ID.error.message }}` says why. Then the workflow goes on after it."""

    def branches(self) -> dict[str, "tuple[Step, ...]"]:
        """Return the lists of steps within this one, by field."""
        return {"onError": self.on_error} if self.on_error else {}

    @model_validator(mode="after")
    def _one_way_to_go_on(self) -> Self:
        if self.continue_on_error and self.on_error is not None:
            raise ValueError("`continueOnError` and `onError` exclude each other: keep one of them")
        return self


class _Effect(_Fallible):
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds that one try may take."""

    MAY_HOLD_SECRETS = True


class ActionStep(_Effect):
    """Does something with an integration: `{{ steps.ID.result }}`."""

    type: Literal["action"] = "action"
    integration: Key | None = None
    """The integration; the workflow's own if it is left out."""
    action: Key
    """The action's name, as `save_file`."""
    input: Templates = Field(default={})
    """What the action is given: see its form."""

    TEMPLATES = ("input",)


class RequestStep(_Effect):
    """Calls any HTTP API: `{{ steps.ID.response.body }}`, and `.statusCode`, `.headers`."""

    type: Literal["request"] = "request"
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    """The method."""
    url: str
    """The URL; relative to the integration's API if `auth` is the connection."""
    params: Templates = Field(default={})
    """What is added to the query; a list is a parameter that is there several times, null is left out."""
    headers: dict[str, Scalar] = Field(default={})
    """Headers."""
    body: Body = NoBody()
    """What is sent."""
    auth: Auth = NoAuth()
    """What proves who calls."""

    TEMPLATES = ("url", "params", "headers", "body", "auth")


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class FunctionLimits(Part):
    """What a Function step may use."""

    seconds: Annotated[int | float, Field(gt=0, le=30)] = 5
    """Time."""
    memory_mb: int = Field(default=64, ge=1, le=256)
    """Memory, in MiB."""


class FunctionStep(_Effect):
    """Runs Python that can reach nothing but its parameters: `{{ steps.ID.result }}`."""

    type: Literal["function"] = "function"
    code: Annotated[str, Field(max_length=LONGEST_CODE)]
    """Python that defines `def run(parameters)`, whose result is the step's. `{{ }}` is not looked for in it."""
    parameters: dict[Variable, JsonValue] = Field(default={})
    """What `run` is given: its argument is an object of these."""
    limits: FunctionLimits = FunctionLimits()
    """What it may use before it is stopped."""
    fetch: bool = False
    """Whether it may call other systems by `fetch`."""

    TEMPLATES = ("parameters",)


class Condition(Part):
    """One comparison. See the operators for what they compare."""

    left: JsonValue = None
    """What is looked at: a template."""
    operator: Operator
    """How it is looked at."""
    right: JsonValue = None
    """What it is compared with: a template. Some operators need none."""


class ConditionalStep(_Step):
    """Goes one of two ways, which join after it: `{{ steps.ID.selectedChoice }}` is `Yes` or `No`."""

    type: Literal["conditional"] = "conditional"
    if_: tuple[tuple[Condition, ...], ...] = Field(alias="if", max_length=100)
    """Groups of conditions: it holds if all conditions of any group hold."""
    then: "tuple[Step, ...]" = ()
    """Steps if it holds."""
    else_: "tuple[Step, ...]" = Field(default=(), alias="else")
    """Steps if it does not."""

    TEMPLATES = ("if",)

    def branches(self) -> dict[str, "tuple[Step, ...]"]:
        """Return the lists of steps within this one, by field."""
        return {"then": self.then, "else": self.else_}


class FanOutStep(_Step):
    """Runs steps once for each entry of a list, several at a time: `{{ steps.ID.results }}`, in the list's order.

    In it, `{{ item }}` is the entry and `{{ index }}` its place; `{{ fanOut.ID.item }}` is that of a fan-out around it.
    """

    type: Literal["fanOut"] = "fanOut"
    over: JsonValue
    """The list: a template."""
    concurrency: int = Field(default=10, ge=1, le=100)
    """How many entries are worked on at a time."""
    on_item_error: Literal["fail", "collect"] = "fail"
    """Whether an entry that fails ends the others and fails the workflow, or leaves `{"error": …}` in its place."""
    steps: "tuple[Step, ...]" = ()
    """The steps for each entry."""
    result: JsonValue = None
    """What each entry gives: a template that sees these steps."""

    TEMPLATES = ("over", "result")

    def branches(self) -> dict[str, "tuple[Step, ...]"]:
        """Return the lists of steps within this one, by field."""
        return {"steps": self.steps}


class DelayStep(_Step):
    """Waits. A workflow that waits costs nothing, however long."""

    type: Literal["delay"] = "delay"
    value: int | float | str
    """How long: a number, or a template of one."""
    unit: Literal["SECONDS", "MINUTES", "HOURS", "DAYS"] = "MINUTES"
    """Of what."""

    TEMPLATES = ("value",)


class ResponseStep(_Step):
    """Answers the request that started the workflow, which then goes on."""

    type: Literal["response"] = "response"
    response_type: Literal["JSON", "FILE"] = "JSON"
    """Whether a value is answered or a file's contents."""
    status_code: int = Field(default=200, ge=200, le=599)
    """The HTTP status."""
    headers: dict[str, Scalar] = Field(default={})
    """Headers."""
    body: JsonValue = None
    """The value, if the type is JSON: a template."""
    file: str | None = None
    """One reference to a File that a step gave, if the type is FILE."""

    TEMPLATES = ("headers", "body", "file")


class StopStep(_Step):
    """Ends the workflow here."""

    type: Literal["stop"] = "stop"
    outcome: Literal["succeeded", "failed"] = "succeeded"
    """What becomes of the run."""
    message: str = ""
    """Why: a template."""

    TEMPLATES = ("message",)


class RunWorkflowStep(_Fallible):
    """Runs another workflow for the same user: `{{ steps.ID.result }}`."""

    type: Literal["runWorkflow"] = "runWorkflow"
    workflow: Key
    """The workflow's id."""
    input: Templates = Field(default={})
    """What its trigger is given."""
    wait: bool = True
    """Whether to wait for it; if not, there is no result, and what becomes of it is its own business."""
    timeout: int | None = Field(default=None, ge=1, le=LONGEST_WAIT)
    """Seconds that one try may take: then it ends, whatever it waits for. As long as it takes, if this is left out."""

    TEMPLATES = ("input",)


Step = Annotated[
    ActionStep
    | RequestStep
    | FunctionStep
    | ConditionalStep
    | FanOutStep
    | DelayStep
    | ResponseStep
    | StopStep
    | RunWorkflowStep,
    Field(discriminator="type"),
]


for _kind in get_args(get_args(Step)[0]):
    _kind.model_rebuild()
