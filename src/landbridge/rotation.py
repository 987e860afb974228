"""Rotation of keys: a new key wraps every sealed value, while everybody goes on working.

The new key is in the ring before any value needs it, so that a process with the old ring in memory finds it as soon as
it meets such a value. Each value is written only over the very bytes that were read: a refresh in the meantime wins.
Killed at any point, a rotation leaves values of both keys, all of which open, and the next one goes on with the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from landbridge.errors import Misconfigured, VaultFailed
from landbridge.store import sealed
from landbridge.store.database import EVERYTHING, Database
from landbridge.store.sealed import SEALED, SealedColumn, SealedRow
from landbridge.vault import Vault

log = structlog.get_logger(__name__)

RING = "ring"
"""The scope to touch when the key ring has changed."""

_MOST_WALKS = 5
_AT_ONCE = 100

Progress = Callable[[int, int], None]
"""Told how many values of how many were looked at."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did. Not `is_complete` means that some process still seals with an old key: restart it, repeat.

    `unreadable` names the values that do not open, altered or sealed by a key that the ring lacks; they stay as they
    are.
    """

    key_id: str
    rewrapped: int
    is_complete: bool
    unreadable: tuple[str, ...]


@dataclass(slots=True)
class _Walk:
    """One pass over what another key than the primary one wraps. `outpaced` are values that changed meanwhile."""

    rewrapped: int = 0
    outpaced: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.rewrapped + self.outpaced + len(self.unreadable)


async def rotate(
    database: Database, vault: Vault, *, new_key: bool = True, progress: Progress = lambda _seen, _all: None
) -> Rotated:
    """Wrap every sealed value by a new key, or without `new_key` by the one that is first in the ring.

    Walks again until there is nothing left to do, since other processes seal with the old key until they hear of the
    new one. Raises `Misconfigured` if the ring is not ours to change.
    """
    if new_key:
        vault.add_key()
    async with database.begin() as tx:
        tx.touch(RING)
    rewrapped = 0
    for _ in range(_MOST_WALKS):
        walk = await _walk(database, vault, progress)
        rewrapped += walk.rewrapped
        if is_complete := walk.rewrapped + walk.outpaced == 0:
            break
    return Rotated(vault.ring.primary, rewrapped, is_complete, tuple(walk.unreadable))


def follow(database: Database, vault: Vault) -> None:
    """Have this process seal with the new key soon after another process rotated, not just when it meets the key."""

    def reload(scope: str) -> None:
        if scope in {RING, EVERYTHING}:
            try:
                vault.reload()
            except Misconfigured as error:
                log.warning("key ring cannot be read again; the one in memory stays", error=str(error))

    database.on_change(reload)


async def _walk(database: Database, vault: Vault, progress: Progress) -> _Walk:
    walk = _Walk()
    async with database.read() as tx:
        to_do = sum([await sealed.count(tx, column, without=vault.mark) for column in SEALED])
    for column in SEALED:
        after = ""
        while rows := await _next(database, vault, column, after):
            await _rewrap(database, vault, column, rows, walk)
            after = rows[-1].id
            progress(walk.seen, max(to_do, walk.seen))
    return walk


async def _next(database: Database, vault: Vault, column: SealedColumn, after: str) -> list[SealedRow]:
    async with database.read() as tx:
        return await sealed.page(tx, column, without=vault.mark, after=after, limit=_AT_ONCE)


async def _rewrap(database: Database, vault: Vault, column: SealedColumn, rows: list[SealedRow], walk: _Walk) -> None:
    """Wrap a page of values anew; the work is done before the transaction, which stays short."""
    anew: list[tuple[SealedRow, bytes]] = []
    for row in rows:
        try:
            anew.append((row, vault.rewrap(row.sealed, row.identity) or row.sealed))
        except VaultFailed:
            walk.unreadable.append(row.identity)
    async with database.begin() as tx:
        for row, value in anew:
            if await sealed.replace(tx, column, row, value):
                walk.rewrapped += 1
            else:
                walk.outpaced += 1
