"""The rule that chooses units: its arithmetic, what it always takes, and that a nonce decides the rest."""

from __future__ import annotations

import math
import random
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from trainproof.recording.tree import to_tree
from trainproof.verification.policy import Policy, Selection
from trainproof.verification.select import Plan, UnitFacts, choose, miss_probability, sample_size
from trainproof.verification.verify import memory_of

NONCE, CHAIN = "5" * 64, "c" * 64


def units(count: int, epochs: int = 1, **fields: Any) -> list[UnitFacts]:
    """Return units of one segment of 10 steps with random update sizes; ``fields`` are functions of the index."""
    draw = random.Random(0)
    found = []
    for i in range(count):
        given = {name: value(i) for name, value in fields.items()}
        facts = {
            "epoch": i * epochs // count,
            "update_norm": draw.uniform(0.5, 1.0),
            "optimizer_change": draw.uniform(0.5, 1.0),
            "mean_loss": 1.0,
        }
        found.append(UnitFacts(index=i, start=i, end=i + 1, first_step=10 * i, last_step=10 * i + 9, **(facts | given)))
    return found


def rule(**fields: Any) -> Selection:
    """Return a rule that takes little, with fields replaced."""
    few = {"top_q": 1, "optimizer_top_q": 0, "bottom_q": 0, "edges": 1, "displacement": 0.5}
    return msgspec.structs.replace(Policy.bitwise().selection, **(few | fields))


def plan(of: list[UnitFacts], selection: Selection, **options: Any) -> Plan:
    """Choose with defaults."""
    given = {"coverage": "sampled", "displacement": 10.0, "marked": {}, "nonce": NONCE, "chain": CHAIN} | options
    return choose(of, selection, **given)


def reasons(found: Plan, reason: str) -> list[int]:
    """Return the units that were chosen for this reason."""
    return [index for index, why in found.reasons.items() if reason in why]


@pytest.mark.parametrize(("total", "forged", "sample"), [(6, 2, 2), (7, 3, 1), (7, 1, 5), (5, 5, 1), (6, 3, 4)])
def test_miss_probability_is_the_hypergeometric_one(total: int, forged: int, sample: int) -> None:
    draws = list(combinations(range(total), sample))
    missed = sum(not any(i < forged for i in draw) for draw in draws) / len(draws)
    assert miss_probability(total, forged, sample) == pytest.approx(missed, abs=1e-12)


@pytest.mark.parametrize("miss", [0.5, 0.1, 1e-3])
@pytest.mark.parametrize(("total", "forged"), [(1, 1), (10, 1), (10, 9), (50, 5), (1000, 10), (1000, 500)])
def test_the_sample_is_the_smallest_that_suffices(total: int, forged: int, miss: float) -> None:
    size = sample_size(total, forged, miss)
    assert miss_probability(total, forged, size) <= miss
    assert size == 0 or miss_probability(total, forged, size - 1) > miss


def test_the_published_sample_sizes_follow() -> None:
    # For a share of 1 % and of 10 % in a very long record: ln(miss)/ln(1 - f).
    assert sample_size(10**6, 10**4, 1e-3) == pytest.approx(688, abs=2)
    assert sample_size(10**6, 10**5, 1e-2) == pytest.approx(44, abs=1)


