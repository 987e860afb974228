"""A project with workflows in it, and a worker in this process or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tests.integrations.landbridge import Place, eventually
from tests.integrations.person import Answer, Person

from landbridge.access import Caller
from landbridge.app import worker_of
from landbridge.store import history, runs
from landbridge.store.history import Filter, StepRow
from landbridge.store.runs import OVER, WAITING, RunRow
from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed
from landbridge.workflows.jail import Jail
from landbridge.workflows.runs import Cause, Sealing, Whose


@dataclass(frozen=True)
class Crew:
    """One user with a connected account, and what runs for them."""

    place: Place
    person: Person
    connection_id: str

    @property
    def project(self) -> str:
        return self.person.project

    async def deploy(self, text: str, **changes: Any) -> Deployed:
        """Deploy a definition in YAML, switched on for everybody."""
        deployments = self.place.house.deployments
        row = await deployments.create(self.project, Workflow.from_yaml(text))
        await deployments.set(self.project, row.id, is_default_enabled=True, **changes)
        await deployments.deploy(self.project, row.id)
        return await deployments.find(self.project, row.id)

    async def whose(self) -> Whose:
        caller = await self.caller()
        connected = await self.place.house.accounts.get(caller, self.connection_id)
        user = await self.place.house.accounts.user(caller)
        return Whose(user, connected.connection, connected.default)

    async def caller(self) -> Caller:
        return await self.place.house.access.user(self.project, self.person.token)

    async def start(self, deployed: Deployed, trigger: Any = None, key: str | None = None) -> RunRow:
        cause = Cause("request", trigger or {"request": {"body": {}}}, uuid4().hex, key or str(uuid4()))
        (row,) = await self.place.house.runs.start([(deployed, await self.whose(), cause)])
        return row

    async def row(self, run_id: str) -> RunRow:
        return await self.place.house.runs.get(self.project, run_id)

    async def state(self, run_id: str) -> str | None:
        """Return the state of a run, or None if it has not been started yet."""
        async with self.place.house.database.read() as tx:
            row = await runs.run(tx, run_id)
        return row.state if row else None

    async def output(self, run_id: str) -> Any:
        row = await self.row(run_id)
        return Sealing(self.place.house.vault).open(row, row.sealed_output)

    async def ended(self, run_id: str) -> RunRow:
        """Wait until a run is over."""

        async def is_over() -> bool:
            return (await self.row(run_id)).state in OVER

        await eventually(is_over)
        return await self.row(run_id)

    async def waiting(self) -> list[RunRow]:
        """Return the runs of the project that wait for their time."""
        return [row for row in await self.runs() if row.state == WAITING]

    async def runs(self) -> list[RunRow]:
        """Return the runs of the project, newest first."""
        async with self.place.house.database.read() as tx:
            return await history.page(tx, Filter(self.project), limit=100, beyond=None)

    async def operate(self, method: str, path: str, **options: Any) -> Answer:  # Any: the HTTP client's options
        """Return the answer to whoever manages the project; `path` is that below the project's."""
        _, key = await self.place.house.projects.create_api_key("Operator", self.project)
        base = "" if path.startswith("/task-history") else "/api/v1"
        return await self.person.send(
            method, f"{base}/projects/{self.project}{path}", headers={"Authorization": f"Bearer {key}"}, **options
        )

    async def shown(self, path: str) -> Any:  # Any: JSON
        """Return what an operator is shown."""
        answer = await self.operate("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    hour = timedelta(hours=1)

    @staticmethod
    async def until(holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds."""
        await eventually(holds)

    async def anew(self) -> Person:
        """Return the user with a token of now, for after a jump of the clock."""
        return replace(self.person, token=await self.place.token(self.project, self.person.id))

    async def names(self) -> list[str]:
        """Return what lies in the root of the user's drive."""
        person = await self.anew()
        answer = await person.call("/me/drive/root/children?$top=999")
        return [item["name"] for item in answer.json["output"]["value"]]

    async def steps(self, run_id: str) -> dict[str, StepRow]:
        async with self.place.house.database.read() as tx:
            return {row.step: row for row in await history.steps_of(tx, run_id)}


@contextlib.asynccontextmanager
async def working(place: Place) -> AsyncIterator[None]:
    """Have a worker in this process work on runs."""
    async with Jail() as jail:
        task = asyncio.create_task(worker_of(place.house, jail).run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
