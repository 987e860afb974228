"""All contents of an installation."""

from collections.abc import Iterable, MutableMapping
from datetime import datetime
from typing import Self

import obstore
from cachetools import LRUCache
from obstore.store import ObjectStore

from landbridge.files.run import HISTORY, RunFiles, folder_of
from landbridge.files.stores import delete, store_at, translated
from landbridge.settings import Settings
from landbridge.vault import Vault

_FOLDERS_REMEMBERED = 1000


class Files:
    """Keeps contents at the place that the settings name."""

    def __init__(self, store: ObjectStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._settled: MutableMapping[str, bool] = LRUCache(_FOLDERS_REMEMBERED)

    @classmethod
    def from_settings(cls, settings: Settings, vault: Vault) -> Self:
        """Return the files at `LANDBRIDGE_FILES_URL`; a folder is made if need be. Raises `Misconfigured`."""
        return cls(store_at(settings.effective_files_url), vault)

    def of(self, project_id: str, run_id: str) -> "RunFiles":
        """Return the files of one run. A call that is no run is one of its own, with an id of its own."""
        return RunFiles(self._store, self._vault, project_id, run_id, self._settled)

    def of_history(self, project_id: str, run_id: str) -> "RunFiles":
        """Return what is kept of a run for people to read. It lies apart, and no sweep takes it."""
        return RunFiles(self._store, self._vault, project_id, run_id, self._settled, kind="history")

    async def runs_with_history(self) -> set[tuple[str, str]]:
        """Return the runs, each with its project, of which anything is kept for people to read."""
        with translated():
            pages = [page async for page in obstore.list(self._store, prefix=HISTORY)]
        places = (str(found["path"]).split("/") for page in pages for found in page)
        return {(place[1], place[2]) for place in places}

    async def sweep(self, before: datetime, kept: Iterable[tuple[str, str]] = ()) -> int:
        """Delete what was written before that instant, and count it.

        Not what is kept for people to read, nor what some runs need still, each named with its project.
        """
        swept, needed = 0, {folder_of(project_id, run_id) for project_id, run_id in kept}
        with translated():
            async for page in obstore.list(self._store):
                passing = (found for found in page if not found["path"].startswith(f"{HISTORY}/"))
                old = [found["path"] for found in passing if found["last_modified"] < before]
                old = [path for path in old if path.rpartition("/")[0] not in needed]
                if old:
                    await delete(self._store, old)
                swept += len(old)
        return swept
