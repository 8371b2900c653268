"""The order of the samples: an affine map for each pass, random access to all of it (docs/exact.md section 6)."""

from __future__ import annotations

import math
from functools import lru_cache

from trainproof import _core
from trainproof.errors import DatasetError, UsageError

_FIRST_DRAW = 64  # half of all numbers or more are coprime to most sizes, so one draw nearly always suffices


class AffineOrder:
    """Which sample stands at which position of the run.

    Args:
        seed: 32 bytes.
        size: number of samples N, 1 ≤ N < 2^32.

    Raises:
        UsageError: the seed is not 32 bytes.
        DatasetError: N is out of range.

    Source: docs/exact.md section 6.
    """

    def __init__(self, seed: bytes, size: int) -> None:
        if len(seed) != 32:
            raise UsageError("a seed has 32 bytes", name="seed", value=len(seed))
        if not 1 <= size < 1 << 32:
            raise DatasetError(
                "the number of samples is out of range", name="size", value=size, mend="use 1 to 2^32 − 1"
            )
        self.seed, self.size = seed, size
        self._a0, self._g = _coprime(seed, 0, size), _coprime(seed, 1, size)
        self._b0, self._c = (int(_core.stream_below("exact.order", seed, k, 0, size, 1)[0]) for k in (2, 3))
        self._pass = lru_cache(maxsize=4)(self._parameters)

    def a(self, i: int) -> int:
        """Return a_i of pass ``i`` (from 0)."""
        return self._pass(i)[0]

    def b(self, i: int) -> int:
        """Return b_i of pass ``i`` (from 0)."""
        return self._pass(i)[1]

    def indices(self, start: int, count: int) -> list[int]:
        """Return the samples at positions ``start`` … ``start + count − 1`` of the run.

        Step t of batches of B takes ``indices(t * B, B)``; a batch may cross the end of a pass.

        Raises:
            UsageError: a negative argument.
        """
        if start < 0 or count < 0:
            raise UsageError("positions are not negative", name="positions", value=(start, count))
        found: list[int] = []
        position, end = start, start + count
        while position < end:
            i, j = divmod(position, self.size)
            a, b = self._pass(i)
            last = min(self.size, j + end - position)
            found += [(a * k + b) % self.size for k in range(j, last)]
            position += last - j
        return found

    def _parameters(self, i: int) -> tuple[int, int]:
        """(a_i, b_i): the map x ↦ g·x + c, i times over, by repeated squaring."""
        if i < 0:
            raise UsageError("passes are numbered from 0", name="pass", value=i)
        scale, offset = 1, 0  # of the map so far
        g, c = self._g, self._c  # of the map 2^bit times over
        while i:
            if i & 1:
                scale, offset = g * scale % self.size, (g * offset + c) % self.size
            g, c = g * g % self.size, (g * c + c) % self.size
            i >>= 1
        return scale * self._a0 % self.size, (scale * self._b0 + offset) % self.size


def _coprime(seed: bytes, number: int, size: int) -> int:
    """The first number of stream ``number`` that is coprime to ``size``."""
    count = _FIRST_DRAW
    while True:
        for x in _core.stream_below("exact.order", seed, number, 0, size, count).tolist():
            if math.gcd(x, size) == 1:
                return int(x)
        count *= 2
