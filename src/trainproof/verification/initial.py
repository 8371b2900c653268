"""Statistics on initial weights: do they come from a seed, or do weights hide in the code that makes them?

**Weights hidden in code.** The model is built under B seeds. For each tensor take, element by element, mean and
variance over the builds. If every element has the same expectation (any of torch's initializers), the means scatter
only by chance, and

    F = B · Var_elements(mean over builds) / Mean_elements(variance over builds)

is near 1 (one-way analysis of variance, elements as groups: F has (n − 1, n(B − 1)) degrees of freedom). If instead
W = W* + noise, F = 1 + B · Var(W*)/Var(noise). A tensor is refused if F is both significant (α = 1e-6 over all
tensors) and large: estimated Var(W*)/Var(noise) = (F − 1)/B above 0.1, so that initializers with repeated rows, whose
elements are not independent, pass. Hidden weights under noise more than three times as large as they pass too; a
start that noisy saves little. A tensor that is the same in all builds must be filled with one value.

**Weak starts** (no seed explains W_0): its values against those of the recipe's own builds, tensor by tensor:
two-sample Kolmogorov–Smirnov test (two-sided, Bonferroni), rank correlation with the *final* weights (a sort-matched
start has the right values in the final weights' order), and the largest singular value (order again: sort-matched
matrices keep the final weights' structure).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIGNIFICANCE = 1e-6
SIGNAL_MAX = 0.1
RANKED_ELEMENTS = 64  # below, a rank correlation says little
MATRIX_SIDE = 8
SPECTRUM_MARGIN = 0.1


@dataclass(frozen=True)
class Hidden:
    """A tensor whose mean over builds is not what chance gives. ``signal`` estimates Var(W*)/Var(noise)."""

    name: str
    signal: float

    def __str__(self) -> str:
        """Return the finding in words."""
        if math.isinf(self.signal):
            return f"{self.name} is the same under every seed, and not filled with one value"
        return f"{self.name} is a fixed pattern under noise (variance of pattern to noise {self.signal:.3g})"


class Moments:
    """Element-wise sums over builds of one tensor; float64."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Array | None = None
        self.total: Any = 0.0
        self.squares: Any = 0.0
        self.fixed = True

    def add(self, values: Array) -> None:
        """Add one build: a flat float64 array, always of the same size."""
        if self.first is None:
            self.first = values
        # Sums of differences from the first build: exact zeros for fixed elements, no cancellation for the others.
        offset = values - self.first
        self.fixed = self.fixed and not offset.any()
        self.total = self.total + offset
        self.squares = self.squares + offset * offset
        self.count += 1

    def constant(self) -> bool:
        """Return whether the first build is filled with one value."""
        assert self.first is not None
        return self.first.size == 0 or bool((self.first == self.first[0]).all())

    def statistic(self) -> tuple[float, int, int]:
        """Return (F, degrees of freedom above, below)."""
        assert self.first is not None
        n, b = self.first.size, self.count
        mean = self.first + self.total / b
        within = float(np.mean((self.squares - self.total * self.total / b) / (b - 1)))
        between = float(np.var(mean, ddof=1)) * b
        return (between / within if within > 0 else math.inf), n - 1, n * (b - 1)


def hidden_weights(moments: Mapping[str, Moments]) -> list[Hidden]:
    """Return the tensors, by name, that look like weights hidden in the recipe; ``moments`` over at least two
    builds.
    """
    from scipy.stats import f

    found = []
    for name, moment in moments.items():
        if moment.fixed:
            if not moment.constant():
                found.append(Hidden(name, math.inf))
            continue
        assert moment.first is not None
        if moment.first.size < 2:
            continue
        statistic, above, below = moment.statistic()
        signal = (statistic - 1.0) / moment.count
        if not signal <= SIGNAL_MAX and not f.sf(statistic, above, below) >= SIGNIFICANCE / len(moments):
            found.append(Hidden(name, signal))
    return found


def distribution_problem(values: Array, builds: Sequence[Array], alpha: float) -> str | None:
    """Return why flat ``values`` do not have the distribution of the ``builds``' values at level ``alpha``, or None."""
    from scipy.stats import ks_2samp

    p = float(ks_2samp(values, np.concatenate(builds), method="auto").pvalue)
    return None if p >= alpha else f"values are not distributed as the recipe makes them (KS p = {p:.2g})"


def order_problem(values: Array, final: Array, limit: float) -> str | None:
    """Return why the order of initial ``values`` gives away the ``final`` ones, or None."""
    from scipy.stats import rankdata

    if values.size < RANKED_ELEMENTS:
        return None
    ranks = [rank - rank.mean() for rank in (rankdata(values), rankdata(final))]
    norms = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    rho = float(ranks[0] @ ranks[1]) / norms if norms > 0 else math.nan
    return None if rho <= limit else f"rank correlation with the final weights is {rho:.4f}, above {limit}"


def spectrum_problem(values: Array, builds: Iterable[Array], shape: Sequence[int]) -> str | None:
    """Return why the matrix of shape (shape[0], rest) has another spectrum than the builds' have, or None."""
    if len(shape) < 2 or min(shape[0], values.size // max(1, shape[0])) < MATRIX_SIDE:
        return None
    top = _largest_singular(values, shape[0])
    tops = [_largest_singular(build, shape[0]) for build in builds]
    low, high = (1 - SPECTRUM_MARGIN) * min(tops), (1 + SPECTRUM_MARGIN) * max(tops)
    return None if low <= top <= high else f"largest singular value {top:.4g} lies outside [{low:.4g}, {high:.4g}]"


def _largest_singular(values: Array, rows: int) -> float:
    return float(np.linalg.norm(values.reshape(rows, -1), 2))
