"""HTTP/1.1 spoken to the world: connections that are kept, one exchange at a time on each, bodies streamed both ways.

A general client spends most of a small request's time on what a proxy does not want: cookies, redirects, encodings,
sessions, traces. This one writes what it is given and hands on what comes; parsing is `httptools`'. It raises kinds of
`OSError`: those below, `TimeoutError`, `ssl.SSLError`; and `Unsendable`.
"""

from landbridge.http1.client import Client, Resolve, Unreached
from landbridge.http1.connection import BrokenOff, Incoming, Malformed
from landbridge.http1.requests import NO_LINES, Body, Host, Lines, Unsendable, lines

__all__ = [
    "NO_LINES",
    "Body",
    "BrokenOff",
    "Client",
    "Host",
    "Incoming",
    "Lines",
    "Malformed",
    "Resolve",
    "Unreached",
    "Unsendable",
    "lines",
]
