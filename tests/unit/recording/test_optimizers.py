"""Door 1's optimizers are data: their rate at every step follows from what they say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import trainproof as tp
from trainproof.errors import RecipeError
from trainproof.recording.optimizers import Optimizer, Schedule, options_tree
from trainproof.recording.tree import from_tree, to_tree


def test_rates_at_their_milestones() -> None:
    cosine = tp.Cosine(1.0, epochs=10, end=0.2, warmup=4)
    assert [cosine.at(s, 10) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert cosine.at(4, 10) == 1.0
    assert cosine.at(52, 10) == pytest.approx(0.6)
    assert cosine.at(100, 10) == cosine.at(10_000, 10) == 0.2
    linear = tp.Linear(1.0, epochs=2, end=0.5)
    assert [linear.at(s, 5) for s in (0, 5, 10, 11)] == [1.0, 0.75, 0.5, 0.5]
    steps = tp.Steps(1.0, milestones=(1, 2.5), gamma=0.1)
    assert [steps.at(s, 10) for s in (0, 9, 10, 24, 25)] == [1.0, 1.0, 0.1, 0.1, 0.1**2]
    assert tp.Constant(0.3).at(10**9, 1) == 0.3


@pytest.mark.parametrize("schedule", [tp.Cosine(0.1, epochs=3), tp.Linear(0.1, epochs=3, warmup=5)])
def test_a_rate_never_leaves_its_range(schedule: Schedule) -> None:
    rates = [schedule.at(s, 7) for s in range(40)]
    assert all(0 <= r <= 0.1 for r in rates)
    assert rates[-1] == 0.0


def test_torch_s_cosine_agrees() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
    for step in range(30):
        assert tp.Cosine(0.1, epochs=3).at(step, 10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tp.Constant(0.0),
        lambda: tp.Constant(-1.0),
        lambda: tp.Constant(math.nan),
        lambda: tp.Cosine(math.inf, epochs=1),
        lambda: tp.Cosine(0.1, epochs=0),
        lambda: tp.Cosine(0.1, epochs=1, end=-0.1),
        lambda: tp.Linear(0.1, epochs=1, warmup=-1),
        lambda: tp.Steps(0.1, milestones=(1,), gamma=0.0),
        lambda: Schedule(0.1).at(0, 1),
    ],
)
def test_schedules_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(RecipeError):
        make()


def test_what_an_optimizer_says_is_plain_data() -> None:
    optimizer = tp.AdamW(lr=tp.Steps(0.1, milestones=(1, 2)), betas=(0.8, 0.9), no_decay=True)
    told = optimizer.describe()
    assert from_tree(to_tree(told, "schedule")) == told
    assert told["optimizer"] == "AdamW"
    assert told["lr"] == {"schedule": "Steps", "lr": 0.1, "milestones": (1, 2), "gamma": 0.1}


def test_no_decay_exempts_biases_and_norms() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    model[0].bias.requires_grad_(False)
    made = tp.AdamW(lr=tp.Cosine(0.5, epochs=1, warmup=5), no_decay=True).create(model, 10)
    assert [(len(g["params"]), g["weight_decay"], g["lr"]) for g in made.param_groups] == [
        (1, 0.01, 0.1),
        (2, 0.0, 0.1),
    ]
    tp.Cosine(0.5, epochs=1)
    tp.SGD(lr=0.25).set_step(made, 3, 10)
    assert {g["lr"] for g in made.param_groups} == {0.25}
    assert [g["lr"] for g in from_tree(options_tree(made))] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [(tp.SGD(0.1), torch.optim.SGD), (tp.Adam(0.1), torch.optim.Adam), (tp.AdamW(0.1), torch.optim.AdamW)],
)
def test_each_makes_its_own_kind(optimizer: Optimizer, kind: type) -> None:
    assert type(optimizer.create(nn.Linear(2, 2), 1)) is kind


def test_an_optimizer_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(RecipeError, match="use SGD, Adam or AdamW"):
        Optimizer(0.1).create(nn.Linear(2, 2), 1)
    with pytest.raises(RecipeError, match="no trainable parameters"):
        tp.SGD(0.1).create(nn.Flatten(), 1)
