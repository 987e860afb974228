"""What is done at the end of a turn of the event loop, one after the other.

A write wakes the other side, which costs more than the write where that sleeps. Of writes that follow each other
closely all but the first find it awake.
"""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary


class Turn:
    """Collects what is to be done; there is one for each event loop."""

    __slots__ = ("_collected", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._collected: list[Callable[[], None]] = []

    def at_end(self, do: Callable[[], None]) -> None:
        """Do something once all that is ready now has had its turn. It must not raise."""
        if not self._collected:
            self._loop.call_soon(self._do_all)
        self._collected.append(do)

    def _do_all(self) -> None:
        collected, self._collected = self._collected, []
        for do in collected:
            do()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    """Return the one of an event loop."""
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn(loop)
    return turn
