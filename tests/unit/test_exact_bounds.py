"""The bounds of exact training: attained by tensors at the ends of their ranges, and refused one bit later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact import bounds, engine
from trainproof.exact.bounds import EXACT, PROVABLE, Bound
from trainproof.exact.compile import compile_net
from trainproof.exact.spec import Block, Format, Input, Loss, Rate, Spec, Velocity
from trainproof.exact.tables import tables

# --- random specifications

FORMATS = st.builds(Format, exponent=st.integers(8, 12), bits=st.integers(2, 12))


@st.composite
def blocks(draw: st.DrawFn, shape: tuple[int, int, int], name: str, momentum: bool) -> Block:
    """A convolution on ``shape`` of any kernel, stride, padding and pooling, with any formats."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    kernel = tuple(min(draw(st.integers(1, 3)), n + 2 * p) for n, p in zip(shape[1:], padding, strict=True))
    bias = draw(st.booleans())
    block = Block(
        name=name,
        kind="conv",
        inputs=shape,
        outputs=draw(st.integers(1, 3)),
        kernel=kernel,  # type: ignore[arg-type]
        stride=draw(pair),
        padding=padding,
        bias=bias,
        relu=draw(st.booleans()),
        pool="none",
        window=(1, 1),
        activation=draw(FORMATS),
        weight=draw(FORMATS),
        error=draw(FORMATS),
        initial=0,
        weight_velocity=Velocity(bits=draw(st.integers(2, 12)), shift=draw(st.integers(0, 4))) if momentum else None,
        bias_velocity=Velocity(bits=draw(st.integers(2, 12)), shift=0) if momentum and bias else None,
    )
    rows, columns = block.windows
    windows = [("max", w) for w in product((1, 2, 3), repeat=2)] + [("avg", w) for w in product((1, 2, 4), repeat=2)]
    fitting = [(pool, w) for pool, w in windows if w != (1, 1) and w[0] <= rows and w[1] <= columns]
    pool, window = draw(st.sampled_from([("none", (1, 1)), *fitting]))
    return replace(block, pool=pool, window=window)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Two convolutions and a linear block."""
    momentum = draw(st.none() | st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    first = draw(blocks(shape, "a", momentum is not None))
    second = draw(blocks(first.result, "b", momentum is not None))
    features = second.outputs * second.windows[0] * second.windows[1]
    last = replace(
        second,
        name="c",
        kind="linear",
        inputs=(features, 1, 1),
        kernel=(1, 1),
        stride=(1, 1),
        padding=(0, 0),
        relu=False,
        pool="none",
        window=(1, 1),
        activation=Format(exponent=10, bits=12),
    )
    high, low = tables(10)
    return Spec(
        version=1,
        input=Input(shape=shape, exponent=8),
        blocks=[first, second, last],
        loss=Loss(kind="cross_entropy", high=high, low=low),
        batch=draw(st.integers(0, 2)),
        rate=Rate(exponent=8, pieces=[(0, 1), (3, draw(st.integers(1, 9)))]),
        momentum=momentum,
    )


# --- the accumulators, from the formulas of docs/exact.md in Python integers; all tensors constant but dz's zeros


def outputs(block: Block) -> Iterator[tuple[int, int]]:
    return product(range(block.positions[0]), range(block.positions[1]))


def offsets(block: Block) -> Iterator[tuple[int, int]]:
    return product(range(block.kernel[0]), range(block.kernel[1]))


def place(block: Block, q: tuple[int, int], k: tuple[int, int]) -> tuple[int, int] | None:
    """The input position stride·q + κ − padding, None within the padding."""
    y, x = (s * a + b - p for s, a, b, p in zip(block.stride, q, k, block.padding, strict=True))
    return (y, x) if 0 <= y < block.inputs[1] and 0 <= x < block.inputs[2] else None


def spread(block: Block, value: int, wanted: Callable[[tuple[int, int]], bool]) -> dict[tuple[int, int], int]:
    """dz of one channel: ``value`` everywhere, with max pooling in one cell of each window, a ``wanted`` one if any."""
    if block.pool != "max":
        return dict.fromkeys(outputs(block), value)
    (rows, columns), (high, wide) = block.windows, block.window
    found = {}
    for i, j in product(range(rows), range(columns)):
        cells = [(i * high + di, j * wide + dj) for di, dj in product(range(high), range(wide))]
        found[next((q for q in cells if wanted(q)), cells[0])] = value
    return found


def z_sum(block: Block, ain: int, x: int) -> tuple[int, int]:
    """Largest |Z|, and largest sum of |terms|, over all positions; weight and bias at their low end."""
    weight = bias = block.weight.low
    best = (0, 0)
    for q in outputs(block):
        terms = [weight * x for _ in range(block.inputs[0]) for k in offsets(block) if place(block, q, k)]
        if block.bias:
            terms.append(2**ain * bias)
        best = (max(best[0], abs(sum(terms))), max(best[1], sum(map(abs, terms))))
    return best


def g_sum(block: Block, batch: int, x: int) -> tuple[int, int]:
    """Largest |G_weight| over all offsets, each with the dz that is worst for it, and largest |G_bias|."""
    best = 0
    for k in offsets(block):
        dz = spread(block, block.error.low, lambda q, k=k: place(block, q, k) is not None)  # type: ignore[misc]
        best = max(best, abs(sum(v * x for _ in range(batch) for q, v in dz.items() if place(block, q, k))))
    return best, abs(batch * sum(spread(block, block.error.low, lambda q: True).values()))


def d_sum(block: Block) -> int:
    """Largest |D| over all input positions, each with the dz that is worst for it."""
    best = 0
    for x in product(range(block.inputs[1]), range(block.inputs[2])):

        def hits(q: tuple[int, int], x: tuple[int, int] = x) -> int:
            return sum(place(block, q, k) == x for k in offsets(block))

        dz = spread(block, block.error.low, lambda q: hits(q) > 0)
        best = max(best, abs(sum(v * block.weight.low * hits(q) for _ in range(block.outputs) for q, v in dz.items())))
    return best


def extreme(spec: Spec, index: int) -> int:
    """The value of block ``index``'s X with the largest magnitude."""
    if index == 0:
        return -128
    below = spec.blocks[index - 1]
    cells = below.window[0] * below.window[1] if below.pool == "avg" else 1
    return cells * (below.activation.high if below.relu else below.activation.low)


