"""Takes uploads of any size and forgets them: `python -m tests.bench.sink PORT`.

nginx has no such thing: it either writes a body to disk, or answers before it has come. Here a thread per connection
reads into one buffer, and answers 201 once the last byte is there. So little happens that a gigabyte costs a tenth of a
second of one core, which both sides pay.
"""

import re
import socket
import sys
import threading

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BODY = b'{"id":"1"}'
_ANSWER = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def serve(port: int) -> None:
    """Serve for ever."""
    with socket.create_server(("127.0.0.1", port), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_converse, args=(connection,), daemon=True).start()


def _converse(connection: socket.socket) -> None:
    buffer = bytearray(1 << 20)
    with connection:
        while request := _head(connection):
            head, begun = request
            length = _LENGTH.search(head)
            if length is None:
                connection.sendall(_ANSWER % (b"411 Length Required", 0, b""))
                return
            missing = int(length[1]) - begun
            while missing > 0 and (taken := connection.recv_into(buffer, min(missing, len(buffer)))):
                missing -= taken
            if missing:
                return
            connection.sendall(_ANSWER % (b"201 Created", len(_BODY), _BODY))


def _head(connection: socket.socket) -> tuple[bytes, int] | None:
    """Return a request's head, and how many bytes of its body came with it; None at the end of the connection."""
    come = b""
    while b"\r\n\r\n" not in come:
        more = connection.recv(64 << 10)
        if not more:
            return None
        come += more
    head, _, body = come.partition(b"\r\n\r\n")
    return head + b"\r\n", len(body)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
