"""The HTTP client against servers that say what they should not, or say it late, in pieces, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from landbridge import http1
from landbridge.http1 import BrokenOff, Client, Host, Incoming, Malformed, Unreached, Unsendable
from landbridge.http1 import client as client_module

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Server:
    """A server that holds each connection's conversation as it is told, and counts them."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.host = Host("http", "localhost", 0)

    def answering(self, *answers: bytes, close: bool = False) -> Talk:
        """Read a request and give the next answer, for each of `answers`; then close, or wait for the end."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await self.request(reader)
                writer.write(answer)
                await writer.drain()
            if not close:
                await reader.read()

        return talk

    async def request(self, reader: asyncio.StreamReader) -> None:
        """Read one request, its body too if its length is told."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        self.bodies.append(await reader.readexactly(int(fields.get(b"content-length", b"0"))))


@contextlib.asynccontextmanager
async def serving(server: Server, *talks: Talk) -> AsyncIterator[Client]:
    """Serve the first connection by the first talk and so on, the last one for all that follow."""

    met: list[asyncio.Task[None] | None] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(asyncio.current_task())
        talk = talks[min(server.connections, len(talks) - 1)]
        server.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def resolve(_name: str, _port: int) -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.1")]

    listening = await asyncio.start_server(meet, "127.0.0.1", 0)
    server.host = Host("http", "localhost", listening.sockets[0].getsockname()[1])
    client = Client(resolve)
    try:
        yield client
    finally:
        await client.close()
        listening.close()
        await asyncio.gather(*filter(None, met))


@pytest.fixture
def server() -> Server:
    return Server()


async def ask(client: Client, server: Server, method: str = "GET", body: http1.Body = None, **headers: str) -> Incoming:
    return await client.send(method, server.host, "/x", headers, body)


async def read(answer: Incoming) -> bytes:
    pieces = []
    while chunk := await answer.next_chunk():
        pieces.append(chunk)
    answer.close()
    return b"".join(pieces)


SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_connection_whose_answer_was_read_is_used_again(server: Server) -> None:
    async with serving(server, server.answering(SHORT, SHORT, SHORT)) as client:
        for _ in range(3):
            assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 1


async def test_a_connection_whose_answer_is_still_coming_is_not_used_again(server: Server) -> None:
    partial = SHORT.removesuffix(b"lo")
    async with serving(server, server.answering(partial), server.answering(SHORT)) as client:
        (await ask(client, server)).close()
        assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + SHORT, b"hello"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SHORT, b"hello"),
    ],
    ids=["chunked", "no content", "not modified", "empty", "continue", "early hints"],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_an_answer_is_read_whatever_its_form_and_however_it_is_cut(
    server: Server, answer: bytes, body: bytes, piece: int
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await server.request(reader)
            for start in range(0, len(answer), piece):
                writer.write(answer[start : start + piece])
                await writer.drain()
                await asyncio.sleep(0)

    async with serving(server, talk) as client:
        for _ in range(2):
            assert await read(await ask(client, server)) == body

    assert server.connections == 1


async def test_a_body_without_a_length_ends_with_its_connection(server: Server) -> None:
    async with serving(server, server.answering(b"HTTP/1.1 200 OK\r\n\r\nhello", close=True)) as client:
        assert await read(await ask(client, server)) == b"hello"
        assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 2


async def test_the_answer_to_head_has_no_body_whatever_length_it_tells(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with serving(server, server.answering(head, SHORT)) as client:
        answer = await ask(client, server, "HEAD")
        assert (answer.headers["content-length"], await read(answer)) == ("5", b"")
        assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 1


async def test_a_connection_is_not_kept_that_the_server_means_to_close(server: Server) -> None:
    closing = SHORT.replace(b"Content", b"Connection: close\r\nContent")
    async with serving(server, server.answering(closing)) as client:
        for _ in range(2):
            await read(await ask(client, server))

    assert server.connections == 2


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_an_answer_that_breaks_off_is_not_taken_for_the_whole(server: Server, piece: bytes) -> None:
    async with serving(server, server.answering(piece, close=True)) as client:
        with pytest.raises(BrokenOff):
            await read(await ask(client, server))


async def test_chunks_that_break_off_are_not_taken_for_the_whole(server: Server) -> None:
    partial = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with serving(server, server.answering(partial, close=True)) as client:
        with pytest.raises(BrokenOff):
            await read(await ask(client, server))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * (70 << 10),
    ],
    ids=["no http", "two framings", "two lengths", "upgrade", "endless head"],
)
async def test_what_is_not_http_is_refused(server: Server, answer: bytes) -> None:
    async with serving(server, server.answering(answer)) as client:
        with pytest.raises(Malformed):
            await ask(client, server)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 1], ids=["together", "apart"])