def half(shift: int) -> int:
    return 2 ** (shift - 1) if shift else 0


def found(spec: Spec) -> dict[tuple[str, str], int]:
    return {(b.layer, b.accumulator): b.value for b in bounds.bounds(spec)}


@settings(max_examples=100)
@given(specs())
def test_every_bound_is_attained_and_none_is_loose(spec: Spec) -> None:
    bounds.check_fields(spec)
    value = found(spec)
    for index, block in enumerate(spec.blocks):
        x, ain, name = extreme(spec, index), spec.input_exponent(index), block.name
        reached, terms = z_sum(block, ain, x)
        bound = value[name, "Z"] - half(spec.forward_shift(index))
        assert terms == bound
        if x > 0 or not block.bias:  # else the bias's low end has the other sign than weight·X
            assert reached == bound
        weight, bias = g_sum(block, spec.batch_size, x)
        assert weight == value[name, "G_weight"]
        assert value.get((name, "G_bias")) == (bias if block.bias else None)
        if index:
            assert d_sum(block) == value[name, "D"] - half(spec.error_shift(index))
        else:
            assert (name, "D") not in value
        if block.pool == "avg":
            assert abs(extreme(spec, index + 1)) == value[name, "sum of a window"]


@settings(max_examples=40)
@given(specs())
def test_bounds_of_the_update_are_attained(spec: Spec) -> None:
    value = found(spec)
    m = max(m for _, m in spec.rate.pieces)
    for index, block in enumerate(spec.blocks):
        shifts = {"weight": spec.weight_shift(index), "bias": spec.bias_shift(index)}
        velocities = {"weight": block.weight_velocity, "bias": block.bias_velocity}
        for kind in ("weight", "bias") if block.bias else ("weight",):
            gradient, velocity, s = value[block.name, f"G_{kind}"], velocities[kind], shifts[kind]
            if spec.momentum is None:
                assert value[block.name, f"m·G_{kind}"] == abs(m * -gradient) + half(s)
                continue
            assert velocity is not None
            j, u, low = spec.momentum, velocity.shift, -(2 ** (velocity.bits - 1))
            total = abs((2**j - 1) * 2**u * low + 2**j * -gradient) + 2 ** (j + u - 1)
            assert value[block.name, f"velocity V_{kind}"] == total
            assert value[block.name, f"m·V_{kind}"] == abs(m * low) + half(s - u)


