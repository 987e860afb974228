"""The pool: connections that are kept and used again, one timer for all of them."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohappyeyeballs
from multidict import CIMultiDict

from landbridge.http1.connection import BrokenOff, Connection, Incoming
from landbridge.http1.requests import NO_LINES, Body, Host, Lines, head_of
from landbridge.turn import turn_of

CONNECT_SECONDS = 10
SILENT_SECONDS = 300
"""How long a provider may say nothing, and take nothing, in the midst of an exchange."""

KEPT_SECONDS = 60
_MOST_KEPT = 256
_LOOK_EVERY = 5.0
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

Resolve = Callable[[str, int], Awaitable[list[tuple[int, str]]]]
"""Returns the address family and address of each place that a name stands for."""


class Unreached(ConnectionError):
    """No connection could be made."""


class UnreachedInTime(Unreached, TimeoutError):
    """No connection could be made in `CONNECT_SECONDS`."""


class Client:
    """A pool of connections; one for each event loop."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.loop = asyncio.get_running_loop()
        self._tls = ssl.create_default_context()
        self._kept: dict[Host, deque[Connection]] = {}
        self._all: set[Connection] = set()
        self.turn = turn_of(self.loop)
        self._look = self.loop.call_later(_LOOK_EVERY, self._look_around)

    async def close(self) -> None:
        """Close every connection."""
        self._look.cancel()
        for connection in list(self._all):
            connection.abort(BrokenOff("The pool was closed."))
        await asyncio.sleep(0)  # in which the event loop closes them

    async def send(
        self,
        method: str,
        host: Host,
        target: str,
        headers: Mapping[str, str] | CIMultiDict[str],
        body: Body,
        more: Lines = NO_LINES,
    ) -> Incoming:
        """Send a request, and return its answer as soon as the answer's head is here. `more` are headers too.

        A kept connection may turn out to have been closed by the other side; what can be repeated is then sent again on
        a new one. What reading `body` raises comes through.
        """
        head, is_chunked = head_of(method, host, target, headers, body, more)
        connection = self._take(host)
        if connection is not None:
            try:
                return await connection.exchange(method, head, body, is_chunked=is_chunked)
            except BrokenOff:
                if not connection.was_stale or method not in _REPEATABLE or isinstance(body, AsyncIterator):
                    raise
        connection = await self._connect(host)
        return await connection.exchange(method, head, body, is_chunked=is_chunked)

    def _take(self, host: Host) -> Connection | None:
        kept = self._kept.get(host)
        while kept:
            connection = kept.pop()
            if connection.is_idle:
                return connection
        return None

    def take_back(self, connection: Connection) -> None:
        """Keep a connection for the next exchange, unless this one was not ended properly."""
        kept = self._kept.get(connection.host)
        if kept is None:
            kept = self._kept[connection.host] = deque()
        if connection.is_idle and len(kept) < _MOST_KEPT:
            connection.touch()
            kept.append(connection)
        else:
            connection.abort(BrokenOff("The answer was not read to its end."))

    def forget(self, connection: Connection) -> None:
        """Note that a connection is lost."""
        self._all.discard(connection)

    async def _connect(self, host: Host) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._connected(host)
        except TimeoutError as error:
            raise UnreachedInTime(f"No connection to {host.name} could be made in time.") from error
        except ssl.SSLError:
            raise
        except OSError as error:
            raise Unreached(f"No connection to {host.name} could be made.") from error
        self._all.add(connection)
        return connection

    async def _connected(self, host: Host) -> Connection:
        """Connect to one of the places that the resolver let through, and to nowhere else."""
        places = [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, host.port))
            for family, address in await self._resolve(host.name, host.port)
        ]
        connected = await aiohappyeyeballs.start_connection(
            places, happy_eyeballs_delay=0.25, interleave=1, loop=self.loop
        )
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_tls = host.scheme == "https"
        _, connection = await self.loop.create_connection(
            lambda: Connection(self, host),
            sock=connected,
            ssl=self._tls if is_tls else None,
            server_hostname=host.name if is_tls else None,
        )
        return connection

    def _look_around(self) -> None:
        """Close what was kept for long, and end what was silent for long: one timer serves all connections."""
        now = self.loop.time()
        for host, kept in list(self._kept.items()):
            while kept and not (kept[0].is_idle and kept[0].quiet_since > now - KEPT_SECONDS):
                kept.popleft().abort(BrokenOff("The connection was kept long enough."))
            if not kept:
                del self._kept[host]
        for connection in list(self._all):
            if connection.waits and connection.quiet_since < now - SILENT_SECONDS:
                connection.abort(TimeoutError(f"Nothing came for {SILENT_SECONDS} seconds."))
        self._look = self.loop.call_later(_LOOK_EVERY, self._look_around)
