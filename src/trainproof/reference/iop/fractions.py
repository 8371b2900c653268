"""The lookup argument: one sum of fractions over all lookups and tables (docs/identities.md, 13).

Σ over lookups 1/(α − x − β·y − γ·tag) = Σ over table rows multiplicity/(α − x − β·y − γ·tag), proven as the root of a
binary tree of fractions. What is looked up and what it is looked up in are leaves of the same tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trainproof.reference.iop.channel import Channel, Term
from trainproof.reference.iop.field import Element, P
from trainproof.reference.iop.identities import Lookup, families, rows, tag
from trainproof.reference.iop.layout import Statement
from trainproof.reference.iop.multilinear import Array, Point, Shape, bits, eq, eq_index, eq_table, variables
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.vector import Vector, concatenate, inner
from trainproof.reference.iop.witness import Columns, cell_values


class Slot(NamedTuple):
    """A lookup, or the rows of a table (``lookup`` None), and where its leaves begin: 2^size from ``start``."""

    table: str
    lookup: Lookup | None
    size: int
    start: int


def tables(statement: Statement) -> list[str]:
    """The tables that some lookup uses, in order of their tags."""
    return sorted({family.table for family in families(statement) if isinstance(family, Lookup)}, key=tag)


def multiplicity(table: str) -> str:
    """The column that counts how often each row of a table is looked up."""
    return f"table.{table}"


def multiplicity_columns(statement: Statement) -> dict[str, Shape]:
    return {multiplicity(table): (len(rows(statement, table)[0]),) for table in tables(statement)}


def slots(statement: Statement) -> tuple[list[Slot], int]:
    """All slots, the largest first so that each is aligned; and the variables of the whole tree."""
    parts: list[tuple[int, str, Lookup | None]] = [
        (variables(family.shape), family.table, family) for family in families(statement) if isinstance(family, Lookup)
    ]
    parts += [(bits(len(rows(statement, table)[0])), table, None) for table in tables(statement)]
    parts.sort(key=lambda part: -part[0])
    found, start = [], 0
    for count, table, lookup in parts:
        found.append(Slot(table, lookup, count, start))
        start += 1 << count
    return found, bits(start)


def multiplicities(tensors: Tensors) -> Columns:
    """The honest counts; a value that is in no table is not counted."""
    statement, columns = tensors.statement, tensors.columns
    counts: dict[str, Counter[tuple[int, int]]] = {table: Counter() for table in tables(statement)}
    for family in families(statement):
        if isinstance(family, Lookup):
            values = cell_values(tensors, family) % P
            pairs = (columns[family.pair] % P).flat if family.pair else [0] * values.size
            counts[family.table].update(zip(values.flat, pairs, strict=True))
    found: Columns = {}
    for table, count in counts.items():
        entries = [count[row] for row in zip(*rows(statement, table), strict=True)]
        found[multiplicity(table)] = np.array(entries, dtype=object)
    return found


# The tree.


def leaves(
    statement: Statement, tensors: Tensors, alpha: Element, beta: Element, gamma: Element
) -> tuple[Vector, Vector]:
    """The prover's numerators and denominators; empty leaves are 0/1."""
    layout, total = slots(statement)
    numerators, denominators = [], []
    for slot in layout:
        if slot.lookup is not None:
            x, y = whole(tensors, slot.lookup), None
            if slot.lookup.pair is not None:
                y = tensors.table(slot.lookup.pair).reshape(-1)
            mask: Array = np.zeros(tuple(1 << bits(size) for size in slot.lookup.shape), dtype=object)
            mask[tuple(slice(size) for size in slot.lookup.shape)] = 1
            numerators.append(Vector.of(mask.reshape(-1)))
        else:
            x, y = (Vector.of(column) for column in rows(statement, slot.table))
            numerators.append(Vector.of([0]) - tensors.table(multiplicity(slot.table)))
        bottom = Vector.elements_of([alpha - gamma * tag(slot.table)]) - x
        denominators.append(bottom if y is None else bottom - y * beta)
    free = (1 << total) - sum(len(part) for part in numerators)
    if free:
        numerators.append(Vector.of([0] * free))
        denominators.append(Vector.of([1] * free))
    return concatenate(numerators), concatenate(denominators)


def whole(tensors: Tensors, family: Lookup) -> Vector:
    """A lookup's polynomial on all cells, padding included, flat."""
    total: Vector | None = None
    full = tuple(1 << bits(size) for size in family.shape)
    for coefficient, term in family.sum:
        array = np.broadcast_to(term.array(tensors, family.shape), full)
        part = Vector.of(array).reshape(-1) * (coefficient % P)
        total = part if total is None else total + part
    constant = Vector.of([family.constant] * int(np.prod(full)))
    return constant if total is None else total + constant


def fraction_tree(
    channel: Channel, count: int, compute: Callable[[], tuple[Vector, Vector]]
) -> tuple[Point, Element, Element]:
    """Show that 2^count fractions add up to 0: what is left is their numerator and denominator at one point."""
    levels: list[tuple[Vector, Vector]] = []

    def root() -> list[Element]:
        levels.append(compute())
        for _ in range(count):
            n, d = levels[-1]
            levels.append((n[0::2] * d[1::2] + n[1::2] * d[0::2], d[0::2] * d[1::2]))
        return [part.element() for part in levels[-1]]

    numerator, denominator = channel.values("root", "", 2, root)
    channel.require(numerator == 0, "root: the fractions do not add up to 0")
    channel.require(denominator != 0, "root: a denominator is 0")
    point: Point = ()
    for level in range(count):
        weight = channel.challenge()

        def halves(level: int = level) -> list[Vector]:
            return [part[side::2] for part in levels[count - 1 - level] for side in (0, 1)]

        def terms(point: Point = point, weight: Element = weight) -> list[Term]:
            n0, n1, d0, d1 = halves()
            e = eq_table(point)
            return [Term(1, [e, n0, d1]), Term(1, [e, d0, n1 + d1 * weight])]  # n0·d1 + n1·d0 + weight·d0·d1

        claim = numerator + weight * denominator
        place, last = channel.sumcheck(f"level {level}", level, 3, claim, terms)

        def split(place: Point = place) -> list[Element]:
            e = eq_table(place)
            return [inner(part, e).element() for part in halves()]

        n0, n1, d0, d1 = channel.values("halves", f"level {level}", 4, split)
        channel.require(eq(point, place) * (n0 * d1 + n1 * d0 + weight * d0 * d1) == last, f"level {level}")
        side = channel.challenge()
        numerator, denominator = n0 + side * (n1 - n0), d0 + side * (d1 - d0)
        point = (*place, side)
    return point, numerator, denominator


def at_slot(point: Point, slot: Slot) -> tuple[Element, Point]:
    """The weight of a slot's leaves at the tree's point, and the point within the slot."""
    upper = len(point) - slot.size
    return eq_index(point[:upper], slot.start >> slot.size), point[upper:]
