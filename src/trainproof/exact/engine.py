"""One step of exact training, computed fast: docs/exact.md sections 1 to 5 and 11, on a processor or a graphics card.

Integers are held in binary64 tensors, where all sums are exact in any order (section 9) once ``bounds.check(spec)`` has
passed. So matrix products may split and reorder them as they like: every thread count, instruction set and device gives
the same bits. Convolutions are unfolded into matrix products, one for a whole batch: the channel comes first and the
sample second in all tensors here, so that products need no transposed copy. There is no autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainproof.errors import DatasetError, FormatError, RangeError
from trainproof.exact.spec import EXP_BITS, SUM_BITS, ZERO, Block, Format, Spec, Velocity

LN2 = 11629080  # ⌊2^24 · ln 2 + ½⌋


@dataclass(frozen=True)
class BlockTrace:
    """What the backward pass needs of one block.

    ``unfolded`` is X as a matrix (fan-in, B · positions), float64; columns are by sample, then row-major by position.
    ``gate`` says where dz passes: bool (O, B, rows, columns), or None for everywhere; with max pooling the winner's
    row-major number in its window, −1 where nothing passes, int32 (O, B, rows, columns of windows).
    """

    unfolded: Tensor
    gate: Tensor | None


@dataclass(frozen=True)
class Trace:
    """A forward pass: ``logits`` (B, classes), float64 integers with the last activation's exponent; a block's each."""

    logits: Tensor
    blocks: list[BlockTrace]


def rnd(values: Tensor, shift: int) -> Tensor:
    """Return rnd(values, shift) of docs/exact.md in place: the nearest integer to values · 2^-shift, half goes up."""
    return values if shift == 0 else values.add_(2.0 ** (shift - 1)).mul_(2.0**-shift).floor_()


# -- forward ---------------------------------------------------------------------------------------------------------


def forward(spec: Spec, params: Mapping[str, Tensor], x: Tensor, *, step: int | None = None) -> Trace:
    """Compute the logits of ``x``: (n, C, H, W) uint8 of any n ≥ 1, on the device of ``params`` (float64 integers).

    Sections 1 and 2. ``step`` is only for the message of an error. Raises DatasetError if ``x`` has another dtype or
    shape, FormatError if the network does not end in one logit a class, RangeError if an activation leaves its range.
    """
    check_images(spec, x)
    last = spec.blocks[-1]
    if last.relu or last.pool != "none" or last.windows != (1, 1):
        raise FormatError("the last block has one output a class, without ReLU and pooling", name=last.name)
    tensor = x.to(torch.float64).sub_(ZERO).transpose(0, 1)
    blocks: list[BlockTrace] = []
    for index, block in enumerate(spec.blocks):
        unfolded = _unfold(block, tensor)
        count = tensor.shape[1]
        weight = params[f"{block.name}.weight"].reshape(block.outputs, -1)
        if block.bias:
            bias = params[f"{block.name}.bias"] * 2.0 ** spec.input_exponent(index)
            sums = torch.addmm(bias[:, None], weight, unfolded)
        else:
            sums = weight @ unfolded
        z = rnd(sums, spec.forward_shift(index)).view(block.outputs, count, *block.positions)
        _check(z, block.activation, block.name, "activation", step)
        tensor, gate = _activate(block, z)
        blocks.append(BlockTrace(unfolded, gate))
    return Trace(tensor[:, :, 0, 0].t().contiguous(), blocks)


def check_images(spec: Spec, x: Tensor) -> None:
    """Raise DatasetError unless ``x`` is (n, C, H, W) uint8 with n ≥ 1 and the specification's C, H and W."""
    if x.dtype != torch.uint8:
        raise DatasetError("must be bytes", name="images", value=str(x.dtype), mend="give torch.uint8")
    shape = tuple(x.shape)
    if len(shape) != 4 or shape[1:] != tuple(spec.input.shape) or shape[0] < 1:
        wanted = "(n, {}, {}, {})".format(*spec.input.shape)
        raise DatasetError(f"must have the shape {wanted}", name="images", value=shape)


