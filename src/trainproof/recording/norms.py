"""Distances between states, in binary64, summed in an order that does not depend on threads or instruction sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainproof import _core
from trainproof.recording.values import dtype_name, raw

if TYPE_CHECKING:
    import torch


def squared_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the squared l2 distance of two tensors of equal shape and floating dtype; 0.0 for other dtypes."""
    if not a.dtype.is_floating_point or a.numel() == 0:
        return 0.0
    return float(_core.squared_distance(dtype_name(a), raw(a), raw(b)))


def distance(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], prefix: str = "model/") -> float:
    """Return the l2 norm of the change of all tensors whose names start with ``prefix``, in name order."""
    names = sorted(n for n in after if n.startswith(prefix) and n in before)
    try:
        return math.sqrt(math.fsum(squared_distance(before[n], after[n]) for n in names))
    except OverflowError:  # a hostile state may hold anything
        return math.inf
