"""Contents on their way down: what was missed is fetched again, after a broken connection and after a crash.

The checkpoint says which pieces of a large file are safe: another process goes on behind the last one.
"""

import contextlib
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from landbridge.errors import ContentsDamaged, ItemChanged, ProviderTimedOut, ProviderUnreachable
from landbridge.integrations.onedrive.graph import Graph, Place
from landbridge.integrations.onedrive.hashes import QuickXorHash
from landbridge.integrations.onedrive.models.items import DriveItem
from landbridge.integrations.onedrive.traces import has_contents
from landbridge.kit import File, Piece, Stream

_CONVERTED = re.compile(r"\.hei[cf]$", re.IGNORECASE)
"""Photos that OneDrive gives in another form than the one whose size and digest it tells.
https://github.com/OneDrive/onedrive-api-docs/issues/1723"""


async def fetched(graph: Graph, place: Place, item: DriveItem) -> File:
    """Return a file's contents, kept; what an earlier try of the step made safe is not fetched again.

    Raises `ItemChanged` if the file changed midway, in this try or since the one before: its parts would belong to two
    versions; the next try begins anew. Raises `ContentsDamaged` if what came is not what the drive has.
    """
    checkpoint = graph.context.checkpoint
    state = await checkpoint.read()
    try:
        download = await (Download.resumed(graph, place, state) if state else Download.begun(graph, place, item))
        return await download.kept()
    except (ItemChanged, ContentsDamaged):
        await checkpoint.clear()
        raise


@dataclass
class Download:
    """A file that is being fetched. The first `skip` bytes of the stream are there already."""

    graph: Graph
    place: Place
    item: DriveItem
    tag: str | None
    mime_type: str
    stream: Stream
    pieces: Sequence[Piece] = ()
    skip: int = 0
    _hash: QuickXorHash = field(default_factory=QuickXorHash)

    @classmethod
    async def begun(cls, graph: Graph, place: Place, item: DriveItem) -> Self:
        """Return the download of a file of which nothing is there."""
        stream = await graph.open("GET", place / "content")
        known = item.file.mime_type if item.file else None
        mime_type = known or stream.headers.get("Content-Type") or "application/octet-stream"
        return cls(graph, place, item, stream.headers.get("ETag"), mime_type, stream)

    @classmethod
    async def resumed(cls, graph: Graph, place: Place, state: dict[str, Any]) -> Self:  # Any: JSON
        """Return the download that an earlier try began. Raises `ItemChanged`."""
        item, tag, pieces = DriveItem.model_validate(state["item"]), state["tag"], state["pieces"]
        there = graph.context.files.pieced(pieces)
        stream, skip = await _continued(graph, place, item, there.size, tag)
        download = cls(graph, place, item, tag, state["mimeType"], stream, pieces, skip)
        async for chunk in there.chunks():
            download._hash.update(chunk)
        return download

    async def kept(self) -> File:
        """Return the whole file, having written down each piece as soon as it was safe."""
        save, name = self.graph.context.files.save, self.item.name or self.item.id
        async with contextlib.aclosing(self._chunks()) as chunks:
            return await save(name, self.mime_type, chunks, kept=self.pieces, note=self._note)

    async def _note(self, pieces: Sequence[Piece]) -> None:
        state = {"item": self.item.as_json(), "tag": self.tag, "mimeType": self.mime_type}
        await self.graph.context.checkpoint.write(state | {"pieces": [list(piece) for piece in pieces]})

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the contents from where the download is; after a broken connection what is missing is fetched again."""
        attempt = 0
        while True:
            try:
                async for chunk in self.stream.chunks():
                    fresh, self.skip = chunk[self.skip :], max(self.skip - len(chunk), 0)
                    if fresh:
                        self._hash.update(fresh)
                        attempt = 0
                        yield fresh
                break
            except (ProviderUnreachable, ProviderTimedOut):
                attempt += 1
                if attempt > 3 or not await self.graph.wait_a_little(attempt):
                    raise
            finally:
                self.stream.close()
            got = self._hash.length
            self.stream, self.skip = await _continued(self.graph, self.place, self.item, got, self.tag)
        if not (has_contents(self.item, self._hash) or _CONVERTED.search(self.item.name or "")):
            await _must_be_unchanged(self.graph, self.place, self.item)
            raise ContentsDamaged(f"“{self.item.name}” came with other contents than OneDrive has.")


async def _continued(graph: Graph, place: Place, item: DriveItem, got: int, tag: str | None) -> tuple[Stream, int]:
    """Return the contents from byte `got` on, and how many bytes to skip of what is given before it.

    The tags are compared here and not by `If-Match`: the host that serves the contents has tags of its own, which
    Graph, who is asked first, would not know.
    """
    await _must_be_unchanged(graph, place, item)
    first = min(got, max((item.size or 0) - 1, 0))  # nothing may be missing any more, and no range is empty
    stream = await graph.open("GET", place / "content", headers={"Range": f"bytes={first}-"})
    said = stream.headers.get("Content-Range") or ""
    if stream.headers.get("ETag") != tag or (stream.status == 206 and not said.startswith(f"bytes {first}-")):
        stream.close()
        raise _changed(item)
    return stream, got - first if stream.status == 206 else got


async def _must_be_unchanged(graph: Graph, place: Place, item: DriveItem) -> None:
    now = await graph.item(place)
    if (now.c_tag or now.e_tag) != (item.c_tag or item.e_tag):
        raise _changed(item)


def _changed(item: DriveItem) -> ItemChanged:
    return ItemChanged(f"“{item.name}” was changed while it was being fetched.")