@settings(max_examples=30)
@given(specs(), st.sampled_from([2, 4, 10, 16]))
def test_the_bound_of_the_softmax_is_attained_by_equal_logits(spec: Spec, a: int) -> None:
    last = spec.blocks[-1]
    spec = replace(spec, blocks=[*spec.blocks[:-1], replace(last, activation=Format(exponent=a, bits=12))])
    high, low = tables(a)
    e = (high[0] * low[0] + 2**19) // 2**20
    s = spec.classes * e
    assert found(spec)["c", "softmax E·2^f + S/2"] == e * 2**last.error.exponent + s // 2


@settings(max_examples=30)
@given(specs())
def test_the_bound_of_the_squared_error_is_attained_by_the_lowest_logit(spec: Spec) -> None:
    last = spec.blocks[-1]
    last = replace(last, error=Format(exponent=13, bits=12))
    spec = replace(spec, blocks=[*spec.blocks[:-1], last], loss=Loss(kind="mean_squared_error", high=[], low=[]))
    z = last.activation.low
    assert found(spec)["c", "dz of the loss"] == abs(2 ** (13 - 10) * (z - 2**10))


@given(
    st.integers(0, 2**70),
    st.sampled_from([EXACT, PROVABLE]),
)
def test_bits_over_and_margin(value: int, limit: int) -> None:
    bound = Bound("0", "Z", value, limit, "")
    assert value < limit << bound.over
    assert bound.over == 0 or value >= limit << (bound.over - 1)
    assert (bound.margin >= 0) == (bound.over == 0)
    assert value << max(0, bound.margin) < limit or bound.over


# --- where the limit lies


def wide(bits: int) -> tuple[nn.Sequential, dict[str, Any]]:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    formats = {
        "activation": Format(exponent=10, bits=bits),
        "weight": Format(exponent=16, bits=20),
        "error": Format(exponent=16, bits=18),
    }
    return net, {"input_shape": (1, 4, 4), "batch_size": 2, "lr": 1.0, **formats}


def test_accepted_up_to_the_limit_and_refused_one_bit_later() -> None:
    # Z of the linear block: 32 · 2^19 · (2^(b−1) − 1) + …: 2^53 is crossed by b = 30; G_weight: 2 · 2^17 · 2^29.
    net, options = wide(29)
    spec = compile_net(net, **options)
    assert {b.margin for b in bounds.bounds(spec) if b.accumulator == "Z"} >= {0}
    net, options = wide(30)
    with pytest.raises(
        FormatError, match=r"3: Z may reach 2\^53\.0, 1 bit over 2\^53; give fewer bits to the weight of 3 "
    ):
        compile_net(net, **options)


