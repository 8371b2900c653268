"""Every identity and lookup of the step proof, as data (docs/identities.md, 6 to 12).

``families`` is the whole list: the direct check looks at each cell of each, the protocol proves the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from trainproof.exact.spec import EXP_BITS, SUM_BITS
from trainproof.reference.iop.field import HALF
from trainproof.reference.iop.layout import Geometry, Part, Statement
from trainproof.reference.iop.layout import columns as witness_columns
from trainproof.reference.iop.multilinear import Shape, bits
from trainproof.reference.iop.terms import (
    Backward,
    Exponential,
    Forward,
    Gradient,
    Later,
    One,
    Own,
    Public,
    Sample,
    Share,
    Steps,
    Term,
    Total,
)

Sum = tuple[tuple[int, Term], ...]
"""A linear combination of terms."""


@dataclass(frozen=True)
class Lookup:
    """constant + Σ coefficient·term lies in a table at every cell of ``shape``; with ``pair``, (it, the column) does.

    ``kind`` names the family of constraints, ``where`` the block, cell or part: together they are unique.
    """

    kind: str
    where: str
    shape: Shape
    sum: Sum
    constant: int
    table: str
    pair: str | None = None

    @property
    def name(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


@dataclass(frozen=True)
class Zero:
    """Σ coefficient·Π terms = 0 at every cell of ``shape``."""

    kind: str
    where: str
    shape: Shape
    products: tuple[tuple[int, tuple[Term, ...]], ...]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


Family = Lookup | Zero

SELECTION = ("selection of pixels", "selection of labels")
"""Families that are neither: the batch's rows are those of the dataset (protocol.select, direct.selection)."""


class Ranged(NamedTuple):
    """constant + Σ lies in [0, 2^bits): one lookup, or limbs."""

    kind: str
    where: str
    shape: Shape
    sum: Sum
    constant: int
    bits: int


def families(statement: Statement) -> list[Family]:
    """All identities that are proven, in the order of the protocol."""
    found: list[Family] = []
    for item in _all(statement):
        found += _limbs(item, statement.table_bits) if isinstance(item, Ranged) else [item]
    return [family for family in found if family.kind not in statement.without]


def limb_columns(statement: Statement) -> dict[str, Shape]:
    """The committed limbs of ranges beyond one table."""
    found: dict[str, Shape] = {}
    for item in _all(statement):
        if isinstance(item, Ranged):
            for family in _limbs(item, statement.table_bits)[1:]:
                ((_, term),) = family.sum
                assert isinstance(term, Own)
                found[term.name] = family.shape
    return found


def committed(statement: Statement) -> dict[str, Shape]:
    """Every column of the witness but the multiplicities."""
    return witness_columns(statement) | limb_columns(statement)


def rows(statement: Statement, table: str) -> tuple[list[int], list[int]]:
    """A table's first and second column; the second of a range R is 0."""
    if table in ("TH", "TL"):
        contents = statement.spec.loss.high if table == "TH" else statement.spec.loss.low
        return list(range(len(contents))), list(contents)
    size = 1 << int(table[1:])
    return list(range(size)), [0] * size


def tag(table: str) -> int:
    """A number for each table: m of the range R_m, 64 and 65 of TH and TL."""
    return {"TH": 64, "TL": 65}[table] if table in ("TH", "TL") else int(table[1:])


