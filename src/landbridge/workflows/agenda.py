"""What a worker does about runs: claims what is due, walks it, says that it lives, and takes over from the dead."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from landbridge.clock import Clock
from landbridge.errors import LandbridgeError, StoreFailed
from landbridge.store import runs as store
from landbridge.store.database import Database
from landbridge.store.runs import Limits, RunRow, WorkerRow
from landbridge.workflows.legs import Legs

if TYPE_CHECKING:
    from landbridge.engine import Engine

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(milliseconds=15)
"""How often a worker looks for what is due."""

_LOOK_AFTER_NOTHING = timedelta(milliseconds=100)
_REMEMBERED = 16

BEAT_EVERY: Final = timedelta(seconds=1)
DEAD_AFTER: Final = timedelta(seconds=5)
"""How long a worker may be silent, by its observer's own clock, before its runs are another's."""

SHOW_EVERY: Final = timedelta(milliseconds=500)
"""How often people are shown what steps of long legs gave, and which are under way; at no cost if none are."""

DRAINED_WITHIN: Final = timedelta(seconds=10)
"""How long a worker that is asked to end lets its legs go on; its supervisor waits twice as long."""

FORGET_EVERY: Final = timedelta(minutes=1)
JOURNAL_KEPT: Final = timedelta(minutes=10)
"""How long the journal of a leg stays once the leg has ended; what it led to is in the run's row."""

