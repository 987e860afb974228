"""A process that runs actions as a worker does: `python -m tests.bench.steps PROJECT USER`.

Settings are in the environment. It takes one JSON object a line and answers each with one.
`{"keep": [[run, path], …]}` puts files among those of runs, as an earlier step would have, and answers what leads to
them. `{"run": [[run, action, input], …], "in_flight": n}` runs steps, so many at once, each result written as JSON for
the next step to read. `{"clear": [run, …]}` ends runs.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from landbridge.access import Caller
from landbridge.app import House, assemble, spare_the_collector
from landbridge.kit import Result
from landbridge.settings import Settings

_READ = 1 << 20
_LONGEST_LINE = 64 << 20

Step = tuple[str, str, dict[str, Any]]  # Any: JSON


class Runner:
    """Runs steps on behalf of one user."""

    def __init__(self, house: House, caller: Caller) -> None:
        self._house = house
        self._caller = caller

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
        """Carry one line out."""
        match order:
            case {"keep": kept}:
                return {"files": [await self._keep(run, Path(path)) for run, path in kept]}
            case {"run": steps, "in_flight": in_flight}:
                began = time.perf_counter()
                items = await self._run_all(iter(steps), in_flight)
                return {"seconds": time.perf_counter() - began, "items": items}
            case {"clear": runs}:
                for run in runs:
                    await self._house.workbench.clear(self._caller.project_id, run)
                return {}
        raise ValueError(f"This is no order: {list(order)}.")

    async def _keep(self, run: str, path: Path) -> dict[str, Any]:  # Any: JSON
        files = self._house.files.of(self._caller.project_id, run)
        return (await files.save(path.name, "application/octet-stream", _chunks(path))).model_dump(by_alias=True)

    async def _run_all(self, steps: Iterable[Step], in_flight: int) -> int:
        """Return how many items the results held, once all steps have ended."""

        async def run_some() -> int:
            return sum([await self._run(*step) for step in steps])

        async with asyncio.TaskGroup() as group:
            some = [group.create_task(run_some()) for _ in range(in_flight)]
        return sum(task.result() for task in some)

    async def _run(self, run: str, name: str, values: dict[str, Any]) -> int:  # Any: JSON
        action = self._house.actions.get("onedrive", name)
        context = self._house.workbench.context(self._caller, "onedrive", None, run_id=run, step=str(uuid4()))
        result = await action.run(context, await action.receive(values, context.files))
        assert isinstance(result, Result), "nothing asks anybody to wait here"
        assert result.to_json()
        return len(getattr(result, "value", [result]))


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            yield chunk


async def main(project_id: str, user_id: str) -> None:
    """Obey until standard input ends."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    caller = Caller(project_id, user_id, datetime.now(UTC) + timedelta(days=1))
    async with assemble(Settings()) as house:
        runner = Runner(house, caller)
        spare_the_collector()
        while line := await reader.readline():
            print(json.dumps(await runner.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