def _limbs(item: Ranged, table_bits: int) -> list[Lookup]:
    """Section 6: x = x_0 + 2^T·x_1 + …; all but x_0 are committed."""
    kind, where, shape, terms, constant, width = item
    if width <= table_bits:
        return [Lookup(kind, where, shape, terms, constant, f"R{width}")]
    name = f"{kind} {where}".rstrip()
    uppers = []
    for i in range(1, -(-width // table_bits)):
        column = Own(f"{name}.limb{i}")
        terms = (*terms, (-(1 << (i * table_bits)), column))
        size = min(table_bits, width - i * table_bits)
        uppers.append(Lookup(f"{kind}, limb", f"{where}.{i}", shape, ((1, column),), 0, f"R{size}"))
    return [Lookup(kind, where, shape, terms, constant, f"R{table_bits}"), *uppers]


def _all(statement: Statement) -> Iterator[Ranged | Lookup | Zero]:
    yield from _order(statement)
    yield from _selection(statement)
    for geometry in statement.geometry[:-1]:
        yield from _block(statement, geometry)
    if statement.spec.loss.kind == "cross_entropy":
        yield from _cross_entropy(statement)
    else:
        yield from _squared_error(statement)
    for geometry in statement.geometry[1:]:
        yield from _error(statement, geometry)
    for geometry in statement.geometry:
        for part in geometry.parts:
            yield from _update(statement, part)


def rounding(shift: int) -> int:
    """What is added before 2^shift is divided by."""
    return 1 << (shift - 1) if shift else 0


def bit(kind: str, where: str, shape: Shape, name: str) -> Zero:
    return Zero(kind, where, shape, ((1, (Own(name), Own(name))), (-1, (Own(name),))))


def index(statement: Statement) -> Sum:
    """idx = Σ 2^j·bit_j."""
    return tuple((1 << j, Own(f"bit{j}")) for j in range(statement.index_bits))


def _order(statement: Statement) -> Iterator[Ranged | Zero]:
    """Section 7."""
    n, size, width = statement.positions, statement.samples, statement.index_bits
    idx = index(statement)
    public = Public(tuple(statement.public_index))
    yield Zero("order", "", n, ((1, (public,)), (-size, (Own("Q"),)), *((-c, (term,)) for c, term in idx)))
    for j in range(width):
        yield bit("index bit", str(j), n, f"bit{j}")
    yield Ranged("quotient", "", n, ((1, Own("Q")),), 0, width)
    yield Ranged("index", "", n, tuple((-c, term) for c, term in idx), size - 1, width)


def _selection(statement: Statement) -> Iterator[Ranged | Zero]:
    """Section 8, but for the selection itself."""
    labels = statement.result_shape(len(statement.geometry) - 1)
    yield Ranged("byte", "", statement.source_shape(0), ((1, Own("P")),), 0, 8)
    yield bit("label bit", "", labels, "hl")
    yield _one("one label", labels, "hl")


def _one(kind: str, shape: Shape, name: str) -> Zero:
    """Σ over the classes = 1."""
    return Zero(kind, "", shape[:2], ((1, (Total(name, shape[2]),)), (-1, (One(),))))


def _block(statement: Statement, geometry: Geometry) -> Iterator[Ranged | Zero]:
    """Section 9: a hidden block forward, and the range of its error."""
    block, number, shape = geometry.block, geometry.index, statement.result_shape(geometry.index)
    count, width = len(geometry.cells), block.activation.bits
    for i in range(count):
        where, s = f"{number}.{i}", geometry.shift
        z: Sum = ((1, Own(geometry.y(i))),)
        if geometry.gated:
            z = (*z, (-1, Own(geometry.d(i))))
        yield Ranged(
            "forward remainder",
            where,
            shape,
            ((1, Forward(number, i)), *((-c << s, term) for c, term in z)),
            rounding(s),
            s,
        )
        if not geometry.gated:
            yield Ranged("output", where, shape, ((1, Own(geometry.y(i))),), block.activation.high + 1, width)
            continue
        later = range(i + 1, count) if geometry.shared else range(0)
        distance: Sum = ((1, Own(geometry.d(i))), *((-1, Own(geometry.h(j))) for j in later))
        yield Ranged("distance", where, shape, distance, 0, width)
        yield bit("selector bit", where, shape, geometry.h(i))
        yield Zero("selected", where, shape, ((1, (Own(geometry.h(i)), Own(geometry.d(i)))),))
    groups = [range(count)] if geometry.shared else [range(i, i + 1) for i in range(count)]
    for first, group in enumerate(groups if geometry.gated else []):
        where, y = f"{number}.{first}", Own(geometry.y(first))
        chosen: Sum = tuple((-1, Own(geometry.h(i))) for i in group)
        if block.relu:
            yield Ranged("output", where, shape, ((1, y), *chosen), 0, width - 1)
            yield Zero("dead", where, shape, ((1, (y,)), *((c, (y, h)) for c, h in chosen)))
        else:
            yield Ranged("output", where, shape, ((1, y),), block.activation.high + 1, width)
            yield Zero("one selected", where, shape, ((1, (One(),)), *((c, (h,)) for c, h in chosen)))
    yield Ranged("error", str(number), shape, ((1, Own(geometry.dy)),), block.error.high + 1, block.error.bits)


def _squared_error(statement: Statement) -> Iterator[Ranged]:
    """Section 10, mean-squared error."""
    geometry = statement.geometry[-1]
    shape, s, form = statement.result_shape(geometry.index), geometry.shift, geometry.block.activation
    terms: Sum = ((1, Forward(geometry.index, 0)), (-1 << s, Own("z")))
    yield Ranged("logit remainder", "", shape, terms, rounding(s), s)
    yield Ranged("logit", "", shape, ((1, Own("z")),), form.high + 1, form.bits)


def _cross_entropy(statement: Statement) -> Iterator[Ranged | Lookup | Zero]:
    """Section 10, softmax cross-entropy."""
    geometry, spec = statement.geometry[-1], statement.spec
    shape, s, form = statement.result_shape(geometry.index), geometry.shift, geometry.block.activation
    f, g = geometry.block.error.exponent, (form.exponent + 4) // 2
    logit: Sum = ((-1 << s, Sample("M")), (1 << s, Own("dM")))
    yield Ranged("logit remainder", "", shape, ((1, Forward(geometry.index, 0)), *logit), rounding(s), s)
    yield Ranged("maximum", "", shape[:2], ((1, Own("M")),), form.high + 1, form.bits)
    yield Ranged("logit distance", "", shape, ((1, Own("dM")), (-1, Later())), 0, form.bits)
    yield bit("maximum bit", "", shape, "hM")
    yield _one("one maximum", shape, "hM")
    yield Zero("maximum selected", "", shape, ((1, (Own("hM"), Own("dM"))),))
    cp, above = Own("cp"), ((1, Own("dM")), (-1 << g, Own("hi")), (-1, Own("lo")))
    yield Zero("below cap", "", shape, tuple(p for c, x in above for p in ((c, (x,)), (-c, (cp, x)))))
    capped = ((1 << g, (cp, Own("hi"))), (1, (cp, Own("lo"))), (1 - (1 << 2 * g), (cp,)))
    yield Zero("at cap", "", shape, capped)
    yield bit("cap bit", "", shape, "cp")
    yield Ranged("cap distance", "", shape, (*above, (-1, cp)), 0, form.bits)
    yield Lookup("high exponential", "", shape, ((1, Own("hi")),), 0, "TH", "th")
    yield Lookup("low exponential", "", shape, ((1, Own("lo")),), 0, "TL", "tl")
    q = 2 * EXP_BITS - SUM_BITS
    yield Ranged("exponential remainder", "", shape, ((1, Exponential()), (-1 << q, Own("e"))), rounding(q), q)
    yield Ranged("exponential", "", shape, ((1, Own("e")),), 0, SUM_BITS + 1)
    yield bit("parity bit", "", shape[:2], "parity")
    yield Ranged("probability", "", shape, ((1, Own("p")),), 0, f + 1)
    total, width = Total("e", spec.classes), SUM_BITS + bits(spec.classes)
    remainder: Sum = ((1 << f, Own("e")), (HALF, total), (-HALF, Sample("parity")), (-1, Share()))
    yield Ranged("probability remainder", "", shape, remainder, 0, width)
    complement: Sum = ((1, total), *((-c, term) for c, term in remainder))
    yield Ranged("probability complement", "", shape, complement, -1, width)


def _error(statement: Statement, geometry: Geometry) -> Iterator[Ranged]:
    """Section 11: the error that block ``geometry`` passes to the block below."""
    s, below = statement.spec.error_shift(geometry.index), statement.geometry[geometry.index - 1]
    terms: Sum = ((1, Backward(geometry.index)), (-1 << s, Own(below.dy)))
    yield Ranged("error remainder", str(below.index), statement.result_shape(below.index), terms, rounding(s), s)


def gradient_weights(statement: Statement) -> tuple[int, ...]:
    """What each step's gradient is multiplied by where it is claimed: m_t, or 1 with momentum."""
    return (1,) * statement.steps if statement.spec.momentum is not None else tuple(statement.multipliers)


def _update(statement: Statement, part: Part) -> Iterator[Ranged]:
    """Section 12."""
    form, k = statement.spec.blocks[part.block].weight, statement.steps
    kind, shape, s = "bias" if part.offset is None else "weight", (k, *part.shape), part.shift
    ones, m = (1,) * k, tuple(statement.multipliers)
    old, new = (tuple(f"{part.name}@{t + later}" for t in range(k)) for later in (0, 1))
    yield Ranged(kind, part.name, shape, ((1, Steps(new, ones)),), form.high + 1, form.bits)
    change: Sum = ((1, Gradient(part, gradient_weights(statement))),)
    j = statement.spec.momentum
    if j is not None:
        assert part.velocity is not None
        u, width = part.velocity.shift, part.velocity.bits
        before, after = (tuple(f"{part.name}.velocity@{t + later}" for t in range(k)) for later in (0, 1))
        yield Ranged(f"{kind} velocity", part.name, shape, ((1, Steps(after, ones)),), 1 << (width - 1), width)
        terms: Sum = (
            (((1 << j) - 1) << u, Steps(before, ones)),
            (1 << j, change[0][1]),
            (-1 << (j + u), Steps(after, ones)),
        )
        yield Ranged(f"{kind} velocity remainder", part.name, shape, terms, rounding(j + u), j + u)
        change, s = ((1, Steps(after, m)),), s - u
    moved: Sum = (*change, (-1 << s, Steps(old, ones)), (1 << s, Steps(new, ones)))
    yield Ranged(f"{kind} remainder", part.name, shape, moved, rounding(s), s)
