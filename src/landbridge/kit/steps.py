"""What a step works with, and what it remembers in whichever process it is run again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.files import Files, RunFiles
from landbridge.proxy import Proxy
from landbridge.store import checkpoints as store
from landbridge.store.database import Database
from landbridge.store.sealed import identity
from landbridge.vault import Vault


class Checkpoint:
    """What a step of a run has already done: a row of its own, that no engine needs to know of.

    Whoever runs the step again, in another process too, reads what was written before, and goes on from there. It is
    kept until the run is over, and sealed, since it may hold URLs that need no token.
    """

    def __init__(self, database: Database, vault: Vault, clock: Clock, project_id: str, run_id: str, step: str) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._project_id = project_id
        self._run_id = run_id
        self.id = store.checkpoint_id(project_id, run_id, step)
        """The same for each try of the step, and for no other step: what it makes can be marked with it."""

    async def read(self) -> dict[str, Any] | None:  # Any: JSON, as it was written
        """Return what was written last, or None if nothing was."""
        async with self._database.read() as tx:
            sealed = await store.sealed_checkpoint(tx, self.id)
        if sealed is None:
            return None
        state: dict[str, Any] = json.loads(self._vault.open(sealed, self._identity))
        return state

    async def write(self, state: Mapping[str, JsonValue]) -> None:
        """Write down how far the step is, before what comes next is begun."""
        sealed = self._vault.seal(json.dumps(dict(state)).encode(), self._identity)
        row = store.CheckpointRow(self.id, self._project_id, self._run_id, sealed, self._clock.now())
        async with self._database.begin() as tx:
            await store.put_checkpoint(tx, row)

    async def clear(self) -> None:
        """Forget it: the step begins anew if it is run again."""
        async with self._database.begin() as tx:
            await store.delete_checkpoint(tx, self.id)

    @property
    def _identity(self) -> str:
        return identity("checkpoints", self._project_id, self.id)


@dataclass(frozen=True)
class Context:
    """On whose behalf an action works, and what it works with. `token` is what the `Wait` before this call held."""

    caller: Caller
    integration: str
    selector: str | None
    files: RunFiles
    proxy: Proxy
    clock: Clock
    checkpoint: Checkpoint
    token: JsonValue = None


class Workbench:
    """Lays out what an action works with, for whichever run or caller it is."""

    def __init__(self, proxy: Proxy, files: Files, database: Database, vault: Vault, clock: Clock) -> None:
        self._proxy = proxy
        self._files = files
        self._database = database
        self._vault = vault
        self._clock = clock

    def context(
        self,
        caller: Caller,
        integration: str,
        selector: str | None,
        *,
        run_id: str,
        step: str,
    ) -> Context:
        """Return what a step of a run works with: the same again in another process."""
        return Context(
            caller=caller,
            integration=integration,
            selector=selector,
            files=self.files(caller.project_id, run_id),
            proxy=self._proxy,
            clock=self._clock,
            checkpoint=Checkpoint(self._database, self._vault, self._clock, caller.project_id, run_id, step),
        )

    def files(self, project_id: str, run_id: str) -> RunFiles:
        """Return the files of a run."""
        return self._files.of(project_id, run_id)

    async def clear(self, project_id: str, run_id: str) -> None:
        """Forget the files and checkpoints of a run that is over."""
        async with self._database.begin() as tx:
            await store.delete_checkpoints_of_run(tx, project_id, run_id)
        await self.files(project_id, run_id).clear()
