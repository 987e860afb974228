"""What is too long for the rows of the history: kept whole in files, for as long as their run is.

A file is written before the row that refers to it. Whoever dies in between leaves a file that nobody refers to: it goes
a day after its run is over, or with its run.
"""

import json
from dataclasses import replace

import structlog

from landbridge.errors import FilesFailed, FileUnknown, NotFound
from landbridge.files import File, Files
from landbridge.store import history as store
from landbridge.store import runs as runs_store
from landbridge.store.database import Database
from landbridge.store.history import StepRow
from landbridge.store.runs import RunRow
from landbridge.workflows.history import LARGEST_KEPT, Part, Told, is_cut
from landbridge.workflows.runs import root_id

log = structlog.get_logger(__name__)


class LargeValues:
    """Keeps them, finds them again, and deletes those that nobody can find any more."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    async def kept(self, row: RunRow, told: Told) -> StepRow:
        """Return what became of a step, its large values kept; if they cannot be, only how they begin is."""
        files = self._files.of_history(row.project_id, root_id(row.id))
        ids: dict[Part, str] = {}
        for part, text in told.large.items():
            try:
                ids[part] = (await files.save(part, "application/json", text.encode())).id
            except FilesFailed as error:
                log.warning("a large value is not kept", run=row.id, step=told.row.step, reason=error.message)
        return replace(told.row, whole_input=ids.get("input"), whole_output=ids.get("output"))

    async def whole(self, row: RunRow, step: str, part: Part) -> bytes:
        """Return all of what a step was given, or gave, as JSON. Raises `NotFound`, `FilesFailed`."""
        async with self._database.read() as tx:
            found = await store.step_of(tx, row.id, step)
        if found is None:
            raise NotFound("This run has no such step.")
        value, id_ = (found.input, found.whole_input) if part == "input" else (found.output, found.whole_output)
        if not is_cut(value):
            return json.dumps(value, ensure_ascii=False).encode()
        if id_ is None:
            raise NotFound(f"Of this {part} only the beginning is kept: at most {LARGEST_KEPT:,} characters are whole.")
        file = File(id=id_, name=part, mime_type="application/json", size=0, sha256="")
        try:
            contents = self._files.of_history(row.project_id, root_id(row.id)).open(file)
            return b"".join([chunk async for chunk in contents.chunks()])
        except FileUnknown:
            raise NotFound(f"All but the beginning of this {part} is gone.") from None

    async def tidy(self, row: RunRow) -> None:
        """Delete the files of a run that is over that no row refers to. Raises `FilesFailed`."""
        async with self._database.read() as tx:
            ids = await store.large_values(tx, row.id)
        await self._files.of_history(row.project_id, row.id).clear(but=ids)

    async def reap(self) -> None:
        """Delete the files of runs that there are no more. Raises `FilesFailed`."""
        kept = await self._files.runs_with_history()
        async with self._database.read() as tx:
            existing = await runs_store.existing(tx, [run_id for _, run_id in kept])
        for project_id, run_id in kept:
            if run_id not in existing:
                await self._files.of_history(project_id, run_id).clear()
