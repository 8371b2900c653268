"""Statistics on initial weights: honest initializers pass, hidden weights and chosen starts do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from trainproof.verification.initial import (
    Array,
    Moments,
    distribution_problem,
    hidden_weights,
    order_problem,
    spectrum_problem,
)


def moments(build: Callable[[int], nn.Module], builds: int) -> dict[str, Moments]:
    """Return the moments of a model's tensors over builds under different seeds."""
    found: dict[str, Moments] = {}
    for seed in range(builds):
        torch.manual_seed(seed)
        for name, tensor in build(seed).state_dict().items():
            if tensor.dtype.is_floating_point:
                found.setdefault(name, Moments()).add(tensor.double().reshape(-1).numpy())
    return found


def of(make: Callable[[np.random.Generator], Array], builds: int) -> dict[str, Moments]:
    """Return the moments of one made-up tensor."""
    moment = Moments()
    for seed in range(builds):
        moment.add(make(np.random.default_rng(seed)))
    return {"w": moment}


def zoo(seed: int) -> nn.Module:
    """A model with most of torch's initializers in it."""
    layers = nn.ModuleList(
        [
            nn.Linear(20, 30),
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.LayerNorm(16),
            nn.Embedding(50, 16, padding_idx=0),
            nn.LSTM(8, 8),
            nn.MultiheadAttention(16, 4),
            nn.Linear(1, 2),
        ]
    )
    orthogonal = nn.Linear(24, 24)
    nn.init.orthogonal_(orthogonal.weight)
    truncated = nn.Linear(24, 24)
    nn.init.trunc_normal_(truncated.weight, std=0.02)
    return layers.extend([orthogonal, truncated])


@pytest.mark.parametrize("builds", [2, 3, 33])
def test_torch_initializers_hide_nothing(builds: int) -> None:
    assert hidden_weights(moments(zoo, builds)) == []


def test_repeated_rows_hide_nothing() -> None:
    assert hidden_weights(of(lambda g: np.tile(g.normal(size=32), 64), 33)) == []


@pytest.mark.parametrize("builds", [2, 33])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.1, 1.0])
def test_finds_weights_under_noise(noise: float, builds: int) -> None:
    secret = np.random.default_rng(99).normal(size=1000)
    (found,) = hidden_weights(of(lambda g: secret + noise * g.normal(size=1000), builds))
    expected = math.inf if noise == 0.0 else 1 / noise**2
    assert found.signal == pytest.approx(expected, rel=0.3)


def test_finds_weights_in_a_part_of_a_tensor() -> None:
    secret = np.random.default_rng(99).normal(size=1000)
    secret[500:] = 0.0
    noise = np.concatenate([np.full(500, 1e-9), np.ones(500)])
    assert len(hidden_weights(of(lambda g: secret + noise * g.normal(size=1000), 33))) == 1


def test_a_constant_far_from_zero_is_no_pattern() -> None:
    assert hidden_weights(of(lambda g: 1e6 + 1e-3 * g.normal(size=1000), 33)) == []
    assert hidden_weights(of(lambda g: np.full(1000, 0.5), 3)) == []


def test_finds_a_short_bias_of_secrets() -> None:
    secret = np.random.default_rng(99).normal(size=4)
    assert len(hidden_weights(of(lambda g: secret + 1e-3 * g.normal(size=4), 33))) == 1


def kaiming(seed: int) -> Array:
    torch.manual_seed(seed)
    return nn.Linear(64, 64).weight.detach().double().reshape(-1).numpy()


def trained() -> Array:
    """Weights with a structure: a product of two thin matrices beside noise."""
    g = np.random.default_rng(5)
    return (0.08 * g.normal(size=(64, 3)) @ g.normal(size=(3, 64)) + 0.02 * g.normal(size=(64, 64))).reshape(-1)


def sort_matched() -> Array:
    """The attack of both published families: honest values in the order of the final weights."""
    start, final = np.sort(kaiming(7)), trained()
    matched = np.empty_like(start)
    matched[np.argsort(final)] = start
    return matched


BUILDS = [kaiming(1), kaiming(2), kaiming(3)]


def test_an_honest_weak_start_passes() -> None:
    for seed in range(10, 20):
        values = kaiming(seed)
        assert distribution_problem(values, BUILDS, 0.01 / 20) is None
        assert order_problem(values, trained(), 0.98) is None
        assert spectrum_problem(values, BUILDS, (64, 64)) is None


def test_rejects_a_start_of_another_distribution() -> None:
    problem = distribution_problem(trained(), BUILDS, 0.01)
    assert problem is not None
    assert "KS" in problem


def test_rejects_a_sort_matched_start_by_its_order() -> None:
    assert distribution_problem(sort_matched(), BUILDS, 0.01) is None
    problem = order_problem(sort_matched(), trained(), 0.98)
    assert problem is not None
    assert "rank correlation" in problem


def test_rejects_a_sort_matched_start_by_its_spectrum() -> None:
    problem = spectrum_problem(sort_matched(), BUILDS, (64, 64))
    assert problem is not None
    assert "singular value" in problem


def test_rank_correlation_that_is_not_a_number_is_refused() -> None:
    assert order_problem(kaiming(1), np.zeros(64 * 64), 0.98) is not None
