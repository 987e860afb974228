"""The one gate through which runs begin: asked for, told of, due, replayed, or started by other runs.

A run's id comes from what caused it, so that the same cause starts it once however often it is reported.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.errors import Conflict, FileUnknown, NotFound
from landbridge.files import Files
from landbridge.store import runs as store
from landbridge.store.connections import ConfigurationRow, ConnectionRow, UserRow
from landbridge.store.database import Database
from landbridge.store.runs import QUEUED, RunRow
from landbridge.store.sealed import identity
from landbridge.vault import Vault
from landbridge.workflows.definition import FanOutStep
from landbridge.workflows.deployments import Deployed, Deployments, all_settings
from landbridge.workflows.history import shown
from landbridge.workflows.plan import Plan
from landbridge.workflows.scope import Json

_NAMESPACE = UUID("5d5a4a3c-6f55-4b27-9a62-3d2f0c8f0b11")

FAN_OUT = "fanOut"
"""The trigger of a run that is an entry of a fan-out; no one sees it apart from its parent."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What starts a run. The same `key` never starts a second one, of one workflow on one configuration."""

    trigger: str
    output: JsonValue
    trace_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Whose:
    """For whom a run works: a user, one connection of theirs, and the configuration that has the workflow on."""

    user: UserRow
    connection: ConnectionRow
    configuration: ConfigurationRow


class Sealing:
    """Seals and opens what rows of runs hold."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, project_id: str, run_id: str, value: JsonValue) -> bytes:
        """Return a value as a run's row holds it."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return self._vault.seal(text.encode(), identity("runs", project_id, run_id))

    def open(self, row: RunRow, sealed: bytes | None) -> Any:  # Any: JSON
        """Return what a run's row holds, or None."""
        return (
            None if sealed is None else json.loads(self._vault.open(sealed, identity("runs", row.project_id, row.id)))
        )


