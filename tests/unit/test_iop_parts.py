"""The parts of the step proof's protocol, each alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainproof.reference.iop import multilinear as ml
from trainproof.reference.iop.channel import (
    HashTranscript,
    ProvingChannel,
    SpongeTranscript,
    Term,
    VerifyingChannel,
    interpolate,
)
from trainproof.reference.iop.field import HALF, Element, P, Rejected, signed
from trainproof.reference.iop.fractions import fraction_tree
from trainproof.reference.iop.ledger import Claim, Ledger
from trainproof.reference.iop.proof import Begin
from trainproof.reference.iop.vector import Vector, between, concatenate, inner
from trainproof.reference.iop.weights import Weight

integers = st.one_of(st.integers(0, P - 1), st.sampled_from([0, 1, P - 1, 2**32, 2**32 - 1, P - 2**32]))
elements = st.builds(Element, integers, integers)


def points(rng: random.Random, count: int) -> ml.Point:
    return tuple(Element(rng.randrange(P), rng.randrange(P)) for _ in range(count))


@given(elements, elements, elements)
def test_the_field(x: Element, y: Element, z: Element) -> None:
    assert x * (y + z) == x * y + x * z
    assert (x - y) + y == x
    assert x * y == y * x
    if x != 0:
        assert x * x.inverse() == 1
    assert Element(0, 1) * Element(0, 1) == 7
    assert 2 * (HALF * x) == x


def test_seven_is_no_square() -> None:
    assert pow(7, (P - 1) // 2, P) == P - 1


def test_signed_representatives() -> None:
    assert [signed(x) for x in (0, 5, P - 5, -5, P // 2, P // 2 + 1)] == [0, 5, -5, -5, P // 2, -(P // 2)]


@given(st.lists(st.tuples(elements, elements), min_size=1, max_size=9), elements)
def test_vectors_are_elements_side_by_side(pairs: list[tuple[Element, Element]], s: Element) -> None:
    x, y = (Vector.elements_of([pair[i] for pair in pairs]) for i in (0, 1))
    assert (x + y).elements() == [a + b for a, b in pairs]
    assert (x - y).elements() == [a - b for a, b in pairs]
    assert (x * y).elements() == [a * b for a, b in pairs]
    assert (x * s).elements() == [a * s for a, _ in pairs]
    assert x.sum(0).element() == sum((a for a, _ in pairs), Element(0))
    assert inner(x, y).element() == sum((a * b for a, b in pairs), Element(0))
    assert between(x, y, s).elements() == [a + (b - a) * s for a, b in pairs]
    assert concatenate([x, y]).elements() == x.elements() + y.elements()
    assert Vector.of([-1, 5]).elements() == [Element(P - 1), Element(5)]


def test_extensions_agree_with_the_tables_they_extend() -> None:
    rng = random.Random(1)
    point, other = points(rng, 3), points(rng, 3)
    table = ml.eq_table(point).elements()
    assert table == [ml.eq_index(point, i) for i in range(8)]
    assert ml.eq(point, other) == ml.evaluate(ml.eq_table(other), point)
    assert ml.number(point) == ml.evaluate(Vector.of(list(range(8))), point)
    assert ml.listed([3, 1, 4, 1, 5], point) == ml.evaluate(Vector.of([3, 1, 4, 1, 5, 0, 0, 0]), point)
    assert ml.mask((3, 2), point) == ml.evaluate(Vector.of([1, 1, 1, 1, 1, 1, 0, 0]), point)
    for i in range(8):
        row = [int(j < i) for j in range(8)]
        assert ml.less(point, ml.corner(i, 3)) == ml.evaluate(Vector.of(row), point)
    assert ml.evaluate(Vector.of([1, 2, 3, 4]), ml.half(2)) * 4 == 10


def test_shapes_are_padded_axis_by_axis() -> None:
    array = np.arange(15, dtype=object).reshape(3, 5)
    padded = ml.pad(array)
    assert padded.shape == (4, 8)
    assert padded[:3, :5].tolist() == array.tolist()
    assert padded.sum() == array.sum()
    assert ml.variables((3, 5, 1)) == 5
    point = points(random.Random(2), 5)
    assert ml.split((3, 5, 1), point) == [point[:2], point[2:], ()]


def test_weights_are_products_over_the_axes() -> None:
    rng = random.Random(4)
    t, o, place = points(rng, 1), points(rng, 2), points(rng, 4)
    steps = list(points(rng, 2))
    weight = Weight((2, 2, 3), (steps, Weight.ones(2), o))
    assert weight.evaluate(place) == ml.evaluate(weight.table(), place)
    weight = Weight.point((2, 2, 3), (*t, *t, *o))
    assert weight.evaluate(place) == ml.eq((*t, *t, *o), place)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_sumcheck_ends_in_the_polynomial_at_its_point(degree: int) -> None:
    rng = random.Random(degree)
    factors = [Vector.of([rng.randrange(P) for _ in range(8)]) for _ in range(degree)]
    terms = [Term(3, factors), Term(5, factors[:1])]
    claim = Element(0)
    for row in zip(*(factor.elements() for factor in factors), strict=True):
        product = Element(1)
        for x in row:
            product = product * x
        claim = claim + product * 3 + row[0] * 5
    channel = ProvingChannel(HashTranscript([]))
    point, last = channel.sumcheck("s", 3, degree, claim, lambda: terms)
    values = [ml.evaluate(factor, point) for factor in factors]
    product = Element(1)
    for value in values:
        product = product * value
    assert product * 3 + values[0] * 5 == last
    reader = VerifyingChannel(HashTranscript([]), channel.proof)
    assert reader.sumcheck("s", 3, degree, claim, lambda: []) == (point, last)
    reader.end()
    assert VerifyingChannel(HashTranscript([]), channel.proof).sumcheck("s", 3, degree, claim + 1, lambda: []) != (
        point,
        last,
    )


def test_interpolation() -> None:
    r = Element(11, 5)
    assert interpolate([Element(x * x * x - 2 * x + 7) for x in range(4)], r) == r * r * r - 2 * r + 7


@pytest.mark.parametrize("begin", [HashTranscript, SpongeTranscript])
def test_challenges_depend_on_every_message_tag_and_length(begin: Begin) -> None:
    def drawn(*messages: tuple[str, list[int]]) -> Element:
        transcript = begin([1])
        for label, values in messages:
            transcript.absorb(label, [Element(v) for v in values])
        return transcript.challenge()

    found = [
        drawn(("a", [1, 2])),
        drawn(("a", [1]), ("a", [2])),
        drawn(("a", [1, 2, 0])),
        drawn(("b", [1, 2])),
        drawn(("a", [2, 1])),
        drawn(),
    ]
    assert len(set(found)) == len(found)
    transcript = begin([1])
    assert transcript.challenge() != begin([2]).challenge()
    assert transcript.challenge() != transcript.challenge()


def fractions(pairs: list[tuple[int, int]]) -> str | None:
    """The verdict on Σ n/d = 0."""
    columns = [Vector.of([pair[i] for pair in pairs]) for i in (0, 1)]
    prover = ProvingChannel(HashTranscript([]))
    count = len(pairs).bit_length() - 1
    point, n, d = fraction_tree(prover, count, lambda: (columns[0], columns[1]))
    try:
        reader = VerifyingChannel(HashTranscript([]), prover.proof)
        assert fraction_tree(reader, count, lambda: (columns[0], columns[1])) == (point, n, d)
    except Rejected as error:
        return error.where
    assert (n, d) == tuple(ml.evaluate(column, point) for column in columns)
    return None


def test_fractions_that_add_up_to_zero() -> None:
    assert fractions([(1, 5), (2, 7), (-1, 5), (-2, 7)]) is None
    assert fractions([(0, 1)]) is None
    assert fractions([(1, 3), (1, 3), (1, 3), (-1, 1), (0, 9), (0, 8), (5, 2), (-5, 2)]) is None


def test_fractions_that_do_not() -> None:
    assert fractions([(1, 5), (2, 7), (-1, 5), (-1, 7)]) == "root: the fractions do not add up to 0"
    assert fractions([(1, 5), (-1, 0)]) == "root: the fractions do not add up to 0"


def test_a_denominator_of_zero() -> None:
    assert fractions([(0, 0), (1, 7), (-1, 7), (0, 1)]) == "root: a denominator is 0"


def test_the_ledger_holds_each_claim_until_it_is_taken() -> None:
    ledger, claim = Ledger(), Claim((), Element(1))
    ledger.owe(("Z", 1, 0), claim)
    ledger.owe(("Z", 2, 0), claim)
    assert ledger.owes(("Z", 1, 0))
    assert not ledger.owes(("Z", 1, 1))
    with pytest.raises(AssertionError):
        ledger.owe(("Z", 1, 0), claim)
    assert ledger.take(("Z", 1, 0)) == claim
    assert ledger.virtual() == ["('Z', 2, 0)"]
    ledger.open("P", (), Element(2))
    assert ledger.unopened(["P", "Q"]) == ["Q"]