def test_the_engine_is_exact_at_the_limit() -> None:
    """Gradients just below 2^53, in whatever order the library sums them, against 64-bit integers."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    spec = compile_net(net, input_shape=(3, 4, 4), batch_size=64, lr=1.0, error=Format(exponent=16, bits=40))
    assert min(b.margin for b in bounds.bounds(spec) if b.limit == EXACT) == 0
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 9, (64, 3, 4, 4), generator=generator, dtype=torch.uint8)  # −128 to −120
    dz = -(2**39) + torch.randint(0, 2**20, (64, 5), generator=generator)
    params = {"1.weight": torch.zeros(5, 48, dtype=torch.float64), "1.bias": torch.zeros(5, dtype=torch.float64)}
    grads = engine.backward(spec, params, engine.forward(spec, params, x), dz.double())
    wanted = dz.t() @ (x.long() - 128).flatten(1)
    assert int(wanted.max()) > 2**51
    assert torch.equal(grads["1.weight"], wanted.double())
    assert torch.equal(grads["1.weight"].long(), wanted)
    assert torch.equal(grads["1.bias"].long(), dz.sum(0))


# --- specifications from strangers


def honest(momentum: float | None = 0.75) -> Spec:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 4, 2, bias=False),
        nn.Flatten(),
        nn.Linear(36, 3),
    )
    return compile_net(net, input_shape=(1, 8, 8), batch_size=4, lr=0.5, momentum=momentum)


def with_block(spec: Spec, index: int, **fields: Any) -> Spec:
    changed = list(spec.blocks)
    changed[index] = replace(changed[index], **fields)
    return replace(spec, blocks=changed)


HUGE = 1 << 20
HOSTILE: list[tuple[str, Callable[[Spec], Spec], str]] = [
    ("bits", lambda s: with_block(s, 0, weight=Format(exponent=16, bits=41)), r"not within the schema.*bits"),
    ("exponent", lambda s: with_block(s, 0, weight=Format(exponent=-1, bits=18)), r"not within the schema"),
    ("bool", lambda s: with_block(s, 0, outputs=True), r"not within the schema"),
    ("float", lambda s: with_block(s, 0, stride=(1.5, 1)), r"not within the schema"),
    ("list", lambda s: with_block(s, 0, stride=[1, 1]), r"not plain data"),
    ("version", lambda s: replace(s, version=2), r"not within the schema"),
    ("no blocks", lambda s: replace(s, blocks=[]), r"not within the schema"),
    ("batch", lambda s: replace(s, batch=17), r"not within the schema"),
    ("same name", lambda s: with_block(s, 1, name="0"), r"used twice"),
    ("inner name", lambda s: with_block(s, 1, name="0.1"), r"used twice, or not in order"),
    ("re-entered", lambda s: with_block(with_block(s, 0, name="a.0"), 2, name="a.1"), r"not in order"),
    ("outer name", lambda s: with_block(with_block(s, 0, name="a.0"), 1, name="a"), r"not in order"),
    ("empty part", lambda s: with_block(s, 1, name="a..b"), r"no dotted name"),
    ("control character", lambda s: with_block(s, 1, name="a\x1b[2J"), r"no dotted name"),
    ("chain", lambda s: with_block(s, 1, inputs=(3, 4, 4)), r"3: takes 3×4×4, but 0 gives 2×4×4"),
    ("first", lambda s: replace(s, input=Input(shape=(1, 9, 9), exponent=8)), r"the input gives 1×9×9"),
    ("features", lambda s: with_block(s, 2, inputs=(35, 1, 1)), r"5: takes 35×1×1, but 3 gives 36×1×1"),
    ("linear kernel", lambda s: with_block(s, 2, kernel=(1, 2)), r"a linear block with"),
    ("window alone", lambda s: with_block(s, 1, window=(2, 2)), r"a window without pooling"),
    ("pool alone", lambda s: with_block(s, 1, pool="max"), r"pooling without a window"),
    ("area", lambda s: with_block(s, 0, window=(1, 3)), r"no power of two"),
    ("no windows", lambda s: with_block(s, 0, window=(16, 1)), r"does not fit"),
    ("kernel too large", lambda s: with_block(s, 0, kernel=(11, 1)), r"does not fit"),
    ("logits relu", lambda s: with_block(s, 2, relu=True), r"no logits"),
    ("rate start", lambda s: replace(s, rate=Rate(exponent=1, pieces=[(1, 1)])), r"begin at 0"),
    ("rate order", lambda s: replace(s, rate=Rate(exponent=1, pieces=[(0, 1), (5, 1), (5, 2)])), r"ascend"),
    ("rate zero", lambda s: replace(s, rate=Rate(exponent=1, pieces=[(0, 0)])), r"not within the schema"),
    ("table entry", lambda s: replace(s, loss=replace(s.loss, low=[*s.loss.low[:-1], 0])), r"not the tables"),
    ("tables missing", lambda s: replace(s, loss=replace(s.loss, high=[], low=[])), r"not the tables"),
    ("tables unwanted", lambda s: replace(s, loss=replace(s.loss, kind="mean_squared_error")), r"not the tables"),
    ("odd exponent", lambda s: with_block(s, 2, activation=Format(exponent=9, bits=18)), r"even exponent from 2 to 16"),
    ("no momentum", lambda s: replace(s, momentum=None), r"there without momentum"),
    ("no velocity", lambda s: with_block(s, 0, weight_velocity=None), r"weight_velocity is missing"),
    (
        "velocity of no bias",
        lambda s: with_block(s, 1, bias_velocity=Velocity(bits=20, shift=0)),
        r"without momentum or bias",
    ),
    (
        "u > s",
        lambda s: with_block(s, 0, bias_velocity=Velocity(bits=20, shift=4)),
        r"bias_velocity of 0 a shift of at most 3",
    ),
    ("ρ", lambda s: with_block(s, 0, initial=1 << 17), r"0: ρ is beyond"),
    (
        "negative s",
        lambda s: with_block(s, 0, activation=Format(exponent=25, bits=18)),
        r"activation of 0 .* at most 24",
    ),
    ("negative s of dy", lambda s: with_block(s, 0, error=Format(exponent=35, bits=18)), r"error of 0 .* at most 34"),
    ("negative s of W", lambda s: with_block(s, 2, weight=Format(exponent=20, bits=18)), r"weight of 5 .* at most 19"),
    ("padding", lambda s: with_block(s, 0, padding=(HUGE, HUGE)), r"too many rows or columns"),
    ("long side", lambda s: with_block(s, 0, padding=(0, 1 << 15)), r"too many rows or columns"),
    ("large", lambda s: with_block(s, 0, outputs=HUGE, padding=(999, 999)), r"output of a batch is too large"),
    (
        "sums",
        lambda s: with_block(s, 2, weight=Format(exponent=16, bits=40)),
        r"5: Z may reach .* over 2\^53; give fewer",
    ),
]


@pytest.mark.parametrize(("change", "message"), [c[1:] for c in HOSTILE], ids=[c[0] for c in HOSTILE])
def test_a_strangers_specification_is_refused(change: Callable[[Spec], Spec], message: str) -> None:
    spec = honest()
    bounds.check(spec)
    with pytest.raises(FormatError, match=message):
        bounds.check(change(spec))


def test_a_vast_specification_is_refused_before_anything_of_its_size_is_made() -> None:
    spec = honest(None)
    side = 1 << 16  # as long as is allowed, in as many blocks, no two the same
    first = replace(spec.blocks[0], kernel=(2, 1), padding=(0, 0), pool="none", window=(1, 1), outputs=1)
    last = replace(spec.blocks[2], name="last", inputs=(side - 255, 1, 1))
    deep = [replace(first, name=str(i), inputs=(1, side - i, 1)) for i in range(255)]
    vast = [
        replace(spec, blocks=deep, input=Input(shape=(1, side, 1), exponent=8)),
        replace(spec, blocks=[*deep, last], input=Input(shape=(1, side, 1), exponent=8), batch=16),
        with_block(spec, 0, padding=(HUGE, HUGE)),
        with_block(replace(spec, input=Input(shape=(HUGE,) * 3, exponent=8)), 0, inputs=(HUGE,) * 3, outputs=HUGE),
        with_block(spec, 2, outputs=HUGE),
        replace(with_block(spec, 2, outputs=HUGE // 2), batch=16),
    ]
    long = replace(spec, blocks=[*deep, last], input=Input(shape=(1, side, 1), exponent=8), batch=0)
    start = time.monotonic()
    for other in vast:
        with pytest.raises(FormatError):
            bounds.check(other)
    assert time.monotonic() - start < 20
    bounds.check(long)  # not vast: it only takes a while
    assert time.monotonic() - start < 120


def test_without_momentum_and_with_mean_squared_error() -> None:
    spec = honest(None)
    bounds.check(spec)
    squared = replace(spec, loss=Loss(kind="mean_squared_error", high=[], low=[]))
    bounds.check(squared)
    with pytest.raises(FormatError, match="error of 5 an exponent of at least 10"):
        bounds.check(with_block(squared, 2, error=Format(exponent=9, bits=18)))
