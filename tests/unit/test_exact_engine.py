"""The engine against its loop-level twin, and against PyTorch's own layers where these are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from exact_specs import ACTIVATION, conv, linear, make
from trainproof.errors import DatasetError, FormatError, RangeError
from trainproof.exact import engine
from trainproof.exact.spec import Format, Spec, Velocity
from trainproof.reference import exact as twin

Numbers = dict[str, Any]


def tensors(arrays: Numbers) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(array).astype(np.float64)) for name, array in arrays.items()}


def same(mine: torch.Tensor, theirs: Any) -> bool:
    return mine.dtype == torch.float64 and np.array_equal(mine.cpu().numpy(), np.asarray(theirs).astype(np.float64))


def weights(spec: Spec, rng: np.random.Generator) -> Numbers:
    found: Numbers = {}
    for p in spec.parameters():
        found[p.name] = rng.integers(-p.initial - 40, p.initial + 41, p.shape)
    return found


def batch(spec: Spec, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    x = rng.integers(0, 256, (spec.batch_size, *spec.input.shape), dtype=np.uint8)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, spec.classes, spec.batch_size))


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Nets of one to three blocks, all kinds of linear part, activation and pooling, odd shapes."""
    size = st.integers(4, 7)
    shape = (draw(st.integers(1, 2)), draw(size), draw(size))
    blocks: list[dict[str, Any]] = []
    rows, columns = shape[1:]
    for _ in range(draw(st.integers(0, 2))):
        kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        high, wide = (
            (n + 2 * p - k) // s + 1 for n, p, k, s in zip((rows, columns), padding, kernel, stride, strict=True)
        )
        if min(rows + 2 * padding[0] - kernel[0], columns + 2 * padding[1] - kernel[1]) < 0:
            continue
        pool = draw(st.sampled_from(["none", "max", "avg"]))
        window = draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (1, 1), *([(3, 2), (1, 3)] if pool == "max" else [])]))
        if pool == "none" or high < window[0] or wide < window[1]:
            pool, window = "none", (1, 1)
        rows, columns = high // window[0], wide // window[1]
        block = conv(draw(st.integers(1, 3)), kernel, stride=stride, padding=padding, pool=pool, window=window)
        blocks.append({**block, "bias": draw(st.booleans()), "relu": draw(st.booleans())})
    if draw(st.booleans()):
        blocks.append({**linear(draw(st.integers(1, 5))), "relu": draw(st.booleans()), "bias": draw(st.booleans())})
    blocks.append({**linear(draw(st.integers(1, 5))), "bias": draw(st.booleans())})
    return make(
        shape,
        *blocks,
        loss=draw(st.sampled_from(["cross_entropy", "mean_squared_error"])),
        batch=draw(st.integers(0, 2)),
        pieces=[(0, draw(st.integers(1, 5))), (3, 7)],
        momentum=draw(st.sampled_from([None, 1, 4])),
    )


