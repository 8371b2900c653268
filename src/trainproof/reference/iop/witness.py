"""The committed columns of a chunk of steps (docs/identities.md, 4), honest or with cells changed.

Columns are made in the order of the computation. A change of a cell takes effect when its column is made, so that all
that comes after is computed honestly from it: that is the best a cheating prover can do with one lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from trainproof.reference import exact
from trainproof.reference.iop.field import HALF, P, inverse, signed
from trainproof.reference.iop.identities import Lookup, families, limb_columns
from trainproof.reference.iop.layout import Geometry, Statement, columns, dataset_columns, packing
from trainproof.reference.iop.multilinear import Array, padded
from trainproof.reference.iop.tensors import Tensors, scatter, seen, top_error, zeros
from trainproof.reference.iop.terms import Own

Columns = dict[str, Array]
Changes = Mapping[str, Mapping[tuple[int, ...], Callable[[int], int]]]
"""Column, cell: what becomes of the value there."""

least = np.frompyfunc(signed, 1, 1)
"""Each value's representative of least absolute value."""


def dataset(statement: Statement, images: Any, labels: Any) -> Columns:
    """The dataset's columns D and L from bytes (N, C, H, W) and labels (N,): section 8."""
    shape = statement.spec.input.shape
    _, low, used = packing(shape)
    found = {name: zeros(*size) for name, size in dataset_columns(statement).items()}
    for row in range(statement.samples):
        flat = np.zeros(padded(shape), dtype=object)
        flat[tuple(slice(size) for size in shape)] = exact.integers(images[row])
        blocks = flat.reshape(-1, 1 << low)
        found["D"][row] = sum(256**i * blocks[i] for i in range(used))
        found["L"][row] = int(labels[row])
    return found


