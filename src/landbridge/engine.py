"""The port to the durable engine: a leg of a run that survives its process, and steps whose results are written down.

DBOS keeps the journal. A leg is one of its workflows, named by the run and its number; what a step gave is in the
journal before the next one begins, sealed by the vault. A leg that is taken up elsewhere runs from its start, and gets
from the journal what its steps gave. An execution that was taken for dead and is not finds its writes refused.

Importing this takes half a second and 30 MB, so that only a worker that has something to run does.
"""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import Serializer  # the base class is part of its documented configuration, but not exported
from pydantic import JsonValue

from landbridge.errors import StoreFailed
from landbridge.settings import Settings
from landbridge.store.journal import Journal
from landbridge.vault import Vault

log = structlog.get_logger(__name__)

Walk = Callable[[str, int], Awaitable[None]]
"""What a leg does, given its run and its number: idempotent but for its steps."""

_VERSION = "1"
"""Of what a leg's steps are and mean. A leg begun by another version is not taken up: see `Engine.take_up`."""

CLOSED_WITHIN: Final = timedelta(seconds=5)
"""How long an engine may take to end, whatever its database does."""

_ONE = threading.Lock()  # held by the engine that this process has

_THREADS = 4  # more only get in each other's way: 12 ms of CPU a run at 4, 14 at 16
_AT_ONCE = 500
_JOURNAL = "journal"


