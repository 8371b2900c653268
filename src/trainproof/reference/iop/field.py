"""The field of the step proof: p = 2^64 − 2^32 + 1, and challenges in its extension by X² = 7 (docs/identities.md, 1).

Committed values are Python integers modulo p; whatever depends on a challenge is an ``Element``.
"""

from __future__ import annotations

from typing import Final, Union

from trainproof.reference.field import NON_RESIDUE, P, ext_inverse, ext_mul, inverse

Scalar = Union["Element", int]


class Rejected(Exception):
    """The verifier does not accept; ``where`` is the check that failed."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(where)


class Element:
    """a + b·X with X² = 7; integers take part in all operations."""

    __slots__ = ("a", "b")

    def __init__(self, a: int, b: int = 0) -> None:
        self.a, self.b = a % P, b % P

    def __add__(self, other: Scalar) -> Element:
        x = lift(other)
        return Element(self.a + x.a, self.b + x.b)

    def __sub__(self, other: Scalar) -> Element:
        x = lift(other)
        return Element(self.a - x.a, self.b - x.b)

    def __mul__(self, other: Scalar) -> Element:
        x = lift(other)
        return Element(*ext_mul((self.a, self.b), (x.a, x.b)))

    def __rsub__(self, other: Scalar) -> Element:
        return lift(other) - self

    def __neg__(self) -> Element:
        return Element(-self.a, -self.b)

    __radd__ = __add__
    __rmul__ = __mul__

    def inverse(self) -> Element:
        return Element(*ext_inverse((self.a, self.b)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element | int):
            return NotImplemented
        x = lift(other)
        return self.a == x.a and self.b == x.b

    def __hash__(self) -> int:
        return hash((self.a, self.b))

    def __repr__(self) -> str:
        return f"Element({self.a}, {self.b})"


def lift(x: Scalar) -> Element:
    return x if isinstance(x, Element) else Element(x)


def signed(x: int) -> int:
    """The representative of least absolute value."""
    x %= P
    return x - P if x > P // 2 else x


HALF: Final = inverse(2)

__all__ = ["HALF", "NON_RESIDUE", "Element", "P", "Rejected", "Scalar", "inverse", "lift", "signed"]
