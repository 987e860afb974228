"""The reference for workflows: the engine alone, with as many journaled steps, and nothing of ours around it.

`python -m tests.bench.raw_engine PORT URL JOURNAL`: a POST to `/` runs one workflow of two steps, each of which GETs
the URL, and answers with what the second gave; a POST to `/in-a-row?20` one of so many steps; a POST to `/fan-out?1000`
has a workflow enqueue children of one step and gather what they gave. The journal is as durable as Landbridge's: SQLite
in WAL mode with FULL, or PostgreSQL.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import sqlalchemy as sa
import uvicorn
import uvloop
from dbos import DBOS
from dbos._serialization import DBOSPortableJSONSerializer

CONCURRENCY = 16
QUEUE = "children"


def main(port: str, url: str, journal: str) -> None:
    """Serve until ended."""
    DBOS(
        config={
            "name": "raw",
            "system_database_url": journal,
            "system_database_engine": engine(journal),
            "application_version": "1",
            "executor_id": "raw",
            "max_executor_threads": CONCURRENCY,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
    )
    uvloop.run(_serve(int(port), url))


async def _serve(port: int, url: str) -> None:
    session = aiohttp.ClientSession()
    sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {asyncio.get_running_loop(): session}

    async def get() -> Any:  # Any: JSON
        loop = asyncio.get_running_loop()
        if loop not in sessions:  # children run on the engine's own loop
            sessions[loop] = aiohttp.ClientSession()
        async with sessions[loop].get(url) as answer:
            return await answer.json()

    @DBOS.workflow()
    async def run(_count: int) -> Any:  # Any: JSON
        first = await DBOS.run_step_async({"name": "action"}, get)
        if not first["value"]:
            return None
        second = await DBOS.run_step_async({"name": "request"}, get)
        return len(second["value"])

    @DBOS.workflow()
    async def in_a_row(count: int) -> int:
        return sum([len((await DBOS.run_step_async({"name": "request"}, get))["value"]) for _ in range(count)])

    @DBOS.workflow()
    async def child(index: int) -> Any:  # Any: JSON
        return len((await DBOS.run_step_async({"name": "request"}, get))["value"])

    @DBOS.workflow()
    async def parent(count: int) -> int:
        handles = [await DBOS.enqueue_workflow_async(QUEUE, child, index) for index in range(count)]
        return len([await handle.get_result(polling_interval_sec=0.02) for handle in handles])

    await asyncio.to_thread(DBOS.launch)
    await DBOS.register_queue_async(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=0.02)

    workflows = {"/": run, "/in-a-row": in_a_row, "/fan-out": parent}

    async def application(scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI's own types are open dicts
        await receive()
        handle = await DBOS.start_workflow_async(workflows[scope["path"]], int(scope["query_string"] or b"0"))
        body = json.dumps(await handle.get_result()).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    await uvicorn.Server(uvicorn.Config(application, port=port, lifespan="off", log_level="error")).serve()


def engine(url: str) -> sa.Engine:
    """Return connections to a journal that is as durable as Landbridge's."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=16)
    made = sa.create_engine(url, connect_args={"timeout": 30})

    @sa.event.listens_for(made, "connect")
    def set_up(connection: Any, _record: object) -> None:  # Any: sqlite3's
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
