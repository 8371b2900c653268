"""Witnesses with one lie, everything after it computed honestly (docs/identities.md, 16).

A witness is unique: whatever cell is changed, by whatever amount, it must be rejected. The state before the first step
is left alone: another one is another statement.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trainproof.exact.spec import EXP_BITS, SUM_BITS
from trainproof.reference.iop.field import inverse
from trainproof.reference.iop.fractions import multiplicity_columns
from trainproof.reference.iop.identities import committed
from trainproof.reference.iop.layout import Statement
from trainproof.reference.iop.multilinear import Shape


class Lie(NamedTuple):
    """Add ``delta`` to one cell of a column; ``name`` says how much that is."""

    column: str
    cell: tuple[int, ...]
    delta: int
    name: str

    def change(self, value: int) -> int:
        return value + self.delta


def kind(column: str) -> str:
    """What a column is, whatever its block, cell, offset, step or bit."""
    name = re.sub(r"\.limb\d+$", "", column)
    if name != column:
        return "limb of " + re.sub(r" \d+(\.\w+)*$", "", name)
    name = re.sub(r"@\d+$|^\d+\.", "", re.sub(r"^(\d+\..*)@\d+$", r"\1", column))
    if name.startswith("table."):
        return "multiplicity"
    return re.sub(r"\d+(?=\.|$)", "", name)


def lied_about(statement: Statement) -> dict[str, list[tuple[str, Shape]]]:
    """Every column that a prover can lie in, by kind; multiplicities too."""
    found: dict[str, list[tuple[str, Shape]]] = defaultdict(list)
    for column, shape in (committed(statement) | multiplicity_columns(statement)).items():
        if not column.endswith("@0"):
            found[kind(column)].append((column, shape))
    return dict(found)


def shifts(statement: Statement) -> list[int]:
    """Every power of two that something is divided by."""
    spec = statement.spec
    found = {1, 8, statement.table_bits, 2 * EXP_BITS - SUM_BITS, spec.blocks[-1].error.exponent}
    for index in range(len(spec.blocks)):
        found.add(spec.forward_shift(index))
        if index:
            found.add(spec.error_shift(index))
    for parameter in spec.parameters():
        found.add(parameter.shift)
        if spec.momentum is not None and parameter.velocity is not None:
            found |= {spec.momentum + parameter.velocity.shift, parameter.shift - parameter.velocity.shift}
    return sorted(s for s in found if s > 0)


def deltas(statement: Statement) -> list[tuple[str, int]]:
    """±1, ±2^s, and the fractions c/2^s of the field that a remainder could absorb."""
    found = [("+1", 1), ("-1", -1)]
    for s in shifts(statement):
        found += [(f"+2^{s}", 1 << s), (f"-2^{s}", -(1 << s))]
        found += [(f"{c}/2^{s}", c * inverse(1 << s)) for c in (1, -1, 3, (1 << s) - 1, 1 << (s // 2))]
    return found


def lies(statement: Statement, rng: random.Random, cells: int, each: int) -> Iterator[Lie]:
    """Of every kind of column up to ``cells`` cells, ``each`` different amounts for each of them."""
    amounts = deltas(statement)
    for columns in lied_about(statement).values():
        places = [(column, cell) for column, shape in columns for cell in np.ndindex(shape)]
        for column, cell in rng.sample(places, min(cells, len(places))):
            for name, delta in rng.sample(amounts, min(each, len(amounts))):
                yield Lie(column, cell, delta, name)
