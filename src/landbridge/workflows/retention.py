"""What is kept of runs that are over: for a day what a replay from a step needs, for months what people read."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from landbridge.clock import Clock
from landbridge.errors import FilesFailed
from landbridge.kit import Workbench
from landbridge.store import runs as store
from landbridge.store.database import Database
from landbridge.store.runs import RunRow
from landbridge.workflows.large_values import LargeValues

log = structlog.get_logger(__name__)

FILES_KEPT: Final = timedelta(hours=24)
"""How long files and checkpoints stay once their run is over, so that it can be replayed from a step."""

_AT_ONCE = 200
_DELETED_AT_ONCE = 20  # each may have started ten thousand others


class Retention:
    """Clears what runs no longer need. Any number may do so side by side: clearing twice is clearing once."""

    def __init__(
        self,
        database: Database,
        workbench: Workbench,
        large_values: LargeValues,
        clock: Clock,
        history_kept: timedelta,
    ) -> None:
        self._database = database
        self._workbench = workbench
        self._large_values = large_values
        self._clock = clock
        self._history_kept = history_kept

    async def clear(self) -> None:
        """Delete the files of runs that are over for a day, and runs whose history is no longer kept."""
        now = self._clock.now()
        while rows := await self._uncleared(now - FILES_KEPT):
            await self._clear(rows)
            async with self._database.begin() as tx:
                await store.mark_cleared(tx, [row.id for row in rows])
        deleted = 0
        while found := await self._delete_some(now - self._history_kept):
            deleted += found
        if deleted:
            log.info("runs whose history is no longer kept are deleted", count=deleted)
        await self._large_values.reap()

    async def _uncleared(self, before: datetime) -> Sequence[RunRow]:
        async with self._database.read() as tx:
            return await store.uncleared(tx, before, most=_AT_ONCE)

    async def _clear(self, rows: Sequence[RunRow]) -> None:
        for row in rows:
            try:
                await self._workbench.clear(row.project_id, row.id)
                await self._large_values.tidy(row)
            except FilesFailed as error:  # the others go on; what is left goes another time
                log.warning("the files of a run could not be deleted", run=row.id, reason=error.message)

    async def _delete_some(self, before: datetime) -> int:
        async with self._database.begin() as tx:
            return await store.delete_finished(tx, before, most=_DELETED_AT_ONCE)
