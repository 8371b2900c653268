"""Claims on Z, D, G and dz of a block, each reduced by sumcheck to columns (docs/identities.md, 9, 11 and 12)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from trainproof.reference.iop.channel import Channel
from trainproof.reference.iop.field import Element
from trainproof.reference.iop.identities import gradient_weights
from trainproof.reference.iop.layout import Geometry, Statement
from trainproof.reference.iop.ledger import Ledger
from trainproof.reference.iop.multilinear import Point, bits, eq_index, listed, mask, split, variables
from trainproof.reference.iop.sums import Sums
from trainproof.reference.iop.terms import Backward, Forward, Gradient
from trainproof.reference.iop.weights import Weight, combine


class Blocks(ABC):
    """The part of the protocol that is the same for every block."""

    statement: Statement
    channel: Channel
    ledger: Ledger

    @property
    @abstractmethod
    def sums(self) -> Sums:
        """The channel's sums of products."""

    @abstractmethod
    def column(self, name: str, point: Point) -> Element:
        """The value of a column at a point, as the prover sends it; a claim on it is added."""

    # Columns that stand for more than one.

    def x(self, geometry: Geometry, point: Point) -> Element:
        """X(t, b, c, q)."""
        if geometry.index == 0:
            return self.column("P", point) - mask(self.statement.source_shape(0), point) * 128
        found = Element(0)
        for name in self.statement.geometry[geometry.index - 1].outputs:
            found = found + self.column(name, point)
        return found

    def weights(self, geometry: Geometry, rho: Point, place: Point, point: Point) -> list[Element]:
        """Σ_t eq(ρ_t, t)·eq(place_t, t)·W_t^κ(point), for each κ."""
        steps = [eq_index(rho, t) * eq_index(place, t) for t in range(self.statement.steps)]
        return [
            combine(steps, [self.column(f"{part.name}@{t}", point) for t in range(self.statement.steps)])
            for part in geometry.parts
            if part.offset is not None
        ]

    def shift(self, geometry: Geometry, cell: int, offset: int, w: Point, q: Point) -> Element:
        """Σ over the windows w and positions q that meet: eq(ρ_w, w)·eq(ρ_q, q), axis by axis."""
        found = Element(1)
        windows, space = split(geometry.windows, w), split(geometry.space, q)
        for axis in range(len(geometry.space)):
            total = Element(0)
            for here, there in geometry.meets(axis, cell, offset):
                total = total + eq_index(windows[axis], here) * eq_index(space[axis], there)
            found = found * total
        return found

    # 6.

    def forward(self, geometry: Geometry) -> None:
        """Section 9: Σ_i u_i·Z_i at a point."""
        if not self.ledger.owes(Forward(geometry.index, 0).key):
            return
        claims = [self.ledger.take(Forward(geometry.index, i).key) for i in range(len(geometry.cells))]
        point = same([claim.point for claim in claims])
        u = self.channel.challenges(len(claims))
        value = combine(u, [claim.value for claim in claims])
        t, b, o, *w = split(self.statement.result_shape(geometry.index), point)
        if geometry.block.bias:
            for step in range(self.statement.steps):
                bias = self.column(f"{geometry.index}.bias@{step}", o)
                value = value - sum(u, Element(0)) * eq_index(t, step) * bias * 2**geometry.input_exponent
        count = len(t) + variables((*geometry.channels, *geometry.space))
        place, last = self.channel.sumcheck(
            f"forward {geometry.index}", count, 2, value, lambda: self.sums.forward(geometry, point, u)
        )
        step_, channels, q = cut(place, len(t), variables(geometry.channels))
        factor = Element(0)
        for kappa, weight in enumerate(self.weights(geometry, t, step_, o + channels)):
            shifts = [self.shift(geometry, i, kappa, w[0] + w[1], q) for i in range(len(u))]
            factor = factor + weight * combine(u, shifts)
        x = self.x(geometry, step_ + b + channels + q)
        self.channel.require(x * factor == last, f"forward {geometry.index}")

    # 7.

    def backward(self, geometry: Geometry) -> None:
        """Section 11: D at a point."""
        if not self.ledger.owes(Backward(geometry.index).key):
            return
        point, value = self.ledger.take(Backward(geometry.index).key)
        t, b, rest = cut(point, *(bits(size) for size in self.statement.positions))
        channels, q, _ = cut(rest, variables(geometry.channels), variables(geometry.space))
        shape, label = self.statement.result_shape(geometry.index), f"backward {geometry.index}"
        count = len(t) + variables(shape[2:])
        place, last = self.channel.sumcheck(label, count, 2, value, lambda: self.sums.backward(geometry, point))
        step, o, w = cut(place, len(t), bits(shape[2]))
        weights = self.weights(geometry, t, step, o + channels)
        factors = [
            combine([self.shift(geometry, i, kappa, w, q) for kappa in range(len(weights))], weights)
            for i in range(len(geometry.cells))
        ]
        self._claim_errors(geometry, label, step + b + o + w, factors, last)

    def _claim_errors(
        self, geometry: Geometry, label: str, point: Point, factors: list[Element], last: Element
    ) -> None:
        """Σ_i factor_i·dz_i(point) = last; the dz_i are sent, and owed in one random combination."""
        values = self.channel.values("errors", label, len(factors), lambda: self.sums.errors(geometry, point))
        self.channel.require(combine(factors, values) == last, label)
        shares = self.channel.challenges(len(values))
        weight = Weight.point(self.statement.result_shape(geometry.index), point)
        self.pending(geometry).append((weight, list(shares), combine(shares, values)))

    # 8.

    def gradients(self, geometry: Geometry) -> None:
        """Section 12: Σ_t c_t·Σ_κ ω_κ·G_t^κ at a point, and the bias's."""
        claims = {
            part: self.ledger.take(Gradient(part, ()).key)
            for part in geometry.parts
            if self.ledger.owes(Gradient(part, ()).key)
        }
        kernels = [claim for part, claim in claims.items() if part.offset is not None]
        if kernels:
            point = same([claim.point for claim in kernels])
            omega = self.channel.challenges(len(kernels))
            self._weight_gradient(geometry, point, omega, combine(omega, [claim.value for claim in kernels]))
        for claim in (claim for part, claim in claims.items() if part.offset is None):
            shape = self.statement.result_shape(geometry.index)
            t, o, _ = cut(claim.point, bits(shape[0]), bits(shape[2]))
            sums = [Weight.ones(size) for size in (shape[1], shape[3], shape[4])]
            weight = Weight(shape, (self._steps(t), sums[0], o, sums[1], sums[2]))
            self.pending(geometry).append((weight, [Element(1)] * len(geometry.cells), claim.value))

    def _steps(self, t: Point) -> list[Element]:
        """c_t = eq(ρ_t, t)·m_t (1 for m_t with momentum)."""
        return [eq_index(t, step) * m for step, m in enumerate(gradient_weights(self.statement))]

    def _weight_gradient(self, geometry: Geometry, point: Point, omega: Point, value: Element) -> None:
        shape, label = self.statement.result_shape(geometry.index), f"gradient {geometry.index}"
        t, o, c = cut(point, bits(shape[0]), bits(shape[2]))
        steps = self._steps(t)
        channels = split(geometry.channels, c)
        samples = variables(self.statement.positions)
        count = samples + variables(geometry.space)
        place, last = self.channel.sumcheck(
            label, count, 3, value, lambda: self.sums.gradient(geometry, steps, o, channels, omega)
        )
        sample, q, _ = cut(place, samples, variables(geometry.space))
        (met,) = self.channel.values("met", label, 1, lambda: [self.sums.met(geometry, o, omega, place)])
        x = self.x(geometry, sample + c + q)
        self.channel.require(listed(steps, sample[: len(t)]) * x * met == last, label)
        label = f"windows {geometry.index}"
        w, last = self.channel.sumcheck(
            label,
            variables(shape[3:]),
            2,
            met,
            lambda: self.sums.windows(geometry, sample, o, omega, q),
        )
        factors = [
            combine(omega, [self.shift(geometry, i, kappa, w, q) for kappa in range(len(omega))])
            for i in range(len(geometry.cells))
        ]
        self._claim_errors(geometry, label, sample + o + w, factors, last)

    # 9.

    def pending(self, geometry: Geometry) -> list[tuple[Weight, list[Element], Element]]:
        """Claims Σ_i share_i·Σ_x weight(x)·dz_i(x) = value of a block that wait for its sumcheck."""
        return self.ledger.errors.setdefault(geometry.index, [])

    def errors(self, geometry: Geometry) -> None:
        """Section 11: all claims on a block's dz in one sumcheck."""
        claims = self.ledger.errors.pop(geometry.index, [])
        if not claims:
            return
        shape, label = self.statement.result_shape(geometry.index), f"errors {geometry.index}"
        mix = self.channel.challenges(len(claims))
        value = combine(mix, [value for _, _, value in claims])
        weights = [
            (weight, [share * part for part in shares]) for (weight, shares, _), share in zip(claims, mix, strict=True)
        ]
        degree = 3 if geometry.gated else 2
        point, last = self.channel.sumcheck(
            label, variables(shape), degree, value, lambda: self.sums.weighted_errors(geometry, weights)
        )
        factors = [
            combine([shares[i] for _, shares in weights], [weight.evaluate(point) for weight, _ in weights])
            for i in range(len(geometry.cells))
        ]
        if geometry.gated:
            chosen = combine(factors, [self.column(geometry.h(i), point) for i in range(len(factors))])
            found = chosen * self.column(geometry.dy, point)
        else:
            found = sum(factors, Element(0)) * self._error(geometry, point)
        self.channel.require(found == last, label)

    def _error(self, geometry: Geometry, point: Point) -> Element:
        """dz at a point where nothing selects."""
        if not geometry.last:
            return self.column(geometry.dy, point)
        a, f = geometry.block.activation.exponent, geometry.block.error.exponent
        if self.statement.spec.loss.kind == "cross_entropy":
            return self.column("p", point) - self.column("hl", point) * (1 << f)
        return (self.column("z", point) - self.column("hl", point) * (1 << a)) * (1 << (f - a))


def same(points: list[Point]) -> Point:
    """The point that all claims of a family share; the layout of lookups sees to that."""
    if any(point != points[0] for point in points):
        raise AssertionError("claims of one family at different points")
    return points[0]


def cut(point: Point, first: int, second: int) -> tuple[Point, Point, Point]:
    """The first coordinates, the next ones, and the rest."""
    return point[:first], point[first : first + second], point[first + second :]
