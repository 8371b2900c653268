"""Initial weights come from the seed alone: not from threads, torch's generator, or an instruction set."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import trainproof as tp
from trainproof.errors import UnsupportedError
from trainproof.recording.seeded import as_seed
from trainproof.reference import fill


def everything() -> nn.Module:
    """Return a model with the usual layers and initializers."""
    model = nn.Sequential(
        nn.Conv2d(1, 64, 3),
        nn.Linear(300, 300),
        nn.Embedding(10, 4),
        nn.LSTM(4, 4),
        nn.TransformerEncoderLayer(8, 2, 16),
        nn.BatchNorm2d(4),
        nn.Linear(6, 6),
        nn.Linear(6, 6),
    )
    nn.init.trunc_normal_(model[1].weight, std=0.02)
    nn.init.orthogonal_(model[6].weight)
    nn.init.kaiming_normal_(model[7].weight)
    return model


def bits(model: nn.Module) -> list[torch.Tensor]:
    """Return all tensors."""
    return [*model.parameters(), *model.buffers()]


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Return whether two models are bit-equal."""
    return all(torch.equal(x, y) for x, y in zip(bits(a), bits(b), strict=True))


def test_the_same_seed_gives_the_same_tensors_whatever_else_happened() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    first = tp.seeded(everything, 7)
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.manual_seed(2)
        torch.rand(3)
        assert equal(tp.seeded(everything, 7), first)
    finally:
        torch.set_num_threads(threads)
    assert not equal(tp.seeded(everything, 8), first)
    assert all(torch.isfinite(t).all() for t in bits(first))


def test_torch_s_own_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    tp.seeded(lambda: nn.Linear(4, 4), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_fills_are_those_of_the_reference() -> None:
    made = tp.seeded(lambda: [torch.empty(5).normal_(1.0, 2.0), torch.empty(4, dtype=torch.float64).uniform_(-1, 1)], 9)
    seed = as_seed(9)
    assert made[0].tolist() == [fill.to_float32(x) for x in fill.normal(seed, 0, 5, 1.0, 2.0)]
    assert made[1].tolist() == fill.uniform(seed, 1, 4, -1.0, 1.0)


def test_initializers_have_their_distributions() -> None:
    model = tp.seeded(everything, 5)
    truncated = model[1].weight
    assert float(truncated.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(truncated.detach().abs().max()) <= 2.0
    orthogonal = model[6].weight.detach()
    assert torch.allclose(orthogonal @ orthogonal.T, torch.eye(6), atol=1e-5)
    bound = 1 / math.sqrt(9)
    assert float(model[0].weight.detach().abs().max()) <= bound


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(20),
        lambda: torch.randn(20),
        lambda: torch.rand_like(torch.zeros(20)),
        lambda: torch.randn_like(torch.zeros(20)),
        lambda: torch.randint(0, 100, (20,)),
        lambda: torch.randint(100, (20,)),
        lambda: torch.randperm(20),
        lambda: torch.empty(20).bernoulli_(0.5),
        lambda: torch.empty(20, dtype=torch.int64).random_(1000),
        lambda: torch.empty(20).normal_(),
        lambda: torch.empty(20).uniform_(),
        lambda: nn.functional.dropout(torch.ones(20), 0.5),
    ],
)
def test_every_supported_draw_is_seeded_and_differs_from_the_next(draw: Callable[[], torch.Tensor]) -> None:
    a, b = tp.seeded(lambda: (draw(), draw()), 1)
    again, _ = tp.seeded(lambda: (draw(), draw()), 1)
    assert torch.equal(a, again)
    assert not torch.equal(a, b)
    assert not torch.equal(tp.seeded(draw, 2), a)


def test_randint_stays_within_its_bounds() -> None:
    values = tp.seeded(lambda: torch.randint(5, 8, (200,)), 1)
    assert set(values.tolist()) == {5, 6, 7}
    assert sorted(tp.seeded(lambda: torch.randperm(9), 1).tolist()) == list(range(9))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.empty(3).exponential_(),
        lambda: torch.multinomial(torch.ones(4), 2),
        lambda: torch.bernoulli(torch.full((3,), 0.5)),
        lambda: torch.normal(torch.zeros(3), torch.ones(3)),
        lambda: torch.poisson(torch.ones(3)),
    ],
    ids=["exponential", "multinomial", "bernoulli", "normal", "poisson"],
)
def test_a_draw_without_a_seeded_form_is_refused(draw: Callable[[], torch.Tensor]) -> None:
    with pytest.raises(UnsupportedError, match="seeded form"):
        tp.seeded(draw, 1)


def test_seeds_of_every_kind_differ() -> None:
    seeds = [as_seed(s) for s in (1, "1", b"1", 2, bytes(32))]
    assert len(set(seeds)) == 5
    assert {len(s) for s in seeds} == {32}
