"""quickXorHash, the only hash that OneDrive gives for every file.

https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
"""

from __future__ import annotations

import base64

_BITS = 160
_PERIOD = 160  # Byte n is XORed in at bit 11 * n of a ring of 160 bits, so the pattern repeats every 160 bytes.
_MASK = (1 << _BITS) - 1


class QuickXor:
    """A running quickXorHash.

    The pattern repeats, so all blocks of 160 bytes may first be XORed with each other; Python's whole numbers do that
    at more than 1 GB/s, and the byte-wise definition runs only once, over what is left.
    """

    __slots__ = ("_folded", "_tail", "length")

    def __init__(self) -> None:
        self._folded = 0
        # What is left of a block: whole blocks need no shifting, which would cost half as much again.
        self._tail = b""
        self.length = 0

    def update(self, chunk: bytes) -> None:
        """Add `chunk`."""
        data = self._tail + chunk
        whole = len(data) - len(data) % _PERIOD
        self._folded ^= int.from_bytes(data[:whole], "little")
        self._tail = data[whole:]
        self.length += len(chunk)

    def copy(self) -> QuickXor:
        """Return an independent copy, to go back to when a fragment of an upload is thrown away."""
        other = QuickXor()
        other._folded, other._tail, other.length = self._folded, self._tail, self.length
        return other

    def digest(self) -> str:
        """Return the hash in base64, as Graph shows it."""
        block = self._block()
        ring = 0
        for index, byte in enumerate(block):
            shift = index * 11 % _BITS
            ring ^= byte << shift
        ring = (ring & _MASK) ^ (ring >> _BITS)
        ring ^= self.length << (_BITS - 64)
        return base64.b64encode((ring & _MASK).to_bytes(20, "little")).decode()

    def _block(self) -> bytes:
        size = 8 * _PERIOD
        folded, mask = self._folded ^ int.from_bytes(self._tail, "little"), (1 << size) - 1
        # Halving keeps this linear: each step folds the upper half of the blocks onto the lower.
        while folded > mask:
            half = -(-folded.bit_length() // (2 * size)) * size
            folded = (folded >> half) ^ (folded & ((1 << half) - 1))
        return folded.to_bytes(_PERIOD, "little")
