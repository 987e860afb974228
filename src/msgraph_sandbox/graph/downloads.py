"""The download host: pre-authenticated URLs, with ranges."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import quote

from msgraph_sandbox.drive.blobs import Blob
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request
from msgraph_sandbox.graph.shapes import ctag, mime_of
from msgraph_sandbox.http import Request, Response

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


@dataclass(slots=True)
class DownloadService:
    """Answers for the host of pre-authenticated downloads. An Authorization header does no harm here."""

    library: Library

    async def download(self, request: Request) -> Response:
        """Return the contents: 200, 206 for one range, 416 for a range beyond the end."""
        if request.path == "/thumbnail":
            return _picture(request.query)
        drive, item, blob = self.library.downloadable(request.query, request.query_string)
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(item.name)}",
            "Content-Type": mime_of(item),
            "ETag": _http_tag(ctag(drive, item)),
            "Last-Modified": format_datetime(item.modified.replace(microsecond=0), usegmt=True),
        }
        if request.headers.get("if-range", headers["ETag"]) not in (headers["ETag"], headers["Last-Modified"]):
            return _whole(blob, headers)
        return _ranged(request, blob, headers)


def _picture(query: dict[str, str]) -> Response:
    """Return a plain picture of the size asked for: enough to be shown and measured."""
    sides = [query.get(name, "") for name in ("width", "height")]
    if not all(side.isascii() and side.isdigit() and 0 < int(side[:5]) <= 2048 for side in sides):
        raise bad_request("The size of the thumbnail is not valid.")
    return Response(200, {"Content-Type": "image/png", "Cache-Control": "private"}, _png(int(sides[0]), int(sides[1])))


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\xa0" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _http_tag(tag: str) -> str:
    return tag if tag.startswith('"') else f'"{tag}"'


def _whole(blob: Blob, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(blob.size)
    return Response(200, headers, blob.read(0, blob.size))


def _ranged(request: Request, blob: Blob, headers: dict[str, str]) -> Response:
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        # Several ranges, or a unit other than bytes: RFC 9110 lets a server answer with the whole.
        return _whole(blob, headers)
    first, last = match[1], match[2]
    start = int(first) if first else max(blob.size - int(last), 0)
    stop = min(int(last) + 1, blob.size) if first and last else blob.size
    if first and last and int(last) < start:
        return _whole(blob, headers)
    if start >= blob.size or (not first and int(last) == 0):
        raise GraphRefused(
            416,
            "invalidRange",
            "The requested range is not satisfiable.",
            headers={"Content-Range": f"bytes */{blob.size}"},
        )
    headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{blob.size}", "Content-Length": str(stop - start)}
    return Response(206, headers, blob.read(start, stop))
