"""Random small nets of exact training, their formats fitted to the values that occur; a batch and weights with each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainproof.exact.spec import Block, Format, Input, Loss, Rate, Spec, Velocity
from trainproof.exact.tables import tables
from trainproof.reference import exact as reference

WIDE = Format(exponent=0, bits=40)


class Case(NamedTuple):
    """A specification, weights, and batches: bytes (steps, B, C, H, W) and labels (steps, B)."""

    spec: Spec
    weights: dict[str, NDArray[np.int64]]
    samples: NDArray[np.uint8]
    labels: NDArray[np.int64]


@st.composite
def cases(draw: Any, steps: int = 1, exact_only: bool = False) -> Case:
    """A net of 1 to 4 blocks.

    ``exact_only``: no number is ever rounded and the loss is the squared error, so that floats can compute it too.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    reach = 3 if exact_only else 128
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 7)), draw(st.integers(1, 7)))
    batch = draw(st.integers(0, 2))
    samples = 128 + values(draw, rng, (steps, 1 << batch, *shape), -reach, reach - 1)
    blocks: list[Block] = []
    above, flat = shape, False
    for i in range(draw(st.sampled_from([1, 2, 3, 0]))):
        blocks.append(renamed(draw(geometries(above, flat)), str(2 * i)))
        above, flat = blocks[-1].result, blocks[-1].kind == "linear"
    blocks.append(last(draw, above, flat, str(2 * len(blocks))))
    kind = "mean_squared_error" if exact_only else draw(st.sampled_from(["cross_entropy", "mean_squared_error"]))
    labels = rng.integers(0, blocks[-1].outputs, (steps, 1 << batch))
    weights = {}
    for block in blocks:
        top = 2 if exact_only else draw(st.sampled_from([1, 2, 7, 127]))
        weights[f"{block.name}.weight"] = values(draw, rng, block.weight_shape, -top - 1, top)
        if block.bias:
            weights[f"{block.name}.bias"] = values(draw, rng, (block.outputs,), -top - 1, top)
    bare = Spec(
        version=1,
        input=Input(shape=shape, exponent=0 if exact_only else draw(st.integers(0, 8))),
        blocks=blocks,
        loss=Loss(kind=kind, high=[], low=[]),
        batch=batch,
        rate=Rate(exponent=0, pieces=[(0, 1)]),
        momentum=None,
    )
    fit = fitted_exactly if exact_only else fitted
    return Case(fit(draw, bare, weights, samples[0], labels[0]), weights, samples.astype(np.uint8), labels)


