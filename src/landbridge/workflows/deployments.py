"""Workflows as people keep them: drafts, immutable versions, which of them is deployed, and for whom it is on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from cachetools import LRUCache
from pydantic import JsonValue

from landbridge.clock import Clock
from landbridge.connections.accounts import Connected
from landbridge.errors import Conflict, InvalidRequest, LandbridgeError, NotFound
from landbridge.kit import Actions
from landbridge.store import workflows as store
from landbridge.store.cache import Cache
from landbridge.store.connections import ConfigurationRow, UserRow
from landbridge.store.database import Database, Transaction
from landbridge.store.sealed import identity
from landbridge.store.workflows import EventRow, SecretRow, VersionRow, WorkflowRow
from landbridge.vault import Vault
from landbridge.workflows.checking import Facts, Problem, check, check_permissions
from landbridge.workflows.conditions import decide
from landbridge.workflows.definition import Condition, Workflow
from landbridge.workflows.event_schemas import must_be_schema
from landbridge.workflows.masking import Mask
from landbridge.workflows.plan import Plan
from landbridge.workflows.scope import Json

_PLANS = 500
_PROJECTS = 1000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Deployed:
    """A workflow that can run, with the version that would."""

    workflow: WorkflowRow
    version: VersionRow
    plan: Plan

    def is_on(self, configuration: ConfigurationRow) -> bool:
        """Return whether a configuration has it switched on, by its user or by default."""
        mine = configuration.workflow_settings.get(self.workflow.id, {})
        return bool(mine.get("enabled", self.workflow.is_default_enabled))

    def is_for(self, user: UserRow) -> bool:
        """Return whether the workflow's permissions let this user see and run it; metadata that is missing is a no."""
        names: Json = {"user": {"id": user.user_id, "metadata": user.meta}}
        return not self.workflow.permissions or any(_holds(group, names) for group in self.workflow.permissions)


def _holds(group: list[Any], names: Json) -> bool:  # Any: JSON
    try:
        return decide([[Condition.model_validate(one) for one in group]], names)
    except LandbridgeError:  # of one group: another may let the user in all the same
        return False


