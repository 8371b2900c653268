"""The prover's tables for each sumcheck (docs/identities.md, 7 to 12). The verifier never runs any of this."""

from __future__ import annotations

from functools import reduce

import numpy as np

from trainproof.reference.iop.channel import Term
from trainproof.reference.iop.field import Element
from trainproof.reference.iop.identities import Zero
from trainproof.reference.iop.layout import Geometry, Statement
from trainproof.reference.iop.multilinear import (
    Array,
    Point,
    contract,
    eq_table,
    evaluate,
    pad,
    padded,
    split,
    variables,
)
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.vector import Vector, concatenate
from trainproof.reference.iop.weights import Weight


class Sums:
    """Tables from a witness and the dataset's columns (``data`` among the columns)."""

    def __init__(self, statement: Statement, tensors: Tensors) -> None:
        self.statement, self.tensors = statement, tensors

    def column(self, name: str, point: Point) -> Element:
        """The value of a column."""
        return evaluate(self.tensors.table(name).reshape(-1), point)

    def zero(self, group: list[Zero], rho: Point, weights: Point) -> list[Term]:
        """eq(ρ, x) · Σ weight·family, all families of one shape."""
        e, found = eq_table(rho), []
        known: dict[object, Vector] = {}
        for family, weight in zip(group, weights, strict=True):
            for coefficient, terms in family.products:
                for term in terms:
                    if term not in known:
                        array = np.broadcast_to(term.array(self.tensors, family.shape), padded(family.shape))
                        known[term] = Vector.of(array).reshape(-1)
                found.append(Term(weight * coefficient, [e, *(known[term] for term in terms)]))
        return found

    # Selection.

    def label(self, rho: Point) -> tuple[Vector, Vector]:
        """The classes' numbers, and hl(ρ, o)."""
        labels = self._lead("hl", rho)
        return Vector.of(list(range(len(labels)))), labels

    def _lead(self, name: str, point: Point) -> Vector:
        """A column with its first coordinates at a point, flat."""
        table = self.tensors.table(name).reshape(1 << len(point), -1)
        return contract(table, 0, eq_table(point))

    def rows(self, rho: Point) -> Vector:
        """S(row) = Σ_n eq(ρ, n) · Π_j of bit_j or 1 − bit_j."""
        found = eq_table(rho).reshape(1, -1)
        for j in reversed(range(self.statement.index_bits)):
            bit = self.tensors.table(f"bit{j}").reshape(1, -1)
            one = found * bit
            zero = found - one
            found = _interleave(zero, one)
        return found.sum(1)

    def select(self, rho: Point, places: Point, pixel: Element, label: Element) -> list[Term]:
        pixels, labels = self.tensors.table("D"), self.tensors.table("L")
        data = contract(pixels, 1, eq_table(places)) * pixel + labels * label
        return [Term(1, [data, self.rows(rho)])]

    def bits(self, rho: Point, sigma: Point) -> list[Term]:
        """eq(ρ, n) · Π_j (bit_j·σ_j + (1 − bit_j)(1 − σ_j)); σ has the highest bit first."""
        found = [eq_table(rho)]
        for j, s in enumerate(reversed(sigma)):
            bit = self.tensors.table(f"bit{j}").reshape(-1)
            found.append(bit * (s + s - 1) + (1 - s))
        return [Term(1, found)]

    # Loss.

    def exponential(self, point: Point) -> list[Term]:
        th, tl = (self.tensors.table(name).reshape(-1) for name in ("th", "tl"))
        return [Term(1, [eq_table(point), th, tl])]

    def share(self, sample: Point, classes: Point) -> list[Term]:
        """eq · p(n, ρ_o) · S(n)."""
        p, e = (self.tensors.table(name).reshape(1 << len(sample), -1) for name in ("p", "e"))
        return [Term(1, [eq_table(sample), contract(p, 1, eq_table(classes)), e.sum(1)])]

    def later(self, sample: Point, classes: Point) -> list[Term]:
        """hM(ρ_n, o) · Σ_{o' < o} eq(ρ_o, o')."""
        e = eq_table(classes)
        sums = [Element(0)]
        for i in range(len(e) - 1):
            sums.append(sums[-1] + e[i : i + 1].element())
        return [Term(1, [self._lead("hM", sample), Vector.elements_of(sums)])]

    # Blocks.

    def _shifted(self, geometry: Geometry, cell: int, offset: int, weights: Vector, forward: bool) -> Vector:
        """Σ_w weights(w)·[q = …] over q (``forward``), or Σ_q weights(q)·[q = …] over w; flat, padded."""
        if not geometry.space:
            return weights
        windows, space = padded(geometry.windows), padded(geometry.space)
        rows, columns = (geometry.meets(axis, cell, offset) for axis in (0, 1))
        here = [w * windows[1] + v for w, _ in rows for v, _ in columns]
        there = [q * space[1] + r for _, q in rows for _, r in columns]
        source, target, size = (here, there, space) if forward else (there, here, windows)
        found = np.zeros(size[0] * size[1], dtype=object)
        found[target] = weights.packed[source]
        return Vector(found)

    def _weights(self, geometry: Geometry, t: int, axis: int, point: Point) -> list[Vector]:
        """W_t^κ(o, c) with o (axis 0) or c (axis 1) at a point, for each κ."""
        found = []
        for part in geometry.parts:
            if part.offset is not None:
                table = self.tensors.table(f"{part.name}@{t}")
                found.append(contract(table.reshape(table.shape[0], -1), axis, eq_table(point)))
        return found

    def _fold(self, array: Array, axis: int, points: list[Point]) -> Vector:
        """An array with one axis (or those from it on) at points; padded, flat but for that."""
        table = Vector.of(pad(array))
        for point in points:
            table = contract(table, axis, eq_table(point))
        return table

    def forward(self, geometry: Geometry, point: Point, u: Point) -> list[Term]:
        """X(t, ρ_b, c, q) · eq(ρ_t, t) · Σ_κ W_t^κ(ρ_o, c) · Σ_i u_i·shift_iκ(ρ_w, q)."""
        statement = self.statement
        t, b, o, *w = split(statement.result_shape(geometry.index), point)
        x = self._fold(self.tensors.x(geometry.index), 1, [b]).reshape(-1)
        window = eq_table(w[0] + w[1])
        shifts = []
        for kappa in range(len(geometry.offsets)):
            parts = [self._shifted(geometry, i, kappa, window, True) * u_i for i, u_i in enumerate(u)]
            shifts.append(reduce(Vector.__add__, parts))
        steps, found = eq_table(t), []
        for step in range(statement.steps):
            weights = self._weights(geometry, step, 0, o)
            products = [w_k.reshape(-1, 1) * s.reshape(1, -1) for w_k, s in zip(weights, shifts, strict=True)]
            found.append(reduce(Vector.__add__, products).reshape(-1) * steps[step : step + 1])
        return [Term(1, [x, concatenate(found)])]

    def backward(self, geometry: Geometry, point: Point) -> list[Term]:
        """Σ_i dz_i(t, ρ_b, o, w) · eq(ρ_t, t) · Σ_κ W_t^κ(o, ρ_c) · shift_iκ(w, ρ_q)."""
        statement = self.statement
        t, b, *rest = split(statement.source_shape(geometry.index), point)
        channels = sum(rest[: len(geometry.channels)], ())
        space = eq_table(sum(rest[len(geometry.channels) :], ()))
        steps, found = eq_table(t), []
        weights = [self._weights(geometry, step, 1, channels) for step in range(statement.steps)]
        for i in range(len(geometry.cells)):
            shifts = [self._shifted(geometry, i, kappa, space, False) for kappa in range(len(geometry.offsets))]
            factor = []
            for step in range(statement.steps):
                pairs = zip(weights[step], shifts, strict=True)
                products = [w_k.reshape(-1, 1) * s.reshape(1, -1) for w_k, s in pairs]
                factor.append(reduce(Vector.__add__, products).reshape(-1) * steps[step : step + 1])
            dz = self._fold(self.tensors.dz(geometry.index, i), 1, [b]).reshape(-1)
            found.append(Term(1, [dz, concatenate(factor)]))
        return found

    def _met(self, geometry: Geometry, o: Point, omega: Point) -> Vector:
        """U(t, b, q) = Σ_i Σ_w dz_i(t, b, ρ_o, w) · Σ_κ ω_κ·shift_iκ(w, q), flat."""
        total: Vector | None = None
        for i in range(len(geometry.cells)):
            dz = self._fold(self.tensors.dz(geometry.index, i), 2, [o])
            dz = dz.reshape(dz.shape[0] * dz.shape[1], -1)
            for kappa, weight in enumerate(omega):
                lines = [self._shifted(geometry, i, kappa, dz[n], True) for n in range(len(dz))]
                part = concatenate(lines) * weight
                total = part if total is None else total + part
        assert total is not None
        return total

    def gradient(self, geometry: Geometry, steps: list[Element], o: Point, c: list[Point], omega: Point) -> list[Term]:
        """c_t · X(t, b, ρ_c, q) · U(t, b, q)."""
        x = self._fold(self.tensors.x(geometry.index), 2, c).reshape(-1)
        each = len(x) // len(steps)
        weights = Vector.elements_of([s for s in steps for _ in range(each)])
        return [Term(1, [weights, x, self._met(geometry, o, omega)])]

    def met(self, geometry: Geometry, o: Point, omega: Point, place: Point) -> Element:
        """U at a point."""
        return evaluate(self._met(geometry, o, omega), place)

    def windows(self, geometry: Geometry, sample: Point, o: Point, omega: Point, q: Point) -> list[Term]:
        """Σ_i dz_i(τ, β, ρ_o, w) · Σ_κ ω_κ·shift_iκ(w, q*)."""
        found, space = [], eq_table(q)
        for i in range(len(geometry.cells)):
            shifts = [self._shifted(geometry, i, kappa, space, False) * w for kappa, w in enumerate(omega)]
            found.append(Term(1, [self._error(geometry, i, sample + o), reduce(Vector.__add__, shifts)]))
        return found

    def _error(self, geometry: Geometry, cell: int, lead: Point) -> Vector:
        """dz_i with its first coordinates at a point, flat."""
        table = Vector.of(pad(self.tensors.dz(geometry.index, cell))).reshape(1 << len(lead), -1)
        return contract(table, 0, eq_table(lead))

    def errors(self, geometry: Geometry, point: Point) -> list[Element]:
        """dz_i at a point, for each i."""
        return [
            evaluate(Vector.of(pad(self.tensors.dz(geometry.index, i))).reshape(-1), point)
            for i in range(len(geometry.cells))
        ]

    def weighted_errors(self, geometry: Geometry, weights: list[tuple[Weight, list[Element]]]) -> list[Term]:
        """Σ_i weight_i · h_i · dy, or Σ_i weight_i · dz where nothing selects."""
        shape = self.statement.result_shape(geometry.index)
        size, tensors = 1 << variables(shape), self.tensors
        cells = [Vector.of([0] * size) for _ in geometry.cells]
        for weight, shares in weights:
            table = weight.table()
            cells = [total + table * share for total, share in zip(cells, shares, strict=True)]
        if geometry.gated:
            dy = tensors.table(geometry.dy).reshape(-1)
            return [Term(1, [w, tensors.table(geometry.h(i)).reshape(-1), dy]) for i, w in enumerate(cells)]
        dz = Vector.of(pad(tensors.dz(geometry.index, 0))).reshape(-1)
        return [Term(1, [reduce(Vector.__add__, cells), dz])]


def _interleave(zero: Vector, one: Vector) -> Vector:
    """Rows of ``zero`` and ``one`` in turn: the next bit of the row's number, from the highest on."""
    return Vector(np.stack([zero.packed, one.packed], axis=1).reshape(-1, zero.shape[1]))
