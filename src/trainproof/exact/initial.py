"""The weights before the first step (docs/exact.md section 7)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainproof import _core
from trainproof.errors import UsageError
from trainproof.exact.spec import Spec


def initial(spec: Spec, seed: bytes) -> dict[str, NDArray[np.int64]]:
    """Return the initial parameters.

    Args:
        spec: the specification; its blocks' ``initial`` is ρ.
        seed: 32 bytes.

    Returns:
        int64 arrays by name, in the order and the shapes of ``spec.parameters()``: weights uniform in −ρ … ρ, biases 0.

    Raises:
        UsageError: the seed is not 32 bytes.

    Source: docs/exact.md section 7.
    """
    if len(seed) != 32:
        raise UsageError("a seed has 32 bytes", name="seed", value=len(seed))
    found: dict[str, NDArray[np.int64]] = {}
    for parameter in spec.parameters():
        if parameter.name.endswith(".bias"):
            found[parameter.name] = np.zeros(parameter.shape, dtype=np.int64)
            continue
        rho, count = parameter.initial, math.prod(parameter.shape)
        drawn = _core.stream_below("exact.weight", seed, parameter.number, 0, 2 * rho + 1, count)
        found[parameter.name] = drawn.astype(np.int64).reshape(parameter.shape) - rho
    return found