OpenEngine = Callable[[Callable[[str, int], Awaitable[None]], str], "Awaitable[Engine]"]
"""Opens the durable engine, given what a leg does and the worker's id."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """When a worker was last heard of, by our clock that only goes forward."""

    beats: int
    at: float


class Agenda:
    """One worker's share of the runs. The engine is opened when there is first something to run."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        legs: Legs,
        open_engine: OpenEngine,
        *,
        cancelling: set[str],
        at_once: int,
        limits: Limits,
    ) -> None:
        self.worker_id = str(uuid4())
        self._database = database
        self._clock = clock
        self._legs = legs
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()
        self._cancelling = cancelling
        self._at_once = at_once
        self._limits = limits
        self._under_way: dict[tuple[str, int], RunRow | None] = {}
        self._heard: dict[str, _Heard] = {}
        self._idle: dict[tuple[str, int], float] = {}
        self._lately: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)
        self._freed = asyncio.Event()
        self._next_due: datetime | None = None
        self._known_version: int | None = None

    async def run(self) -> None:
        """Work until cancelled; then let the legs under way come to their end, and leave the rest to others."""
        await self._appear()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._claiming())
                tasks.create_task(self._repeatedly(BEAT_EVERY, self._beat))
                tasks.create_task(self._repeatedly(BEAT_EVERY, self._look_after_others))
                tasks.create_task(self._repeatedly(SHOW_EVERY, self._legs.show))
                tasks.create_task(self._repeatedly(FORGET_EVERY, self._forget))
        finally:
            await self._leave()

    async def walk(self, run_id: str, number: int) -> None:
        """Walk a leg, as the engine asks for it: here first, or after another worker began it."""
        row = self._under_way.setdefault((run_id, number))
        try:
            row = row or await self._legs.persistently(self._mine, run_id, number)
            assert self._engine
            is_over = row is None or await self._legs.walk(row, self._engine)
        finally:
            self._under_way.pop((run_id, number), None)
            self._freed.set()
        if not is_over:
            await self._until_it_is_over(run_id, number)

    async def _mine(self, run_id: str, number: int) -> RunRow | None:
        """Return the run's row if this leg is still to be walked, claimed by this worker."""
        while row := await self._walkable(run_id, number):
            if row.worker_id == self.worker_id:
                return row
            async with self._database.begin() as tx:
                await store.take_over(tx, row, self.worker_id)
        return None

    async def _walkable(self, run_id: str, number: int) -> RunRow | None:
        async with self._database.read() as tx:
            row = await store.run(tx, run_id)
        return row if row and row.state == store.RUNNING and row.leg == number else None

    async def _until_it_is_over(self, run_id: str, number: int) -> None:
        """Wait for the worker that has the leg now: what the journal calls over could not be resumed by it."""
        while await self._legs.persistently(self._walkable, run_id, number):
            await self._clock.sleep(BEAT_EVERY)

    async def _claiming(self) -> None:
        while True:
            self._freed.clear()
            free = self._at_once - len(self._under_way)
            if free > 0:
                claimed = await self._tried(self._claim(free))
                await self._clock.sleep(_LOOK_AFTER_NOTHING if claimed == 0 else self._pause())
            else:
                await self._freed.wait()

    def _pause(self) -> timedelta:
        """Return how long to wait before the next look: a busy worker claims several at once, which costs as much."""
        return LOOK_EVERY * (1 + len(self._under_way) / 4)

    async def _claim(self, most: int) -> int | None:
        """Begin what is due, and return how many runs that were; None if nothing is, 0 if limits hold it back."""
        now = self._clock.now()
        if not await self._is_any_due(now):
            return None
        engine = await self._opened()
        async with self._database.begin() as tx:
            rows = await store.claim(tx, self.worker_id, now, most=most, limits=self._limits, lately=self._lately)
        self._lately.extend((row.project_id, row.user_id) for row in rows)
        for row in rows:
            self._under_way[row.id, row.leg] = row
            beginning = self._tasks.create_task(self._begin(engine, row))
            beginning.add_done_callback(partial(self._forget_unless_begun, row))
        return len(rows)

    async def _is_any_due(self, now: datetime) -> bool:
        """Return whether something is due; the database is asked only if it may know more than we do."""
        version = self._database.data_version()
        if version is None or version != self._known_version:
            async with self._database.read() as tx:
                self._next_due = await store.next_due(tx)
            self._known_version = version
        return self._next_due is not None and self._next_due <= now

    async def _begin(self, engine: "Engine", row: RunRow) -> bool:
        """Begin a leg, and return whether that succeeded; it is walked when the engine asks for it."""
        try:
            await engine.start(row.id, row.leg)
        except Exception:
            log.exception("a leg could not be begun; it is taken up as a dead worker's would be", run=row.id)
            return False
        return True

    def _forget_unless_begun(self, row: RunRow, beginning: asyncio.Task[bool]) -> None:
        """Give up the place of a leg that will not be walked, so that the end of this worker does not wait for it."""
        if beginning.cancelled() or not beginning.result():
            self._under_way.pop((row.id, row.leg), None)
            self._freed.set()

    async def _opened(self) -> "Engine":
        async with self._opening:
            if self._engine is None:
                self._engine = await self._open_engine(self.walk, self.worker_id)
            return self._engine

    async def _beat(self) -> None:
        async with self._database.begin() as tx:
            alive = await store.beat(tx, self.worker_id)
            self._cancelling.clear()
            self._cancelling.update(await store.cancelling(tx, self.worker_id))
        if not alive:
            log.warning("the other workers took this one for dead; it goes on with what is due")
            await self._appear()

    async def _appear(self) -> None:
        row = WorkerRow(self.worker_id, socket.gethostname(), 0, self._clock.now())
        async with self._database.begin() as tx:
            await store.insert_worker(tx, row)

    async def _look_after_others(self) -> None:
        """Take over the runs of workers that died, and our own that never began."""
        async with self._database.read() as tx:
            claimed = await store.workers_with_runs(tx)  # first: whoever claims after that may have just appeared
            workers = {row.id: row for row in await store.all_workers(tx)}
        dead = self._silent(workers) | {id_ for id_ in claimed if id_ not in workers}
        for worker_id in dead - {self.worker_id}:
            await self._take_over(worker_id)
        await self._take_up_idle()

    def _silent(self, workers: dict[str, WorkerRow]) -> set[str]:
        now = asyncio.get_running_loop().time()
        self._heard = {
            id_: heard if (heard := self._heard.get(id_)) and heard.beats == row.beats else _Heard(row.beats, now)
            for id_, row in workers.items()
        }
        return {id_ for id_, heard in self._heard.items() if now - heard.at > DEAD_AFTER.total_seconds()}

    async def _take_over(self, worker_id: str) -> None:
        async with self._database.read() as tx:
            rows = await store.runs_of_worker(tx, worker_id)
        for row in rows:
            if (row.id, row.leg) not in self._under_way:
                await self._take_up(row)
        async with self._database.begin() as tx:
            await store.delete_worker(tx, worker_id)

    async def _take_up_idle(self) -> None:
        """Take up our own runs that nobody has walked for a while.

        Not at once: what was just claimed is just being begun, and what was just taken up begins when the journal hands
        it out. To take it up then would do once more what is being done.
        """
        now = asyncio.get_running_loop().time()
        async with self._database.read() as tx:
            rows = {(row.id, row.leg): row for row in await store.runs_of_worker(tx, self.worker_id)}
        self._idle = {leg: self._idle.get(leg, now) for leg in rows if leg not in self._under_way}
        for leg, since in self._idle.items():
            if now - since > DEAD_AFTER.total_seconds() and leg not in self._under_way:
                self._idle[leg] = now
                await self._take_up(rows[leg])

    async def _take_up(self, row: RunRow) -> None:
        """Have a leg walked that nobody walks; what the journal holds of it is not done again."""
        async with self._database.begin() as tx:
            if not await store.take_over(tx, row, self.worker_id):
                return
        engine = await self._opened()
        outcome = await engine.take_up(row.id, row.leg)
        log.info("a run is taken up where its worker left it", run=row.id, leg=row.leg, outcome=outcome)
        mine = replace(row, worker_id=self.worker_id)
        if outcome == "over":  # the row is older than the journal, as after the restore of a backup
            async with self._database.begin() as tx:
                await store.end_leg(tx, mine, state=store.QUEUED, due_at=self._clock.now(), worker_id=None)
        if outcome == "broken":
            await self._legs.walk_again(mine, await engine.gave(row.id, row.leg))

    async def _forget(self) -> None:
        """Delete legs from the journal that are over, or that nobody will end.

        Such is left where a worker died after the row was written, and before the journal was.
        """
        if self._engine:
            before = self._clock.now() - JOURNAL_KEPT
            unfinished = await self._engine.unfinished(before)
            async with self._database.read() as tx:
                walked = await store.under_way(tx, [run_id for run_id, _ in unfinished])
            await self._engine.forget(before, [leg for leg in unfinished if leg not in walked])

    async def _leave(self) -> None:
        """Come to an end: what cannot be finished stays claimed by a worker that is gone, and is taken up."""
        await self._drain()
        if self._engine:
            await self._engine.close()
        with contextlib.suppress(StoreFailed):  # the others notice its silence
            async with self._database.begin() as tx:
                await store.delete_worker(tx, self.worker_id)

    async def _drain(self) -> None:
        """Let the legs under way come to their end, for a while in which this worker goes on saying that it lives."""
        beating = asyncio.create_task(self._repeatedly(BEAT_EVERY, self._beat))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_WITHIN.total_seconds()):
                while self._under_way:
                    self._freed.clear()
                    await self._freed.wait()
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating

    async def _repeatedly(self, interval: timedelta, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._tried(job())
            await self._clock.sleep(interval)

    async def _tried(self, job: Awaitable[int | None]) -> int | None:
        """Return what a job returns, or None if the database or the engine fails it: it is tried again soon."""
        try:
            return await job
        except LandbridgeError as error:
            log.warning("work on runs failed and is tried again", error=error.code, reason=error.message)
        except Exception:
            log.exception("work on runs met a defect, and is tried again")
        await self._clock.sleep(BEAT_EVERY)
        return None
