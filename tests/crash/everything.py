"""A workflow with every kind of step, what it did to the world, and what of that is the same whoever was killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.integrations.landbridge import eventually
from tests.integrations.workflows.crew import Crew
from yarl import URL

from landbridge.store.runs import OVER, RunRow
from landbridge.store.tables import runs
from landbridge.workflows.deployments import Deployed

OTHER = """
name: Told by another
trigger: {type: request}
steps:
  - id: tell
    type: request
    method: POST
    url: "SERVICE/told/{{ trigger.request.body.name }}/{{ trigger.request.body.how }}"
    body: {type: json, value: {a: 1}}
  - id: give
    type: function
    code: "def run(parameters): return parameters['how']"
    parameters: {how: "{{ trigger.request.body.how }}"}
"""

EVERYTHING = """
name: Every kind of step
trigger: {type: request}
steps:
  - {id: home, type: action, action: create_folder,
     input: {name: "{{ trigger.request.body.name }}", conflictBehavior: rename}}
  - id: file
    type: action
    action: create_text_file
    input: {name: note.txt, text: hello, folderId: "{{ steps.home.result.id }}", conflictBehavior: rename}
  - id: look
    type: action
    action: list_files
    input: {folderId: "{{ steps.home.result.id }}"}
  - id: copy
    type: action
    action: copy_item
    input: {itemId: "{{ steps.file.result.id }}", destinationId: "{{ steps.home.result.id }}", name: copy.txt,
            conflictBehavior: rename}
  - id: put
    type: action
    action: onedrive_request
    input: {method: PUT, path: "/me/drive/items/{{ steps.home.result.id }}:/put.txt:/content", body: put,
            headers: {Content-Type: text/plain}}
  - {id: through, type: request, method: PUT, auth: {type: connection},
     url: "/me/drive/items/{{ steps.home.result.id }}:/through.txt:/content",
     body: {type: raw, value: through, contentType: text/plain}}
  - id: remove
    type: action
    action: onedrive_request
    input: {method: DELETE, path: "/me/drive/items/{{ steps.put.result.body.id }}"}
  - id: limited
    type: action
    action: create_folder
    input: {name: "limited {{ trigger.request.body.name }}", folderId: "{{ steps.home.result.id }}",
            conflictBehavior: rename}
  - {id: post, type: request, method: POST, url: "SERVICE/post/{{ trigger.request.body.name }}",
     body: {type: json, value: {file: "{{ steps.copy.result.name }}"}}}
  - {id: busy, type: request, method: POST, url: "SERVICE/busy/{{ trigger.request.body.name }}"}
  - {id: flaky, type: request, method: POST, url: "SERVICE/flaky/{{ trigger.request.body.name }}", autoRetry: true}
  - {id: never, type: request, method: GET, url: "SERVICE/never/{{ trigger.request.body.name }}", continueOnError: true}
  - id: nor
    type: request
    method: GET
    url: "SERVICE/never/{{ trigger.request.body.name }}"
    onError:
      - id: mend
        type: function
        code: "def run(parameters): return 'mended ' + parameters['why']"
        parameters: {why: "{{ steps.nor.error.code }}"}
  - id: choose
    type: conditional
    if: [[{left: "{{ steps.mend?.result }}", operator: $stringContains, right: mended}]]
    then:
      - {id: chosen, type: function, code: "def run(parameters): return 'chosen'"}
  - {id: long, type: function, code: "def run(parameters): return 'so long ' * 3000"}
  - {id: pause, type: delay, value: 0.2, unit: SECONDS}
  - id: rows
    type: fanOut
    over: [[1, 2], [3]]
    concurrency: 1
    steps:
      - {id: row, type: action, action: create_folder, input: {name: "row {{ index }}",
         folderId: "{{ steps.home.result.id }}", conflictBehavior: rename}}
      - id: cells
        type: fanOut
        over: "{{ item }}"
        concurrency: 2
        steps:
          - {id: cell, type: request, method: POST, url: "SERVICE/cell/{{ trigger.request.body.name }}/{{ item }}"}
        result: "{{ steps.cell.response.body.n? }}{{ item }}"
    result: "{{ steps.cells.results }}"
  - {id: ask, type: runWorkflow, workflow: OTHER, input: {name: "{{ trigger.request.body.name }}", how: asked}}
  - {id: tell, type: runWorkflow, workflow: OTHER, wait: false,
     input: {name: "{{ trigger.request.body.name }}", how: told}}
  - {id: answer, type: response, statusCode: 201, body: {file: "{{ steps.copy.result.name }}"}}
  - id: end
    type: stop
    message: "{{ steps.rows.results }} {{ steps.ask.result }} {{ steps.chosen?.result }} {{ steps.never.error.code }}
      {{ steps.mend?.result }} {{ steps.copy.result.name }} {{ steps.look.result.count? }}"
