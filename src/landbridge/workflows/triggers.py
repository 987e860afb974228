"""From what a host product reports to runs: which workflows it starts, for whom, and what their trigger gives."""

import contextlib
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import JsonValue

from landbridge.access import Caller
from landbridge.connections.accounts import Accounts, Connected, names
from landbridge.errors import Conflict, InvalidRequest, NotConnected, NotFound
from landbridge.files import File, Files, RunFiles
from landbridge.store.connections import UserRow
from landbridge.store.runs import RunRow
from landbridge.workflows.definition import (
    AppEventTrigger,
    RequestTrigger,
    Validation,
)
from landbridge.workflows.deployments import Deployed, Deployments, is_on_for, missing_settings
from landbridge.workflows.event_schemas import must_fit
from landbridge.workflows.runs import Cause, Runs, Whose, run_id_of
from landbridge.workflows.scope import Json
from landbridge.workflows.traces import HEADER, trace_of

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Which:
    """Which connection and configuration a caller means, by id or external id; None means any that fits."""

    connection: str | None = None
    configuration: str | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request that starts a workflow. `headers` have lower-case names; the values of a form are all texts.

    `file` is a body that is nothing but a file, or the part `paragon-file` of a form.
    """

    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: Any = None  # Any: JSON
    file: File | None = None
    is_form: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A workflow that a request is about to start: for whom, and where the contents of its files go."""

    deployed: Deployed
    whose: Whose
    key: str
    files: RunFiles


class Triggers:
    """Starts workflows on behalf of connected users."""

    def __init__(self, accounts: Accounts, deployments: Deployments, runs: Runs, files: Files) -> None:
        self._accounts = accounts
        self._deployments = deployments
        self._runs = runs
        self._files = files

    @contextlib.asynccontextmanager
    async def ready(self, caller: Caller, workflow_id: str, which: Which) -> AsyncIterator[Ready]:
        """Find the workflow that a request starts, on one of the user's connections: the oldest that has it on.

        What is written to its files is deleted if anything is raised inside. Raises `NotFound` if there is no such
        workflow, `NotConnected`, `Conflict` if it is switched off or needs settings that are not filled in.
        """
        deployed = await self._deployments.find(caller.project_id, workflow_id)
        if not isinstance(deployed.plan.workflow.trigger, RequestTrigger):
            raise NotFound("This workflow is not started by requests.")
        whose = await self._for_one(caller, deployed, which)
        key = str(uuid4())
        ready = Ready(deployed, whose, key, self._files.of(caller.project_id, run_id_of(deployed, whose, key)))
        try:
            yield ready
        except BaseException:
            await ready.files.clear()
            raise

    async def request(self, ready: Ready, incoming: Incoming) -> RunRow:
        """Start a workflow by a request. Raises `InvalidRequest` naming what the trigger's validation misses."""
        trigger = ready.deployed.plan.workflow.trigger
        assert isinstance(trigger, RequestTrigger)
        must_be_valid(trigger, incoming)
        body = await received(incoming.body, ready.files)
        ready.files.must_have_used_all()
        output: JsonValue = {
            "request": {
                "headers": dict(incoming.headers),
                "params": dict(incoming.params),
                "body": body,
                "file": _as_json(incoming.file) if incoming.file else None,
            }
        }
        cause = Cause("request", output, trace_of(incoming.headers.get(HEADER)), ready.key)
        (row,) = await self._runs.start([(ready.deployed, ready.whose, cause)])
        return row

    async def event(
        self, caller: Caller, name: str, payload: Json, which: Which, traceparent: str | None = None
    ) -> list[RunRow]:
        """Start every workflow that an app event starts, for each of the user's configurations that has it on.

        Raises `NotFound` for an event that the project has not, `InvalidRequest` for what its schema does not allow.
        """
        events = {row.name: row for row in await self._deployments.events(caller.project_id)}
        if name not in events:
            raise NotFound(
                f"This project has no app event “{name[:64]}”. There is: {', '.join(events)[:500] or 'none'}."
            )
        if schema := events[name].schema:
            must_fit(payload, schema)
        key, trace = str(uuid4()), trace_of(traceparent)
        begun = []
        for deployed in await self._deployments.deployed(caller.project_id):
            trigger = deployed.plan.workflow.trigger
            if isinstance(trigger, AppEventTrigger) and trigger.event == name:
                for whose in await self._for_all(caller, deployed, which):
                    files = self._files.of(caller.project_id, run_id_of(deployed, whose, key))
                    output = {"event": await received(payload, files)}
                    begun.append((deployed, whose, Cause("appEvent", output, trace, key)))
        return await self._runs.start(begun)

    async def switch(self, caller: Caller, workflow_id: str, which: Which, *, on: bool) -> None:
        """Switch a workflow on or off for one of the user's configurations.

        Raises `NotFound`, also if its permissions are not for this user; `InvalidRequest` if a setting that it needs
        is not filled in.
        """
        deployed = await self._deployments.find(caller.project_id, workflow_id)
        if on and not deployed.is_for(await self._accounts.user(caller)):
            raise NotFound("There is no deployed workflow with this id in the project.")
        integration = deployed.workflow.integration
        if on:
            await self._must_be_filled_in(caller, deployed, which)
        await self._accounts.switch_workflow(
            caller, which.connection, which.configuration, workflow_id, integration=integration, on=on
        )

    async def _must_be_filled_in(self, caller: Caller, deployed: Deployed, which: Which) -> None:
        for connected in await self._accounts.list(caller, deployed.workflow.integration):
            if not _is_meant(which.connection, connected.connection.id, connected.connection.external_id):
                continue
            if missing := missing_settings(deployed, connected.configuration(which.configuration)):
                raise InvalidRequest(f"Fill in first what the workflow needs: {', '.join(missing)}.")

    async def _for_one(self, caller: Caller, deployed: Deployed, which: Which) -> Whose:
        """Return for whom the workflow runs, or raise what keeps it from it."""
        integration = deployed.workflow.integration
        user, connected = await self._accounts.of_user(caller, integration)
        if found := _on_for(user, connected, deployed, which):
            return found[0]
        if not connected:
            raise NotConnected(f"This user has not connected {integration}.")
        if not deployed.is_for(user):
            raise NotFound("There is no deployed workflow with this id in the project.")
        raise Conflict(_why_not(deployed, connected, which))

    async def _for_all(self, caller: Caller, deployed: Deployed, which: Which) -> list[Whose]:
        user, connected = await self._accounts.of_user(caller, deployed.workflow.integration)
        return _on_for(user, connected, deployed, which)


