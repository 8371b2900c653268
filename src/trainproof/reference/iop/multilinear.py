"""Multilinear extensions: shapes padded to powers of two, points, and the public polynomials (docs/identities.md, 2).

The first coordinate of a point belongs to the highest bit of the index: to the first axis of a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainproof.reference.iop.field import HALF, Element, Scalar
from trainproof.reference.iop.vector import Vector, inner

Point = tuple[Element, ...]
Shape = tuple[int, ...]
Array = NDArray[Any]  # of Python integers, dtype object


def bits(size: int) -> int:
    """Variables of an axis."""
    return (size - 1).bit_length()


def variables(shape: Shape) -> int:
    return sum(bits(size) for size in shape)


def padded(shape: Shape) -> Shape:
    return tuple(1 << bits(size) for size in shape)


def pad(array: Array) -> Array:
    """With zeros, each axis to its power of two."""
    found: Array = np.empty(padded(array.shape), dtype=object)
    found.fill(0)
    found[tuple(slice(size) for size in array.shape)] = array
    return found


def split(shape: Shape, point: Point) -> list[Point]:
    """The coordinates of each axis."""
    found, start = [], 0
    for size in shape:
        found.append(point[start : start + bits(size)])
        start += bits(size)
    return found


def half(count: int) -> Point:
    """The point where a polynomial's value, times 2^count, is its sum."""
    return (Element(HALF),) * count


def corner(index: int, count: int) -> Point:
    """The point of an index."""
    return tuple(Element(index >> (count - 1 - i) & 1) for i in range(count))


@lru_cache(maxsize=512)
def eq_table(point: Point) -> Vector:
    """eq(point, x) for all indices x."""
    found = Vector.of([1])
    for coordinate in point:
        one = found * coordinate
        found = Vector(np.stack([(found - one).packed, one.packed], axis=1).reshape(-1))
    return found


def evaluate(table: Vector, point: Point) -> Element:
    """The extension of a flat table at a point."""
    return inner(table, eq_table(point)).element()


def contract(table: Vector, axis: int, weights: Vector) -> Vector:
    """The sum along one axis, weighted."""
    shape = [1] * len(table.shape)
    shape[axis] = len(weights)
    return (table * weights.reshape(*shape)).sum(axis)


# Public polynomials, as the verifier computes them.


def eq(x: Point, y: Point) -> Element:
    found = Element(1)
    for a, b in zip(x, y, strict=True):
        product = a * b
        found = found * (1 - a - b + product + product)
    return found


def eq_index(point: Point, index: int) -> Element:
    return eq(point, corner(index, len(point)))


def less(x: Point, y: Point) -> Element:
    """The extension of [index x < index y]."""
    found, equal = Element(0), Element(1)
    for a, b in zip(x, y, strict=True):
        found = found + equal * (1 - a) * b
        equal = equal * eq((a,), (b,))
    return found


def listed(values: Sequence[Scalar], point: Point) -> Element:
    """The extension of a list; what lies beyond its end is 0."""
    found = Element(0)
    for index, value in enumerate(values):
        found = found + eq_index(point, index) * value
    return found


def number(point: Point) -> Element:
    """The extension of the index itself."""
    found = Element(0)
    for coordinate in point:
        found = found + found + coordinate
    return found


def mask(shape: Shape, point: Point) -> Element:
    """The extension of 1 on the cells of a shape and 0 on its padding."""
    found = Element(1)
    for size, coordinates in zip(shape, split(shape, point), strict=True):
        if size < 1 << len(coordinates):
            found = found * listed([1] * size, coordinates)
    return found
