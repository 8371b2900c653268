"""Cheats against the step proof: each is rejected, and each family of constraints is what rejects some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from exact_specs import conv, linear
from iop_cheating import Cells, Cheat, net
from iop_cheats import CHEATS
from iop_nets import Case, random_case
from trainproof.reference.iop.direct import failing
from trainproof.reference.iop.field import inverse
from trainproof.reference.iop.identities import SELECTION, Lookup, committed, families
from trainproof.reference.iop.perturb import kind, lied_about, lies
from trainproof.reference.iop.proof import verdict

SWEEP = 3
WIDE_SWEEP = 24


def test_the_nets_of_the_cheats_are_honest_without_them() -> None:
    for name, (_, make) in CHEATS.items():
        given, _ = make()
        columns = given.witness()
        assert failing(given.statement, columns, columns) == [], name


@pytest.mark.parametrize("name", CHEATS)
def test_cheat(name: str) -> None:
    """Rejected, by the families that it says; accepted by both when one that stands alone is left out."""
    expected, make = CHEATS[name]
    given, changes = make()
    assert_rejected(given, changes, expected)
    if len(expected) == 1:
        assert_needed(given, changes, expected[0])


def assert_rejected(given: Case, changes: Cells, expected: list[str]) -> None:
    columns, honest = given.witness(changes), given.witness()
    assert any((columns[name] != honest[name]).any() for name in committed(given.statement))
    assert failing(given.statement, columns, columns) == expected
    assert verdict(given.statement, columns) is not None


def assert_needed(given: Case, changes: Cells, family: str) -> None:
    mutant = given.changed(without=frozenset([family]))
    columns = mutant.witness(changes)
    assert failing(mutant.statement, columns, columns) == []
    assert verdict(mutant.statement, columns) is None


# The mutation table: every family is the only one to reject something.


def limbed(loss: str) -> Case:
    """Tables of four rows: limbs for every range."""
    blocks = [conv(1, (1, 1), relu=True, pool="max", window=(1, 2)), linear(2)]
    given = net(*blocks, shape=(1, 1, 4), momentum=2, loss=loss, table_bits=2, samples=5, batch=0, rate=6)
    return given


def limb_lies(given: Case) -> Iterator[tuple[str, Cheat]]:
    """For each limbed family: a limb that leaves the lowest one negative, and a fraction that the lowest absorbs."""
    honest = given.witness()
    for family in families(given.statement):
        limb = f"{family.name}.limb1"
        if not isinstance(family, Lookup) or limb not in honest:
            continue
        high = 3 if f"{family.name}.limb2" in honest else 0
        for at in np.ndindex(family.shape):
            if honest[limb][at] < high:
                yield family.kind, (given, {limb: {at: lambda x: x + 1}})
        for at in np.ndindex(family.shape):
            for sign in (1, -1):
                yield f"{family.kind}, limb", (given, {limb: {at: lambda x, sign=sign: x + sign * inverse(4)}})


def limb_cheats() -> dict[str, Cheat]:
    """Of the lies about limbs, the first that one family alone rejects."""
    found: dict[str, Cheat] = {}
    for loss in ("cross_entropy", "mean_squared_error"):
        for family, (given, changes) in limb_lies(limbed(loss)):
            if family not in found:
                columns = given.witness(changes)
                if failing(given.statement, columns, columns) == [family]:
                    found[family] = (given, changes)
    return found


def all_kinds() -> set[str]:
    kinds = set(SELECTION)
    for loss in ("cross_entropy", "mean_squared_error"):
        kinds |= {family.kind for family in families(limbed(loss).statement)}
    for _, make in CHEATS.values():
        kinds |= {family.kind for family in families(make()[0].statement)}
    return kinds


def test_every_family_of_constraints_is_needed() -> None:
    kinds, limbs = all_kinds(), limb_cheats()
    named = {expected[0]: name for name, (expected, _) in CHEATS.items() if len(expected) == 1}
    for family in sorted(kinds):
        print(f"  {family:34} {named.get(family, 'a changed limb' if family in limbs else 'NOTHING')}")
    needed = set(named) | set(limbs)
    print(f"families that alone reject some witness: {len(needed & kinds)}/{len(kinds)}")
    assert needed == kinds


def test_the_document_names_every_family_and_cheat() -> None:
    text = (Path(__file__).parents[2] / "docs" / "identities.md").read_text()
    families_ = {kind.removesuffix(", limb").replace("bias", "weight") for kind in all_kinds()}
    assert not [name for name in families_ if f"`{name}`" not in text]
    for name, (expected, _) in CHEATS.items():
        row = next(line for line in text.splitlines() if f"`{name}`" in line and line.startswith("| `"))
        assert row.startswith("| " + ", ".join(f"`{family}`" for family in expected) + " |"), name


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_family_of_limbs_is_needed_in_the_protocol() -> None:
    cheats = limb_cheats()
    for family, (given, changes) in cheats.items():
        assert_rejected(given, changes, [family])
        assert_needed(given, changes, family)
    print(f"families left out whose cheat is then accepted: {len(cheats)}/{len(cheats)}")


# Single lies.


class Tally(NamedTuple):
    """Lies about cells, those that the direct check rejects; proofs of some, and of wrong multiplicities, rejected."""

    lies: int
    rejected: int
    proofs: int
    unproven: int


def tell(given: Case, seed: int, cells: int, each: int, proofs: int) -> Tally:
    rng = random.Random(seed)
    honest, statement = given.witness(), given.statement
    told = list(lies(statement, rng, cells, each))
    about_cells = [lie for lie in told if not lie.column.startswith("table.")]
    about_counts = [lie for lie in told if lie.column.startswith("table.")]  # no cell is wrong: the protocol's own
    chosen = rng.sample(about_cells, min(proofs, len(about_cells)))
    refused = unproven = 0
    for lie in about_cells:
        columns = given.witness({lie.column: {lie.cell: lie.change}})
        direct = failing(statement, columns, columns) != []
        assert direct, (seed, lie)
        refused += direct
        if lie in chosen:
            unproven += verdict(statement, columns) is not None
    for lie in about_counts:
        columns = honest | {lie.column: honest[lie.column].copy()}
        columns[lie.column][lie.cell] += lie.delta
        unproven += verdict(statement, columns) is not None
    return Tally(len(about_cells), refused, len(chosen) + len(about_counts), unproven)


def sweep(seeds: range, cells: int, each: int, proofs: int) -> None:
    found, kinds = [], set()
    for seed in seeds:
        given = random_case(seed)
        kinds |= set(lied_about(given.statement))
        found.append(tell(given, seed, cells, each, proofs))
    total = Tally(*(sum(column) for column in zip(*found, strict=True)))
    print(f"one changed cell, {len(kinds)} kinds of columns: {total.rejected}/{total.lies} rejected")
    print(f"proofs of such, and of changed multiplicities: {total.unproven}/{total.proofs} rejected")
    assert (total.rejected, total.unproven) == (total.lies, total.proofs)


def test_no_single_lie_is_accepted() -> None:
    sweep(range(100, 100 + SWEEP), 1, 1, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_single_lie_is_accepted_anywhere() -> None:
    sweep(range(200, 200 + WIDE_SWEEP), 2, 4, 3)


def test_kinds_of_columns() -> None:
    names = ["bit3", "0.y", "1.d12", "0.weight3@2", "0.weight3.velocity@2", "1.bias@1", "Q", "table.R8", "cp"]
    assert [kind(name) for name in names] == [
        "bit", "y", "d", "weight", "weight.velocity", "bias", "Q", "multiplicity", "cp",
    ]  # fmt: skip
    assert kind("forward remainder 0.1.limb1") == "limb of forward remainder"
    assert kind("weight remainder 0.weight3.limb2") == "limb of weight remainder"
