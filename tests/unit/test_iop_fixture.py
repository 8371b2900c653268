"""The fixture that the Rust crates ``sumcheck`` and ``lookup`` are held to is what the specification sends."""

from __future__ import annotations

import json
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from trainproof.reference.iop.channel import ProvingChannel, SpongeTranscript, Term
from trainproof.reference.iop.field import Element
from trainproof.reference.iop.fractions import fraction_tree
from trainproof.reference.iop.multilinear import bits, evaluate, variables
from trainproof.reference.iop.vector import Vector, concatenate

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "sumcheck_v1.json").read_text())


def sent(channel: ProvingChannel) -> tuple[list[Any], list[int]]:
    """All messages with their tags, and the challenge after them."""
    messages = [[name.split(" ")[0], [[x.a, x.b] for x in elements]] for name, elements in channel.proof]
    after = channel.challenge()
    return messages, [after.a, after.b]


@pytest.mark.parametrize("case", FIXTURE["sums"])
def test_sums(case: dict[str, Any]) -> None:
    tables = [Vector.of(table) for table in case["tables"]]
    one = Vector.of([1] * (1 << case["variables"]))
    terms = [Term(t["coefficient"], [tables[i] for i in t["factors"]] or [one]) for t in case["terms"]]
    claim = sum((reduce(Vector.__mul__, t.factors).sum(0).element() * t.coefficient for t in terms), Element(0))
    channel = ProvingChannel(SpongeTranscript(case["statement"]))
    _, value = channel.sumcheck("", case["variables"], case["degree"], claim, lambda: terms)
    assert [claim.a, claim.b] == case["claim"]
    assert [value.a, value.b] == case["value"]
    assert sent(channel) == (case["messages"], case["after"])


def test_lookups() -> None:
    """Leaf by leaf as docs/identities.md, 13, describes them."""
    case = FIXTURE["lookup"]
    slots = [
        (variables(lookup["shape"]), lookup["tag"], cells(lookup["shape"]), lookup["x"], lookup.get("y"), True)
        for lookup in case["lookups"]
    ]
    for table in case["tables"]:
        counts = table["multiplicities"]
        slots.append(
            (table["variables"], table["tag"], [-x for x in counts], list(range(len(counts))), table["second"], False)
        )
    slots.sort(key=lambda slot: -slot[0])
    channel = ProvingChannel(SpongeTranscript(case["statement"]))
    alpha, beta, gamma = channel.challenges(3)
    count = bits(sum(1 << slot[0] for slot in slots))

    def leaves() -> tuple[Vector, Vector]:
        tops = list(chain.from_iterable(slot[2] for slot in slots))
        free = (1 << count) - len(tops)
        bottoms = [
            Vector.elements_of([alpha - gamma * tag] * len(x)) - Vector.of(x) - Vector.of(y or [0] * len(x)) * beta
            for _, tag, _, x, y, _ in slots
        ]
        return Vector.of(tops + [0] * free), concatenate([*bottoms, Vector.of([1] * free)])

    point, _, _ = fraction_tree(channel, count, leaves)
    for size, _, top, x, y, looked_up in slots:
        place = point[count - size :]

        def value(column: list[int], place: tuple[Element, ...] = place) -> list[Element]:
            return [evaluate(Vector.of(column), place)]

        if looked_up:
            channel.values("leaf", "", 1, lambda x=x, value=value: value(x))
            if y is not None:
                channel.values("value", "", 1, lambda y=y, value=value: value(y))
        else:
            channel.values("value", "", 1, lambda top=top, value=value: value([-x for x in top]))
    assert sent(channel) == (case["messages"], case["after"])


def cells(shape: list[int]) -> list[int]:
    """1 at the cells of a shape, 0 in its padding."""
    found = [1]
    for size in shape:
        found = [cell * (i < size) for cell in found for i in range(1 << bits(size))]
    return found
