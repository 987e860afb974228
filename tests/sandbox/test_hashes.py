"""quickXorHash equals its byte-wise definition, however the bytes arrive."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from msgraph_sandbox.drive.hashes import QuickXor


def _definition(data: bytes) -> str:
    """Each byte is XORed into a ring of 160 bits, 11 bits further each time; the length goes into the last 64."""
    ring = 0
    for index, byte in enumerate(data):
        place = index * 11 % 160
        ring ^= (byte << place) & ((1 << 160) - 1) | byte << place >> 160
    ring ^= len(data) << 96
    return base64.b64encode(ring.to_bytes(20, "little")).decode()


@given(chunks=st.lists(st.binary(max_size=400), max_size=8))
def test_the_hash_does_not_depend_on_how_the_bytes_arrive(chunks: list[bytes]) -> None:
    running = QuickXor()
    for chunk in chunks:
        running.update(chunk)
    assert running.digest() == _definition(b"".join(chunks))
    assert running.copy().digest() == running.digest()


def test_a_known_hash() -> None:
    known = QuickXor()
    known.update(b"hello")
    assert known.digest() == "aCgDG9jwBgAAAAAABQAAAAAAAAA="
