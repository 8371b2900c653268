"""Squared distances: the core equals its slow twin, bit for bit."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainproof import _core
from trainproof.errors import TrainproofError
from trainproof.recording.norms import distance
from trainproof.reference import norms

SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def core(dtype: str, a: bytes, b: bytes) -> float:
    """Return the core's squared distance of raw tensors."""
    return _core.squared_distance(dtype, np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8))


@given(st.sampled_from(sorted(SIZES)), st.integers(0, 200), st.randoms(use_true_random=False))
def test_the_core_equals_its_twin_for_any_bytes(dtype: str, n: int, source: random.Random) -> None:
    size = SIZES[dtype]
    a, b = source.randbytes(size * n), source.randbytes(size * n)
    fast, slow = core(dtype, a, b), norms.squared_distance(dtype, a, b)
    assert fast == slow or (fast != fast and slow != slow)


@pytest.mark.parametrize("n", [65535, 65536, 65537, 200_003])
def test_blocks_are_summed_in_order(n: int) -> None:
    source = random.Random(n)
    a = struct.pack(f"<{n}f", *(source.uniform(-1e3, 1e3) for _ in range(n)))
    b = struct.pack(f"<{n}f", *(source.uniform(-1, 1) for _ in range(n)))
    assert core("float32", a, b) == norms.squared_distance("float32", a, b)


def test_large_tensors_are_summed_as_small_ones_are() -> None:
    n = 3 * 2**18 + 5
    a = struct.pack("<d", 1 / 3) * n
    assert core("float64", a, bytes(8 * n)) == norms.squared_distance("float64", a, bytes(8 * n))


def test_infinite_and_undefined_elements_are_not_hidden() -> None:
    inf, nan, zero = struct.pack("<f", float("inf")), struct.pack("<f", float("nan")), bytes(4)
    assert core("float32", inf, zero) == float("inf")
    for pair in ((inf, inf), (nan, zero)):
        assert core("float32", *pair) != core("float32", *pair)


@pytest.mark.parametrize(("dtype", "a", "b"), [("int64", bytes(8), bytes(8)), ("float32", bytes(8), bytes(4))])
def test_integers_and_unequal_lengths_have_no_distance(dtype: str, a: bytes, b: bytes) -> None:
    with pytest.raises((ValueError, TrainproofError)):
        core(dtype, a, b)
    with pytest.raises(ValueError, match="distance"):
        norms.squared_distance(dtype, a, b)


def test_the_norm_of_an_update_has_one_rounding_and_no_order() -> None:
    before = {"model/a": torch.zeros(3), "model/b": torch.zeros(2, dtype=torch.int64), "rng/torch": torch.zeros(1)}
    after = {"model/a": torch.tensor([3.0, 0.0, 4.0]), "model/b": torch.ones(2, dtype=torch.int64)}
    assert distance(before, after | {"rng/torch": torch.ones(1), "model/new": torch.ones(1)}) == 5.0


def test_an_update_beyond_every_number_is_infinite() -> None:
    before = {f"model/{i}": torch.zeros(1, dtype=torch.float64) for i in range(2)}
    after = {name: torch.full((1,), 1.3e154, dtype=torch.float64) for name in before}
    assert distance(before, after) == float("inf")
