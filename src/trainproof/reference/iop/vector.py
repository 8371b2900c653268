"""Arrays of field elements: what the prover computes with. The verifier has scalars only.

An element a + b·X is held as the one Python integer a + b·2^160, in a NumPy array of objects. A product of two such
integers has the three coefficients of the product side by side, without carries between them; a sum of any number that
fits a memory has its two sums. One reduction serves all.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainproof.reference.iop.field import NON_RESIDUE, Element, P, Scalar, lift

Packed = NDArray[Any]

_WIDTH: Final = 160  # sums of up to 2^29 products a·d + b·c < 2^131
_LOW: Final = (1 << _WIDTH) - 1
_ZERO: Final = P | P << _WIDTH  # added before a subtraction, so that no part is negative


def pack(x: Scalar) -> int:
    element = lift(x)
    return element.a | element.b << _WIDTH


def reduce(x: Packed) -> Packed:
    """Three parts to two, each below p."""
    high = x >> _WIDTH
    found: Packed = ((x & _LOW) + NON_RESIDUE * (high >> _WIDTH)) % P | (high & _LOW) % P << _WIDTH
    return found


class Vector:
    """Elements in any shape. Operators broadcast."""

    __slots__ = ("packed",)

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    @staticmethod
    def of(values: Any) -> Vector:
        """From Python's integers, negative ones too, in lists or an array of objects."""
        return Vector(np.asarray(values, dtype=object) % P)

    @staticmethod
    def elements_of(values: list[Element]) -> Vector:
        found = np.empty(len(values), dtype=object)
        found[:] = [pack(x) for x in values]
        return Vector(found)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.packed.shape

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: Any) -> Vector:
        return Vector(self.packed[index])

    def reshape(self, *shape: int) -> Vector:
        return Vector(self.packed.reshape(shape))

    def __add__(self, other: Vector | Scalar) -> Vector:
        return Vector(reduce(self.packed + packed(other)))

    def __sub__(self, other: Vector | Scalar) -> Vector:
        return Vector(reduce(self.packed + _ZERO - packed(other)))

    def __mul__(self, other: Vector | Scalar) -> Vector:
        return Vector(reduce(self.packed * packed(other)))

    def sum(self, axis: int) -> Vector:
        total = np.asarray(self.packed.sum(axis=axis), dtype=object)
        return Vector(reduce(np.atleast_1d(total)))

    def elements(self) -> list[Element]:
        """Of one axis."""
        return [unpack(x) for x in self.packed]

    def element(self) -> Element:
        """Of a single one."""
        return unpack(self.packed.item())


def packed(x: Vector | Scalar) -> Any:
    return x.packed if isinstance(x, Vector) else pack(x)


def unpack(x: int) -> Element:
    return Element(x & _LOW, x >> _WIDTH)


def inner(x: Vector, y: Vector, axis: int = 0) -> Vector:
    """Σ x·y along an axis."""
    total = np.asarray((x.packed * y.packed).sum(axis=axis), dtype=object)
    return Vector(reduce(np.atleast_1d(total)))


def between(low: Vector, high: Vector, at: Vector | Scalar) -> Vector:
    """low + (high − low)·at."""
    return Vector(reduce(low.packed + (high.packed + _ZERO - low.packed) * packed(at)))


def concatenate(parts: list[Vector]) -> Vector:
    return Vector(np.concatenate([part.packed for part in parts]))
