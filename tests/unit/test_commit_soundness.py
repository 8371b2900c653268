"""The chances of docs/protocol.md, section 7.6, computed again with exact fractions.

The crate `commit` is held to the same fixture by its own tests.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import log2, prod
from pathlib import Path
from typing import Any

import pytest

FIXTURE = Path(__file__).parent.parent / "fixtures" / "commit_security_v1.json"
CASES = json.loads(FIXTURE.read_text())["cases"]
K = (2**64 - 2**32 + 1) ** 2


def logarithm(x: Fraction) -> float:
    """To base 2, also of fractions that no float holds."""
    shift = x.denominator.bit_length() - x.numerator.bit_length()
    return log2(float(x * Fraction(2) ** shift)) - shift


def ceil_log(x: int) -> int:
    return (x - 1).bit_length()


def chances(case: dict[str, Any]) -> list[tuple[str, Fraction, int]]:
    """Name, chance of one try and bits of work of each term."""
    parameters, matrices = case["parameters"], case["matrices"]
    rate = Fraction(1, 2 ** parameters["log_blowup"])
    work = parameters["challenge_grinding"]
    heights = [height for height, _ in matrices]
    r = max(heights)
    kappa = max(ceil_log(width) for _, width in matrices)
    lengths = [2**height / rate for height in heights]
    found = [
        ("claims", Fraction(ceil_log(case["claims"]), K), 0),
        ("columns", sum((Fraction(2) + sum(lengths)) / K for _ in range(kappa)), work),
        ("rows", Fraction(2 * r, K), 0),
    ]
    for height in sorted(set(heights), reverse=True):
        weighted = heights.count(height) - (height == r)
        if weighted:
            found.append((f"matrices of height {height}", weighted * (1 + 2**height / rate) / K, work))
    height = r
    while height > 0:
        below = max((h for h in heights if h < height), default=0)
        following = max(height - parameters["fold_bits"], below, 0)
        chance = (height - following) * (1 + 2**following / rate) / K
        found.append((f"folding from {height} to {following}", chance, work if height == r else 0))
        height = following
    found.append(
        ("queries", prod([(1 + rate) / 2] * parameters["queries"], start=Fraction(1)), parameters["query_grinding"])
    )
    return [(name, Fraction(chance), bits) for name, chance, bits in found if chance]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_terms_of_the_fixture(case: dict[str, Any]) -> None:
    found = chances(case)
    assert [name for name, _, _ in found] == [term["name"] for term in case["terms"]]
    assert [bits for _, _, bits in found] == [term["grinding"] for term in case["terms"]]
    for (name, chance, _), term in zip(found, case["terms"], strict=True):
        assert logarithm(chance) == pytest.approx(term["error"], abs=1e-9), name
    total = sum((chance / 2**bits for _, chance, bits in found), Fraction(0))
    assert -logarithm(total) == pytest.approx(case["total_bits"], abs=1e-9)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["name"] != "few queries"], ids=lambda case: case["name"]
)
def test_real_sizes_have_102_bits(case: dict[str, Any]) -> None:
    total = sum((chance / 2**bits for _, chance, bits in chances(case)), Fraction(0))
    assert total <= Fraction(1, 2**102)


def test_fewer_queries_have_fewer_bits() -> None:
    (case,) = (case for case in CASES if case["name"] == "few queries")
    assert case["total_bits"] < 102