class Witness:
    """All columns; ``columns`` are complete after construction.

    Args:
        weights: W of the first step by parameter name, and velocities by theirs (with momentum).
        images, labels: the dataset, (N, C, H, W) bytes and (N,).
        changes: cells that are changed when their column is made.
    """

    def __init__(
        self,
        statement: Statement,
        weights: Mapping[str, Any],
        velocities: Mapping[str, Any],
        images: Any,
        labels: Any,
        changes: Changes | None = None,
    ) -> None:
        self.statement, self.changes = statement, changes or {}
        self.images, self.labels = images, labels
        self.shapes = columns(statement) | limb_columns(statement)
        self.columns: Columns = {}
        self._state(weights, velocities)
        self._select()
        for t in range(statement.steps):
            self._forward(t)
            self._backward(t)
        for name, values in limbs(Tensors(statement, self.columns)).items():
            self.put(name, values)

    # How columns are made.

    def put(self, name: str, values: Any) -> Array:
        """A whole column."""
        array = np.asarray(values, dtype=object).reshape(self.shapes[name])
        return self._changed(name, array, ())

    def put_step(self, name: str, t: int, values: Any) -> Array:
        """What a column holds for step t, without the first axis."""
        shape = self.shapes[name][1:]
        return self._changed(name, np.asarray(values, dtype=object).reshape(shape), (t,))

    def _changed(self, name: str, array: Array, at: tuple[int, ...]) -> Array:
        array = np.asarray(least(array), dtype=object)
        for cell, change in self.changes.get(name, {}).items():
            if cell[: len(at)] == at:
                array[cell[len(at) :]] = signed(change(array[cell[len(at) :]]))
        if at:
            if name not in self.columns:
                self.columns[name] = zeros(*self.shapes[name])
            self.columns[name][at[0]] = array
        else:
            self.columns[name] = array
        return array

    def at(self, name: str, t: int) -> Array:
        found: Array = self.columns[name][t]
        return found

    # Section 4: state and selection.

    def _state(self, weights: Mapping[str, Any], velocities: Mapping[str, Any]) -> None:
        for geometry in self.statement.geometry:
            for part in geometry.parts:
                for source, kind in ((weights, ""), (velocities, ".velocity")):
                    if f"{part.name}{kind}@0" in self.shapes:
                        name = geometry.block.name + (".bias" if part.offset is None else ".weight")
                        self.put(f"{part.name}{kind}@0", self._piece(geometry, part.offset, source[name]))

    @staticmethod
    def _piece(geometry: Geometry, offset: int | None, tensor: Any) -> Array:
        values = exact.integers(tensor)
        if offset is None or geometry.block.kind == "linear":
            return values
        y, x = geometry.offsets[offset]
        return values[:, :, y, x]

    def _select(self) -> None:
        statement = self.statement
        samples, sources, shape = statement.samples, [], statement.positions
        public = np.array(statement.public_index, dtype=object).reshape(shape)
        honest = public % samples
        found = zeros(*shape)
        for j in range(statement.index_bits):
            found = found + 2**j * self.put(f"bit{j}", honest >> j & 1)
        self.put("Q", (public - found) * inverse(samples))
        sources = [int(v) if 0 <= v < samples else int(h) for v, h in zip(found.flat, honest.flat, strict=True)]
        self.put("P", exact.integers(np.asarray(self.images)[sources]))
        self.put("hl", [[int(o == self.labels[row]) for o in range(statement.spec.classes)] for row in sources])

    # Section 5: one step forward.

    def _x(self, index: int, t: int) -> Array:
        if index == 0:
            return self.at("P", t) - 128
        found: Array = sum(self.at(name, t) for name in self.statement.geometry[index - 1].outputs)  # type: ignore[assignment]
        return found

    def _forward(self, t: int) -> None:
        for geometry in self.statement.geometry:
            x = self._x(geometry.index, t)
            z = [
                exact.rnd(least(self._accumulate(geometry, i, x, t)), geometry.shift)
                for i in range(len(geometry.cells))
            ]
            if not geometry.last:
                self._activate(geometry, z, t)
            elif self.statement.spec.loss.kind == "cross_entropy":
                self._cross_entropy(geometry, z[0], t)
            else:
                self.put_step("z", t, z[0])

    def _accumulate(self, geometry: Geometry, cell: int, x: Array, t: int) -> Array:
        result = geometry.block.result
        found = zeros(len(x), result[0], result[1] * result[2])
        for part in geometry.parts:
            weight = self.columns[f"{part.name}@{t}"]
            if part.offset is None:
                found = found + 2**geometry.input_exponent * weight[:, None]
            else:
                found = found + np.matmul(weight.reshape(result[0], -1), seen(geometry, cell, part.offset, x))
        return found.reshape(len(x), *result)

    def _activate(self, geometry: Geometry, z: list[Array], t: int) -> None:
        relu, cells = geometry.block.relu, range(len(geometry.cells))
        if not geometry.gated:
            for i in cells:
                self.put_step(geometry.y(i), t, z[i])
            return
        if geometry.shared:
            top = np.maximum.reduce(z)
            y = [self.put_step(geometry.y(0), t, np.maximum(top, 0) if relu else top)] * len(z)
        else:
            y = [self.put_step(geometry.y(i), t, np.maximum(z[i], 0)) for i in cells]
        d = [self.put_step(geometry.d(i), t, y[i] - z[i]) for i in cells]
        z = [y[i] - d[i] for i in cells]
        top, taken = (np.maximum.reduce(z) if geometry.shared else None), zeros(*z[0].shape)
        for i in cells:
            h = (z[i] == top) & (taken == 0) if geometry.shared else np.ones(z[i].shape, dtype=bool)
            h = (h & (z[i] > 0) if relu else h).astype(int).astype(object)
            taken = taken + h
            self.put_step(geometry.h(i), t, h)

    def _cross_entropy(self, geometry: Geometry, z: Array, t: int) -> None:
        spec, block = self.statement.spec, geometry.block
        f, g = block.error.exponent, (block.activation.exponent + 4) // 2
        z = z.reshape(len(z), -1)
        m = self.put_step("M", t, z.max(axis=1))[:, None]
        d = self.put_step("dM", t, m - z).reshape(z.shape)
        first = (m - d).argmax(axis=1)
        self.put_step("hM", t, np.arange(z.shape[1])[None] == first[:, None])
        cap = 4**g - 1
        cp = self.put_step("cp", t, d > cap).reshape(z.shape)
        c = np.where(cp == 1, cap, d)
        hi = self.put_step("hi", t, c >> g).reshape(z.shape)
        lo = self.put_step("lo", t, c - (hi << g)).reshape(z.shape)
        th, tl = (
            self.put_step(name, t, [found(table, x) for x in entries.flat]).reshape(z.shape)
            for name, table, entries in (("th", spec.loss.high, hi), ("tl", spec.loss.low, lo))
        )
        e = self.put_step("e", t, exact.rnd(least(th * tl), 20)).reshape(z.shape)
        s = least(e.sum(axis=1))
        parity = self.put_step("parity", t, s % 2)
        numerator = least((e << f) + ((s - parity) * HALF)[:, None])
        self.put_step("p", t, [[n // b if b else 0 for n in row] for row, b in zip(numerator, s, strict=True)])

    # Section 5: backward and update.

    def _backward(self, t: int) -> None:
        statement = self.statement
        last = statement.geometry[-1]
        top = top_error(statement, {name: self.columns[name][t] for name in ("p", "z", "hl") if name in self.columns})
        errors = [top.reshape(len(top), last.block.outputs, -1)]
        for geometry in reversed(statement.geometry):
            x, below = self._x(geometry.index, t), []
            if geometry.index:
                below = self._pass_down(geometry, errors, t)
            for part in geometry.parts:
                gradient = zeros(part.shape[0], int(np.prod(part.shape[1:])))
                for i, dz in enumerate(errors):
                    if part.offset is None:
                        gradient = gradient + dz.sum(axis=(0, 2))[:, None]
                        continue
                    met = seen(geometry, i, part.offset, x)
                    for b in range(len(dz)):
                        gradient = gradient + dz[b] @ met[b].T
                self._update(part.name, gradient.reshape(part.shape), part.shift, part.velocity, t)
            errors = below

    def _pass_down(self, geometry: Geometry, errors: list[Array], t: int) -> list[Array]:
        """dz_i of the block below."""
        below = self.statement.geometry[geometry.index - 1]
        batch = len(errors[0])
        d = zeros(1, batch, int(np.prod(geometry.channels)), *(geometry.space or (1, 1)))
        for i, dz in enumerate(errors):
            for part in geometry.parts:
                if part.offset is not None:
                    weight = self.columns[f"{part.name}@{t}"].reshape(part.shape[0], -1)
                    back = np.matmul(weight.T, dz).reshape(1, batch, -1, *(geometry.windows or (1, 1)))
                    scatter(geometry, i, part.offset, back, d)
        shift = self.statement.spec.error_shift(geometry.index)
        dy = self.put_step(below.dy, t, exact.rnd(least(d), shift))
        passed = [dy * self.at(below.h(i), t) if below.gated else dy for i in range(len(below.cells))]
        return [error.reshape(batch, below.block.outputs, -1) for error in passed]

    def _update(self, name: str, gradient: Array, s: int, velocity: Any, t: int) -> None:
        m, j = self.statement.multipliers[t], self.statement.spec.momentum
        if j is not None:
            u = velocity.shift
            before = self.columns[f"{name}.velocity@{t}"]
            total = least(((1 << j) - 1 << u) * before + (gradient << j))
            gradient, s = self.put(f"{name}.velocity@{t + 1}", exact.rnd(total, j + u)), s - u
        self.put(f"{name}@{t + 1}", self.columns[f"{name}@{t}"] - exact.rnd(least(m * gradient), s))

    # Section 6: limbs of what is looked up, and multiplicities.


def found(table: list[int], index: int) -> int:
    """An entry, 0 where there is none."""
    return table[index] if 0 <= index < len(table) else 0


def limbs(tensors: Tensors) -> Columns:
    """The upper limbs of all that is looked up in limbs; the highest takes whatever is left (section 6)."""
    statement = replace(tensors.statement, without=frozenset())
    names, width, found = limb_columns(statement), statement.table_bits, {}
    for family in families(statement):
        if not isinstance(family, Lookup) or f"{family.name}.limb1" not in names:
            continue
        own = [term for term in family.sum if not (isinstance(term[1], Own) and term[1].name in names)]
        value, i = cell_values(tensors, replace(family, sum=tuple(own))) % P, 1
        while (name := f"{family.name}.limb{i}") in names:
            last = f"{family.name}.limb{i + 1}" not in names
            found[name] = value >> (width * i) if last else value >> (width * i) & ((1 << width) - 1)
            i += 1
    return found


def cell_values(tensors: Tensors, family: Lookup) -> Array:
    """What a lookup's sum is at each of its cells."""
    total: Any = family.constant
    for coefficient, term in family.sum:
        total = total + coefficient * term.array(tensors, family.shape)
    full = np.broadcast_to(np.asarray(total, dtype=object), padded(family.shape))
    return full[tuple(slice(size) for size in family.shape)]