async def test_what_comes_behind_a_body_is_no_header(server: Server, cut: int) -> None:
    behind = b"0\r\nETag: smuggled\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(CHUNKED + (b"" if cut else b"1\r\nx\r\n" + behind))
        if cut:
            await head_read.wait()
            writer.write(b"1\r\nx\r\n" + behind)
        await server.answering(SHORT)(reader, writer)

    head_read = asyncio.Event()
    async with serving(server, talk) as client:
        answer = await ask(client, server)
        head_read.set()
        assert await read(answer) == b"x"
        assert answer.fields == [(b"transfer-encoding", b"chunked")]
        assert [name for name, _ in (await ask(client, server)).fields] == [b"content-length"]

    assert server.connections == 1


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n"),
        (CHUNKED + b"1\r\nx\r\n0\r\nA: ", b"b"),
        (CHUNKED + b"1\r\nx\r\n1;", b"a=b;"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["trailers", "one trailer", "extension", "preliminary answers"],
)
async def test_what_is_neither_head_nor_body_has_an_end(server: Server, begun: bytes, more: bytes) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(begun)
        for _ in range(100):
            writer.write(more * 10_000)
            await writer.drain()
        await reader.read()

    async with serving(server, endless) as client:
        with pytest.raises(Malformed):
            await read(await ask(client, server))


@pytest.mark.parametrize("more", [SHORT, b"x"])
async def test_an_answer_that_nobody_asked_for_never_answers_the_next_request(server: Server, more: bytes) -> None:
    async with serving(server, server.answering(SHORT + more), server.answering(SHORT)) as client:
        with contextlib.suppress(Malformed, BrokenOff):
            await read(await ask(client, server))
        assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 2


async def test_what_can_be_repeated_is_repeated_when_a_kept_connection_was_closed(server: Server) -> None:
    async def leave_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(SHORT)
        await server.request(reader)

    async with serving(server, leave_at_the_second, server.answering(SHORT)) as client:
        await read(await ask(client, server))
        assert await read(await ask(client, server)) == b"hello"

    assert server.connections == 2


async def test_what_cannot_be_repeated_is_not(server: Server) -> None:
    async def leave_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(SHORT)
        await server.request(reader)

    async with serving(server, leave_at_the_second, server.answering(SHORT)) as client:
        await read(await ask(client, server))
        with pytest.raises(BrokenOff):
            await ask(client, server, "POST", b"once")

    assert server.connections == 1


async def test_a_request_is_written_with_its_length_and_its_host(server: Server) -> None:
    async with serving(server, server.answering(SHORT, SHORT, SHORT)) as client:
        await read(await ask(client, server, "PUT", b"abc", **{"X-A": "\xe4"}))
        await read(await ask(client, server, "POST"))
        await read(await ask(client, server, "DELETE"))

    put, post, delete = server.heads
    assert put == (
        b"PUT /x HTTP/1.1\r\nHost: localhost:%d\r\nX-A: \xe4\r\nContent-Length: 3\r\n\r\n" % server.host.port
    )
    assert server.bodies[0] == b"abc"
    assert b"Content-Length: 0\r\n" in post
    assert b"ontent-" not in delete


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/x y", {}),
        ("GET", "/x\r\nX: y", {}),
        ("GET", "/\N{SNOWMAN}", {}),
        ("GET /", "/", {}),
        ("GET", "/", {"X-A": "a\r\nX-B: b"}),
        ("GET", "/", {"X-A": "a\nX-B: b"}),
        ("GET", "/", {"X-A": "a\rb"}),
        ("GET", "/", {"X-A": "a\0b"}),
        ("GET", "/", {"X-A\r\nX-B": "a"}),
        ("GET", "/", {"X-A": "\N{SNOWMAN}"}),
    ],
)
async def test_nothing_is_sent_that_would_mean_another_request(
    server: Server, method: str, target: str, headers: dict[str, str]
) -> None:
    async with serving(server, server.answering(SHORT)) as client:
        with pytest.raises(Unsendable):
            await client.send(method, server.host, target, headers, None)

    assert server.connections == 0


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def test_a_body_of_unknown_length_goes_in_chunks(server: Server) -> None:
    received = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        while (size := int(await reader.readline(), 16)) > 0:
            received.extend(await reader.readexactly(size))
            await reader.readexactly(2)
        writer.write(SHORT)

    async with serving(server, talk) as client:
        assert await read(await ask(client, server, "PUT", pieces(3, 1000))) == b"hello"

    assert received == b"x" * 3000
    assert b"Transfer-Encoding: chunked\r\n" in server.heads[0]