@st.composite
def geometries(draw: Any, shape: tuple[int, int, int], flat: bool) -> Block:
    """A block on inputs of ``shape`` with a free kernel, stride, padding and window; formats to be fitted."""
    if flat or draw(st.integers(0, 3)) == 0:
        return make(shape, draw(st.integers(1, 6)), relu=draw(st.booleans()), bias=draw(st.booleans()), linear=True)
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    kernel = tuple(draw(st.integers(1, min(3, size + 2 * pad))) for size, pad in zip(shape[1:], padding, strict=True))
    stride = (draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3])))
    sizes = [(size + 2 * pad - k) // s + 1 for size, pad, k, s in zip(shape[1:], padding, kernel, stride, strict=True)]
    pool = draw(st.sampled_from(["max", "avg", "none"]))
    window = (1, 1)
    if pool == "max":
        window = tuple(draw(st.sampled_from([k for k in (2, 3, 1) if k <= size])) for size in sizes)
    elif pool == "avg":
        window = tuple(draw(st.sampled_from([k for k in (2, 4, 1) if k <= size])) for size in sizes)
    if window == (1, 1):
        pool = "none"
    return make(
        shape,
        draw(st.integers(1, 3)),
        kernel=kernel,
        stride=stride,
        padding=padding,
        relu=draw(st.booleans()),
        bias=draw(st.booleans()),
        pool=pool,
        window=window,
    )


def last(draw: Any, shape: tuple[int, int, int], flat: bool, name: str) -> Block:
    """A block whose outputs are logits: linear, or a convolution of the whole image."""
    linear, classes = flat or draw(st.booleans()), draw(st.sampled_from([3, 2, 4, 5, 1]))
    kernel = (1, 1) if linear else shape[1:]
    return renamed(make(shape, classes, kernel=kernel, bias=draw(st.booleans()), linear=linear), name)


def make(shape: tuple[int, int, int], outputs: int, *, linear: bool = False, **fields: Any) -> Block:
    """A block without formats."""
    given = {
        "name": "0",
        "kind": "linear" if linear else "conv",
        "inputs": (math.prod(shape), 1, 1) if linear else shape,
        "outputs": outputs,
        "kernel": (1, 1),
        "stride": (1, 1),
        "padding": (0, 0),
        "relu": False,
        "bias": True,
        "pool": "none",
        "window": (1, 1),
        "activation": WIDE,
        "weight": WIDE,
        "error": WIDE,
        "initial": 0,
        "weight_velocity": None,
        "bias_velocity": None,
    }
    return Block(**{**given, **fields})


def renamed(block: Block, name: str) -> Block:
    return msgspec.structs.replace(block, name=name)


def values(draw: Any, rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int64]:
    """Integers in low … high: any, few different ones (ties), or those at the ends."""
    kind = draw(st.sampled_from([*["any"] * 8, "signs", "signs", "ends", "low", "high", "zero"]))
    if kind == "any":
        return rng.integers(low, high + 1, shape)
    if kind == "signs":
        return rng.integers(max(low, -1), min(high, 1) + 1, shape)
    if kind == "ends":
        return np.where(rng.integers(0, 2, shape) == 1, low, high)
    return np.full(shape, {"low": low, "high": high, "zero": 0}[kind])


def fitted(draw: Any, spec: Spec, weights: dict[str, Any], samples: NDArray[Any], labels: NDArray[Any]) -> Spec:
    """Formats with random shifts of which the first step's values fill the ranges, or nearly, or leave one."""
    blocks, ain = list(spec.blocks), spec.input.exponent
    x = reference.integers(samples) - 128
    inputs, outputs = [], []
    for i, block in enumerate(blocks):
        final = i + 1 == len(blocks)
        x = x.reshape(len(x), *block.inputs)
        total = reference.accumulate(block, ain, weights, x)
        s = max(0, size(total) - draw(st.integers(2, 14)))
        a = max(0, ain - s) + draw(st.integers(0, 6))
        if final and spec.loss.kind == "cross_entropy":
            a = max(2, a + a % 2)
            assume(a <= 16)
        assume(a + s - ain <= 40)
        weight = Format(exponent=a + s - ain, bits=slack(draw, size(*own(weights, block)) + 2))
        z = reference.rnd(total, s)
        block = replaced(block, weight=weight, activation=Format(exponent=a, bits=slack(draw, size(z))))
        blocks[i], ain = block, a + block.area
        inputs.append(x)
        outputs.append(z)
        x = reference.activate(block, z)
    trace = reference.Trace(inputs, outputs, x.reshape(len(x), spec.classes))
    a = blocks[-1].activation.exponent
    squared = spec.loss.kind == "mean_squared_error"
    f = a + draw(st.integers(0, 4)) if squared else draw(st.integers(0, 16))
    blocks[-1] = replaced(blocks[-1], error=Format(exponent=f, bits=40))
    high, low = ([], []) if squared else tables(a)
    spec = replaced(spec, blocks=blocks, loss=Loss(kind=spec.loss.kind, high=high, low=low))
    dz = reference.loss(spec, trace.logits, labels)
    blocks[-1] = replaced(blocks[-1], error=Format(exponent=f, bits=slack(draw, size(dz))))
    for i in range(len(blocks) - 1, 0, -1):
        most = blocks[i].weight.exponent + blocks[i].error.exponent + blocks[i - 1].area
        assume(most <= 40)
        blocks[i - 1] = replaced(blocks[i - 1], error=Format(exponent=most, bits=40))
        wide = replaced(spec, blocks=blocks)
        dy = reference.backward_errors(wide, weights, trace, dz)[i - 1][0]
        exponent = max(0, most - max(0, size(dy) - draw(st.integers(2, 14))))
        dy = reference.rnd(dy, most - exponent)
        blocks[i - 1] = replaced(blocks[i - 1], error=Format(exponent=exponent, bits=slack(draw, size(dy))))
    spec = replaced(spec, blocks=blocks)
    return rated(draw, spec, reference.backward(spec, weights, trace, dz))


def rated(draw: Any, spec: Spec, gradients: dict[str, Any]) -> Spec:
    """With a rate that leaves no shift negative and moves weights by a few bits, and momentum or not."""
    m = [draw(st.integers(1, 40)), draw(st.integers(1, 40))]
    bits = draw(st.integers(1, 6))  # of the largest update
    exponent = max(0, *(max(size(max(m) * gradients[p.name]) - bits, 0) - p.shift for p in spec.parameters()))
    assume(exponent <= 40)
    spec = replaced(spec, rate=Rate(exponent=exponent, pieces=[(0, m[0]), (2, m[1])]))
    if draw(st.booleans()):
        return spec
    velocities = {}
    for p in spec.parameters():
        u = draw(st.integers(max(0, p.shift - 12), p.shift))
        assume(u <= 40)
        velocities[p.name] = Velocity(bits=slack(draw, size(gradients[p.name] // 2**u) + 2), shift=u)
    blocks = [
        replaced(b, weight_velocity=velocities[f"{b.name}.weight"], bias_velocity=velocities.get(f"{b.name}.bias"))
        for b in spec.blocks
    ]
    return replaced(spec, blocks=blocks, momentum=draw(st.integers(1, 10)))


def fitted_exactly(draw: Any, spec: Spec, weights: dict[str, Any], samples: NDArray[Any], labels: NDArray[Any]) -> Spec:
    """Formats in which nothing is rounded: all weights have exponent 0, a window's sum stands for its mean."""
    blocks, a = list(spec.blocks), 0
    for i, block in enumerate(blocks):
        form = Format(exponent=a, bits=40)
        blocks[i] = replaced(block, activation=form)
        a += block.area
    e = blocks[-1].activation.exponent
    for i in range(len(blocks) - 1, -1, -1):
        e += blocks[i].area
        blocks[i] = replaced(blocks[i], error=Format(exponent=e, bits=40))
    return replaced(spec, blocks=blocks)


def replaced(part: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(part, **fields)


def own(weights: dict[str, Any], block: Block) -> list[Any]:
    return [weights[name] for name in (f"{block.name}.weight", f"{block.name}.bias") if name in weights]


def size(*arrays: Any) -> int:
    """Bits of the smallest range that holds all."""
    return max(2, *(max(int(x), -int(x) - 1).bit_length() + 1 for array in arrays for x in np.asarray(array).flat))


def slack(draw: Any, bits: int) -> int:
    """The smallest range, mostly; rarely one too small."""
    spare = draw(st.sampled_from([4] * 30 + [0, 0, 1, 2] + [-1] * (bits > 2)))
    return min(40, bits + spare)