def test_a_momentum_that_steers_later_units_enlarges_the_sample() -> None:
    record = units(400, update_norm=lambda i: 0.25)
    without, remembered = (plan(record, rule(), memory=m) for m in (1.0, 2.0))
    assert remembered.forged == -(-without.forged // 2)
    assert remembered.sample > without.sample


def test_memory_follows_the_largest_decay_and_the_steps_of_a_unit() -> None:
    def commitment(groups: list[dict[str, Any]], every: int, keyframes: int) -> Any:
        trees = [to_tree(group, "") for group in groups]
        return SimpleNamespace(optimizer=SimpleNamespace(groups=trees), every=every, keyframes=keyframes)

    assert memory_of(commitment([{"momentum": 0.9}], 5, 1)) == pytest.approx(3.0)
    assert memory_of(commitment([{"betas": (0.9, 0.999)}, {"betas": (0.5, 0.9)}], 10, 2)) == pytest.approx(1.5)
    assert memory_of(commitment([{"lr": 0.1}], 4, 1)) == pytest.approx(1.25)
    assert memory_of(commitment([{"momentum": 1.0}], 4, 1)) == float("inf")


def test_the_number_of_forged_units_is_what_the_displacement_takes() -> None:
    found = plan(units(100, update_norm=lambda i: 5.0 if i == 50 else 0.25), rule())
    assert found.largest == 0.25
    assert found.distance == 5.0
    assert found.forged == 20
    assert found.miss <= 1e-3
    assert len(reasons(found, "random")) == found.sample == sample_size(found.rest, 20, 1e-3)


def test_a_reference_distance_bounds_an_inflated_displacement() -> None:
    honest = plan(units(100), rule(d_ref=10.0), displacement=10.0)
    inflated = plan(units(100), rule(d_ref=10.0), displacement=1e9)
    assert inflated.distance == honest.distance == 5.0
    assert plan(units(100), rule(), displacement=1e9).sample < honest.sample


def test_the_largest_updates_of_every_epoch_are_taken() -> None:
    found = plan(units(40, epochs=4, update_norm=lambda i: 9.0 + i if i % 10 in (3, 4) else 1.0), rule(top_q=2))
    assert reasons(found, "largest update") == [3, 4, 13, 14, 23, 24, 33, 34]


def test_the_smallest_updates_and_the_largest_optimizer_changes_are_taken() -> None:
    odd = units(20, update_norm=lambda i: 0.0 if i == 7 else 1.0, optimizer_change=lambda i: 9.0 if i == 12 else 1.0)
    found = plan(odd, rule(bottom_q=1, optimizer_top_q=1))
    assert reasons(found, "smallest update") == [7]
    assert reasons(found, "optimizer state") == [12]


def test_an_update_of_unknown_size_is_taken_for_the_largest() -> None:
    found = plan(units(20, update_norm=lambda i: math.nan if i == 9 else 1.0), rule())
    assert reasons(found, "largest update") == [9]


def test_both_ends_and_marked_units_are_taken() -> None:
    found = plan(units(30), rule(edges=2), marked={11: ["resume"], 12: ["resume", "loss spike"]})
    assert reasons(found, "edge") == [0, 1, 28, 29]
    assert found.reasons[12][:2] == ["resume", "loss spike"]


def test_no_epoch_is_left_without_a_random_unit() -> None:
    found = plan(units(200, epochs=10), rule(displacement=1.0), displacement=1000.0)
    epochs = {found.units[i].epoch for i, why in found.reasons.items() if {"random", "random, epoch"} & set(why)}
    assert epochs == set(range(10))


def test_another_nonce_or_another_record_draws_other_units() -> None:
    of = units(300)
    draws = [plan(of, rule(), **o) for o in ({}, {}, {"nonce": "6" * 64}, {"chain": "d" * 64})]
    first, again, other_nonce, other_chain = (reasons(found, "random") for found in draws)
    assert first == again
    assert first != other_nonce
    assert first != other_chain


def test_full_coverage_takes_every_unit() -> None:
    found = plan(units(30), rule(), coverage="all")
    assert [unit.index for unit in found.chosen] == list(range(30))
    assert found.steps == 300
    assert found.describe() == "all 30 units"


def test_where_nothing_moves_one_unit_is_still_drawn() -> None:
    found = plan(units(30, update_norm=lambda i: 0.0), rule())
    assert found.sample == 1
    assert found.forged == found.rest


def test_the_draw_misses_as_often_as_it_says() -> None:
    of, forged = units(60, update_norm=lambda i: 1.0), {10, 20, 30, 40, 50}
    selection = rule(miss_probability=0.2, displacement=0.5, top_q=1)
    found = [plan(of, selection, nonce=f"{i:064x}") for i in range(400)]
    missed = sum(not forged & set(reasons(p, "random")) for p in found) / len(found)
    # The five forged units are the fewest that move the model so far; the bound holds, and is not far off.
    assert found[0].forged == len(forged)
    assert 0.1 < missed < 0.26
