"""Where an integration is judged: a house with an account connected, its product, and an engine that runs actions."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.clock import FakeClock
from tests.conformance.connected import connect, house_at, user_of
from tests.conformance.product import Asked, Case, Product, Trouble, subject
from tests.conformance.step import begin

from landbridge.app import House
from landbridge.errors import LandbridgeError, OutcomeUnknown
from landbridge.files import RunFiles
from landbridge.kit import Action, Context, Given, Result
from msgraph_sandbox.server import Sandbox

LONGEST_SLEEP = timedelta(seconds=5)
_COME_BACK = timedelta(seconds=30)
_MOST_RETURNS = 20
_AGO = timedelta(seconds=2)


class TwoClocks(FakeClock):
    """Ours and the sandbox's, moved together. `slept` is what was slept since it was set to nothing."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(datetime.now(UTC))
        self._theirs = sandbox.world.clock
        self.slept = timedelta()

    def advance(self, duration: timedelta) -> None:
        super().advance(duration)
        self._theirs.advance(max(duration, timedelta()))

    async def sleep(self, duration: timedelta) -> None:
        self.slept += duration
        await super().sleep(duration)


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    before: object
    after: object
    asked: list[Asked]
    error: LandbridgeError | None = None


@dataclass(frozen=True)
class Stage:
    """An integration with an account connected."""

    integration: str
    house: House
    sandbox: Sandbox
    product: Product
    clock: TwoClocks
    context: Context

    async def with_consent(self, scopes: Set[str]) -> Stage:
        """Return a stage whose user has consented to these scopes, and those that every sign-in asks for."""
        required = self.house.catalog.get(self.integration).required_scopes
        user = user_of(self.sandbox, self.product.email)
        given = {*required, *self.product.scopes(scopes)}
        caller = await connect(self.house, self.sandbox, user, self.integration, given)
        return replace(self, context=replace(self.context, caller=caller))

    async def run(self, name: str, **values: Any) -> Any:  # Any: an action's input, and its result
        """Run an action to its end, in a run of its own."""
        action, run = self.house.actions.get(self.integration, name), str(uuid4())
        return await self._run(action, await action.receive(values, self._files(run)), run)

    async def play(self, action: Action, case: Case, *numbers: int, trouble: Trouble | None = None) -> Outcome:
        """Run a case in a scene of its own to its end; the requests of these numbers meet trouble."""
        scene, run = self._begin(numbers, trouble)
        before = self.product.state(scene)
        try:
            given = await action.receive(dict(case.of(scene)), self._files(run))
            result = await self._run(action, given, run)
        except LandbridgeError as error:
            return self._outcome(scene, before, error)
        assert isinstance(result, action.result)
        return self._outcome(scene, before)

    async def play_killed(self, action: Action, case: Case, number: int, trouble: Trouble) -> Outcome:
        """Run a case in another process that is killed at the request of that number; then run it again here."""
        scene, run = self._begin([number], trouble)
        before = self.product.state(scene)
        given = await action.receive(dict(case.of(scene)), self._files(run))
        as_json = given.model_dump(mode="json", by_alias=True, exclude_none=True)
        process = await begin(
            self.context, self.house.settings, run_id=run, step="step", action=action.name, given=as_json
        )
        while not self.product.has_struck():
            assert process.returncode is None, "The step ended before it was killed."
            await asyncio.sleep(0.02)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        self.product.heal()
        try:
            await self._run(action, given, run)
        except OutcomeUnknown as error:
            return self._outcome(scene, before, error)
        return self._outcome(scene, before)

    def _begin(self, numbers: Iterable[int], trouble: Trouble | None) -> tuple[str, str]:
        self.product.heal()
        self.sandbox.world.ledger.clear()
        scene = self.product.lay_out()
        self.clock.advance(_AGO)  # what lies in the scene was not made in the second in which the step begins
        if trouble is not None:
            for number in numbers:
                self.product.spoil(number, trouble)
        return scene, str(uuid4())

    def _files(self, run: str) -> RunFiles:
        return self.house.files.of(self.context.caller.project_id, run)

    async def _run(self, action: Action, given: Given, run: str) -> Result:
        """Run a step as an engine does: again after a wait, and after an error that passes."""
        token = None
        for _ in range(_MOST_RETURNS):
            context = self.house.workbench.context(self.context.caller, self.integration, None, run_id=run, step="step")
            self.clock.slept = timedelta()
            try:
                outcome = await action.run(replace(context, token=token), given)
            except LandbridgeError as error:
                if not error.retryable:
                    raise
                self.clock.advance(getattr(error, "retry_after", None) or _COME_BACK)
                continue
            finally:
                assert self.clock.slept <= LONGEST_SLEEP
            if isinstance(outcome, Result):
                return outcome
            self.clock.advance(max(outcome.until - self.clock.now(), timedelta()))
            token = outcome.token
        raise AssertionError("The action does not end.")

    def _outcome(self, scene: str, before: object, error: LandbridgeError | None = None) -> Outcome:
        return Outcome(before, self.product.state(scene), list(self.product.asked()), error)


@asynccontextmanager
async def stage(integration: str, kind: str, folder: Path) -> AsyncIterator[Stage]:
    """Give an integration with an account of a kind connected, and consent to all that its manifest offers."""
    with Sandbox() as sandbox:
        clock = TwoClocks(sandbox)
        async with (
            subject(integration).product(kind, sandbox) as product,
            house_at(sandbox, folder / "data", clock, api_url=product.api_url) as house,
        ):
            scopes = {scope.name for scope in house.catalog.get(integration).scopes}
            caller = await connect(house, sandbox, user_of(sandbox, product.email), integration, scopes)
            context = house.workbench.context(caller, integration, None, run_id="none", step="none")
            yield Stage(integration, house, sandbox, product, clock, context)
