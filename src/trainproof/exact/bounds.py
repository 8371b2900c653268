"""Worst-case sums of an exact training, and the check of a specification from anywhere (docs/exact.md section 9).

A binary64 sum of integers is exact, in any order, when the absolute values of its terms add up to less than 2^53. For
every accumulator the sum is taken where it has the most terms, with every factor at the end of its range: it is
attained, so a specification is refused only if some tensors within the ranges could make it inexact.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from math import log2, prod
from typing import Final, NamedTuple

import msgspec
import numpy as np

from trainproof.errors import FormatError
from trainproof.exact.spec import SUM_BITS, Block, Spec, Velocity
from trainproof.exact.tables import tables

EXACT: Final = 1 << 53  # sums of integers below it are exact in binary64
PROVABLE: Final = 1 << 62  # both sides of an equation stay below it, so that it can be proven modulo a prime of 64 bits
CELLS: Final = 1 << 32  # of one tensor of a batch, unfolded or not
PARAMETERS: Final = 1 << 30  # in all
SIDE: Final = 1 << 16  # rows or columns of a block's padded input; ``fullest`` looks at each
_INPUT: Final = 128  # largest |byte − 128|


class Bound(NamedTuple):
    """Largest sum of absolute values in ``accumulator`` of ``layer``; ``mend`` names the formats that it depends on.

    ``limit`` is 2^53 where training computes the sum; 2^62 for an equation that only a proof checks.
    """

    layer: str
    accumulator: str
    value: int
    limit: int
    mend: str

    @property
    def over(self) -> int:
        """Bits that are too many; 0 if ``value`` is below the limit."""
        return (self.value // self.limit).bit_length()

    @property
    def margin(self) -> int:
        """Bits that are left below the limit; negative if it is exceeded."""
        return (self.limit - 1).bit_length() - self.value.bit_length()


def bounds(spec: Spec) -> list[Bound]:
    """Return the bounds of all accumulators, block by block; then those of the loss.

    Expects what ``check_fields`` and ``check_shifts`` check. Source: docs/exact.md section 9.
    """
    found: list[Bound] = []
    for index in range(len(spec.blocks)):
        found += _forward(spec, index)
        found += _backward(spec, index)
    found += _loss(spec)
    return found


def check(spec: Spec) -> None:
    """Raise FormatError if ``spec`` is not a specification whose training is exact; it may come from a stranger.

    Nothing of the size of its tensors is allocated before it has been bounded. Of the bounds, those of training are
    enforced; those of a proof (limit 2^62) are the prover's.
    """
    check_fields(spec)
    check_loss(spec)
    _check_momentum(spec)
    check_shifts(spec)
    for block in spec.blocks:
        if block.initial > block.weight.high:
            raise FormatError("ρ is beyond the weight's range", name=block.name, value=block.initial)
    for bound in bounds(spec):
        if bound.limit == EXACT and bound.over:
            what = f"{bound.accumulator} may reach 2^{log2(bound.value):.1f}"
            bits = "bit" if bound.over == 1 else "bits"
            raise FormatError(f"{what}, {bound.over} {bits} over 2^53", name=bound.layer, mend=bound.mend)


# --- the terms of a sum


class Axis(NamedTuple):
    """Terms of the fullest sum along one axis: at an output position, a kernel offset, an input position."""

    forward: int
    weight: int
    error: int


@lru_cache(maxsize=1024)
def fullest(size: int, kernel: int, stride: int, padding: int, windows: int, window: int, sparse: bool) -> Axis:
    """Return the most terms along one axis; with ``sparse`` (max pooling) one output of each window has dz ≠ 0.

    The terms of a sum are always consecutive outputs or consecutive offsets, so that their number is a difference.
    """
    outputs = windows * window
    q = np.arange(outputs, dtype=np.int64) * stride - padding
    forward = np.minimum(kernel, size - q) - np.maximum(0, -q)

    def hit(first: np.ndarray, last: np.ndarray) -> int:
        first, last = np.maximum(first, 0), np.minimum(last, outputs - 1)
        empty = first > last
        if sparse:
            first, last = first // window, last // window
        return int(np.where(empty, 0, last - first + 1).max())

    offset = padding - np.arange(kernel, dtype=np.int64)
    x = padding + np.arange(size, dtype=np.int64)
    return Axis(
        forward=max(0, int(forward.max())),
        weight=hit(-(-offset // stride), (offset + size - 1) // stride),
        error=hit(-((kernel - 1 - x) // stride), x // stride),
    )


def terms(block: Block) -> tuple[int, int, int, int]:
    """Return the most terms of Z, of G_weight and G_bias for one sample, and of D, in ``block``."""
    sparse = block.pool == "max"
    rows, columns = (
        fullest(block.inputs[1 + i], block.kernel[i], block.stride[i], block.padding[i], *pooled, sparse)
        for i, pooled in enumerate(zip(block.windows, block.window, strict=True))
    )
    bias = prod(block.windows) if sparse else prod(block.positions)
    return (
        block.inputs[0] * rows.forward * columns.forward,
        rows.weight * columns.weight,
        bias,
        block.outputs * rows.error * columns.error,
    )


def largest_input(spec: Spec, index: int) -> int:
    """Return the largest |X| of block ``index``."""
    if index == 0:
        return _INPUT
    below = spec.blocks[index - 1]
    return _largest_output(below) << below.area


def _largest_output(block: Block) -> int:
    return block.activation.high if block.relu else -block.activation.low


# --- the accumulators


def _half(shift: int) -> int:
    """What rounding by ``shift`` bits adds."""
    return 1 << shift >> 1


def _forward(spec: Spec, index: int) -> Iterator[Bound]:
    block, name = spec.blocks[index], spec.blocks[index].name
    shift, weight = spec.forward_shift(index), -block.weight.low
    source = f"the activation of {spec.blocks[index - 1].name}" if index else "the input (a smaller kernel)"
    count = terms(block)[0]
    value = count * weight * largest_input(spec, index) + _half(shift)
    if block.bias:
        value += weight << spec.input_exponent(index)
    mend = f"give fewer bits to the weight of {name} or to {source}"
    if block.bias and weight << spec.input_exponent(index) >= EXACT:
        mend = f"give fewer bits to the weight of {name}, or a smaller exponent to {source}"
    yield Bound(name, "Z", value, EXACT, mend)
    if block.pool == "avg":
        value = _largest_output(block) << block.area
        yield Bound(name, "sum of a window", value, EXACT, f"give fewer bits to the activation of {name}")
    mend = f"give fewer bits to the activation of {name}, or a larger exponent"
    yield Bound(name, "Z = 2^s·z", value + (-block.activation.low << shift), PROVABLE, mend)


def _backward(spec: Spec, index: int) -> Iterator[Bound]:
    block, name = spec.blocks[index], spec.blocks[index].name
    _, weight_terms, bias_terms, error_terms = terms(block)
    error, x = -block.error.low, largest_input(spec, index)
    source = f" or to the activation of {spec.blocks[index - 1].name}" if index else ""
    mend = f"give fewer bits to the error of {name}{source}, or use a smaller batch"
    gradient = spec.batch_size * weight_terms * error * x
    yield Bound(name, "G_weight", gradient, EXACT, mend)
    yield from _update(spec, index, "weight", gradient, spec.weight_shift(index), block.weight_velocity)
    if block.bias:
        gradient = spec.batch_size * bias_terms * error
        mend = f"give fewer bits to the error of {name}, or use a smaller batch"
        yield Bound(name, "G_bias", gradient, EXACT, mend)
        yield from _update(spec, index, "bias", gradient, spec.bias_shift(index), block.bias_velocity)
    if index:
        below, shift = spec.blocks[index - 1], spec.error_shift(index)
        value = error_terms * error * -block.weight.low + _half(shift)
        yield Bound(name, "D", value, EXACT, f"give fewer bits to the error or to the weight of {name}")
        mend = f"give fewer bits to the error of {below.name}"
        yield Bound(name, "D = 2^s·dy", value + (-below.error.low << shift), PROVABLE, mend)


def _update(spec: Spec, index: int, kind: str, gradient: int, shift: int, velocity: Velocity | None) -> Iterator[Bound]:
    """Yield the bounds of section 5 for a tensor whose gradient may reach ``gradient``."""
    block, name = spec.blocks[index], spec.blocks[index].name
    change = 1 << block.weight.bits  # more than any W − W'
    mend = f"give fewer bits to the error of {name}, or use a rate m·2^-r with a smaller m"
    if spec.momentum is None or velocity is None:
        value = spec.rate.largest * gradient + _half(shift)
        yield Bound(name, f"m·G_{kind}", value, EXACT, mend)
    else:
        j, u, largest = spec.momentum, velocity.shift, 1 << (velocity.bits - 1)
        value = (((1 << j) - 1) * largest << u) + (gradient << j) + _half(j + u)
        what = f"give fewer bits or a smaller shift to the {kind}_velocity of {name}, fewer to its error"
        yield Bound(name, f"velocity V_{kind}", value, EXACT, f"{what}, or use a smaller momentum")
        yield Bound(name, f"V_{kind} = 2^(j+u)·V'", value + (largest << j + u), PROVABLE, what)
        shift -= u
        value = spec.rate.largest * largest + _half(shift)
        mend = f"give fewer bits to the {kind}_velocity of {name}, or use a rate m·2^-r with a smaller m"
        yield Bound(name, f"m·V_{kind}", value, EXACT, mend)
    yield Bound(name, f"step of {kind} = 2^s·(W − W')", value + (change << shift), PROVABLE, mend)


def _loss(spec: Spec) -> Iterator[Bound]:
    block, name = spec.blocks[-1], spec.blocks[-1].name
    a, f = block.activation.exponent, block.error.exponent
    if spec.loss.kind == "cross_entropy":
        mend = f"give a smaller exponent to the error of {name}"
        value = (1 << SUM_BITS + f) + spec.classes * (1 << SUM_BITS - 1)
        yield Bound(name, "softmax E·2^f + S/2", value, EXACT, mend)
        probability = -block.error.low + (1 << f)
        yield Bound(name, "softmax = p·S", value + (probability * spec.classes << SUM_BITS), PROVABLE, mend)
    else:
        value = -block.activation.low + (1 << a) << f - a
        mend = f"give fewer bits to the activation of {name}, or a smaller exponent to its error"
        yield Bound(name, "dz of the loss", value, EXACT, mend)


# --- what a specification must be before its bounds mean anything


def check_fields(spec: Spec) -> None:
    """Raise FormatError unless all fields are within their schema, shapes chain and sizes are bounded."""
    try:
        again = msgspec.convert(msgspec.to_builtins(spec), Spec)
    except (msgspec.ValidationError, msgspec.MsgspecError, TypeError, OverflowError) as error:
        raise FormatError(f"not within the schema: {error}", name="the specification") from None
    if again != spec:
        raise FormatError("not plain data", name="the specification")
    _check_names([block.name for block in spec.blocks])
    total = 0
    for index, block in enumerate(spec.blocks):
        _check_block(block)
        below = spec.blocks[index - 1] if index else None
        _check_chain(block, below.name if below else "the input", below.result if below else spec.input.shape)
        if below is not None and below.kind == "linear" and block.kind == "conv":
            raise FormatError("a conv block after a linear one", name=block.name)
        sides = [n + 2 * p for n, p in zip(block.inputs[1:], block.padding, strict=True)]
        if max(sides) > SIDE:
            mend = f"rows and columns are at most {SIDE}"
            raise FormatError("the padded input has too many rows or columns", name=block.name, value=sides, mend=mend)
        sizes = {
            "padded input": block.inputs[0] * prod(sides),
            "output": block.outputs * prod(block.positions),
            "unfolded input": block.fan_in * prod(block.positions),
        }
        for what, size in sizes.items():
            if size << spec.batch > CELLS:
                mend = f"a batch's tensor has at most {CELLS} cells"
                raise FormatError(
                    f"the {what} of a batch is too large", name=block.name, value=size << spec.batch, mend=mend
                )
        total += prod(block.weight_shape) + (block.outputs if block.bias else 0)
        if total > PARAMETERS:
            mend = f"all parameters together are at most {PARAMETERS}"
            raise FormatError("too many parameters", name=block.name, value=total, mend=mend)
    last = spec.blocks[-1]
    if last.relu or last.pool != "none" or last.windows != (1, 1):
        raise FormatError("the last block's outputs are no logits: it has ReLU, pooling or positions", name=last.name)
    steps = [first for first, _ in spec.rate.pieces]
    if steps[0] != 0 or any(a >= b for a, b in pairwise(steps)):
        raise FormatError("the first steps of the rate's pieces do not begin at 0 and ascend", name="rate", value=steps)


def _check_names(names: list[str]) -> None:
    """Refuse names that nested Sequentials cannot have: one within another, twice, or with a parent that was left."""
    closed: set[str] = set()
    path: list[str] = []
    for name in names:
        parts = name.split(".")
        if not all(parts) or not name.isprintable():
            raise FormatError("no dotted name of a layer", name="blocks", value=name)
        common = 0
        while common < min(len(path), len(parts)) and path[common] == parts[common]:
            common += 1
        closed.update(".".join(path[:n]) for n in range(common + 1, len(path) + 1))
        opened = [".".join(parts[:n]) for n in range(common + 1, len(parts) + 1)]
        if not opened or common == len(path) > 0 or any(part in closed for part in opened):
            raise FormatError("the name is used twice, or not in order", name="blocks", value=name)
        path = parts


def _check_block(block: Block) -> None:
    one = (1, 1)
    if block.kind == "linear" and (
        (block.inputs[1:], block.kernel, block.stride, block.window) != (one,) * 4 or block.padding != (0, 0)
    ):
        raise FormatError("a linear block with positions, a kernel or a window", name=block.name)
    if (block.pool == "none") != (block.window == one):
        raise FormatError("pooling without a window, or a window without pooling", name=block.name, value=block.window)
    if block.pool == "avg" and prod(block.window) != 1 << block.area:
        raise FormatError("the area of an averaging window is no power of two", name=block.name, value=block.window)
    if min(block.windows) < 1:
        raise FormatError("the kernel or the window does not fit into the input", name=block.name, value=block.inputs)


def _check_chain(block: Block, source: str, shape: tuple[int, int, int]) -> None:
    wanted = (prod(shape), 1, 1) if block.kind == "linear" else shape
    if block.inputs != wanted:
        given = "×".join(map(str, wanted))
        taken = "×".join(map(str, block.inputs))
        raise FormatError(f"takes {taken}, but {source} gives {given}", name=block.name)


def _check_momentum(spec: Spec) -> None:
    for block in spec.blocks:
        for what, velocity, there in (
            ("weight_velocity", block.weight_velocity, True),
            ("bias_velocity", block.bias_velocity, block.bias),
        ):
            if (velocity is not None) != (there and spec.momentum is not None):
                has = "missing" if velocity is None else "there without momentum or bias"
                raise FormatError(f"{what} is {has}", name=block.name)


def check_softmax(spec: Spec) -> None:
    """Raise FormatError unless the logits' exponent has tables."""
    last = spec.blocks[-1]
    a = last.activation.exponent
    if a % 2 or not 2 <= a <= 16:
        mend = f"give the activation of {last.name} an even exponent from 2 to 16"
        raise FormatError("cross-entropy has no table for the logits' exponent", name=last.name, value=a, mend=mend)