class Runs:
    """Begins runs, ends them early, and begins them again."""

    def __init__(
        self, database: Database, sealing: Sealing, deployments: Deployments, files: Files, clock: Clock
    ) -> None:
        self._database = database
        self._sealing = sealing
        self._deployments = deployments
        self._files = files
        self._clock = clock

    async def start(self, begun: Iterable[tuple[Deployed, Whose, Cause]]) -> list[RunRow]:
        """Put runs on the agenda, all of them or none; they survive this process from then on."""
        rows = [self.row(deployed, whose, cause) for deployed, whose, cause in begun]
        async with self._database.begin() as tx:
            await store.insert_runs(tx, rows)
        return rows

    async def get(self, project_id: str, run_id: str) -> RunRow:
        """Return a run of a project, or raise `NotFound`."""
        async with self._database.read() as tx:
            row = await store.run(tx, run_id)
        if row is None or row.project_id != project_id:
            raise NotFound("This project has no such run.")
        return row

    async def given_to(self, row: RunRow) -> JsonValue:
        """Return what a run's trigger gave, or the entry of a fan-out that it is about, as people may read it."""
        given = self._sealing.open(row, row.sealed_input)
        given = given.get("item" if row.trigger == FAN_OUT else "trigger")
        value: JsonValue = await asyncio.to_thread(shown, given, await self._deployments.mask(row.project_id))
        return value

    async def cancel(self, project_id: str, run_id: str) -> None:
        """End a run with all that it started: at once if it waits, else before its next step.

        Raises `NotFound`, and `Conflict` if it is over.
        """
        await self.get(project_id, run_id)
        async with self._database.begin() as tx:
            if not await store.cancel(tx, run_id, self._clock.now()):
                raise Conflict("The run is over already.")

    async def replay(
        self, project_id: str, run_id: str, *, version: Literal["same", "deployed"] = "same", step: str | None = None
    ) -> RunRow:
        """Run again what a run did, for the same user and cause: from the start, or from a step.

        From a step, what the steps before it gave is taken over as it was; those of them that gave nothing are done
        again. Files are copied: a File opens only in its own run. Raises `NotFound`; `Conflict` if the run is a test,
        if the step lies in a fan-out, if the run has not begun, or if files that are needed are no longer kept.
        """
        old = await self.get(project_id, run_id)
        if old.trigger == FAN_OUT:
            raise Conflict("An entry of a fan-out is not replayed alone; replay the run that it belongs to.")
        if old.is_test:
            raise Conflict("A test is not replayed; test the workflow again, with this run's data if you like.")
        version_id = old.version_id
        if version == "deployed":
            version_id = (await self._deployments.find(project_id, old.workflow_id)).version.id
        plan = await self._deployments.plan(version_id)
        carry = self._before(old, plan, step) if step else None
        new = await self._again(old, version_id, carry)
        async with self._database.begin() as tx:
            await store.insert_runs(tx, [new])
        return new

    def row(self, deployed: Deployed, whose: Whose, cause: Cause) -> RunRow:
        """Return the run that a cause starts, for whoever writes it down together with something else."""
        workflow, now = deployed.workflow, self._clock.now()
        run_id = run_id_of(deployed, whose, cause.key)
        return RunRow(
            id=run_id,
            project_id=workflow.project_id,
            workflow_id=workflow.id,
            version_id=deployed.version.id,
            user_id=whose.user.user_id,
            integration=workflow.integration,
            connection_id=whose.connection.id,
            configuration_id=whose.configuration.id,
            trigger=cause.trigger,
            trace_id=cause.trace_id,
            state=QUEUED,
            due_at=now,
            created_at=now,
            sealed_input=self._sealing.seal(workflow.project_id, run_id, settled(deployed, whose, cause)),
        )

    async def _again(self, old: RunRow, version_id: str, carry: Json | None) -> RunRow:
        run_id, now = str(uuid4()), self._clock.now()
        settled_ = {name: given for name, given in self._sealing.open(old, old.sealed_input).items() if name != "until"}
        given, carry = await self._with_files(old, run_id, [settled_, carry])
        return replace(
            old,
            id=run_id,
            version_id=version_id,
            trace_id=old.trace_id,
            replay_of=old.id,
            parent_id=None,
            parent_step=None,
            item_index=None,
            depth=0,
            open_children=0,
            state=QUEUED,
            waits_for=None,
            due_at=now,
            created_at=now,
            started_at=None,
            finished_at=None,
            leg=0,
            worker_id=None,
            is_cancelling=False,
            tasks=0,
            error=None,
            is_cleared=False,
            sealed_input=self._sealing.seal(old.project_id, run_id, given),
            sealed_carry=self._sealing.seal(old.project_id, run_id, carry) if carry is not None else None,
            sealed_output=None,
            sealed_response=None,
        )

    async def _with_files(self, old: RunRow, run_id: str, value: JsonValue) -> Any:  # Any: JSON
        """Return a value with copies of the old run's files in it, which the new run can open."""
        files = self._files.of(old.project_id, run_id)
        try:
            return await files.adopt(value, self._files.of(old.project_id, root_id(old.id)))
        except FileUnknown:
            await files.clear()
            raise Conflict("The run cannot be replayed: files that it needs are no longer kept.") from None

    def _before(self, old: RunRow, plan: Plan, step: str) -> Json:
        """Return what the steps before `step` gave."""
        if step not in plan.positions:
            raise NotFound(f"The workflow has no step “{step[:64]}”. There is: {', '.join(plan.positions)[:500]}.")
        around = next(around for one, around in plan.workflow.walk() if one.id == step)
        if outer := next((one.id for one in around if isinstance(one, FanOutStep)), None):
            raise Conflict(f"The step lies in the fan-out “{outer}”; replay from that one.")
        if old.state == QUEUED:
            raise Conflict("The run has not begun; there is nothing to go on from.")
        carry: Json = self._sealing.open(old, old.sealed_carry) or {}
        before = plan.positions[step]
        return {
            name: kept
            for name, kept in carry.items()
            if plan.positions.get(name, before) < before and ("output" in kept or "error" in kept)
        }


def root_id(run_id: str) -> str:
    """Return the run that a run belongs to, however deep it lies: files and checkpoints are that one's."""
    return run_id.partition(":")[0]


def run_id_of(deployed: Deployed, whose: Whose, key: str) -> str:
    """Return the id of the run that a cause starts."""
    return str(uuid5(_NAMESPACE, f"{deployed.workflow.id}/{whose.configuration.id}/{key}"))


def settled(deployed: Deployed, whose: Whose, cause: Cause) -> Json:
    """Return what is settled for a run when it begins; see `scope.Scope`."""
    user, connection, configuration = whose.user, whose.connection, whose.configuration
    account = {"id": connection.account_id, **connection.account}
    return {
        "trigger": cause.output,
        "settings": all_settings(deployed, configuration),
        "user": {"id": user.user_id, "metadata": user.meta, "account": account},
    }
