"""A user of the sandbox whose OneDrive is connected, and on whose behalf actions are run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.clock import FakeClock
from tests.conformance.connected import connect, house_at, user_of

from landbridge.app import House
from landbridge.kit import Context, Given, Result, Wait
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.faults import Fault
from msgraph_sandbox.graph.sharing import Permission
from msgraph_sandbox.identity.directory import User
from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.world import READY_SCOPES

ADA, MARY, LINUS = "ada@contoso.example", "mary@outlook.example", "linus@fabrikam.example"
"""One with a work account, one with a personal one, and one who shares."""


@dataclass(frozen=True)
class Account:
    """A connected account. Actions are given their input as the API would give it."""

    house: House
    sandbox: Sandbox
    clock: FakeClock
    user: User
    run_id: str
    context: Context

    @property
    def drive(self) -> Drive:
        """The account's drive, as the sandbox has it."""
        return self.drive_of(self.user.email)

    def drive_of(self, email: str) -> Drive:
        """Return a user's drive."""
        return next(one for one in self.sandbox.world.library.drives.values() if one.owner.email == email)

    async def run(self, name: str, /, **values: Any) -> Any:  # Any: the result of whichever action it is
        """Run an action to its end as a step of its own, called again after each wait."""
        return await self.step(str(uuid4()), name, **values)

    async def step(self, step: str, name: str, /, **values: Any) -> Any:  # Any: as above
        """Run an action as a step of the run; as the same step again it is a repetition."""
        action = self.house.actions.get("onedrive", name)
        given: Given = await action.receive(values, self.context.files)
        context = self.house.workbench.context(self.context.caller, "onedrive", None, run_id=self.run_id, step=step)
        while isinstance(outcome := await action.run(context, given), Wait):
            self.clock.advance(max(outcome.until - self.clock.now(), timedelta(0)))
            context = replace(context, token=outcome.token)
        assert isinstance(outcome, Result)
        assert isinstance(outcome, action.result)
        return outcome

    def folder(self, name: str, parent: Item | None = None) -> Item:
        """Make a folder behind everybody's back."""
        parent = parent or self.drive.root
        drive = next(one for one in self.sandbox.world.library.drives.values() if parent.id in one.items)
        return drive.create_folder(parent, name, "fail", drive.owner)

    def file(self, name: str, contents: bytes = b"contents", parent: Item | None = None) -> Item:
        """Make a file behind everybody's back."""
        blob = self.sandbox.world.library.blobs.of(contents)
        return self.drive.put_file(parent or self.drive.root, name, blob, "fail", self.drive.owner)[0]

    def shortcut(self, name: str, target: Item) -> Item:
        """Share another user's folder with this one, and add it to their drive."""
        theirs = next(one for one in self.sandbox.world.library.drives.values() if target.id in one.items)
        target.more.permissions["shared"] = Permission("shared", ["write"], invited=[self.user.email])
        remote = theirs.id, target.id
        return self.drive.create_other(self.drive.root, name, "fail", self.drive.owner, remote=remote)

    def names(self, folder: Item | None = None) -> list[str]:
        """Return the names of what lies in a folder."""
        return sorted(item.name for item in (folder or self.drive.root).children or ())

    def plant(self, **fault: Any) -> None:  # Any: the fields of a fault
        """Spoil the next request that is meant."""
        self.sandbox.world.faults.plant(Fault(**fault))

    def requests(self, operation: str) -> list[Any]:  # Any: the ledger's entries
        """Return what the sandbox was asked."""
        return list(self.sandbox.world.ledger.find({"operation": operation}))


@asynccontextmanager
async def connected(sandbox: Sandbox, email: str, data_dir: Path) -> AsyncIterator[Account]:
    """Give an account that a user of the sandbox has just connected."""
    clock, user = FakeClock(datetime.now(UTC)), user_of(sandbox, email)
    async with house_at(sandbox, data_dir, clock) as house:
        caller = await connect(house, sandbox, user, "onedrive", READY_SCOPES)
        run_id = str(uuid4())
        context = house.workbench.context(caller, "onedrive", None, run_id=run_id, step="none")
        yield Account(house, sandbox, clock, user, run_id, context)
