"""What identities are made of: committed columns, sums of them, and virtual polynomials (docs/identities.md, 5).

Every term is a polynomial over the cells of an identity's shape. ``array`` gives its values there, padded; ``evaluate``
turns a claim on it into claims on columns. A virtual term has a ``key`` instead, under which its claim is owed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainproof.reference.iop.field import Element
from trainproof.reference.iop.layout import Part
from trainproof.reference.iop.multilinear import Array, Point, Shape, bits, eq_index, half, listed, mask, pad, variables
from trainproof.reference.iop.tensors import Tensors


class Columns(Protocol):
    """Claims on committed columns."""

    def column(self, name: str, point: Point) -> Element:
        """The value that the prover sends, which the oracle will be asked for."""


def aligned(array: Array, shape: Shape) -> Array:
    """With the axes that it lacks at the end."""
    return array.reshape(*array.shape, *(1,) * (len(shape) - array.ndim))


@dataclass(frozen=True)
class Own:
    """A column of the identity's own shape."""

    name: str

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.column(self.name)

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        return columns.column(self.name, point)


@dataclass(frozen=True)
class Sample:
    """A column over (t, b), the same for all classes of a sample."""

    name: str

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return aligned(tensors.column(self.name), shape)

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        return columns.column(self.name, point[: variables(shape[:2])])


@dataclass(frozen=True)
class Total:
    """The sum of a column over its classes: a polynomial over (t, b). ``classes`` is their number."""

    name: str
    classes: int

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        column = tensors.column(self.name)
        total: Array = column.reshape(*column.shape[:2], -1).sum(axis=2)
        return aligned(total, shape)

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        count = bits(self.classes)
        return columns.column(self.name, (*point[: variables(shape[:2])], *half(count))) * (1 << count)


@dataclass(frozen=True)
class Steps:
    """Columns over (t, …): one for each t, times its weight."""

    names: tuple[str, ...]
    weights: tuple[int, ...]

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.over_steps(list(self.names), list(self.weights))

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        count = bits(shape[0])
        found = Element(0)
        for t, (name, weight) in enumerate(zip(self.names, self.weights, strict=True)):
            found = found + eq_index(point[:count], t) * weight * columns.column(name, point[count:])
        return found


@dataclass(frozen=True)
class Public:
    """Numbers that the verifier knows, one for each (t, b)."""

    values: tuple[int, ...]

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        found = np.empty(len(self.values), dtype=object)
        found[:] = self.values
        return found.reshape(shape)

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        return listed(self.values, point)


@dataclass(frozen=True)
class One:
    """1 on every cell, 0 in the padding."""

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        found = np.empty(shape, dtype=object)
        found.fill(1)
        return pad(found)

    def evaluate(self, columns: Columns, shape: Shape, point: Point) -> Element:
        return mask(shape, point)


@dataclass(frozen=True)
class Forward:
    """Z_i of a block."""

    block: int
    cell: int

    @property
    def key(self) -> Hashable:
        return ("Z", self.block, self.cell)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.z(self.block, self.cell)


@dataclass(frozen=True)
class Backward:
    """D of a block."""

    block: int

    @property
    def key(self) -> Hashable:
        return ("D", self.block)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.d(self.block)


@dataclass(frozen=True)
class Gradient:
    """G_t of a part of a parameter, times a weight for each t."""

    part: Part
    weights: tuple[int, ...]

    @property
    def key(self) -> Hashable:
        return ("G", self.part.block, self.part)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        gradient = tensors.gradient(self.part)
        weights: Array = np.array(self.weights, dtype=object)
        return gradient * weights.reshape(-1, *(1,) * (gradient.ndim - 1))


@dataclass(frozen=True)
class Exponential:
    """th·tl."""

    key: Hashable = ("exponential",)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.exponential()


@dataclass(frozen=True)
class Share:
    """p·S, S being the sum of e over the classes."""

    key: Hashable = ("share",)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.share()


@dataclass(frozen=True)
class Later:
    """Σ of hM over the classes after o."""

    key: Hashable = ("later",)

    def array(self, tensors: Tensors, shape: Shape) -> Array:
        return tensors.later()


Known = Own | Sample | Total | Steps | Public | One
Virtual = Forward | Backward | Gradient | Exponential | Share | Later
Term = Known | Virtual
VIRTUAL = (Forward, Backward, Gradient, Exponential, Share, Later)
