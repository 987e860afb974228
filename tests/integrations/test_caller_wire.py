"""Our end of a caller's connection, on its own: what callers may send in which form, and what applications do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from uvicorn import Config

from landbridge.web import wire
from landbridge.web.wire import Callers, Wire

Application = Callable[[Any, Any, Any], Awaitable[None]]  # Any: ASGI's dicts and callables are open


class Server:
    """A server of the connection's kind, and what its application saw."""

    def __init__(self) -> None:
        self.state = Callers()
        self.asked: list[tuple[str, str, bytes]] = []
        self.gone = asyncio.Event()
        self.port = 0

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the whole request, and answer what it was."""
        body = await self.whole(receive)
        self.asked.append((scope["method"], scope["path"], body))
        await answer(send, b"%b %b" % (scope["path"].encode(), body))

    async def whole(self, receive: Any) -> bytes:
        """Return a request's body."""
        pieces: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                raise ConnectionError
            pieces.append(message["body"])
            if not message["more_body"]:
                return b"".join(pieces)

    @property
    def connections(self) -> list[Wire]:
        """The connections that are open."""
        return [connection for connection in self.state.connections if isinstance(connection, Wire)]

    @contextlib.asynccontextmanager
    async def serving(self, application: Application, **options: Any) -> AsyncIterator[None]:
        """Serve an application for a while."""
        config = Config(
            application, http=Wire, lifespan="off", ws="none", interface="asgi3", log_config=None, **options
        )
        config.load()
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(
            lambda: Wire(config=config, server_state=self.state, app_state={}, _loop=loop), "127.0.0.1", 0
        )
        self.port = listening.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            listening.close()
            for connection in list(self.state.connections):
                connection.shutdown()
            for task in list(self.state.tasks):
                task.cancel()
            await asyncio.gather(*self.state.tasks, return_exceptions=True)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a caller's connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def talk(self, *pieces: bytes) -> bytes:
        """Send pieces one by one, and return what came until the connection was closed by the server."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            come = await reader.read()
        writer.close()
        return come


async def answer(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def server() -> Server:
    return Server()


LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# Requests in every form


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_request_is_understood_however_it_is_cut(server: Server, size: int) -> None:
    request = (
        b"POST /%C3%A4?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    ) + LAST
    async with server.serving(server.echo):
        come = await server.talk(*(request[start : start + size] for start in range(0, len(request), size)))

    assert server.asked == [("POST", "/ä", b"hello"), ("PUT", "/b", b"abcde"), ("GET", "/last", b"")]
    assert come.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert come.endswith(b"connection: close\r\n\r\n/last ")


async def test_pipelined_requests_are_answered_one_after_the_other(server: Server) -> None:
    under_way = 0

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0.001 if scope["path"] == "/0" else 0)
        under_way -= 1
        await server.echo(scope, receive, send)

    async with server.serving(slowly):
        come = await server.talk(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20)) + LAST)

    assert [path for _, path, _ in server.asked] == [*(f"/{n}" for n in range(20)), "/last"]
    assert come.count(b"HTTP/1.1 200 OK\r\n") == 21


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(server: Server, request_: bytes) -> None:
    async with server.serving(server.echo):
        come = await server.talk(request_ + LAST)

    assert come.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert come.count(b"HTTP/1.1") == 1
    assert not server.asked


async def test_a_body_that_turns_out_malformed_is_refused_and_never_whole(server: Server) -> None:
    async with server.serving(server.echo):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        come = await server.talk(head, b"3\r\nabc\r\n", b"nonsense\r\n")
        await server.gone.wait()

    assert come.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert come.count(b"HTTP/1.1") == 1
    assert not server.asked


async def test_nonsense_behind_a_request_takes_the_place_of_no_answer(server: Server) -> None:
    release = asyncio.Event()

    async def waiting(_scope: Any, _receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, b"late")

    async with server.serving(waiting):
        come = await server.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0nonsense\r\n\r\n")
        release.set()

    assert come == b""


async def test_an_address_in_full_is_a_path_and_what_is_no_address_is_refused(server: Server) -> None:
    async with server.serving(server.echo):
        assert b"/a " in await server.talk(b"GET http://x/a?b#c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"/ " in await server.talk(b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        come = await server.talk(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert b"400 Bad Request" in come


async def test_an_upgrade_is_answered_in_http_and_ends_the_connection(server: Server) -> None:
    request = b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with server.serving(server.echo):
        come = await server.talk(request)

    assert come.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in come


CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 1], ids=["together", "apart"])
async def test_what_comes_behind_a_body_is_no_header(server: Server, cut: int) -> None:
    heads: list[list[tuple[bytes, bytes]]] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        await server.echo(scope, receive, send)
        heads.append(scope["headers"])

    body = b"5\r\nhello\r\n0\r\nIf-Match: smuggled\r\nExpect: 100-continue\r\n\r\n"
    async with server.serving(noting):
        come = await server.talk(*([CHUNKED, body] if cut else [CHUNKED + body]), LAST)

    assert come.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert [[name for name, _ in head] for head in heads] == [[b"host", b"transfer-encoding"], [b"host", b"connection"]]


@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"5\r\nhello\r\n0\r\n", b"A: b\r\n"),
        (b"5\r\nhello\r\n0\r\nA: ", b"b"),
        (b"5\r\nhello\r\n5;", b"a=b;"),
    ],
    ids=["trailers", "one trailer", "extension"],
)
async def test_what_is_neither_head_nor_body_has_an_end(
    server: Server, begun: bytes, more: bytes, is_answered: bool
) -> None:
    async def at_once(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", status=404)

    async with server.serving(at_once if is_answered else server.echo):
        _, writer = await server.open()
        writer.write(CHUNKED + begun)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 16 << 20:
                writer.write(more * 10_000)
                await writer.drain()
                sent += len(more) * 10_000
        writer.close()

    assert sent < 16 << 20, "it was taken"
    assert not server.asked


async def test_a_head_behind_a_large_body_is_as_long_as_it_is(server: Server) -> None:
    body = bytes(120_000)
    async with server.serving(server.echo):
        come = await server.talk(
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 120000\r\n\r\n",
            body + b"GET /last HTTP/1.1\r\nHost: x\r\nConn",
            b"ection: close\r\n\r\n",
        )

    assert come.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert [path for _, path, _ in server.asked] == ["/a", "/last"]


# Answers


async def test_a_head_leaves_with_its_body_and_alone_if_the_application_says_so(server: Server) -> None:
    release = asyncio.Event()

    async def late(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await release.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    async with server.serving(late):
        reader, writer = await server.open()
        writer.write(LAST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        release.set()
        assert await reader.read() == b"ok"
        writer.close()


@pytest.mark.parametrize("size", [0, 1, (64 << 10) - 1, 64 << 10, 1 << 20])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
async def test_a_body_of_any_size_arrives(server: Server, size: int, is_chunked: bool) -> None:
    async def sized(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [] if is_chunked else [(b"content-length", b"%d" % (2 * size))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        await send({"type": "http.response.body", "body": b"y" * size})

    async with server.serving(sized):
        head, _, body = (await server.talk(LAST)).partition(b"\r\n\r\n")

    chunk = b"%x\r\n" % size
    parts = (chunk, b"x" * size, b"\r\n", chunk, b"y" * size, b"\r\n") if size else ()
    assert body == (b"".join((*parts, b"0\r\n\r\n")) if is_chunked else b"x" * size + b"y" * size)
    assert (b"transfer-encoding: chunked" in head) == is_chunked


@pytest.mark.parametrize(("request_line", "expected"), [(b"HEAD / HTTP/1.1", 1), (b"GET / HTTP/1.0", 2)])
async def test_head_has_no_body_and_http_1_0_ends_with_its_answer(
    server: Server, request_line: bytes, expected: int
) -> None:
    async with server.serving(server.echo):
        come = await server.talk(request_line + b"\r\nHost: x\r\n\r\n" + LAST)

    assert come.count(b"HTTP/1.1 200 OK") == 3 - expected
    assert come.split(b"\r\n\r\n")[1].startswith(b"HTTP/1.1" if expected == 1 else b"/ ")


async def test_an_answer_of_unknown_length_goes_to_http_1_0_as_it_is_and_ends_with_the_connection(
    server: Server,
) -> None:
    async def unknown(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        await send({"type": "http.response.body", "body": b"lo"})

    async with server.serving(unknown):
        head, _, body = (await server.talk(b"GET / HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head
    assert body == b"hello"


@pytest.mark.parametrize("reads", [True, False])
async def test_a_caller_who_asks_is_told_to_go_on_only_if_somebody_reads(server: Server, reads: bool) -> None:
    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", (b"connection", b"close"), status=413)

    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n"
    async with server.serving(server.echo if reads else refusing):
        reader, writer = await server.open()
        writer.write(head)
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ok" if reads else b"")
        rest = await reader.read()
        writer.close()

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n" if reads else first.startswith(b"HTTP/1.1 413 ")
    assert rest.endswith(b"/ ok" if reads else b"no")


async def raises(_scope: Any, _receive: Any, _send: Any) -> None:
    raise ValueError("a defect")


async def returns(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hal", "more_body": True})


async def says_too_little(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, b"hal", (b"content-length", b"5"))


async def says_too_much(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, b"hello", (b"content-length", b"3"))


async def says_it_twice(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.start", "status": 200})


async def splits_a_header(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, b"", (b"x-a", b"b\r\nx-c: d"))


async def begins_with_the_body(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize(
    "application",
    [raises, returns, says_too_little, says_too_much, says_it_twice, splits_a_header, begins_with_the_body],
)
async def test_what_an_application_does_wrong_is_never_taken_for_an_answer(
    server: Server, application: Application
) -> None:
    async with server.serving(application):
        head, _, body = (await server.talk(LAST.replace(b"Connection", b"X"))).partition(b"\r\n\r\n")

    assert b"x-c" not in head
    assert len(body) < 5
    assert not head or b"content-length: 5" in head


# Who is faster than the other, and who hangs up


async def test_a_caller_who_hangs_up_is_noticed_by_who_listens(server: Server) -> None:
    async def listening(scope: Any, receive: Any, send: Any) -> None:
        await server.whole(receive)
        await server.whole(receive)

    async with server.serving(listening):
        _, writer = await server.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.close()
        async with asyncio.timeout(20):
            await server.gone.wait()


async def test_a_sender_is_slowed_down_by_who_does_not_read(server: Server) -> None:
    release = asyncio.Event()

    async def late(_scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, b"%d" % len(await server.whole(receive)), (b"connection", b"close"))

    size = 16 << 20
    async with server.serving(late):
        reader, writer = await server.open()
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        async with asyncio.timeout(20):
            while not any(connection.flow.read_paused for connection in server.connections):
                await asyncio.sleep(0)
        assert writer.transport.get_write_buffer_size() > 0, "all of it was taken, though nobody reads"
        release.set()
        assert (await reader.read()).endswith(b"%d" % size)
        writer.close()


async def test_an_application_is_slowed_down_by_who_does_not_read(server: Server) -> None:
    sent = 0

    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(256):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            sent += 1

    async with server.serving(endless):
        _, writer = await server.open()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it
        writer.write(LAST)
        async with asyncio.timeout(20):
            while not any(connection.flow.write_paused for connection in server.connections):
                await asyncio.sleep(0)
        assert sent < 256
        writer.transport.abort()


# When it ends


async def test_an_idle_connection_is_closed_after_its_time(server: Server) -> None:
    async with server.serving(server.echo, timeout_keep_alive=1):
        come = await server.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert come.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_long_answer_is_not_ended_by_the_timer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        await server.echo(scope, receive, send)

    monkeypatch.setattr(wire, "HEAD_WITHIN_SECONDS", 0.1)
    async with server.serving(slow):
        assert (await server.talk(LAST)).startswith(b"HTTP/1.1 200 OK\r\n")


HALF = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal"


async def test_a_body_that_does_not_come_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SILENT_SECONDS", 0.1)
    async with server.serving(server.echo):
        come = await server.talk(HALF)

    assert come.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert server.gone.is_set()


async def test_only_the_time_counts_in_which_somebody_waits_for_the_body(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"hal"
        await asyncio.sleep(0.3)
        rested.set()
        await server.echo(scope, receive, send)

    monkeypatch.setattr(wire, "SILENT_SECONDS", 0.2)
    async with server.serving(slow):
        reader, writer = await server.open()
        writer.write(HALF[:-3])
        while not server.state.tasks:
            await asyncio.sleep(0)
        writer.write(HALF[-3:])
        await rested.wait()
        writer.write(b"lo")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_an_answer_that_gets_on_is_not_ended_for_want_of_a_body(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_its_own_time(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"hal"
        listening = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        for n in range(6):
            await asyncio.sleep(0.5)
            await send({"type": "http.response.body", "body": b"x", "more_body": n < 5})
        await listening

    monkeypatch.setattr(wire, "SILENT_SECONDS", 2)
    async with server.serving(in_its_own_time, timeout_keep_alive=1):
        come = await server.talk(HALF)

    assert come.endswith(b"\r\n\r\nxxxxxx")


async def test_a_body_that_nobody_wants_any_more_keeps_no_connection(server: Server) -> None:
    async def at_once(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, b"no", status=404)

    async def dribble(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.1)

    async with server.serving(at_once, timeout_keep_alive=1):
        reader, writer = await server.open()
        writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        dribbling = asyncio.create_task(dribble(writer))
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert (await reader.read()).startswith(b"HTTP/1.1 404 Not Found\r\n")
        dribbling.cancel()
        writer.close()


async def in_many_pieces(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    for left in reversed(range(64)):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": left > 0})


async def in_one_piece(_scope: Any, _receive: Any, send: Any) -> None:
    await answer(send, bytes(16 << 20))


@pytest.mark.parametrize("application", [in_many_pieces, in_one_piece])
async def test_an_answer_that_nobody_takes_is_not_held_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    monkeypatch.setattr(wire, "SILENT_SECONDS", 0.2)
    async with server.serving(application):
        _, writer = await server.open()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it
        writer.write(LAST)
        async with asyncio.timeout(20):
            while not server.state.tasks and not server.state.total_requests:
                await asyncio.sleep(0)
            while server.connections or server.state.tasks:
                await asyncio.sleep(0)
        writer.transport.abort()


async def test_an_answer_that_is_taken_slowly_arrives(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_slowly(calling: socket.socket) -> int:
        loop, read = asyncio.get_running_loop(), 0
        while piece := await loop.sock_recv(calling, 256 << 10):
            read += len(piece)
            await asyncio.sleep(0.02)
        return read

    monkeypatch.setattr(wire, "SILENT_SECONDS", 1)
    async with server.serving(in_one_piece):
        with socket.socket() as calling:
            calling.setblocking(False)
            calling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
            await asyncio.get_running_loop().sock_connect(calling, ("127.0.0.1", server.port))
            while not server.connections:
                await asyncio.sleep(0)
            answering = server.connections[0].transport.get_extra_info("socket")
            answering.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)  # so that it gets on in small steps
            await asyncio.get_running_loop().sock_sendall(calling, LAST)
            assert await read_slowly(calling) > 16 << 20


async def test_who_ends_the_server_waits_for_answers_and_not_for_the_idle(server: Server) -> None:
    release = asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await server.echo(scope, receive, send)

    async with server.serving(waiting):
        idle, idle_writer = await server.open()
        reader, writer = await server.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.state.tasks or len(server.state.connections) < 2:
            await asyncio.sleep(0)
        for connection in list(server.state.connections):
            connection.shutdown()
        assert await idle.read() == b""
        release.set()
        assert b"connection: close\r\n" in await reader.read()
        writer.close()
        idle_writer.close()


async def test_more_than_there_is_room_for_are_told_so(server: Server) -> None:
    async with server.serving(server.echo, limit_concurrency=2):
        _, first = await server.open()
        first.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        come = await server.talk(LAST)
        first.close()

    assert come.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"connection: close\r\n" in come


async def test_those_who_come_on_top_are_not_kept_and_the_log_says_why_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(wire.log, "warning", lambda text, *given: said.append(text % given))
    async with server.serving(server.echo, limit_concurrency=2):
        writers = [(await server.open())[1] for _ in range(2)]
        while len(server.connections) < 2:
            await asyncio.sleep(0)
        come = [await server.talk() for _ in range(3)]
        for writer in writers:
            writer.close()

    assert [answer.split(b"\r\n")[0] for answer in come] == [b"HTTP/1.1 503 Service Unavailable"] * 3
    assert said == ["There is no room for more than 2 callers."]