@lru_cache(maxsize=16)
def _tables(a: int) -> tuple[list[int], list[int]]:
    return tables(a)


def check_loss(spec: Spec) -> None:
    """Raise FormatError unless the loss fits the last block's formats and its tables are those of section 3."""
    last = spec.blocks[-1]
    a, f = last.activation.exponent, last.error.exponent
    wanted: tuple[list[int], list[int]] = ([], [])
    if spec.loss.kind == "cross_entropy":
        check_softmax(spec)
        wanted = _tables(a)
    elif f < a:
        mend = f"give the error of {last.name} an exponent of at least {a}"
        raise FormatError(
            "mean-squared error with an error coarser than the logits", name=last.name, value=f, mend=mend
        )
    if (spec.loss.high, spec.loss.low) != wanted:
        raise FormatError("not the tables of this exponent", name="loss", value=a)


def check_shifts(spec: Spec) -> None:
    """Raise FormatError for a negative shift, naming the format to change, or a velocity coarser than the step."""
    for index, block in enumerate(spec.blocks):
        name, weight = block.name, block.weight.exponent
        ain = spec.input_exponent(index)
        if spec.forward_shift(index) < 0:
            mend = f"give the activation of {name} an exponent of at most {ain + weight}, or its weight a larger one"
            raise FormatError("the activation is finer than the products", name=name, value=block.activation, mend=mend)
        if index and spec.error_shift(index) < 0:
            below = spec.blocks[index - 1]
            most = weight + block.error.exponent + below.area
            mend = f"give the error of {below.name} an exponent of at most {most}, or the error of {name} a larger one"
            raise FormatError("the error below is finer than the products", name=name, value=below.error, mend=mend)
        shifts = [("weight", spec.weight_shift(index), block.weight_velocity)]
        if block.bias:
            shifts.append(("bias", spec.bias_shift(index), block.bias_velocity))
        for kind, shift, velocity in shifts:
            if shift < 0:
                mend = f"give the weight of {name} an exponent of at most {weight + shift}, or its error a larger one"
                raise FormatError(f"the {kind} is finer than its gradient's step", name=name, value=weight, mend=mend)
            if velocity is not None and velocity.shift > shift:
                mend = f"give the {kind}_velocity of {name} a shift of at most {shift}"
                raise FormatError("the velocity is coarser than the step", name=name, value=velocity.shift, mend=mend)
