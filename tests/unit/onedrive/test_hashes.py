"""Our digest is the one that OneDrive shows."""

from __future__ import annotations

import base64
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.integrations.onedrive.hashes import QuickXorHash


def by_definition(contents: bytes) -> int:
    """Microsoft's words, bit by bit: each byte goes in 11 bits further on in a ring of 160; the length on top."""
    ring = 0
    for index, byte in enumerate(contents):
        for bit in range(8):
            ring ^= ((byte >> bit) & 1) << ((index * 11 + bit) % 160)
    return ring ^ (len(contents) << 96)


@given(st.lists(st.binary(max_size=700), max_size=6))
def test_it_is_that_of_the_definition_however_the_contents_are_cut(chunks: list[bytes]) -> None:
    hashing = QuickXorHash()
    for chunk in chunks:
        hashing.update(chunk)

    assert int.from_bytes(base64.b64decode(hashing.digest()), "little") == by_definition(b"".join(chunks))


@pytest.mark.parametrize(
    ("contents", "digest"), [(b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), (b"J", "SgAAAAAAAAAAAAAAAQAAAAAAAAA=")]
)
def test_it_is_what_others_published(contents: bytes, digest: str) -> None:
    hashing = QuickXorHash()
    hashing.update(contents)

    assert hashing.digest() == digest


def test_it_is_that_of_the_definition_for_more_than_is_folded_at_once() -> None:
    contents = Random(1).randbytes(200_000)
    hashing = QuickXorHash()
    for start in range(0, len(contents), 33_333):
        hashing.update(contents[start : start + 33_333])

    assert int.from_bytes(base64.b64decode(hashing.digest()), "little") == by_definition(contents)