def check_labels(spec: Spec, labels: Tensor, count: int) -> None:
    """Raise DatasetError unless ``labels`` is (count,) int64 with 0 ≤ label < classes."""
    if labels.dtype != torch.int64 or tuple(labels.shape) != (count,):
        value = f"{labels.dtype} {tuple(labels.shape)}"
        raise DatasetError(f"must be torch.int64 of shape ({count},)", name="labels", value=value)
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= spec.classes:
        raise DatasetError(f"must be 0 to {spec.classes - 1}", name="labels", value=low if low < 0 else high)


def _unfold(block: Block, x: Tensor) -> Tensor:
    """Return (C, B, H, W) as the matrix (fan-in, B · positions)."""
    if block.kind == "linear":
        return x.permute(0, 2, 3, 1).reshape(block.inputs[0], x.shape[1])
    (rows, columns), (top, left) = block.positions, block.padding
    windows = F.pad(x, (left, left, top, top)).unfold(2, block.kernel[0], block.stride[0])
    windows = windows.unfold(3, block.kernel[1], block.stride[1])[:, :, :rows, :columns]
    return windows.permute(0, 4, 5, 1, 2, 3).reshape(block.fan_in, -1)


def _activate(block: Block, z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the next block's X and the gate. ``z`` is (O, B, rows, columns)."""
    if block.pool == "max":
        best, winner = _maximum(z, block.window)
        if block.relu:
            winner.masked_fill_(best <= 0.0, -1)
            best.clamp_(min=0.0)
        return best, winner
    gate = z > 0.0 if block.relu else None
    y = z.clamp_(min=0.0) if block.relu else z
    if block.pool == "avg":
        (rows, columns), (high, wide) = block.windows, block.window
        y = y.view(*z.shape[:2], rows, high, columns, wide).sum((3, 5))
    return y, gate


def _maximum(z: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the maximum of each window and the row-major number of the first cell that has it.

    Cell by cell, a later one only wins by being greater: which of equals comes first is not left to a library.
    """
    high, wide = window
    best = z[:, :, ::high, ::wide].clone()
    winner = torch.zeros(best.shape, dtype=torch.int32, device=z.device)
    for cell in range(1, high * wide):
        other = z[:, :, cell // wide :: high, cell % wide :: wide]
        winner.masked_fill_(other > best, cell)
        torch.maximum(best, other, out=best)
    return best, winner


# -- loss ------------------------------------------------------------------------------------------------------------


def loss(spec: Spec, logits: Tensor, labels: Tensor, *, step: int | None = None) -> tuple[Tensor, float]:
    """Return dz (B, classes) float64 of the last block, and the reported loss, of ``logits`` (B, classes) float64.

    Sections 3 and 11, in 64-bit integers; ``labels`` is (B,) int64 on the same device. B need not be the batch's: then
    it is the loss of what was given. Raises DatasetError for other labels, RangeError if dz leaves its range.
    """
    check_labels(spec, labels, len(logits))
    last = spec.blocks[-1]
    z = logits.to(torch.int64)
    hot = F.one_hot(labels, spec.classes)
    if spec.loss.kind == "cross_entropy":
        dz, reported = _cross_entropy(spec, z, labels, hot)
    else:
        difference = z - (hot << last.activation.exponent)
        dz = difference.to(torch.float64) * 2.0 ** (last.error.exponent - last.activation.exponent)
        total = sum(value * value for value in difference.flatten().tolist())
        reported = total / (2 * len(z) << (2 * last.activation.exponent))
    errors = dz.to(torch.float64)
    _check(errors, last.error, last.name, "error", step)
    return errors, reported


def _cross_entropy(spec: Spec, z: Tensor, labels: Tensor, hot: Tensor) -> tuple[Tensor, float]:
    last = spec.blocks[-1]
    a, f = last.activation.exponent, last.error.exponent
    high, low = (torch.tensor(table, dtype=torch.int64, device=z.device) for table in (spec.loss.high, spec.loss.low))
    g = (a + 4) // 2
    d = z.max(1, keepdim=True).values - z
    c = d.clamp(max=(1 << 2 * g) - 1)
    dropped = 2 * EXP_BITS - SUM_BITS
    e = (high[c >> g] * low[c & ((1 << g) - 1)] + (1 << (dropped - 1))) >> dropped
    s = e.sum(1, keepdim=True)
    p = ((e << f) + (s >> 1)).div(s, rounding_mode="floor")
    lost = (d.gather(1, labels[:, None])[:, 0] << (24 - a)) + _logarithm(s[:, 0])
    return p - (hot << f), sum(lost.tolist()) / (len(z) << 24)


def _logarithm(s: Tensor) -> Tensor:
    """Return LN(S) of section 11, exponent 24, for S (n,) int64, 1 ≤ S < 2^53."""
    k = torch.frexp(s.to(torch.float64)).exponent.to(torch.int64) - 1
    x = torch.where(k > 30, s >> (k - 30).clamp(min=0), s << (30 - k).clamp(min=0))
    result = (k - SUM_BITS) << 24
    for i in range(23, -1, -1):
        x = (x * x) >> 30
        double = (x >> 31) & 1
        result += double << i
        x >>= double
    return (result * LN2 + (1 << 23)) >> 24


# -- backward --------------------------------------------------------------------------------------------------------


def backward(
    spec: Spec, params: Mapping[str, Tensor], trace: Trace, dz: Tensor, *, step: int | None = None
) -> dict[str, Tensor]:
    """Return G of every parameter, float64 of its shape (section 4): sums over the batch, no mean, nothing rounded.

    ``dz`` (B, classes) float64 is the loss's. Raises FormatError if B is not the specification's batch, RangeError if
    an error signal leaves its range.
    """
    if len(dz) != spec.batch_size:
        raise FormatError(f"a batch has {spec.batch_size} samples", name="batch", value=len(dz))
    grads: dict[str, Tensor] = {}
    errors = dz.t().contiguous()
    for index in range(len(spec.blocks) - 1, -1, -1):
        block = spec.blocks[index]
        grads[f"{block.name}.weight"] = (errors @ trace.blocks[index].unfolded.t()).view(block.weight_shape)
        if block.bias:
            grads[f"{block.name}.bias"] = errors.sum(1)
        if index == 0:
            break
        below = spec.blocks[index - 1]
        weight = params[f"{block.name}.weight"].reshape(block.outputs, -1)
        dy = rnd(_fold(block, weight.t() @ errors, below.result, len(dz)), spec.error_shift(index))
        _check(dy, below.error, below.name, "error", step)
        errors = _deactivate(below, dy, trace.blocks[index - 1].gate).view(below.outputs, -1)
    return grads


def _fold(block: Block, products: Tensor, shape: tuple[int, int, int], count: int) -> Tensor:
    """Return D (C, B, H, W), the sum of the products (fan-in, B · positions) that come from each input position."""
    if block.kind == "linear":
        return products.view(*shape, count).permute(0, 3, 1, 2)
    channels, height, width = block.inputs
    (high, wide), (down, right), (top, left) = block.kernel, block.stride, block.padding
    rows, columns = block.positions
    parts = products.view(channels, high, wide, count, rows, columns)
    padded = products.new_zeros(channels, count, height + 2 * top, width + 2 * left)
    for i in range(high):
        for j in range(wide):
            padded[:, :, i : i + rows * down : down, j : j + columns * right : right] += parts[:, i, j]
    return padded[:, :, top : top + height, left : left + width]


def _deactivate(block: Block, dy: Tensor, gate: Tensor | None) -> Tensor:
    """Return dz (O, B, rows, columns), contiguous, of dy (O, B, rows, columns of windows)."""
    high, wide = block.window
    if block.pool == "max":
        assert gate is not None  # a max-pooled block always has winners
        dz = dy.new_zeros(*dy.shape[:2], *block.positions)
        for cell in range(high * wide):
            dz[:, :, cell // wide :: high, cell % wide :: wide] = dy * (gate == cell)
        return dz
    if block.pool == "avg":
        dy = dy.repeat_interleave(high, 2).repeat_interleave(wide, 3)
    return dy.contiguous() if gate is None else (dy * gate).contiguous()


# -- update ----------------------------------------------------------------------------------------------------------


def update(
    spec: Spec,
    params: Mapping[str, Tensor],
    velocities: Mapping[str, Tensor],
    grads: Mapping[str, Tensor],
    step: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters and velocities after ``step`` (section 5): new tensors; the given ones stay as they are.

    ``velocities`` is empty without momentum. Raises RangeError if a parameter or a velocity leaves its range.
    """
    m = spec.rate.multiplier(step)
    new: dict[str, Tensor] = {}
    moving: dict[str, Tensor] = {}
    for parameter in spec.parameters():
        name, shift = parameter.name, parameter.shift
        change = grads[name]
        if spec.momentum is not None and parameter.velocity is not None:
            change = _velocity(spec.momentum, parameter.velocity, velocities[name], change)
            layer, kind = _split(name)
            _check(change, parameter.velocity, layer, "velocity" if kind == "weight" else "bias velocity", step)
            moving[name] = change
            shift -= parameter.velocity.shift
        new[name] = params[name] - rnd(change * float(m), shift)
        _check(new[name], parameter.format, *_split(name), step)
    return new, moving


def _velocity(j: int, form: Velocity, velocity: Tensor, grad: Tensor) -> Tensor:
    """Return V' = ⌊((2^j − 1) · 2^u · V + 2^j · G + 2^(j+u−1)) / 2^(j+u)⌋."""
    u = form.shift
    return rnd((velocity * float(((1 << j) - 1) << u)).add_(grad, alpha=float(1 << j)), j + u)


# -- ranges ----------------------------------------------------------------------------------------------------------


def check_parameters(
    spec: Spec, params: Mapping[str, Tensor], velocities: Mapping[str, Tensor] | None = None, *, step: int | None = None
) -> None:
    """Check that tensors from outside are what the functions here take; these check only what they make themselves.

    Raises FormatError if one is missing, unknown, of another shape, not float64, or holds a number that is no integer;
    RangeError if a number is out of range. ``velocities`` is checked unless it is None.
    """
    known = {p.name: p for p in spec.parameters()}
    moving = known if spec.momentum is not None else {}
    for what, given, wanted in (("parameter", params, known), ("velocity", velocities, moving)):
        if given is None:
            continue
        if odd := sorted(set(given) ^ set(wanted)):
            raise FormatError(f"is a missing or unknown {what}", name=odd[0])
        for name, tensor in given.items():
            parameter = wanted[name]
            if tensor.dtype != torch.float64 or tuple(tensor.shape) != parameter.shape:
                value = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise FormatError(f"must be torch.float64 of shape {parameter.shape}", name=name, value=value)
            layer, kind = _split(name)
            form: Format | Velocity = parameter.format
            if what == "velocity":
                assert parameter.velocity is not None  # bounds.check: with momentum every tensor has one
                kind, form = "velocity" if kind == "weight" else "bias velocity", parameter.velocity
            _check(tensor, form, layer, kind, step)
            if not torch.equal(tensor, tensor.floor()):
                raise FormatError("must hold integers", name=name)


def _split(name: str) -> tuple[str, str]:
    layer, _, kind = name.rpartition(".")
    return layer, kind


# By the tensor's name in an error, the layer's key in ``compile_net``.
_KEYS = {"bias": "weight", "velocity": "weight_velocity", "bias velocity": "bias_velocity"}


def _check(tensor: Tensor, form: Format | Velocity, layer: str, name: str, step: int | None) -> None:
    """Raise RangeError if a value is out of the range of ``form``; NaN is."""
    low, high = (v.item() for v in tensor.aminmax())
    edge = 2.0 ** (form.bits - 1)
    if not (-edge <= low and high < edge):
        value = high if not high < edge else low
        raise RangeError(
            f"a value is out of the range of {form.bits} bits",
            layer=layer,
            tensor=name,
            step=step,
            value=int(value) if abs(value) < float("inf") else value,
            mend=f"give more bits or a smaller exponent to {_KEYS.get(name, name)!r} of layer {layer!r}, "
            "or take a smaller rate",
        )
