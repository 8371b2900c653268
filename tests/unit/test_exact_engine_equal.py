"""The engine and its loop-level twin agree in every integer, on random nets with random formats."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exact_nets import Case, cases, make, replaced, size
from trainproof.errors import FormatError, RangeError
from trainproof.exact import engine
from trainproof.exact.bounds import check
from trainproof.exact.spec import Format, Input, Loss, Rate, Spec, Velocity
from trainproof.exact.tables import tables
from trainproof.reference import exact as reference


def floats(arrays):
    return {name: torch.from_numpy(np.array(array, dtype=np.float64)) for name, array in arrays.items()}


def whole(tensors):
    """Integers as nested lists; a float that is none stays one, and then differs."""
    return {name: reference.integers(np.asarray(t)).tolist() for name, t in tensors.items()}


def assume_bounded(spec: Spec) -> None:
    """Section 9 holds; what breaks it is refused before the engine sees it."""
    try:
        check(spec)
    except FormatError:
        assume(False)


def engine_step(spec, weights, velocities, samples, labels, t):
    trace = engine.forward(spec, weights, samples, step=t)
    dz, reported = engine.loss(spec, trace.logits, labels, step=t)
    gradients = engine.backward(spec, weights, trace, dz, step=t)
    assert all(torch.equal(g, g.round()) for g in gradients.values())
    return trace.logits, dz, gradients, *engine.update(spec, weights, velocities, gradients, t), reported


def reference_step(*args):
    try:
        return reference.step(*args)
    except RangeError as error:
        return error


def where(error: RangeError) -> tuple[str, str, int | None]:
    return error.layer, error.tensor, error.step


def run_both(case: Case, steps: int) -> str:
    """Step by step; returns how it ended."""
    spec = case.spec
    slow, slow_velocities = case.weights, reference.still(spec)
    fast, fast_velocities = floats(slow), floats(slow_velocities)
    for t in range(steps):
        samples, labels = case.samples[t], case.labels[t]
        tensors = torch.from_numpy(samples), torch.from_numpy(labels)
        after = reference_step(spec, slow, slow_velocities, samples, labels, t)
        if isinstance(after, RangeError):
            with pytest.raises(RangeError) as caught:
                engine_step(spec, fast, fast_velocities, *tensors, t)
            assert where(caught.value) == where(after)
            return "range"
        trace = reference.forward(spec, slow, samples)
        dz = reference.loss(spec, trace.logits, labels)
        logits, fast_dz, gradients, fast, fast_velocities, reported = engine_step(
            spec, fast, fast_velocities, *tensors, t
        )
        assert reference.integers(logits).tolist() == trace.logits.tolist()
        assert reference.integers(fast_dz).tolist() == dz.tolist()
        assert whole(gradients) == whole(reference.backward(spec, slow, trace, dz))
        slow, slow_velocities, exact = after
        assert whole(fast) == whole(slow)
        assert whole(fast_velocities) == whole(slow_velocities)
        assert reported == float(exact)
    return "end"


@settings(max_examples=100)
@given(cases())
def test_one_step_of_a_random_net(case):
    assume_bounded(case.spec)
    run_both(case, 1)


@settings(max_examples=40)
@given(cases(steps=4))
def test_four_steps_of_a_random_net(case):
    assume_bounded(case.spec)
    run_both(case, 4)


LOSSES = st.sampled_from(["equal", "one at the top", "one at the bottom", "at the cap", "near", "any"])


@settings(max_examples=100)
@given(
    kind=LOSSES,
    a=st.sampled_from([2, 4, 6, 8, 10, 12, 14, 16]),
    f=st.integers(0, 20),
    bits=st.integers(8, 36),
    classes=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_cross_entropy_of_extreme_logits(kind, a, f, bits, classes, seed):
    spec = loss_spec("cross_entropy", classes, Format(exponent=a, bits=bits), Format(exponent=f, bits=f + 2))
    rng = np.random.default_rng(seed)
    compare_losses(spec, logits(rng, kind, spec), rng.integers(0, classes, 4))


@settings(max_examples=40)
@given(
    kind=LOSSES,
    a=st.integers(0, 12),
    more=st.integers(0, 6),
    bits=st.integers(8, 36),
    classes=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_squared_error_of_extreme_logits(kind, a, more, bits, classes, seed):
    error = Format(exponent=a + more, bits=min(40, max(bits, a + 2) + more + 1))
    assume(error.bits < 40)
    spec = loss_spec("mean_squared_error", classes, Format(exponent=a, bits=bits), error)
    rng = np.random.default_rng(seed)
    compare_losses(spec, logits(rng, kind, spec), rng.integers(0, classes, 4))


def loss_spec(kind: str, classes: int, activation: Format, error: Format) -> Spec:
    block = make((1, 1, 1), classes, linear=True, activation=activation, error=error)
    high, low = tables(activation.exponent) if kind == "cross_entropy" else ([], [])
    return Spec(
        version=1,
        input=Input(shape=(1, 1, 1), exponent=8),
        blocks=[block],
        loss=Loss(kind=kind, high=high, low=low),
        batch=2,
        rate=Rate(exponent=0, pieces=[(0, 1)]),
        momentum=None,
    )


def logits(rng: np.random.Generator, kind: str, spec: Spec) -> np.ndarray:
    """Four samples' logits, within the range of the last block's activation."""
    form = spec.blocks[-1].activation
    shape = (4, spec.classes)
    if kind == "equal":
        return np.full(shape, rng.integers(form.low, form.high + 1))
    if kind in ("one at the top", "one at the bottom"):
        most, one = (form.low, form.high) if kind == "one at the top" else (form.high, form.low)
        z = np.full(shape, most)
        z[np.arange(4), rng.integers(0, spec.classes, 4)] = one
        return z
    if kind == "at the cap":  # differences of 2^(2g) − 1, where the tables end, and one less or more
        z = form.high - rng.choice([0, *(2 ** (form.exponent + 4) - 1 + np.arange(-1, 2))], shape)
        return np.clip(z, form.low, form.high)
    if kind == "near":
        return rng.integers(max(form.low, -20), min(form.high, 20), shape)
    return rng.integers(form.low, form.high + 1, shape)


def compare_losses(spec: Spec, z: np.ndarray, labels: np.ndarray) -> None:
    expected = reference.loss(spec, reference.integers(z), labels)
    dz, reported = engine.loss(spec, torch.from_numpy(z.astype(np.float64)), torch.from_numpy(labels))
    assert reference.integers(dz).tolist() == expected.tolist()
    assert reported == float(reference.reported_loss(spec, reference.integers(z), labels))


@settings(max_examples=40)
@given(
    s=st.integers(0, 30),
    values=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8),
)
def test_rounding(s, values):
    near_halves = [
        2**s * value + sign * (2 ** max(0, s - 1)) + off
        for value in values[:2]
        for sign in (1, -1)
        for off in (-1, 0, 1)
    ]
    near_halves = [value % 2**50 - 2**49 for value in near_halves]
    tensor = torch.tensor(values + near_halves, dtype=torch.float64)
    expected = [reference.rnd(value, s) for value in values + near_halves]
    assert reference.integers(engine.rnd(tensor, s)).tolist() == expected


@settings(max_examples=50)
@given(
    exponent=st.integers(0, 24),
    m=st.integers(1, 50),
    j=st.none() | st.integers(1, 10),
    drop=st.integers(0, 24),
    magnitude=st.integers(1, 36),
    seed=st.integers(0, 2**32),
)
def test_updates_of_any_size(exponent, m, j, drop, magnitude, seed):
    form, u = Format(exponent=0, bits=40), min(drop, exponent)
    moving = None if j is None else Velocity(bits=40, shift=u)
    block = make((3, 1, 1), 4, linear=True, weight=form, weight_velocity=moving, bias_velocity=moving)
    spec = Spec(
        version=1,
        input=Input(shape=(3, 1, 1), exponent=0),
        blocks=[block],
        loss=Loss(kind="mean_squared_error", high=[], low=[]),
        batch=0,
        rate=Rate(exponent=exponent, pieces=[(0, 1), (5, m)]),
        momentum=j,
    )
    rng, top = np.random.default_rng(seed), 2**magnitude
    gradients = {p.name: rng.integers(-top, top, p.shape) for p in spec.parameters()}
    weights = {p.name: rng.integers(-(2**30), 2**30, p.shape) for p in spec.parameters()}
    velocities = {} if j is None else {p.name: rng.integers(-(2**17), 2**17, p.shape) for p in spec.parameters()}
    expected = reference.update(spec, weights, velocities, gradients, 5)
    assume(all(size(*tensors.values()) <= 40 for tensors in expected if tensors))
    actual = engine.update(spec, floats(weights), floats(velocities), floats(gradients), 5)
    assert [whole(tensors) for tensors in actual] == [whole(tensors) for tensors in expected]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", ["none", "max", "avg"])
def test_ties_and_zeros_in_windows(relu, pool):
    """All 2×2 windows over −1, 0, 1: equal cells, maxima of 0, all negative; one pixel and sample each."""
    window = (1, 1) if pool == "none" else (2, 2)
    form = Format(exponent=0, bits=20)
    first = make((1, 2, 2), 1, relu=relu, pool=pool, window=window, bias=True, activation=form, weight=form, error=form)
    shape = first.result
    second = make(shape, 2, linear=True, activation=form, weight=form, error=form)
    grids = np.stack([g.ravel() for g in np.meshgrid(*[[-1, 0, 1]] * 4, indexing="ij")], 1)
    samples = (128 + np.concatenate([grids, grids[:47]])).astype(np.uint8).reshape(128, 1, 2, 2)
    spec = Spec(
        version=1,
        input=Input(shape=(1, 2, 2), exponent=0),
        blocks=[first, replaced(second, name="3")],
        loss=Loss(kind="mean_squared_error", high=[], low=[]),
        batch=7,
        rate=Rate(exponent=0, pieces=[(0, 1)]),
        momentum=None,
    )
    if pool == "avg":
        blocks = [replaced(spec.blocks[0], error=replaced(form, exponent=2)), spec.blocks[1]]
        blocks[1] = replaced(blocks[1], activation=replaced(form, exponent=2), error=replaced(form, exponent=2))
        spec = replaced(spec, blocks=blocks)
    weights = {
        "0.weight": np.ones((1, 1, 1, 1), dtype=np.int64),
        "0.bias": np.zeros(1, dtype=np.int64),
        "3.weight": np.arange(1, 1 + 2 * np.prod(shape)).reshape(2, -1),
        "3.bias": np.array([5, -4]),
    }
    labels = (np.arange(128) % 2)[None]
    assert run_both(Case(spec, weights, samples[None], labels), 1) == "end"


@pytest.mark.slow
@settings(max_examples=500)
@given(cases(steps=3))
def test_many_random_nets(case):
    assume_bounded(case.spec)
    run_both(case, 3)
