"""Algorithm 2 of Jia et al. (2021), 'Verifying a PoL', line by line, and its outcome beside trainproof's own checks.

It is shown because it is the protocol's definition, and decides nothing: an absolute δ is the loophole of both
published families of attacks. The pseudo-code verifies an epoch when the next one begins, so that the last epoch is
never verified; ``last_epoch=True``, our reading and the default, verifies it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainproof.reference.algorithm1 import signature
from trainproof.replay.job import UnitResult

Weights = NDArray[np.float64]
Distance = Callable[[Weights, Weights], float]

DELTA = {"l1": 1000.0, "l2": 10.0, "linf": 0.1, "cosine": 0.01}
"""The slack of the paper's own code, a metric each."""

DISTANCES: dict[str, Distance] = {
    "l1": lambda a, b: float(np.abs(a - b).sum()),
    "l2": lambda a, b: float(np.linalg.norm(a - b)),
    "linf": lambda a, b: float(np.abs(a - b).max()),
    "cosine": lambda a, b: 1.0 - float(a @ b) / (float(np.linalg.norm(a)) * float(np.linalg.norm(b))),
}


def verify(
    weights: Sequence[Weights | None],
    indices: Sequence[Sequence[int]],
    signatures: Sequence[str],
    metadata: Sequence[Any],
    *,
    update: Callable[[Weights, Any, Any], Weights],
    dataset: NDArray[Any],
    steps: int,
    interval: int,
    budget: int,
    slack: float,
    d_1: Distance = DISTANCES["l2"],
    d_2: Distance = DISTANCES["l2"],
    verify_initial: Callable[[Weights], bool] = lambda w: True,
    verify_parent: Callable[[], bool] | None = None,
    last_epoch: bool = True,
) -> bool:
    """Return whether the proof is valid: True is Success, False is FAIL.

    ``weights`` W has T + 1 flat vectors (None where not stored, every ``interval`` = k-th is), the other lists T
    entries; ``steps`` is S, ``budget`` Q, ``slack`` δ. ``verify_parent`` is VERIFYINITPROOF, ``verify_initial`` the
    statistical test.
    """
    stored = [w for w in weights if w is not None]
    if verify_parent is None:  # 3
        if not verify_initial(stored[0]):  # 4
            return False  # 5
    elif not verify_parent():  # 6
        return False  # 7

    def verify_epoch(order: Sequence[int]) -> bool:  # 22
        for t in order[:budget]:  # 23, 24
            data = dataset[list(indices[t])]
            if signatures[t] != signature(data):  # 25, 26
                return False
            start, end = weights[t], weights[min(t + interval, total)]
            assert start is not None
            assert end is not None
            replayed = start  # 27
            for i in range(t, min(t + interval, total)):  # 28
                replayed = update(replayed, dataset[list(indices[i])], metadata[i])  # 29, 30
            if not d_2(replayed, end) <= slack:  # 31, 32; written so that NaN fails
                return False  # 33
        return True  # 34

    total = len(indices)
    epoch = 0  # 8
    magnitudes: dict[int, float] = {}  # 9: by the step at which the update begins
    for t in range(1, total + 1 if last_epoch else total):  # 10
        if t % interval != 0 and t != total:  # 11
            continue
        start = (t - 1) // interval * interval
        before, after = weights[start], weights[t]
        assert before is not None
        assert after is not None
        magnitudes[start] = d_1(after, before)  # 12
        now = t // steps  # 13
        if now == epoch + 1:  # 14, 15
            if not verify_epoch(sorted(magnitudes, key=lambda s: -magnitudes[s])):  # 16 to 18
                return False  # 19
            epoch, magnitudes = now, {}  # 20
    return not (last_epoch and magnitudes) or verify_epoch(sorted(magnitudes, key=lambda s: -magnitudes[s]))  # 21


def beside(results: Iterable[UnitResult]) -> dict[str, Any]:
    """Return what Algorithm 2's test says of replayed units: the worst distance of the model in each metric, against δ.

    l1, l2 and l∞ are over all tensors of the model; the cosine distance is the largest of a tensor's. For reports.
    """
    worst = dict.fromkeys(DELTA, 0.0)
    units = 0
    for result in results:
        if result.failure is not None:
            continue
        units += 1
        errors = [e for e in result.errors if e.name.startswith("model/")]
        if not errors:
            continue
        found = {
            "l1": math.fsum(float.fromhex(e.l1) for e in errors),
            "l2": math.sqrt(math.fsum(float.fromhex(e.l2) ** 2 for e in errors)),
            "linf": max(float.fromhex(e.linf) for e in errors),
            "cosine": max(float.fromhex(e.cosine) for e in errors),
        }
        worst = {name: max(worst[name], value) for name, value in found.items()}
    success = all(worst[name] <= DELTA[name] for name in DELTA)
    return {
        "outcome": "Success" if success else "FAIL",
        "units": units,
        "delta": dict(DELTA),
        "largest distance": worst,
        "decides": "nothing: an absolute threshold is what published spoofs stay below",
    }