@settings(max_examples=60)
@given(spec=specs(), seed=st.integers(0, 2**32 - 1), step=st.sampled_from([0, 2, 3, 9]))
def test_a_step_is_the_twins(spec: Spec, seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    start = weights(spec, rng)
    moving = {} if spec.momentum is None else {n: rng.integers(-500, 500, v.shape) for n, v in start.items()}
    x, labels = batch(spec, rng)
    params, velocities = tensors(start), tensors(moving)

    trace = engine.forward(spec, params, x)
    dz, reported = engine.loss(spec, trace.logits, labels)
    grads = engine.backward(spec, params, trace, dz)
    given_ones = [*params.values(), *velocities.values(), *grads.values()]
    kept = [tensor.clone() for tensor in given_ones]
    new, new_velocities = engine.update(spec, params, velocities, grads, step)

    theirs = twin.forward(spec, start, x.numpy())
    their_dz = twin.loss(spec, theirs.logits, labels.numpy())
    their_grads = twin.backward(spec, start, theirs, their_dz)
    their_new, their_velocities = twin.update(spec, start, moving, their_grads, step)
    assert same(trace.logits, theirs.logits)
    assert same(dz, their_dz)
    assert reported == float(twin.reported_loss(spec, theirs.logits, labels.numpy()))
    for mine, reference in ((grads, their_grads), (new, their_new), (new_velocities, their_velocities)):
        assert mine.keys() == reference.keys()
        assert all(same(mine[name], reference[name]) for name in reference)
    assert all(torch.equal(a, b) for a, b in zip(kept, given_ones, strict=True))  # an update leaves what it was given


@settings(max_examples=100)
@given(
    z=st.lists(st.integers(-(2**17), 2**17 - 1), min_size=2, max_size=9),
    a=st.sampled_from([2, 10, 16]),
    label=st.integers(0, 1),
)
def test_the_loss_of_any_logits(z: list[int], a: int, label: int) -> None:
    spec = make((1, 1, 1), linear(len(z), activation=Format(exponent=a, bits=18)), batch=0)
    logits = np.array([z])
    dz, reported = engine.loss(spec, torch.tensor(logits, dtype=torch.float64), torch.tensor([label]))
    assert same(dz, twin.loss(spec, twin.integers(logits), [label]))
    assert reported == float(twin.reported_loss(spec, twin.integers(logits), [label]))
    real = F.cross_entropy(torch.tensor(logits) / 2.0**a, torch.tensor([label])).item()
    assert abs(reported - real) < 2e-3 * max(1.0, len(z) / 4)  # E of 16 bits; differences end at 16


@pytest.mark.parametrize("s", [1, 2**16 - 1, 2**16, 3 * 2**29, 2**30 - 1, 2**30, 2**31 + 1, 2**36, 2**36 - 1])
def test_the_logarithm_of_any_sum(s: int) -> None:
    assert engine._logarithm(torch.tensor([s])).item() == twin.logarithm(s)


def test_rounding_halves_go_up() -> None:
    values = torch.tensor([-3.0, -1.0, 1.0, 3.0, -2.0, 5.0], dtype=torch.float64)
    assert engine.rnd(values.clone(), 1).tolist() == [-1, 0, 1, 2, -1, 3]
    assert engine.rnd(values.clone(), 0).tolist() == values.tolist()


def test_the_first_of_equal_maxima_takes_the_error() -> None:
    spec = make((1, 4, 4), conv(1, (1, 1), pool="max", window=(2, 2), relu=False), linear(3), batch=0)
    params = tensors(
        {"0.weight": np.full((1, 1, 1, 1), 64), "0.bias": [0], "1.weight": np.ones((3, 4)), "1.bias": [0] * 3}
    )
    trace = engine.forward(spec, params, torch.full((1, 1, 4, 4), 130, dtype=torch.uint8))
    gate = trace.blocks[0].gate
    assert gate is not None
    assert gate.unique().tolist() == [0]


def test_pooling_and_relu_are_pytorchs_in_either_order() -> None:
    rng = np.random.default_rng(3)
    for relu in (True, False):
        spec = make(
            (2, 6, 6), conv(3, (3, 3), padding=(1, 1), pool="max", window=(2, 2), relu=relu), linear(3), batch=1
        )
        params = tensors(weights(spec, rng))
        x, _ = batch(spec, rng)
        trace = engine.forward(spec, params, x)
        z = F.conv2d(x.double() - 128, params["0.weight"], params["0.bias"] * 2.0**8, padding=1)
        z = engine.rnd(z, spec.forward_shift(0)).requires_grad_()
        y = F.max_pool2d(F.relu(z) if relu else z, 2)
        dy = torch.from_numpy(rng.integers(-9, 10, y.shape).astype(np.float64))
        y.backward(dy)
        mine = engine._deactivate(spec.blocks[0], dy.transpose(0, 1).contiguous(), trace.blocks[0].gate)
        assert z.grad is not None
        assert torch.equal(mine.transpose(0, 1), z.grad)


def test_no_update_makes_a_negative_zero() -> None:
    spec = make((1, 2, 2), linear(3), momentum=3)
    params = tensors({p.name: np.zeros(p.shape) for p in spec.parameters()})
    grads = {name: torch.full_like(t, -0.0) for name, t in params.items()}
    for tensor in (t for part in engine.update(spec, params, params, grads, 0) for t in part.values()):
        assert not torch.signbit(tensor).any()


# -- refusals --------------------------------------------------------------------------------------------------------

NARROW = Format(exponent=6, bits=4)


def small(**fields: Any) -> Spec:
    return make((1, 3, 3), conv(2, (2, 2), **fields), linear(3, **fields), batch=1, rate=0)


def run(spec: Spec, seed: int = 1, velocity: int = 0, step: int = 7) -> None:
    rng = np.random.default_rng(seed)
    start = weights(spec, rng)
    params = tensors(start)
    velocities = {} if spec.momentum is None else {n: torch.full_like(t, velocity) for n, t in params.items()}
    x, labels = batch(spec, rng)
    trace = engine.forward(spec, params, x, step=step)
    dz, _ = engine.loss(spec, trace.logits, labels, step=step)
    engine.update(spec, params, velocities, engine.backward(spec, params, trace, dz, step=step), step)


@pytest.mark.parametrize(
    ("spec", "layer", "tensor", "mend"),
    [
        (small(activation=NARROW), "0", "activation", "'activation'"),
        (make((1, 3, 3), linear(3, activation=NARROW)), "0", "activation", "'activation'"),
        (make((1, 3, 3), linear(3, error=Format(exponent=10, bits=8))), "0", "error", "'error'"),
        (make((1, 3, 3), conv(2, (2, 2), error=Format(exponent=20, bits=6)), linear(3)), "0", "error", "'error'"),
        (make((1, 3, 3), linear(3, weight=Format(exponent=8, bits=7))), "0", "weight", "'weight'"),
        (
            make(
                (1, 3, 3),
                linear(3, weight_velocity=Velocity(bits=4, shift=4), bias_velocity=Velocity(26, 1)),
                momentum=2,
            ),
            "0",
            "velocity",
            "'weight_velocity'",
        ),
        (
            make(
                (1, 3, 3),
                linear(3, weight_velocity=Velocity(26, 4), bias_velocity=Velocity(bits=4, shift=0)),
                momentum=2,
            ),
            "0",
            "bias velocity",
            "'bias_velocity'",
        ),
    ],
)
def test_a_value_out_of_range_is_named(spec: Spec, layer: str, tensor: str, mend: str) -> None:
    with pytest.raises(RangeError) as caught:
        run(spec)
    assert (caught.value.layer, caught.value.tensor, caught.value.step) == (layer, tensor, 7)
    assert mend in str(caught.value)


def test_a_bias_out_of_range_is_named() -> None:
    spec = make((1, 1, 1), linear(2, weight=Format(exponent=2, bits=4)), rate=0, batch=0)
    params = tensors({"0.weight": np.zeros((2, 1)), "0.bias": [7, 0]})
    grads = tensors({"0.weight": np.zeros((2, 1)), "0.bias": [-(2 ** spec.bias_shift(0)), 0]})
    with pytest.raises(RangeError, match="0 bias in step 3"):
        engine.update(spec, params, {}, grads, 3)


def test_the_edges_of_a_range_are_in_it() -> None:
    spec = make((1, 1, 1), linear(2, weight=Format(exponent=2, bits=4)), rate=0, batch=0)
    params = tensors({"0.weight": [[7], [-8]], "0.bias": [7, -8]})
    engine.check_parameters(spec, params)
    for value in (8.0, -9.0, float("nan"), float("inf")):
        params["0.bias"][0] = value
        with pytest.raises(RangeError, match="0 bias"):
            engine.check_parameters(spec, params)


def test_parameters_from_outside_are_checked() -> None:
    spec = make((1, 2, 2), linear(2), momentum=1)
    good = tensors(weights(spec, np.random.default_rng(0)))
    engine.check_parameters(spec, good, good)
    for bad in (
        {"0.weight": good["0.weight"]},
        {**good, "1.weight": good["0.weight"]},
        {**good, "0.bias": good["0.bias"].float()},
        {**good, "0.bias": good["0.bias"][:1]},
        {**good, "0.bias": good["0.bias"] + 0.5},
    ):
        with pytest.raises(FormatError):
            engine.check_parameters(spec, bad)
        with pytest.raises(FormatError):
            engine.check_parameters(spec, good, bad)
    with pytest.raises(FormatError, match="missing"):
        engine.check_parameters(spec, good, {})


def test_inputs_and_labels_are_checked() -> None:
    spec = make((1, 2, 2), linear(3), batch=1)
    params = tensors(weights(spec, np.random.default_rng(0)))
    x = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    for bad in (x.float(), x[:, 0], x[:0], x.expand(2, 2, 2, 2)):
        with pytest.raises(DatasetError, match="images"):
            engine.forward(spec, params, bad)
    trace = engine.forward(spec, params, x)
    for labels in (torch.tensor([0, 3]), torch.tensor([-1, 0]), torch.tensor([0]), torch.tensor([0.0, 1.0])):
        with pytest.raises(DatasetError, match="labels"):
            engine.loss(spec, trace.logits, labels)
    one = engine.forward(spec, params, x[:1])
    dz, _ = engine.loss(spec, one.logits, torch.tensor([0]))  # evaluation may take any number of samples
    with pytest.raises(FormatError, match="batch"):
        engine.backward(spec, params, one, dz)  # but a step has the batch of the specification


def test_a_network_ends_in_logits() -> None:
    for block in (conv(3, (2, 2)), linear(3, relu=True)):
        spec = make((1, 3, 3), block)
        with pytest.raises(FormatError, match="last block"):
            engine.forward(spec, {}, torch.zeros(4, 1, 3, 3, dtype=torch.uint8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_graphics_card_gives_the_same_bits() -> None:
    spec = make((2, 6, 6), conv(3, (3, 3), padding=(1, 1), pool="max", window=(2, 2)), linear(4), momentum=3)
    rng = np.random.default_rng(5)
    params = tensors(weights(spec, rng))
    x, labels = batch(spec, rng)
    results = []
    for device in ("cpu", "cuda"):
        there = {name: t.to(device) for name, t in params.items()}
        still = {name: torch.zeros_like(t) for name, t in there.items()}
        trace = engine.forward(spec, there, x.to(device))
        dz, reported = engine.loss(spec, trace.logits, labels.to(device))
        new, moving = engine.update(spec, there, still, engine.backward(spec, there, trace, dz), 0)
        results.append((reported, [t.cpu() for t in (*new.values(), *moving.values())]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_a_global_average_and_a_wide_activation() -> None:
    assert ACTIVATION.bits == 18
    spec = make((2, 4, 4), conv(3, (3, 3), padding=(1, 1), pool="avg", window=(4, 4)), linear(2), batch=1)
    assert spec.input_exponent(1) == ACTIVATION.exponent + 4
    run(spec)
