"""The direct check: every identity at every cell, without any protocol. It names all families that fail.

The protocol must accept what this accepts, and reject what this rejects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainproof.reference.iop.field import P
from trainproof.reference.iop.identities import SELECTION, Lookup, Zero, families, rows
from trainproof.reference.iop.layout import Statement, packing
from trainproof.reference.iop.multilinear import Array, pad, padded
from trainproof.reference.iop.tensors import Tensors, zeros
from trainproof.reference.iop.witness import Columns, cell_values


def failing(statement: Statement, columns: Columns, data: Columns) -> list[str]:
    """The kinds of constraints that do not hold, sorted; none if the witness is valid."""
    tensors = Tensors(statement, columns)
    found = set(selection(statement, columns, data))
    for family in families(statement):
        if family.kind not in found and not holds(statement, tensors, family):
            found.add(family.kind)
    return sorted(found)


def holds(statement: Statement, tensors: Tensors, family: Lookup | Zero) -> bool:
    if isinstance(family, Zero):
        return not (zero_values(tensors, family) % P).any()
    values = cell_values(tensors, family) % P
    if family.pair is None:
        return bool((values < 1 << int(family.table[1:])).all())
    contents = set(zip(*rows(statement, family.table), strict=True))
    return all(entry in contents for entry in zip(values.flat, (tensors.columns[family.pair] % P).flat, strict=True))


def zero_values(tensors: Tensors, family: Zero) -> Array:
    total: Any = 0
    for coefficient, terms in family.products:
        product: Any = coefficient
        for term in terms:
            product = product * term.array(tensors, family.shape)
        total = total + product
    full = np.broadcast_to(np.asarray(total, dtype=object), padded(family.shape))
    return full[tuple(slice(size) for size in family.shape)]


def selection(statement: Statement, columns: Columns, data: Columns) -> list[str]:
    """Each sample of the batch is the sum of the dataset's rows, weighted by Π_j (bit_j or 1 − bit_j)."""
    shape = statement.spec.input.shape
    _, low, used = packing(shape)
    bad = set()
    for t, b in np.ndindex(*statement.positions):
        weights = [1]
        for j in reversed(range(statement.index_bits)):
            bit = columns[f"bit{j}"][t, b]
            weights = [w * x % P for w in weights for x in (1 - bit, bit)]
        chosen = np.array(weights[: statement.samples], dtype=object)
        blocks = pad(columns["P"][t, b]).reshape(-1, 1 << low)
        packed: Any = sum((256**i * blocks[i] for i in range(used)), zeros(1 << low))
        if ((packed - chosen @ data["D"]) % P).any():
            bad.add(SELECTION[0])
        label = sum(o * h for o, h in enumerate(columns["hl"][t, b].flat))
        if (label - chosen @ data["L"]) % P:
            bad.add(SELECTION[1])
    return [kind for kind in SELECTION if kind in bad and kind not in statement.without]
