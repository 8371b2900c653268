"""Public weights of a claim on dz(t, b, o, w): a product over the axes (docs/identities.md, 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from trainproof.reference.iop.field import Element, Scalar
from trainproof.reference.iop.multilinear import Point, Shape, bits, eq, eq_table, listed, split
from trainproof.reference.iop.vector import Vector

Axis = Point | list[Element]
"""A point (its eq polynomial), or a weight for each index."""


@dataclass(frozen=True)
class Weight:
    """A factor for each axis of ``shape``."""

    shape: Shape
    axes: tuple[Axis, ...]

    @staticmethod
    def point(shape: Shape, point: Point) -> Weight:
        """The weights of an evaluation."""
        return Weight(shape, tuple(split(shape, point)))

    @staticmethod
    def ones(size: int) -> list[Element]:
        """A plain sum along an axis, padding included: what is weighted is 0 there."""
        return [Element(1)] * (1 << bits(size))

    def table(self) -> Vector:
        """On all cells, flat."""
        tables = [eq_table(axis) if isinstance(axis, tuple) else Vector.elements_of(axis) for axis in self.axes]
        return reduce(lambda x, y: (x.reshape(-1, 1) * y.reshape(1, -1)).reshape(-1), tables)

    def evaluate(self, point: Point) -> Element:
        found = Element(1)
        for axis, place in zip(self.axes, split(self.shape, point), strict=True):
            found = found * (eq(axis, place) if isinstance(axis, tuple) else listed(axis, place))
        return found


def combine(weights: Sequence[Scalar], values: Sequence[Element]) -> Element:
    """Σ weight·value."""
    found = Element(0)
    for weight, value in zip(weights, values, strict=True):
        found = found + value * weight
    return found
