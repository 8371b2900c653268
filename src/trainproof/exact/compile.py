"""Compile a plain ``nn.Sequential`` into the specification of an exact training (docs/exact.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from math import isqrt
from typing import Final, Literal

import msgspec
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact import bounds
from trainproof.exact.layers import read
from trainproof.exact.spec import VERSION, Block, Format, Input, Loss, Rate, Spec, Velocity
from trainproof.exact.tables import tables

ACTIVATION: Final = Format(exponent=10, bits=18)
WEIGHT: Final = Format(exponent=16, bits=18)
# The widest that the sums allow is taken: errors grow while a network learns, and end a run that was long already.
ERRORS: Final = tuple(Format(exponent=16, bits=bits) for bits in (20, 19, 18))
VELOCITY_BITS: Final = 20
KEPT: Final = 4  # bits of a velocity below the weight's last, u = s − 4: a step moves a weight by 1/2 at most, times m

_MULTIPLIERS: Final = 1 << 16
_FINEST: Final = 40  # largest exponent of a rate
_MOMENTA: Final = 10  # largest j of 1 − 2^-j
_OVERRIDES: Final = ("activation", "weight", "error", "weight_velocity", "bias_velocity")


def compile_net(
    net: nn.Sequential,
    *,
    input_shape: tuple[int, int, int],
    batch_size: int,
    lr: float | Sequence[tuple[int, float]],
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy",
    momentum: float | None = None,
    input_exponent: int = 8,
    activation: Format = ACTIVATION,
    weight: Format = WEIGHT,
    error: Format | None = None,
    layers: Mapping[str, Mapping[str, Format | Velocity]] | None = None,
) -> Spec:
    """Return the specification of training ``net`` exactly; its weights are not looked at.

    ``input_shape`` is (C, H, W) of a sample's bytes; ``batch_size`` a power of two. ``lr`` is m·2^-e with m < 2^16, or
    a list of (first step, rate), the first from step 0. ``momentum`` is 1 − 2^-j, j from 1 to 10. The formats are those
    of all blocks, ``error`` None the widest of 20, 19 and 18 bits that the sums allow; ``layers`` overrides them by the
    name of a linear layer, with the keys activation, weight, error, weight_velocity and bias_velocity.

    Raises FormatError naming the layer, rate or format that has no exact form, and the nearest that has one.
    """
    *wider, last = ERRORS if error is None else (error,)

    def compiled(error: Format) -> Spec:
        return _compiled(
            net,
            input_shape=input_shape,
            batch_size=batch_size,
            lr=lr,
            loss=loss,
            momentum=momentum,
            input_exponent=input_exponent,
            activation=activation,
            weight=weight,
            error=error,
            layers=layers or {},
        )

    for form in wider:
        with suppress(FormatError):
            return compiled(form)
    return compiled(last)


def _compiled(
    net: nn.Sequential,
    *,
    input_shape: tuple[int, int, int],
    batch_size: int,
    lr: float | Sequence[tuple[int, float]],
    loss: Literal["cross_entropy", "mean_squared_error"],
    momentum: float | None,
    input_exponent: int,
    activation: Format,
    weight: Format,
    error: Format,
    layers: Mapping[str, Mapping[str, Format | Velocity]],
) -> Spec:
    if not (isinstance(input_shape, tuple | list) and len(input_shape) == 3 and all(map(_positive, input_shape))):
        raise FormatError("not (channels, rows, columns)", name="input_shape", value=input_shape)
    shape = (input_shape[0], input_shape[1], input_shape[2])
    blocks = read(net, shape, activation=activation, weight=weight, error=error)
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            raise FormatError("is frozen, and exact training trains all", name=name, mend="set requires_grad to True")
    if loss not in ("cross_entropy", "mean_squared_error"):
        raise FormatError("no such loss", name="loss", value=loss, mend="use cross_entropy or mean_squared_error")
    draft = Spec(
        version=VERSION,
        input=Input(shape=shape, exponent=input_exponent),
        blocks=_overridden(blocks, layers, momentum is not None),
        loss=Loss(kind=loss, high=[], low=[]),
        batch=_batch(batch_size),
        rate=_rate(lr),
        momentum=_momentum(momentum),
    )
    bounds.check_fields(draft)
    if loss == "cross_entropy":
        bounds.check_softmax(draft)
        high, low = tables(draft.blocks[-1].activation.exponent)
        draft = msgspec.structs.replace(draft, loss=Loss(kind=loss, high=list(high), low=list(low)))
    spec = msgspec.structs.replace(draft, blocks=_filled(draft))
    bounds.check(spec)
    return spec


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _batch(size: int) -> int:
    """Return L of a batch of 2^L samples."""
    if not _positive(size) or size & (size - 1) or size > 1 << 16:
        mend = "use a power of two up to 65536"
        if _positive(size) and size < 1 << 16:
            below = 1 << (size.bit_length() - 1)
            mend = f"use {below} or {2 * below}"
        raise FormatError("not a power of two", name="batch_size", value=size, mend=mend)
    return size.bit_length() - 1


def _overridden(
    blocks: list[Block], layers: Mapping[str, Mapping[str, Format | Velocity]], momentum: bool
) -> list[Block]:
    """Return ``blocks`` with the formats of ``layers``."""
    changed = {block.name: block for block in blocks}
    for name, fields in layers.items():
        if name not in changed:
            mend = f"its linear layers are {', '.join(changed)}"
            raise FormatError("the network has no such linear layer", name="layers", value=name, mend=mend)
        for key, value in fields.items():
            where = f"layers[{name!r}][{key!r}]"
            if key not in _OVERRIDES:
                raise FormatError("no such format", name=where, mend=f"use {', '.join(_OVERRIDES)}")
            wanted = Velocity if key.endswith("velocity") else Format
            if not isinstance(value, wanted):
                raise FormatError(f"not a {wanted.__name__}", name=where, value=value)
            if key.endswith("velocity") and not momentum:
                raise FormatError("a velocity without momentum", name=where, mend="give a momentum, or leave it out")
            if key == "bias_velocity" and not changed[name].bias:
                raise FormatError("a velocity of a bias that is not there", name=where, mend="leave it out")
        changed[name] = msgspec.structs.replace(changed[name], **fields)
    return list(changed.values())


def _filled(spec: Spec) -> list[Block]:
    """Return the blocks of ``spec`` with ρ of section 7, and the velocities that are missing."""
    blocks = []
    for index, block in enumerate(spec.blocks):
        scale = 6 if block.relu else 1
        initial = min(isqrt(scale * 4**block.weight.exponent // block.fan_in), block.weight.high)
        weight, bias = block.weight_velocity, block.bias_velocity
        if spec.momentum is not None:
            weight = weight or _velocity(spec.weight_shift(index))
            bias = bias or (_velocity(spec.bias_shift(index)) if block.bias else None)
        blocks.append(msgspec.structs.replace(block, initial=initial, weight_velocity=weight, bias_velocity=bias))
    return blocks


def _velocity(shift: int) -> Velocity:
    return Velocity(bits=VELOCITY_BITS, shift=max(0, min(shift - KEPT, _FINEST)))


def _momentum(momentum: float | None) -> int | None:
    """Return j of β = 1 − 2^-j."""
    if momentum is None:
        return None
    usable = {1 - 2.0**-j: j for j in range(1, _MOMENTA + 1)}
    number = isinstance(momentum, float | int) and not isinstance(momentum, bool)
    if not number or momentum not in usable:
        mend = "use 1 - 2**-j, j from 1 to 10, or None"
        if number and 0 < momentum < 1:
            below = [beta for beta in usable if beta < momentum]
            above = [beta for beta in usable if beta > momentum]
            mend = f"the nearest are {' and '.join(map(str, (*below[-1:], *above[:1])))}"
        raise FormatError("not 1 - 2^-j", name="momentum", value=momentum, mend=mend)
    return usable[momentum]


def _rate(lr: float | Iterable[tuple[int, float]]) -> Rate:
    """Return the rate as m·2^-r with one r, the smallest that makes all m integers."""
    pieces = [(0, lr)] if isinstance(lr, float | int) else _pieces(lr)
    for first, value in pieces:
        number = isinstance(value, float | int) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value <= 0:
            raise FormatError("not a positive number", name=_named(lr, first), value=value)
        top, bottom = value.as_integer_ratio()
        if top >= _MULTIPLIERS or bottom > 1 << _FINEST:
            what = f"not m·2^-e with m < {_MULTIPLIERS} and e ≤ {_FINEST}"
            raise FormatError(what, name=_named(lr, first), value=value, mend=_nearest(value))
    ratios = [value.as_integer_ratio() for _, value in pieces]
    exponent = max(bottom.bit_length() - 1 for _, bottom in ratios)
    multipliers = [(top << exponent) // bottom for top, bottom in ratios]
    if max(multipliers) >= _MULTIPLIERS:
        widest, finest = max(v for _, v in pieces), max((v.as_integer_ratio()[1], v) for _, v in pieces)[1]
        raise FormatError(
            f"the pieces share one exponent, and {widest} is {max(multipliers)}·2^-{exponent} with that of {finest}",
            name="lr",
            mend=f"use rates with fewer bits, so that every m < {_MULTIPLIERS}",
        )
    return Rate(exponent=exponent, pieces=[(first, m) for (first, _), m in zip(pieces, multipliers, strict=True)])


def _named(lr: object, first: int) -> str:
    return "lr" if isinstance(lr, float | int) else f"lr from step {first}"


def _pieces(lr: object) -> list[tuple[int, float]]:
    """Return a list of (first step, rate) that begins at 0 and ascends."""
    mend = "use a number, or [(0, rate), (step, rate), ...] with ascending steps"
    if not isinstance(lr, list | tuple) or not lr or not all(isinstance(p, list | tuple) and len(p) == 2 for p in lr):
        raise FormatError("neither a rate nor a list of (first step, rate)", name="lr", value=lr, mend=mend)
    steps = [first for first, _ in lr]
    if not all(isinstance(s, int) and not isinstance(s, bool) for s in steps):
        raise FormatError("a first step that is no integer", name="lr", value=steps, mend=mend)
    if steps[0] != 0 or any(a >= b for a, b in pairwise(steps)):
        raise FormatError("the first steps do not begin at 0 and ascend", name="lr", value=steps, mend=mend)
    return [(first, value) for first, value in lr]


def _nearest(value: float) -> str:
    """Name the usable rates next to ``value``, and one with a short multiplier: a long one costs room in the sums."""
    fraction, power = math.frexp(value)
    if power > 16:
        return f"the largest is {_MULTIPLIERS - 1}"
    bits = min(16, _FINEST + power)
    if bits < 1:
        return f"the smallest is 1/2**{_FINEST}"
    below = math.floor(fraction * 2**bits)
    named = " and ".join(_spelled(m, bits - power) for m in (below, below + 1) if m)
    for short in range(1, bits):
        m = round(fraction * 2**short)
        if abs(m / 2**short - fraction) < fraction / 100:
            named += f", in short {_spelled(m, short - power)}"
            break
    return f"the nearest are {named}"


def _spelled(m: int, exponent: int) -> str:
    while m % 2 == 0 and exponent > 0:
        m, exponent = m // 2, exponent - 1
    if exponent <= 0:
        return str(m << -exponent)
    return f"{m}/2**{exponent} = {m / 2**exponent:.9g}"