async def test_a_body_of_known_length_goes_as_it_is(server: Server) -> None:
    async with serving(server, server.answering(SHORT)) as client:
        assert await read(await ask(client, server, "PUT", pieces(3, 1000), **{"Content-Length": "3000"})) == b"hello"

    assert server.bodies == [b"x" * 3000]


async def test_what_reading_the_body_raises_comes_through_and_ends_the_request(server: Server) -> None:
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(5000)
        ended.set()

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise LookupError("the caller is gone")

    async with serving(server, talk) as client:
        with pytest.raises(LookupError, match="the caller is gone"):
            await ask(client, server, "PUT", failing(), **{"Content-Length": "5000"})
        await ended.wait()


async def test_an_answer_before_the_end_of_the_body_is_taken_and_the_rest_not_sent(server: Server) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            stopped.set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)
        await reader.read(1 << 20)
        await stopped.wait()

    async with serving(server, talk) as client:
        answer = await ask(client, server, "PUT", endless())
        assert (answer.status, await read(answer)) == (413, b"no")
        await stopped.wait()


@pytest.mark.parametrize("form", [b"Content-Length: %d" % (16 << 20), b"X-Nothing: told"], ids=["told", "untold"])
async def test_who_reads_slowly_slows_the_sender_down(server: Server, form: bytes) -> None:
    sent = 0
    full = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await server.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + form + b"\r\n\r\n")
        for _ in range(256):
            writer.write(bytes(64 << 10))
            try:
                async with asyncio.timeout(0.3):
                    await writer.drain()
            except TimeoutError:
                full.set()
                await writer.drain()
            sent += 64 << 10

    async with serving(server, talk) as client:
        answer = await ask(client, server)
        await full.wait()
        assert sent < 12 << 20
        assert len(await read(answer)) == 16 << 20


async def test_silence_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "_LOOK_EVERY", 0.05)
    async with serving(server, server.answering(b"")) as client:
        with pytest.raises(TimeoutError):
            await ask(client, server)


async def test_silence_in_the_midst_of_a_body_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "_LOOK_EVERY", 0.05)
    async with serving(server, server.answering(SHORT.removesuffix(b"lo"))) as client:
        answer = await ask(client, server)
        with pytest.raises(TimeoutError):
            await read(answer)


async def test_a_connection_is_not_kept_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "KEPT_SECONDS", 0.05)
    monkeypatch.setattr(client_module, "_LOOK_EVERY", 0.02)
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(SHORT)
        await reader.read()
        left.set()

    async with serving(server, talk) as client:
        await read(await ask(client, server))
        await left.wait()


async def test_a_request_that_is_given_up_closes_its_connection(server: Server) -> None:
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await server.request(reader)
            await reader.read()
        left.set()

    async with serving(server, talk) as client:
        asked = asyncio.create_task(ask(client, server))
        while not server.heads:
            await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await left.wait()


async def test_where_nobody_listens_nobody_is_reached(server: Server) -> None:
    async with serving(server, server.answering(SHORT)) as client:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            nobody = Host("http", "localhost", taken.getsockname()[1])
            with pytest.raises(Unreached, match="localhost"):
                await client.send("GET", nobody, "/", {}, None)


async def test_a_server_that_does_not_speak_tls_is_not_spoken_to(server: Server) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SHORT)

    async with serving(server, talk) as client:
        with pytest.raises(ssl.SSLError):
            await client.send("GET", server.host._replace(scheme="https"), "/", {}, None)
