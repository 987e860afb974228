"""What was read from the store, kept for a moment, and forgotten as soon as anybody changes it."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from landbridge.store.database import EVERYTHING, Database

Value = TypeVar("Value")

KEPT_SECONDS = 30
"""How long anything is kept, so that a process that hears no news is wrong for half a minute at most."""

_KEPT_IN_A_SCOPE = 32


class Cache(Generic[Value]):
    """Values by scope, the unit of forgetting (`project:…`, `user:…`, `connection:…`), and by key within it."""

    def __init__(self, database: Database, *, scopes: int) -> None:
        self._scopes: TTLCache[str, dict[Hashable, Value]] = TTLCache(maxsize=scopes, ttl=KEPT_SECONDS)
        self._forgotten = 0
        database.on_change(self.forget)

    def get(self, scope: str, key: Hashable = None) -> Value | None:
        """Return what is kept, or None."""
        kept = self._scopes.get(scope)
        return kept.get(key) if kept else None

    async def read(self, scope: str, load: Callable[[], Awaitable[Value]], key: Hashable = None) -> Value:
        """Return what is kept, else what `load` reads, and keep that.

        Not kept if anything was forgotten while `load` was reading: it may have read what was true before.
        """
        if (found := self.get(scope, key)) is not None:
            return found
        forgotten = self._forgotten
        value = await load()
        if forgotten == self._forgotten:
            self.put(scope, value, key)
        return value

    def put(self, scope: str, value: Value, key: Hashable = None) -> None:
        """Keep a value."""
        kept = self._scopes.get(scope)
        if kept is None or len(kept) >= _KEPT_IN_A_SCOPE:
            kept = self._scopes[scope] = {}
        kept[key] = value

    def forget(self, scope: str) -> None:
        """Drop all that is kept under a scope, or under any if the scope is `EVERYTHING`."""
        self._forgotten += 1
        if scope == EVERYTHING:
            self._scopes.clear()
        else:
            self._scopes.pop(scope, None)