class Deployments:
    """What a project's operator does with workflows. What is deployed is remembered until anybody changes it."""

    def __init__(self, database: Database, vault: Vault, actions: Actions, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._actions = actions
        self._clock = clock
        self._deployed: Cache[tuple[Deployed, ...]] = Cache(database, scopes=_PROJECTS)
        self._secrets: Cache[tuple[Mapping[str, str], Mask]] = Cache(database, scopes=_PROJECTS)
        self._plans: LRUCache[str, Plan] = LRUCache(_PLANS)

    async def create(self, project_id: str, definition: Workflow) -> WorkflowRow:
        """Keep a new workflow as a draft. It may have problems still: `problems` tells them, `deploy` refuses them."""
        now = self._clock.now()
        row = WorkflowRow(
            id=str(uuid4()),
            project_id=project_id,
            integration=definition.integration,
            name=definition.name,
            draft=definition.as_json(),
            created_at=now,
            updated_at=now,
        )
        async with self._database.begin() as tx:
            await store.insert_workflow(tx, row)
        return row

    async def save(self, project_id: str, workflow_id: str, definition: Workflow) -> WorkflowRow:
        """Replace a workflow's draft; what is deployed stays as it is. Raises `NotFound`, `Conflict`."""
        row = await self.get(project_id, workflow_id)
        if definition.integration != row.integration:
            raise Conflict(f"This workflow is for {row.integration}; make a new one for {definition.integration}.")
        return await self._change(row, name=definition.name, draft=definition.as_json())

    async def set(
        self,
        project_id: str,
        workflow_id: str,
        *,
        is_hidden: bool | None = None,
        is_default_enabled: bool | None = None,
        permissions: Sequence[Sequence[Condition]] | None = None,
    ) -> WorkflowRow:
        """Change who sees a workflow, and for whom it is on without their doing.

        Raises `NotFound`; `InvalidRequest` for permissions that ask for anything but the user.
        """
        row = await self.get(project_id, workflow_id)
        changes: dict[str, Any] = {"is_hidden": is_hidden, "is_default_enabled": is_default_enabled}
        if permissions is not None:
            must_have_none(check_permissions(permissions), "Nobody can be judged by this")
            changes["permissions"] = [[one.model_dump(mode="json") for one in group] for group in permissions]
        return await self._change(row, **{name: value for name, value in changes.items() if value is not None})

    async def get(self, project_id: str, workflow_id: str) -> WorkflowRow:
        """Return a workflow, or raise `NotFound`."""
        async with self._database.read() as tx:
            row = await store.workflow(tx, project_id, workflow_id)
        if row is None:
            raise NotFound("This project has no such workflow.")
        return row

    async def all(self, project_id: str) -> list[WorkflowRow]:
        """Return a project's workflows, oldest first."""
        async with self._database.read() as tx:
            return await store.workflows_of(tx, project_id)

    async def delete(self, project_id: str, workflow_id: str) -> None:
        """Delete a workflow with its versions. Raises `NotFound`; `Conflict` if it is deployed.

        A run of it that is not over fails with `not_found` when it goes on, unless its worker remembers the version.
        """
        row = await self.get(project_id, workflow_id)
        if row.deployed_version_id:
            raise Conflict("This workflow is deployed; undeploy it first.")
        async with self._database.begin() as tx:
            await store.delete_workflow(tx, row)

    async def problems(self, project_id: str, definition: Workflow, workflow_id: str | None = None) -> list[Problem]:
        """Return what would keep a definition, of a workflow if it is one's, from running, as far as it can be told."""
        async with self._database.read() as tx:
            facts = replace(await self._facts(tx, project_id), workflow_id=workflow_id)
        return check(definition, facts)

    async def deploy(self, project_id: str, workflow_id: str) -> VersionRow:
        """Make the draft a version that never changes, and run that from now on; runs under way keep theirs.

        Raises `InvalidRequest` with the problems that the draft has.
        """
        while True:
            row = await self.get(project_id, workflow_id)
            async with self._database.read() as tx:
                others = await store.deployed_versions(tx, project_id)
            must_have_none(await self.problems(project_id, Workflow.parse(row.draft), row.id))
            async with self._database.begin() as tx:
                await store.take_turn_to_deploy(tx)
                if await store.deployed_versions(tx, project_id) == others:
                    return await self._deploy(tx, row)
            # else somebody deployed another one meanwhile: the two may run each other

    async def _deploy(self, tx: Transaction, row: WorkflowRow) -> VersionRow:
        versions = await store.versions_of(tx, row.id)
        number = versions[0].number + 1 if versions else 1
        version = VersionRow(str(uuid4()), row.project_id, row.id, number, row.draft, self._clock.now())
        await store.insert_version(tx, version)
        await store.update_workflow(tx, row, deployed_version_id=version.id, updated_at=version.created_at)
        return version

    async def undeploy(self, project_id: str, workflow_id: str) -> WorkflowRow:
        """Start no more runs of a workflow; those under way go on."""
        return await self._change(await self.get(project_id, workflow_id), deployed_version_id=None)

    async def versions(self, project_id: str, workflow_id: str) -> list[VersionRow]:
        """Return the versions of a workflow, newest first."""
        await self.get(project_id, workflow_id)
        async with self._database.read() as tx:
            return await store.versions_of(tx, workflow_id)

    async def restore(self, project_id: str, workflow_id: str, number: int) -> WorkflowRow:
        """Make an earlier version the draft again. Raises `NotFound`."""
        for version in await self.versions(project_id, workflow_id):
            if version.number == number:
                return await self._change(
                    await self.get(project_id, workflow_id), name=version.definition["name"], draft=version.definition
                )
        raise NotFound(f"This workflow has no version {number}.")

    async def deployed(self, project_id: str) -> tuple[Deployed, ...]:
        """Return what can run in a project, oldest first."""

        async def load() -> tuple[Deployed, ...]:
            async with self._database.read() as tx:
                found = await store.deployed(tx, project_id)
            return tuple(Deployed(row, one, self._planned(one.id, one.definition)) for row, one in found)

        return await self._deployed.read(store.scope_of(project_id), load)

    async def find(self, project_id: str, workflow_id: str) -> Deployed:
        """Return a deployed workflow, or raise `NotFound`."""
        for one in await self.deployed(project_id):
            if one.workflow.id == workflow_id:
                return one
        raise NotFound("There is no deployed workflow with this id in the project.")

    async def plan(self, version_id: str) -> Plan:
        """Return what a version does, or a tested draft, which has its run's id.

        Raises `NotFound` if the workflow was deleted.
        """
        if found := self._plans.get(version_id):
            return found
        async with self._database.read() as tx:
            version = await store.version(tx, version_id)
            definition = version.definition if version else await store.tested_draft(tx, version_id)
        if definition is None:
            raise NotFound("The workflow was deleted, and its versions with it.")
        return self._planned(version_id, definition)

    def _planned(self, version_id: str, definition: dict[str, Any]) -> Plan:  # Any: JSON
        plan = self._plans.get(version_id) or Plan.of(definition)
        self._plans[version_id] = plan
        return plan

    async def put_event(self, project_id: str, name: str, example: JsonValue, schema: dict[str, Any] | None) -> None:
        """Add or change an app event. `schema` is a JSON Schema that what is reported must fit, or None.

        Raises `InvalidRequest` for a name that is none, and for a schema that is none.
        """
        if not 0 < len(name) <= _LONGEST_NAME:
            raise InvalidRequest(f"An app event's name has 1 to {_LONGEST_NAME} characters.")
        if schema is not None:
            must_be_schema(schema)
        row = EventRow(str(uuid4()), project_id, name, example, schema, self._clock.now())
        async with self._database.begin() as tx:
            await store.put_event(tx, row)

    async def events(self, project_id: str) -> Sequence[EventRow]:
        """Return a project's app events, by name."""
        async with self._database.read() as tx:
            return await store.events_of(tx, project_id)

    async def delete_event(self, project_id: str, name: str) -> None:
        """Delete an app event, or raise `NotFound`."""
        async with self._database.begin() as tx:
            if not await store.delete_event(tx, project_id, name):
                raise NotFound("This project has no such app event.")

    async def put_secret(self, project_id: str, name: str, value: str) -> None:
        """Keep a secret that definitions refer to as `{{ secrets.NAME }}`; nobody can read it back."""
        if not name.isidentifier() or len(name) > _LONGEST_NAME:
            raise InvalidRequest("A secret's name has letters, digits and `_`, and does not begin with a digit.")
        if not value.strip():
            raise InvalidRequest("A secret has a value: this one is empty.")
        id_ = str(uuid4())
        sealed = self._vault.seal(value.encode(), identity("project_secrets", project_id, id_))
        async with self._database.begin() as tx:
            await store.put_secret(tx, SecretRow(id_, project_id, name, sealed, self._clock.now()))

    async def secret_names(self, project_id: str) -> list[str]:
        """Return the names of a project's secrets."""
        async with self._database.read() as tx:
            return [row.name for row in await store.secrets_of(tx, project_id)]

    async def delete_secret(self, project_id: str, name: str) -> None:
        """Delete a secret, or raise `NotFound`."""
        async with self._database.begin() as tx:
            if not await store.delete_secret(tx, project_id, name):
                raise NotFound("This project has no such secret.")

    async def secrets(self, project_id: str, names: frozenset[str]) -> dict[str, str]:
        """Return those secrets opened, without those that are gone."""
        if not names:
            return {}
        found, _ = await self._opened(project_id)
        return {name: found[name] for name in names if name in found}

    async def mask(self, project_id: str) -> Mask:
        """Return what hides a project's secrets: all of them, since what one run gives another one may show."""
        _, mask = await self._opened(project_id)
        return mask

    async def _opened(self, project_id: str) -> tuple[Mapping[str, str], Mask]:
        async def load() -> tuple[Mapping[str, str], Mask]:
            async with self._database.read() as tx:
                rows = await store.secrets_of(tx, project_id)
            opened = {
                row.name: self._vault.open(row.sealed, identity("project_secrets", project_id, row.id)).decode()
                for row in rows
            }
            return opened, Mask(opened.values())

        return await self._secrets.read(store.scope_of(project_id), load)

    async def _facts(self, tx: Transaction, project_id: str) -> Facts:
        deployed = await store.deployed(tx, project_id)
        events = await store.events_of(tx, project_id)
        return Facts(
            actions=self._actions,
            secrets={row.name for row in await store.secrets_of(tx, project_id)},
            events={row.name: row.schema or row.example for row in events},
            workflows={row.id: Workflow.parse(version.definition) for row, version in deployed},
        )

    async def _change(self, row: WorkflowRow, **changes: Any) -> WorkflowRow:  # Any: columns
        changes["updated_at"] = self._clock.now()
        async with self._database.begin() as tx:
            await store.update_workflow(tx, row, draft_number=row.draft_number + 1, **changes)
        return await self.get(row.project_id, row.id)


def must_have_none(problems: Sequence[Problem], therefore: str = "The workflow cannot run yet") -> None:
    """Raise `InvalidRequest` with the problems that there are, if there are any."""
    if problems:
        told = [problem.as_json() for problem in problems]
        raise InvalidRequest(f"{therefore}: {problems[0]}", meta={"problems": told})


def is_on_for(deployed: Deployed, connected: Connected, user: UserRow) -> list[ConfigurationRow]:
    """Return the configurations of a connection for which a workflow runs: on, filled in, allowed, and usable."""
    if connected.connection.status != "valid" or connected.connection.integration != deployed.workflow.integration:
        return []
    if not deployed.is_for(user):
        return []
    return [one for one in connected.configurations if deployed.is_on(one) and not missing_settings(deployed, one)]


def all_settings(deployed: Deployed, configuration: ConfigurationRow) -> Json:
    """Return a workflow's settings: its defaults, over them what is shared, over that what was filled in for it."""
    defaults = {setting.id: setting.default for setting in deployed.plan.workflow.settings}
    return {**defaults, **configuration.shared_settings, **own_settings(deployed, configuration)}


def own_settings(deployed: Deployed, configuration: ConfigurationRow) -> dict[str, Any]:  # Any: JSON
    """Return what a configuration has filled in for a workflow."""
    return configuration.workflow_settings.get(deployed.workflow.id, {}).get("settings") or {}


def missing_settings(deployed: Deployed, configuration: ConfigurationRow) -> list[str]:
    """Return the ids of the settings that a workflow needs and a configuration has not filled in."""
    filled = configuration.shared_settings | own_settings(deployed, configuration)
    needed = (one.id for one in deployed.plan.workflow.settings if one.required and one.default is None)
    return [id_ for id_ in needed if filled.get(id_) in (None, "")]
