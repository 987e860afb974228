"""Ports for servers that must be told one before they start."""

import random
import socket
from contextlib import suppress

_LOWEST, _HIGHEST = 10_000, 32_767
_RANDOM = random.SystemRandom()  # the tests' own generator begins anew, with the same numbers in every process


def free_port() -> int:
    """Return a port of loopback that nobody uses now.

    It is below those that systems give to who asks for any port (from 32768 on Linux), so that none of the many servers
    beside this one is given it before the one that it is for has started.
    """
    while True:
        port = _RANDOM.randint(_LOWEST, _HIGHEST)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