class Engine:
    """Runs legs. There is one to a process, since DBOS is one to a process."""

    def __init__(self, settings: Settings, vault: Vault, walk: Walk, executor_id: str) -> None:
        self._home = asyncio.get_running_loop()
        self._walk = walk
        self._journal = Journal(settings)
        self._config: DBOSConfig = {
            "name": "landbridge",
            "system_database_url": settings.effective_database_url,
            "system_database_engine": self._journal.engine,
            "application_version": _VERSION,
            "executor_id": executor_id,
            "max_executor_threads": _THREADS,
            "serializer": _Sealed(vault),
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": 0.05,  # it has nothing to look for, but its end waits for it
        }
        self._turn = threading.Lock()
        self._has_begun = False

    async def open(self) -> None:
        """Make the journal's tables if they are missing, and begin to take up legs that others left.

        Waits for a database that is away. Whatever ends this, nothing of it is left: the next engine would be given it.
        """
        try:
            await _apart(self._begin)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop, within `CLOSED_WITHIN`. Legs under way stay in the journal, for another executor."""
        self._journal.shut()
        try:
            async with asyncio.timeout(CLOSED_WITHIN.total_seconds()):
                await _apart(self._finish)
        except TimeoutError:
            log.warning("the durable engine does not end; it is left to the end of the process")
        self._home.set_default_executor(ThreadPoolExecutor())  # DBOS put its own in place, which has just ended

    def _begin(self) -> None:
        with self._turn:
            if self._journal.is_shut:
                return
            if not _ONE.acquire(timeout=CLOSED_WITHIN.total_seconds()):
                raise StoreFailed("The durable engine that this process had before has not ended.")
            self._has_begun = True
            logging.getLogger("dbos").handlers = [logging.NullHandler()]  # else it makes one that prints what it likes
            logging.getLogger("dbos").propagate = False
            DBOS(config=self._config)

            async def leg(run_id: str, number: int) -> None:
                await self._run_leg(run_id, number)

            self._leg = DBOS.workflow(name="leg", max_recovery_attempts=None)(leg)
            DBOS.launch()

    def _finish(self) -> None:
        with self._turn:
            if self._has_begun:
                DBOS.destroy(destroy_registry=True)
                self._has_begun = False
                _ONE.release()
            self._journal.close()

    async def start(self, run_id: str, number: int) -> None:
        """Begin a leg, or join it if it runs here already."""
        with SetWorkflowID(leg_id(run_id, number)):
            await DBOS.start_workflow_async(self._leg, run_id, number)

    async def take_up(self, run_id: str, number: int) -> Literal["begun", "resumed", "over", "broken"]:
        """Have the leg of a dead executor run on: here, or wherever a worker is free first.

        "over" means that the journal holds the leg as ended, "broken" that it ended by a defect of ours.
        """
        id_ = leg_id(run_id, number)
        status = await DBOS.get_workflow_status_async(id_)
        if status is None:
            await self.start(run_id, number)
            return "begun"
        if status.status in {"SUCCESS", "ERROR"}:
            return "over" if status.status == "SUCCESS" else "broken"
        await DBOS.resume_workflow_async(id_)
        return "resumed"

    async def gave(self, run_id: str, number: int) -> dict[str, JsonValue]:
        """Return what the journal holds of a leg: what its steps gave, by their names."""
        steps = await DBOS.list_workflow_steps_async(leg_id(run_id, number))
        return {one["function_name"]: one["output"] for one in steps if isinstance(one["output"], dict)}

    async def step(self, name: str, effect: Callable[[], Coroutine[Any, Any, JsonValue]]) -> JsonValue:
        """Return what an effect gave, from the journal if it is there. Only within a leg; an effect does not raise."""
        return cast("JsonValue", await DBOS.run_step_async({"name": name}, effect))

    async def unfinished(self, before: datetime) -> list[tuple[str, int]]:
        """Return legs that began before an instant and have not ended, by run and number, the oldest first."""
        legs = await DBOS.list_workflows_async(
            status=["PENDING", "ENQUEUED"],
            end_time=before.isoformat(),
            limit=_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        named = (leg.workflow_id.rpartition("/") for leg in legs)
        return [(run_id, int(number)) for run_id, _, number in named]

    async def forget(self, before: datetime, also: Iterable[tuple[str, int]] = ()) -> None:
        """Delete from the journal the legs that ended before an instant, and some that will not."""
        ids = [*(leg_id(*leg) for leg in also), *await self._ended(before)]
        while ids:
            await DBOS.delete_workflows_async(ids)
            ids = await self._ended(before)

    async def _ended(self, before: datetime) -> list[str]:
        legs = await DBOS.list_workflows_async(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before.isoformat(),
            limit=_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        return [leg.workflow_id for leg in legs]

    async def _run_leg(self, run_id: str, number: int) -> None:
        try:
            await self._walk_at_home(run_id, number)
        except Exception:
            if not self._journal.is_shut:
                log.exception("a leg met a defect", run=run_id, leg=number)
            raise

    async def _walk_at_home(self, run_id: str, number: int) -> None:
        if asyncio.get_running_loop() is self._home:
            await self._walk(run_id, number)
            return
        # A leg that is taken up runs on a loop of DBOS's own, whereas our pools and clients belong to ours. The
        # journal's context goes along: it is in a context variable, which the scheduling copies.
        walking = asyncio.run_coroutine_threadsafe(_as_coroutine(self._walk(run_id, number)), self._home)
        await asyncio.wrap_future(walking)


def leg_id(run_id: str, number: int) -> str:
    """Return the name of a leg in the journal."""
    return f"{run_id}/{number}"


async def _apart(work: Callable[[], None]) -> None:
    """Do something in a thread of its own that goes on if this is cancelled, and that no process waits for.

    Not in the loop's executor: DBOS puts its own in place of that, in which whoever waits for a database sits.
    """
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="engine", daemon=True).start()
    await asyncio.wrap_future(done)


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


class _Sealed(Serializer):
    """What the journal holds: JSON, sealed. Never pickles, which would run whatever the database says."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def name(self) -> str:
        """Return the name that is written beside each value."""
        return "landbridge_sealed"

    def serialize(self, data: Any) -> str:  # Any: what DBOS keeps, of which ours is JSON
        """Return a value as the journal keeps it."""
        if isinstance(data, BaseException):
            data = {"$error": f"{type(data).__name__}: {data}"}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return base64.b64encode(self._vault.seal(text.encode(), _JOURNAL)).decode("ascii")

    def deserialize(self, serialized_data: str) -> Any:  # Any: as above
        """Return a value as it was given."""
        value = json.loads(self._vault.open(base64.b64decode(serialized_data), _JOURNAL))
        if isinstance(value, dict) and "$error" in value:
            return RuntimeError(value["$error"])
        return value
