"""The virtual polynomials from the committed columns, cell by cell (docs/identities.md, 5): X, dz, Z, D and G.

The definitions of docs/exact.md on whatever the columns hold, over the field. Nothing here is committed or sent; the
direct check looks at these values, and the prover makes its tables from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from trainproof.reference.iop.layout import Geometry, Part, Statement
from trainproof.reference.iop.multilinear import Array, pad
from trainproof.reference.iop.vector import Vector

T = TypeVar("T")


def zeros(*shape: int) -> Array:
    found = np.empty(shape, dtype=object)
    found.fill(0)
    return found


class Tensors:
    """The columns of a witness (arrays of Python integers, unpadded) and what follows from them, each computed once."""

    def __init__(self, statement: Statement, columns: dict[str, Array]) -> None:
        self.statement, self.columns = statement, columns
        self._known: dict[object, object] = {}

    def once(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]  # type: ignore[return-value]

    def column(self, name: str) -> Array:
        """A column, 0 in its padding."""
        return self.once(("column", name), lambda: pad(self.columns[name]))

    def table(self, name: str) -> Vector:
        """The same, as field elements."""
        return self.once(("table", name), lambda: Vector.of(self.column(name)))

    def x(self, index: int) -> Array:
        """X(t, b, c, y, x) of block ``index``, unpadded."""

        def make() -> Array:
            if index == 0:
                return self.columns["P"] - 128
            return sum(self.columns[name] for name in self.statement.geometry[index - 1].outputs)  # type: ignore[return-value]

        return self.once(("x", index), make)

    def dz(self, index: int, cell: int) -> Array:
        """dz_i(t, b, o, w), unpadded."""
        geometry, columns = self.statement.geometry[index], self.columns
        if geometry.last:
            return self.once(("dz", index), lambda: top_error(self.statement, columns))
        if not geometry.gated:
            return columns[geometry.dy]
        return self.once(("dz", index, cell), lambda: columns[geometry.h(cell)] * columns[geometry.dy])

    def weight(self, part: Part, t: int) -> Array:
        """weight(o, c), all channels in one axis, unpadded."""
        return self.columns[f"{part.name}@{t}"].reshape(part.shape[0], -1)

    def seen(self, index: int, cell: int, offset: int) -> Array:
        """X(t, b, c, w) as cell i of each window sees it through offset κ."""

        def make() -> Array:
            x = self.x(index)
            found = seen(self.statement.geometry[index], cell, offset, x.reshape(-1, *x.shape[2:]))
            return found.reshape(*x.shape[:2], *found.shape[1:])

        return self.once(("seen", index, cell, offset), make)

    def z(self, index: int, cell: int) -> Array:
        """Z_i(t, b, o, w), padded; the bias stands in the padding of b and w as well."""

        def make() -> Array:
            statement = self.statement
            geometry, shape = statement.geometry[index], statement.result_shape(index)
            found = zeros(*shape[:3], int(np.prod(shape[3:])))
            for part in geometry.parts:
                if part.offset is not None:
                    x = self.seen(index, cell, part.offset)
                    for t in range(statement.steps):
                        found[t] += np.matmul(self.weight(part, t), x[t])
            total = pad(found.reshape(shape))
            if geometry.block.bias:
                total = total + 2**geometry.input_exponent * self.bias(geometry)
            return total

        return self.once(("z", index, cell), make)

    def bias(self, geometry: Geometry) -> Array:
        """bias_t(o) as (t, 1, o, 1, 1), padded."""
        each = [self.column(f"{geometry.index}.bias@{t}") for t in range(self.statement.steps)]
        return np.stack(each)[:, None, :, None, None]

    def d(self, index: int) -> Array:
        """D(t, b, c, y, x): the sum that becomes the error of block ``index``'s input, padded."""

        def make() -> Array:
            statement = self.statement
            geometry, shape = statement.geometry[index], statement.source_shape(index)
            space = geometry.space or (1, 1)
            found = zeros(*shape[:2], int(np.prod(geometry.channels)), *space)
            for cell in range(len(geometry.cells)):
                dz = self.dz(index, cell)
                dz = dz.reshape(*dz.shape[:3], -1)
                for part in geometry.parts:
                    if part.offset is not None:
                        back = np.stack(
                            [np.matmul(self.weight(part, t).T, dz[t]) for t in range(statement.steps)]
                        ).reshape(*found.shape[:3], *(geometry.windows or (1, 1)))
                        scatter(geometry, cell, part.offset, back, found)
            return pad(found.reshape(shape))

        return self.once(("d", index), make)

    def gradient(self, part: Part) -> Array:
        """G_t of a part, (t, o, c…), padded."""

        def make() -> Array:
            statement = self.statement
            geometry = statement.geometry[part.block]
            found = zeros(statement.steps, part.shape[0], int(np.prod(part.shape[1:])))
            for cell in range(len(geometry.cells)):
                dz = self.dz(part.block, cell)
                dz = dz.reshape(*dz.shape[:3], -1)
                for t in range(statement.steps):
                    if part.offset is None:
                        found[t, :, 0] += dz[t].sum(axis=(0, 2))
                        continue
                    x = self.seen(part.block, cell, part.offset)[t]
                    for b in range(len(x)):
                        found[t] += np.matmul(dz[t, b], x[b].T)
            return pad(found.reshape(statement.steps, *part.shape))

        return self.once(("gradient", part.name), make)

    def exponential(self) -> Array:
        """th·tl, padded."""
        return self.column("th") * self.column("tl")

    def share(self) -> Array:
        """p·S with S = Σ_o e, padded."""
        total: Array = self.column("e").sum(axis=(2, 3, 4), keepdims=True)
        return self.column("p") * total

    def later(self) -> Array:
        """The sum of hM over the classes after o, padded."""
        h = self.column("hM")
        found: Array = h[:, :, ::-1].cumsum(axis=2)[:, :, ::-1] - h
        return found

    def over_steps(self, names: list[str], weights: list[int]) -> Array:
        """Columns of one shape as (t, …), each times its weight; padded."""
        return np.stack([self.column(name) * weight for name, weight in zip(names, weights, strict=True)])


def top_error(statement: Statement, columns: dict[str, Array]) -> Array:
    """dz of the last block (docs/exact.md, 3)."""
    block = statement.spec.blocks[-1]
    a, f = block.activation.exponent, block.error.exponent
    if statement.spec.loss.kind == "cross_entropy":
        found: Array = columns["p"] - (1 << f) * columns["hl"]
    else:
        found = (1 << (f - a)) * (columns["z"] - (1 << a) * columns["hl"])
    return found


def scatter(geometry: Geometry, cell: int, offset: int, back: Array, found: Array) -> None:
    """Add what window w gives to each q that it meets."""
    if not geometry.space:
        found += back
        return
    rows, columns = (geometry.meets(axis, cell, offset) for axis in (0, 1))
    for w, q in rows:
        for v, r in columns:
            found[:, :, :, q, r] += back[:, :, :, w, v]


def seen(geometry: Geometry, cell: int, offset: int, x: Array) -> Array:
    """X(n, c, w): what cell i of each window sees through offset κ of X(n, c, y, x), 0 where that is padding."""
    if not geometry.space:
        return x.reshape(len(x), -1, 1)
    rows, columns = (geometry.meets(axis, cell, offset) for axis in (0, 1))
    found = zeros(*x.shape[:2], *geometry.windows)
    for w, q in rows:
        for v, r in columns:
            found[:, :, w, v] = x[:, :, q, r]
    return found.reshape(*x.shape[:2], -1)