def _on_for(user: UserRow, connected: Sequence[Connected], deployed: Deployed, which: Which) -> list[Whose]:
    return [
        Whose(user, one.connection, configuration)
        for one in connected
        if _is_meant(which.connection, one.connection.id, one.connection.external_id)
        for configuration in is_on_for(deployed, one, user)
        if _is_meant(which.configuration, configuration.id, configuration.external_id)
    ]


def _why_not(deployed: Deployed, connected: Sequence[Connected], which: Which) -> str:
    """Return why a workflow runs for none of the connections and configurations that are meant."""
    on = [
        configuration
        for one in connected
        if _is_meant(which.connection, one.connection.id, one.connection.external_id)
        for configuration in one.configurations
        if _is_meant(which.configuration, configuration.id, configuration.external_id) and deployed.is_on(configuration)
    ]
    if missing := next(filter(None, (missing_settings(deployed, one) for one in on)), None):
        return f"Fill in first what the workflow needs: {', '.join(missing)}."
    return "The workflow is not switched on for this user's connection and configuration."


def _is_meant(selector: str | None, id_: str, external_id: str | None) -> bool:
    return not selector or names(selector, id_, external_id)


def must_be_valid(trigger: RequestTrigger, incoming: Incoming) -> None:
    """Raise `InvalidRequest` naming what the trigger's validation misses in a request."""
    body = incoming.body if isinstance(incoming.body, dict) else {}
    if incoming.file:
        body = {"paragon-file": _as_json(incoming.file), **body}
    for where, validations, values in (
        ("headers", trigger.headers, incoming.headers),
        ("body", trigger.body, body),
        ("params", trigger.params, incoming.params),
    ):
        for validation in validations:
            key = validation.key.lower() if where == "headers" else validation.key
            _must_hold(where, validation, values.get(key), is_text=incoming.is_form or where != "body")


def _must_hold(where: str, validation: Validation, value: Any, *, is_text: bool) -> None:  # Any: JSON
    if value is None:
        if validation.required:
            raise InvalidRequest(f"{where}.{validation.key} is missing; this workflow needs it.")
    elif not _is_of(validation.data_type, value, is_text=is_text):
        raise InvalidRequest(f"{where}.{validation.key} must be {_WORDS[validation.data_type]}.")


_WORDS = {
    "STRING": "a text",
    "NUMBER": "a number",
    "DATE": "a date in ISO 8601",
    "BOOLEAN": "true or false",
    "EMAIL": "an e-mail address",
    "OBJECT": "an object",
    "ARRAY": "a list",
    "FILE": "a file: `{dataType: FILE, name, data}`",
}


def _is_of(kind: str, value: Any, *, is_text: bool) -> bool:  # Any: JSON
    """Return whether a value is of a kind; headers and query parameters are texts that may spell one."""
    match kind:
        case "NUMBER":
            return _is_number(value) if is_text else isinstance(value, int | float) and not isinstance(value, bool)
        case "BOOLEAN":
            return value in ("true", "false") if is_text else isinstance(value, bool)
        case "DATE":
            return isinstance(value, str) and _is_date(value)
        case "EMAIL":
            return isinstance(value, str) and bool(_EMAIL.fullmatch(value))
        case "FILE":
            return isinstance(value, dict) and ("data" in value or {"id", "sha256"} <= value.keys())
    kinds = {"STRING": str, "OBJECT": dict, "ARRAY": list}
    return isinstance(value, kinds.get(kind, object))


def _as_json(file: File) -> dict[str, Any]:  # Any: JSON
    return file.model_dump(mode="json", by_alias=True)


def _is_number(value: Any) -> bool:  # Any: a text, or a File of a form
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


async def received(value: Any, files: RunFiles, depth: int = 0) -> Any:  # Any: JSON
    """Return JSON with the contents of the files in it taken into the run's files."""
    if depth > _DEEPEST:
        raise InvalidRequest(f"This is nested more than {_DEEPEST} levels deep.")
    if isinstance(value, dict):
        if value.get("dataType") == "FILE" and "data" in value:
            return _as_json(await files.receive(value))
        return {name: await received(inner, files, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [await received(inner, files, depth + 1) for inner in value]
    return value
