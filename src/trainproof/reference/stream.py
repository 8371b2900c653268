"""The integer stream: docs/hashing.md, section 5."""

import struct

from blake3 import blake3

from trainproof.reference.hashing import sized, u64


class Stream:
    """64-bit words drawn from a label, a seed and two counters."""

    def __init__(self, label: str, seed: bytes, a: int, b: int) -> None:
        if len(seed) != 32:
            raise ValueError(f"the seed must have 32 bytes, got {len(seed)}")
        self._hash = blake3(b"trainproof.stream.v1\0" + sized(label.encode()) + seed + u64(a) + u64(b))
        self._drawn = 0

    def word(self) -> int:
        (x,) = struct.unpack("<Q", self._hash.digest(length=8, seek=8 * self._drawn))
        self._drawn += 1
        return int(x)

    def below(self, n: int) -> int:
        """A uniform integer in [0, n)."""
        if n <= 0:
            raise ValueError(f"no number is below {n}")
        while True:
            x = self.word()
            if x < 2**64 - 2**64 % n:
                return x % n