"""

CHANGED = {201, 202, 204}
"""What Microsoft Graph answers to what made or removed something, which whoever repeats it must not do twice."""


@dataclass
class Service:
    """A stranger's service that fails at first, and notes what it was asked: path, and idempotency key."""

    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        is_first = request.path not in {path for path, _ in self.asked}
        self.asked.append((request.path, request.headers.get("Idempotency-Key")))
        kind = request.path.split("/")[1]
        if kind.startswith("slow"):
            await asyncio.sleep(float(kind.removeprefix("slow")))
        match kind:
            case "busy" if is_first:
                return web.json_response({}, status=429, headers={"Retry-After": "1"})
            case "flaky" if is_first:
                return web.json_response({}, status=500)
            case "never":
                return web.json_response({}, status=404)
        return web.json_response({"n": 1})

    def told(self, name: str) -> Counter[str]:
        """Return how often each path that names a run was asked; a key that comes again is the same request."""
        of_run = {(path, key) for path, key in self.asked if name in path.split("/")}
        return Counter(path.replace(name, "NAME") for path, _ in of_run)


@asynccontextmanager
async def answering() -> AsyncIterator[Service]:
    """Run the service."""
    service = Service()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = str(URL.build(scheme="http", host="127.0.0.1", port=runner.addresses[0][1]))
    try:
        yield service
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Told:
    """What is known of a run once it and all that it started is over, without what differs from run to run."""

    runs: dict[str, tuple[str, Any, Any]]
    steps: dict[str, str]
    answer: Any
    asked: Counter[str]
    drive: dict[str, Any]
    changes: Counter[str]
    large: tuple[bytes, int]


@dataclass(frozen=True)
class Scene:
    """A user, the service, and the workflow."""

    crew: Crew
    service: Service
    deployed: Deployed

    @classmethod
    async def of(cls, crew: Crew, service: Service) -> Scene:
        other = await crew.deploy(OTHER.replace("SERVICE", service.url))
        text = EVERYTHING.replace("SERVICE", service.url).replace("OTHER", other.workflow.id)
        return cls(crew, service, await crew.deploy(text))

    async def start(self, name: str) -> RunRow:
        """Begin a run, whose name is in all that it makes; OneDrive is too busy for one of its requests."""
        microsoft = self.crew.place.microsoft
        await microsoft.forget()
        await microsoft.heal()
        await microsoft.plant(path=f"/{name}", method="POST", status=429, retry_after=1, count=1)
        return await self.crew.start(self.deployed, {"request": {"body": {"name": name}}}, key=name)

    async def told(self, run: RunRow, name: str) -> Told:
        """Wait until a run and all that it started is over, and return what is known of it."""
        await eventually(self.all_over(run), within=60)
        ended = await self.crew.row(run.id)
        opened = self.crew.place.house.sealing.open
        family = await self._family(run)
        microsoft = self.crew.place.microsoft
        drive = (await microsoft._ask("GET", f"/drives/{self.crew.person.email}/tree"))["items"]
        calls = await microsoft.calls(service="graph")
        return Told(
            runs={
                row.id.removeprefix(run.id): (row.state, opened(row, row.sealed_output), row.error) for row in family
            },
            steps={id_: step.state for id_, step in (await self.crew.steps(run.id)).items()},
            answer=opened(ended, ended.sealed_response),
            asked=self.service.told(name),
            drive={
                path.replace(name, "NAME"): (item["size"], item["hash"])
                for path, item in drive.items()
                if path.strip("/").startswith(name)
            },
            changes=Counter(f"{call['operation']} {call['status']}" for call in calls if call["status"] in CHANGED),
            large=await self._large(ended),
        )

    async def _large(self, run: RunRow) -> tuple[bytes, int]:
        """Return the one value that is too long for a row, and how many files are kept of the run once it is tidied."""
        large_values = self.crew.place.house.large_values
        await large_values.tidy(run)
        kept = self.crew.place.settings.data_dir / "files" / "history" / run.project_id / run.id
        return await large_values.whole(run, "long", "output"), sum(file.is_file() for file in kept.iterdir())

    async def _family(self, run: RunRow) -> list[RunRow]:
        async with self.crew.place.house.database.read() as tx:
            found = await tx.execute(runs.select().where(runs.c.id.startswith(run.id)))
            return [RunRow(**row._mapping) for row in found]

    def all_over(self, run: RunRow) -> Callable[[], Awaitable[bool]]:
        """Return what tells whether a run and all that it started is over."""

        async def holds() -> bool:
            return {row.state for row in await self._family(run)} <= set(OVER)

        return holds
