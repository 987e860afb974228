"""A worker that is killed at a chosen moment: at its N-th crossing of a named point, not a statement later.

Its processes are forked from one that has imported everything, so that killing hundreds takes minutes. They wait less
than a real worker does, for retries and for signs of life; nothing else about them is different.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from tests.integrations.landbridge import environment

from landbridge import app, worker
from landbridge.clock import SystemClock
from landbridge.engine import Engine
from landbridge.integrations.onedrive.actions import copies
from landbridge.kit.steps import Checkpoint
from landbridge.settings import Settings
from landbridge.store import runs as store
from landbridge.telemetry import configure_logging
from landbridge.workflows import agenda, legs, outcomes
from landbridge.workflows.agenda import Agenda
from landbridge.workflows.appointments import Appointments
from landbridge.workflows.large_values import LargeValues
from landbridge.workflows.legs import Legs

PATIENCE = timedelta(seconds=2)
"""How long such a worker may be silent before it counts as dead; must be more than a busy machine takes to fork one."""

PATIENT = timedelta(minutes=1)
"""The same where none is to die, and a busy machine holds some up."""

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.crash.doomed"])


@dataclass(frozen=True)
class Doom:
    """When a worker is to die: at which crossing, counted from 1, of which point."""

    point: str
    crossing: int

    def __str__(self) -> str:
        return f"{self.point} #{self.crossing}"


@dataclass(frozen=True)
class Doomed:
    """A worker of its own process, and the file in which it notes what it crosses."""

    process: ForkServerProcess
    notes: Path
    ahead: Synchronized[float]

    def ended(self, within: float) -> int | None:
        """Wait until it ends, and return its exit code; None if it lives on."""
        self.process.join(within)
        return self.process.exitcode

    def jump(self, ahead: timedelta) -> None:
        """Have its clock, and not ours, go that much ahead of the machine's from now on."""
        self.ahead.value = ahead.total_seconds()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid
        os.kill(self.process.pid, number)

    def crossed(self) -> Counter[str]:
        return Counter(self.notes.read_text().splitlines())

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.is_alive():
            self.signal(signal.SIGCONT)
            self.process.kill()
        self.process.join()


def start(
    settings: Settings,
    name: str,
    doom: Doom | None = None,
    *,
    patience: timedelta = PATIENCE,
    drained_within: timedelta = PATIENCE / 2,
) -> Doomed:
    """Start a worker that dies as it is told to.

    With more patience it takes none for dead that a busy machine merely holds up. Asked to end, it gives its steps as
    long as it is told.
    """
    notes = settings.data_dir / f"{name}.crossings"
    notes.touch()
    log = settings.data_dir / f"{name}.log"
    ahead: Synchronized[float] = _FORKING.Value("d", 0.0)
    given = (environment(settings), doom, ahead, str(notes), str(log), patience, drained_within)
    process = _FORKING.Process(target=_work, args=given)
    process.start()
    return Doomed(process, notes, ahead)


class _Points:
    """Counts crossings, and ends the process at the one that it is told."""

    def __init__(self, notes: str, doom: Doom | None) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND)
        self._doom = doom
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def cross(self, point: str) -> None:
        with self._lock:
            self._counts[point] += 1
            os.write(self._notes, f"{point}\n".encode())
            if self._doom == Doom(point, self._counts[point]):
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    def around(self, owner: Any, name: str, before: str | None, after: str | None) -> None:  # Any: a class or module
        real: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def crossing(*given: Any, **named: Any) -> Any:
            if before:
                self.cross(before)
            value = await real(*given, **named)
            if after:
                self.cross(after)
            return value

        setattr(owner, name, crossing)


def _work(
    environment: dict[str, str],
    doom: Doom | None,
    ahead: Synchronized[float],
    notes: str,
    log: str,
    patience: timedelta,
    drained_within: timedelta,
) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.clear()
    os.environ.update(environment)
    _hasten(patience, drained_within)
    SystemClock.now = lambda _: datetime.now(UTC) + timedelta(seconds=ahead.value)  # type: ignore[method-assign, assignment]
    _mark(_Points(notes, doom))
    settings = Settings.from_environment()
    configure_logging(settings)
    app.work(settings, supervised=False)


def _hasten(patience: timedelta, drained_within: timedelta) -> None:
    agenda.BEAT_EVERY, agenda.DEAD_AFTER = PATIENCE / 5, patience  # type: ignore[misc]
    agenda.DRAINED_WITHIN = drained_within  # type: ignore[misc]
    agenda.FORGET_EVERY = PATIENCE / 2  # type: ignore[misc]
    worker.ARRANGE_EVERY = worker.KEEP_EVERY = PATIENCE / 10
    legs.DEFECT_PAUSES = (PATIENCE,)  # type: ignore[misc]
    outcomes.RETRIES = (timedelta(seconds=0.2),) * len(outcomes.RETRIES)  # type: ignore[misc]
    copies._LOOK_AGAIN = timedelta(seconds=0.5)


def _mark(points: _Points) -> None:
    """Put points around whatever a worker does to the world, to the journal and to the agenda."""
    points.around(store, "claim", None, "claimed, not committed")
    points.around(Agenda, "_begin", "claimed", "begun")
    points.around(Checkpoint, "write", "checkpoint begins", "checkpoint written")
    points.around(Legs, "_write", "outcome begins", "outcome committed")
    points.around(Legs, "_respond", "answer begins", "answer committed")
    points.around(LargeValues, "kept", None, "large value kept, its row not written")
    points.around(store, "end_leg", None, "outcome written, not committed")
    _mark_effects(points)
    _mark_children(points)
    _mark_schedules(points)


def _mark_effects(points: _Points) -> None:
    real = Engine.step

    async def step(self: Engine, name: str, effect: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def crossing() -> Any:
            points.cross("effect begins")
            value = await effect()
            points.cross("effect ended")
            return value

        value = await real(self, name, crossing)
        points.cross("effect journaled")
        return value

    Engine.step = step  # type: ignore[method-assign]


def _mark_children(points: _Points) -> None:
    real = store.insert_runs

    async def insert(tx: Any, rows: Any) -> None:
        if rows:
            await real(tx, rows[: len(rows) // 2])
            points.cross("children half written")
        await real(tx, rows[len(rows) // 2 :])

    store.insert_runs = insert


def _mark_schedules(points: _Points) -> None:
    real = Appointments.keep

    async def keep(self: Appointments) -> int:
        if started := await real(self):
            points.cross("schedule kept")
        return started

    Appointments.keep = keep  # type: ignore[method-assign]
