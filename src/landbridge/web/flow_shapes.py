"""What the management API of workflows takes and shows, as models."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue, SecretStr

from landbridge.store.history import StepRow
from landbridge.store.runs import RunRow
from landbridge.store.workflows import VersionRow, WorkflowRow
from landbridge.web.shapes import Given
from landbridge.workflows.definition import Condition, Workflow
from landbridge.workflows.history import is_cut
from landbridge.workflows.testing import Wanted
from landbridge.workflows.triggers import Which


class WorkflowChange(Given):
    """What to change of a workflow; what is absent stays."""

    is_hidden: bool | None = Field(default=None, description="Whether the portal leaves it out.")
    is_default_enabled: bool | None = Field(default=None, description="Whether it is on without the user's doing.")
    permissions: list[list[Condition]] | None = Field(
        default=None, max_length=20, description="Groups of conditions on `user.metadata`; empty lets everybody."
    )


class WorkflowOut(BaseModel):
    """A workflow with its draft."""

    id: str
    project_id: str
    integration: str
    name: str
    draft: dict[str, JsonValue]
    deployed_version_id: str | None
    is_hidden: bool
    is_default_enabled: bool
    permissions: list[Any] | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: WorkflowRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)


class VersionOut(BaseModel):
    """A version: a definition that never changes."""

    id: str
    workflow_id: str
    number: int
    definition: dict[str, JsonValue]
    created_at: datetime

    @classmethod
    def of(cls, row: VersionRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)


class ProblemOut(BaseModel):
    """What would keep a definition from running, and where."""

    step: str
    field: str
    path: str
    message: str


class RunOut(BaseModel):
    """A run. `waits_for` and `due_at` say what it waits for, and until when.

    A run that a step of another one started has that one's id and step, and is the `item_index`th of its entries.
    """

    id: str
    workflow_id: str
    version_id: str
    user_id: str
    connection_id: str | None
    configuration_id: str | None
    trigger: str
    trace_id: str
    is_test: bool
    replay_of: str | None
    parent_id: str | None
    parent_step: str | None
    item_index: int | None
    state: str
    waits_for: str | None
    due_at: datetime | None
    tasks: int
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: RunRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)


class RunPage(BaseModel):
    """Some runs, and where the next ones are."""

    runs: list[RunOut]
    next_cursor: str | None


class StepOut(BaseModel):
    """What became of a step. Long values are cut: `{"truncated": true, "size": …, "preview": …}`."""

    step: str
    type: str
    state: str
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    input: Any
    output: Any
    error: dict[str, Any] | None
    has_whole_input: bool = Field(description="Whether all of it can be fetched; not if it is longer than is kept.")
    has_whole_output: bool

    @classmethod
    def of(cls, row: StepRow) -> Self:
        """Return the row as the API shows it."""
        return cls(
            **{name: getattr(row, name) for name in cls.model_fields if not name.startswith("has_")},
            has_whole_input=row.whole_input is not None or not is_cut(row.input),
            has_whole_output=row.whole_output is not None or not is_cut(row.output),
        )


class RunDetails(RunOut):
    """A run with what started it, and its steps."""

    input: Any = None
    steps: list[StepOut] = []

    @classmethod
    def of_steps(cls, row: RunRow, given: JsonValue, steps: Sequence[StepRow]) -> Self:
        """Return a run with what its trigger gave and what became of its steps."""
        return cls.of(row).model_copy(update={"input": given, "steps": [StepOut.of(step) for step in steps]})


class TestIn(Given):
    """What to test of a draft, as whom, and with what. What is absent is taken from `run_id`, if there is one."""

    user_id: str = Field(max_length=255, description="The preview user: one who has connected their account.")
    connection: str | None = Field(default=None, max_length=255, description="Id or external id; unset: the oldest.")
    configuration: str | None = Field(default=None, max_length=255, description="Unset: the connection's default one.")
    definition: dict[str, JsonValue] | None = Field(default=None, description="Unset: the draft as it is saved.")
    trigger: dict[str, JsonValue] | None = Field(default=None, description="What `{{ trigger }}` leads to.")
    settings: dict[str, JsonValue] = Field(default={}, description="Values that go before those of the user.")
    step: str | None = Field(default=None, max_length=64, description="One step, alone; unset: the whole workflow.")
    outputs: dict[str, JsonValue] = Field(
        default={}, description="For one step: what `{{ steps.ID }}` leads to, by ID."
    )
    items: dict[str, JsonValue] = Field(
        default={}, description="For one step within fan-outs: an entry of each, by the fan-out's id."
    )
    run_id: str | None = Field(default=None, max_length=255, description="A run of this workflow to go on from.")

    def wanted(self) -> Wanted:
        """Return what is to be tested. Raises `InvalidRequest` for a definition that cannot be read."""
        given = self.model_dump(exclude={"connection", "configuration", "definition"})
        definition = Workflow.parse(self.definition) if self.definition is not None else None
        return Wanted(**given, which=Which(self.connection, self.configuration), definition=definition)


class ReplayIn(Given):
    """How to run again what a run did."""

    version: Literal["same", "deployed"] = "same"
    step: str | None = Field(default=None, max_length=64, description="The step to go on from; unset: the start.")


class EventIn(Given):
    """An app event."""

    example: JsonValue = Field(default={}, description="What it may look like.")
    json_schema: dict[str, Any] | None = Field(default=None, description="What each report must fit.")


class EventOut(EventIn):
    """An app event with its name."""

    name: str


class SecretIn(Given):
    """A secret."""

    value: SecretStr = Field(max_length=65_536)
