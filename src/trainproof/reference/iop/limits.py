"""What can be proven: limits beyond those of training, each named (docs/identities.md, 15).

Every identity is an equation of integers that is checked modulo p. It holds over the integers if neither side can reach
2^62 when all looked-up values are in their ranges; ``check`` bounds each side by the ranges of the proof, which are
those of the specification or slightly wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from trainproof.errors import FormatError
from trainproof.exact import bounds
from trainproof.exact.spec import SUM_BITS, Spec
from trainproof.reference.iop.fractions import slots
from trainproof.reference.iop.identities import rounding
from trainproof.reference.iop.layout import Statement

SIDE: Final = 1 << 62  # neither side of an equation reaches it
SAMPLES: Final = 1 << 30
TABLE_BITS: Final = 20
LEAVES: Final = 27  # log2 of the lookups and table rows of one chunk


class Side(NamedTuple):
    """The largest absolute value of one side of an identity."""

    layer: str
    identity: str
    value: int


def check(statement: Statement) -> None:
    """Raise FormatError, naming the limit, if the statement is outside what the proof's identities are sound for.

    Features that have no identities would be refused here by name; version 1 of docs/exact.md has none.
    """
    spec, steps = statement.spec, statement.steps
    bounds.check(spec)
    if steps < 1 or steps & (steps - 1):
        raise FormatError("a chunk has a power of two of steps", name="steps", value=steps)
    if not 1 <= statement.samples <= SAMPLES:
        raise FormatError("the order's equation needs 1 to 2^30 samples", name="samples", value=statement.samples)
    if steps * spec.batch_size > statement.samples:
        mend = f"use chunks of at most {statement.samples // spec.batch_size} steps"
        raise FormatError("a chunk is longer than a pass", name="steps", value=steps, mend=mend)
    if not 1 <= statement.table_bits <= TABLE_BITS:
        raise FormatError("tables have 2^1 to 2^20 rows", name="table_bits", value=statement.table_bits)
    for side in sides(spec):
        if side.value >= SIDE:
            raise FormatError(f"{side.identity} may reach 2^62 and could wrap", name=side.layer, value=side.value)
    if slots(statement)[1] > LEAVES:
        raise FormatError("more than 2^27 lookups and table rows", name="steps", value=steps, mend="use fewer steps")


def largest_input(spec: Spec, index: int) -> int:
    """|X| of block ``index`` as the proof bounds it: y ≤ 2^(bits−1)."""
    if index == 0:
        return 128
    below = spec.blocks[index - 1]
    return 1 << (below.activation.bits - 1 + below.area)


def largest_error(spec: Spec, index: int) -> int:
    """|dz| of block ``index`` as the proof bounds it."""
    block = spec.blocks[index]
    a, f = block.activation.exponent, block.error.exponent
    if index + 1 < len(spec.blocks):
        return 1 << (block.error.bits - 1)
    if spec.loss.kind == "cross_entropy":
        return 1 << (f + 1)
    return ((1 << (block.activation.bits - 1)) + (1 << a)) << (f - a)


def sides(spec: Spec) -> Iterator[Side]:
    """Both sides of every identity that multiplies."""
    for index, block in enumerate(spec.blocks):
        x, dz, weight = largest_input(spec, index), largest_error(spec, index), 1 << (block.weight.bits - 1)
        forward, in_weight, in_bias, backward = bounds.terms(block)
        s = spec.forward_shift(index)
        total = forward * x * weight + (weight << spec.input_exponent(index)) + rounding(s)
        yield Side(block.name, "Z", total)
        yield Side(block.name, "2^s·z", 3 << (s + block.activation.bits - 1))  # |z| = |y − d| < 2^b + 2^(b−1)
        if index:
            below, s = spec.blocks[index - 1], spec.error_shift(index)
            yield Side(block.name, "D", backward * dz * weight + rounding(s))
            yield Side(block.name, "2^s·dy", 1 << (s + below.error.bits - 1))
        for kind, shift, velocity, terms in (
            ("weight", spec.weight_shift(index), block.weight_velocity, in_weight * x),
            ("bias", spec.bias_shift(index), block.bias_velocity, in_bias),
        ):
            if kind == "bias" and not block.bias:
                continue
            gradient = spec.batch_size * terms * dz
            if spec.momentum is not None and velocity is not None:
                j, u, v = spec.momentum, velocity.shift, 1 << (velocity.bits - 1)
                old = ((1 << j) - 1) * v << u
                yield Side(block.name, f"{kind}: 2^j·G and V", (gradient << j) + old + rounding(j + u))
                yield Side(block.name, f"{kind}: 2^(j+u)·V'", v << (j + u))
                gradient, shift = v, shift - u
            yield Side(block.name, f"{kind}: m·G", spec.rate.largest * gradient + rounding(shift))
            yield Side(block.name, f"{kind}: 2^s·(W − W')", 1 << (shift + block.weight.bits))
    last = spec.blocks[-1]
    if spec.loss.kind == "cross_entropy":
        f, s = last.error.exponent, spec.classes << (SUM_BITS + 1)
        yield Side(last.name, "2^f·e + S/2", (1 << (f + SUM_BITS + 1)) + s)
        yield Side(last.name, "p·S", s << (f + 1))
