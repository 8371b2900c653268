"""Algorithm 1 of Jia et al. (2021), 'PoL Creation', line by line. Slow and plain: an oracle, not a recorder.

Names are the paper's: W weights, I indices, H data signatures, M metadata, A auxiliary, ζ the initialization
strategy, E epochs, S steps an epoch, k the checkpointing interval. Lines are cited in comments. Two readings of ours:
the weights of line 14 are those *before* the update of step t (the paper's W_t; line 9 has already made W_{t+1}), and
the final weights, which no line appends, are appended at the end, since V-B calls them part of the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
Update = Callable[[Weights, Any, Any], Weights]


@dataclass
class Proof:
    """P(T, f) = (W, I, H, A). ``weights`` has T + 1 entries, None where nothing is stored; the others have T each."""

    weights: list[Weights | None] = field(default_factory=list)
    indices: list[Sequence[int]] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    metadata: list[Any] = field(default_factory=list)


def signature(data: NDArray[Any]) -> str:
    """Return h(D[I]): SHA-256 of dtype, shape and bytes (the paper's own code hashes a truncated print-out)."""
    header = f"{data.dtype.str}{data.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(data).tobytes()).hexdigest()


def create(
    dataset: NDArray[Any],
    metadata: Callable[[int], Any],
    epochs: int,
    steps: int,
    interval: int,
    *,
    get_batches: Callable[[NDArray[Any], int], Sequence[Sequence[int]]],
    update: Update,
    init: Callable[[], Weights] | None = None,
    weights: Weights | None = None,
) -> Proof:
    """Return the proof of a training. ``metadata(t)`` is M_t, ``get_batches(D, S)`` an epoch's S lists of indices.

    ``init`` is used if no initial ``weights`` are given (lines 2 to 4). Encryption and signature (lines 17 to 19) are
    trainproof.attest's. Raises ValueError if there are neither weights nor init.
    """
    proof = Proof()  # 1
    if weights is None:  # 2
        if init is None:
            raise ValueError("either init or weights must be given")
        weights = init()  # 3, 4
    w = weights
    for epoch in range(epochs):  # 5
        batches = get_batches(dataset, steps)  # 6
        for step in range(steps):  # 7
            t = epoch * steps + step  # 8
            now = w
            w = update(now, dataset[list(batches[step])], metadata(t))  # 9
            proof.indices.append(list(batches[step]))  # 10
            proof.signatures.append(signature(dataset[list(batches[step])]))  # 11
            proof.metadata.append(metadata(t))  # 12
            proof.weights.append(now.copy() if t % interval == 0 else None)  # 13 to 16
    proof.weights.append(w.copy())
    return proof
