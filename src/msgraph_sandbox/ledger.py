"""The ledger: a line for every request that the sandbox received, for tests to assert on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from msgraph_sandbox.http import Json

CAPACITY = 50_000


@dataclass(slots=True)
class Entry:
    """One request, and what it got. Secrets and tokens are never written down."""

    number: int
    at: str
    service: str
    operation: str
    method: str
    target: str
    user_agent: str
    authorized: bool
    request_id: str
    client_request_id: str
    user: str | None = None
    client_id: str | None = None
    grant_type: str | None = None
    status: int = 0
    error: str | None = None
    fault: str | None = None
    milliseconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    def json(self) -> Json:
        """Return the entry as the control API shows it."""
        return asdict(self)


class Ledger:
    """The last `CAPACITY` entries in order of arrival, and a count of all."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)
        self.count = 0

    def next_number(self) -> int:
        """Return the number of the next entry, counting from 1."""
        self.count += 1
        return self.count

    def write(self, entry: Entry) -> None:
        """Add `entry`."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget every entry. Numbers go on, so that none is ever used twice."""
        self._entries.clear()

    def find(self, wanted: dict[str, str], after: int = 0) -> Iterator[Entry]:
        """Yield the entries numbered above `after` whose fields equal those `wanted` (compared as text)."""
        for entry in list(self._entries):  # another thread may write meanwhile
            if entry.number > after and all(str(getattr(entry, name)) == value for name, value in wanted.items()):
                yield entry
