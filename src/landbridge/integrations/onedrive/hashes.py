"""QuickXorHash, the only digest that OneDrive gives of every file.

https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
"""

import base64

_RING = 160  # bits, and also the number of bytes after which the pattern repeats: byte n goes in at bit 11 * n
_BLOCK = 8 * _RING


class QuickXorHash:
    """A running QuickXorHash.

    Since the pattern repeats, all blocks of 160 bytes may first be XORed with each other, which Python's whole numbers
    do at the speed of memory; the definition, byte by byte, runs over one block in the end.
    """

    def __init__(self) -> None:
        self._folded = 0
        self.length = 0

    def update(self, chunk: bytes) -> None:
        """Add what comes next."""
        self._folded ^= int.from_bytes(chunk, "little") << (8 * (self.length % _RING))
        self.length += len(chunk)

    def digest(self) -> str:
        """Return the hash in base64, as Graph shows it."""
        ring = 0
        for index, byte in enumerate(self._block().to_bytes(_RING, "little")):
            ring ^= byte << (11 * index % _RING)
        ring = (ring ^ (ring >> _RING) ^ (self.length << (_RING - 64))) & ((1 << _RING) - 1)
        return base64.b64encode(ring.to_bytes(_RING // 8, "little")).decode()

    def _block(self) -> int:
        """Return all blocks XORed into one; folding in halves takes time in proportion to the length."""
        folded = self._folded
        while (length := folded.bit_length()) > _BLOCK:
            half = -(-length // (2 * _BLOCK)) * _BLOCK
            folded = (folded >> half) ^ (folded & ((1 << half) - 1))
        return folded
