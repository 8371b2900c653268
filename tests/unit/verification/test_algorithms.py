"""The paper's two algorithms, on a training small enough to check by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainproof.reference.algorithm1 import Proof, Weights, create, signature
from trainproof.reference.algorithm2 import DELTA, DISTANCES, verify

DATA = np.random.default_rng(0).normal(size=(40, 3))
EPOCHS, STEPS, INTERVAL = 3, 10, 5


def batches(data: np.ndarray[Any, Any], steps: int) -> list[list[int]]:
    return [list(range(4 * s, 4 * s + 4)) for s in range(steps)]


def update(w: Weights, batch: Any, rate: Any) -> Weights:
    """One step of least squares towards the batch's mean."""
    moved: Weights = w - rate * (w - batch.mean(axis=0))
    return moved


def proof() -> Proof:
    return create(
        DATA,
        lambda t: 0.5 / (1 + t),
        EPOCHS,
        STEPS,
        INTERVAL,
        get_batches=batches,
        update=update,
        init=lambda: np.full(3, 5.0),
    )


def valid(made: Proof, **options: Any) -> bool:
    given: dict[str, Any] = {"budget": 2, "slack": 1e-9} | options
    return verify(
        made.weights,
        made.indices,
        made.signatures,
        made.metadata,
        update=update,
        dataset=DATA,
        steps=STEPS,
        interval=INTERVAL,
        **given,
    )


def test_algorithm_1_stores_every_kth_weight_and_the_last() -> None:
    made = proof()
    stored = [t for t, w in enumerate(made.weights) if w is not None]
    assert stored == [0, 5, 10, 15, 20, 25, 30]
    assert len(made.indices) == len(made.signatures) == len(made.metadata) == EPOCHS * STEPS
    assert made.signatures[0] == signature(DATA[:4])


def test_algorithm_1_needs_a_beginning() -> None:
    with pytest.raises(ValueError, match="either init or weights"):
        create(DATA, lambda t: 0.1, 1, 1, 1, get_batches=batches, update=update)


def test_the_signature_sees_every_byte() -> None:
    changed = DATA.copy()
    changed[20, 1] = np.nextafter(changed[20, 1], 9.0)
    assert signature(changed) != signature(DATA)


def test_algorithm_2_accepts_an_honest_proof() -> None:
    assert valid(proof())


@pytest.mark.parametrize("step", [5, 10, 30])
def test_algorithm_2_rejects_a_jump(step: int) -> None:
    made = proof()
    made.weights[step] = np.asarray(made.weights[step]) + 1.0
    assert not valid(made)


def test_algorithm_2_as_printed_does_not_verify_the_last_epoch() -> None:
    made = proof()
    made.weights[25] = np.asarray(made.weights[25]) + 1.0
    assert valid(made, last_epoch=False) != valid(made)


def test_algorithm_2_rejects_other_data() -> None:
    made = proof()
    made.signatures[0] = "0" * 64
    assert not valid(made)


def test_algorithm_2_rejects_a_start_without_proof() -> None:
    assert not valid(proof(), verify_initial=lambda w: False)
    assert not valid(proof(), verify_parent=lambda: False)
    assert valid(proof(), verify_initial=lambda w: False, verify_parent=lambda: True)


def test_algorithm_2_rejects_a_distance_that_is_not_a_number() -> None:
    made = proof()
    made.weights[5] = np.full(3, np.nan)
    assert not valid(made, budget=9)


def test_algorithm_2_accepts_interpolation_below_its_slack() -> None:
    """Why it decides nothing: a straight line with a rate of zero is 'valid' at any slack above its step."""
    line = [np.full(3, 5.0) + t / 30 * (np.full(3, -5.0) - np.full(3, 5.0)) for t in range(31)]
    honest = proof()
    weights = [w if t % INTERVAL == 0 else None for t, w in enumerate(line)]
    spoof = Proof(list(weights), honest.indices, honest.signatures, [0.0] * 30)
    assert valid(spoof, slack=DELTA["l2"], budget=9)
    assert not valid(spoof, slack=1e-3, budget=9)


def test_distances_are_the_papers() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    assert [DISTANCES[m](a, b) for m in ("l1", "l2", "linf", "cosine")] == pytest.approx([3.0, 5**0.5, 2.0, 1.0])
