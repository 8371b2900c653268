"""The step proof: honest chunks of all kinds of nets are accepted, and nothing in a proof can be changed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from exact_specs import conv, linear, make
from iop_cheating import plain
from iop_nets import COVERING, FEATURES, Case, case, features, random_case
from trainproof.exact.spec import Format
from trainproof.reference import exact
from trainproof.reference.iop.channel import SpongeTranscript
from trainproof.reference.iop.count import count
from trainproof.reference.iop.direct import failing
from trainproof.reference.iop.field import Element, P, Rejected
from trainproof.reference.iop.layout import Order, Statement
from trainproof.reference.iop.multilinear import pad
from trainproof.reference.iop.proof import Oracle, prove, verdict, verify
from trainproof.reference.iop.witness import Columns

LARGE = range(100, 200)


def small(**fields: Any) -> Case:
    """A convolution with max pooling and ReLU, then three classes."""
    blocks = [conv(2, (2, 2), relu=True, pool="max", window=(2, 2), padding=(1, 0)), linear(3)]
    return case(make((1, 4, 4), *blocks, batch=1, rate=3), **fields)


def check(given: Case) -> None:
    """Both accept, and the columns hold what the reference trains."""
    columns = given.witness()
    assert failing(given.statement, columns, columns) == []
    assert verdict(given.statement, columns) is None
    assert_trained(given, columns)


def assert_trained(given: Case, columns: Columns) -> None:
    statement, weights, velocities = given.statement, given.weights, given.velocities
    spec = statement.spec
    for t in range(statement.steps):
        places = statement.places[t * spec.batch_size : (t + 1) * spec.batch_size]
        rows = [(place.a * place.j + place.b) % statement.samples for place in places]
        step = statement.first + t
        weights, velocities, _ = exact.step(spec, weights, velocities, given.images[rows], given.labels[rows], step)
    for geometry in statement.geometry:
        for part in geometry.parts:
            name = f"{geometry.block.name}.{'bias' if part.offset is None else 'weight'}"
            for state, kind in ((weights, ""), (velocities, ".velocity")):
                if not kind or spec.momentum is not None:
                    tensor = state[name]
                    if part.offset is not None and geometry.block.kind == "conv":
                        tensor = tensor[:, :, geometry.offsets[part.offset][0], geometry.offsets[part.offset][1]]
                    found = columns[f"{part.name}{kind}@{statement.steps}"]
                    assert found.reshape(-1).tolist() == exact.integers(tensor).reshape(-1).tolist()


@pytest.mark.parametrize("seed", COVERING)
def test_honest_chunks_of_random_nets_are_accepted(seed: int) -> None:
    check(random_case(seed))


def test_these_random_nets_have_every_feature() -> None:
    found = [features(random_case(seed)) for seed in COVERING]
    print(f"features of a specification proven: {len(FEATURES & set().union(*found))}/{len(FEATURES)}")
    assert set().union(*found) == FEATURES


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_honest_chunks_of_many_random_nets_are_accepted() -> None:
    for seed in LARGE:
        check(random_case(seed))
    print(f"honest chunks accepted by both: {len(LARGE)}/{len(LARGE)}")


@pytest.mark.parametrize("name", ["activation", "weight", "error"])
def test_both_agree_where_ranges_are_too_narrow(name: str) -> None:
    """One bit less than the values need: mostly rejected, and always by both or by neither."""
    rejected = []
    for index in range(2):
        given = small(steps=1)
        blocks = list(given.statement.spec.blocks)
        form = getattr(blocks[index], name)
        narrow = replace(form, bits=form.bits - 1)
        blocks[index] = replace(blocks[index], **{name: narrow}, initial=min(blocks[index].initial, narrow.high))
        given = given.changed(spec=replace(given.statement.spec, blocks=blocks))
        columns = given.witness()
        rejected.append(verdict(given.statement, columns) is not None)
        assert rejected[-1] == (failing(given.statement, columns, columns) != [])
    assert rejected == [True, name != "error"]  # the dz of the loss has no range of its own in the proof


def test_a_batch_may_cross_the_end_of_a_pass() -> None:
    given = small(samples=7, order=Order(3, 2, 5, 4, 5))
    assert [place.j for place in given.statement.places] == [5, 6, 0, 1, 2]
    check(given)


def test_a_pass_of_one_sample() -> None:
    check(case(make((1, 1, 1), linear(2), batch=0), samples=1, steps=1))


def test_the_order_is_that_of_the_seed() -> None:
    order, found = Order.start(b"7" * 32, 10), []
    for _ in range(35):
        found.append((order.a * order.j + order.b) % 10)
        order = order.next(10)
    assert found == exact.order(b"7" * 32, 10, 0, 35)


def test_tables_of_full_size_need_no_limbs() -> None:
    given = small(table_bits=20)
    assert not [name for name in given.witness() if ".limb" in name]
    columns = given.witness()
    assert failing(given.statement, columns, columns) == []


def test_the_same_statement_gives_the_same_messages() -> None:
    first, second = small(seed=1), small(seed=2)
    second = second.changed(spec=first.statement.spec, order=first.statement.order)
    proofs = [prove(given.statement, Oracle(given.statement, given.witness())) for given in (first, second)]
    shapes = [[(label, len(elements)) for label, elements in proof] for proof in proofs]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("seed", COVERING[:3])
def test_a_proof_is_as_large_as_counted(seed: int) -> None:
    given = random_case(seed)
    proof = prove(given.statement, Oracle(given.statement, given.witness()))
    counted = count(given.statement)
    assert counted.messages == len(proof)
    assert counted.elements == sum(len(elements) for _, elements in proof)
    assert counted.rounds == sum(label.startswith("round ") for label, _ in proof)
    assert counted.claims == sum(label.startswith("value ") for label, _ in proof)


def test_the_size_of_a_proof_of_a_real_net() -> None:
    """The table of docs/identities.md, section 17."""
    form = {"activation": Format(10, 18), "weight": Format(16, 18), "error": Format(16, 18), "initial": 100}
    pooled = {"relu": True, "pool": "max", "window": (2, 2), **form}
    blocks = [conv(6, (5, 5), padding=(2, 2), **pooled), conv(16, (5, 5), **pooled)]
    spec = make((1, 28, 28), *blocks, *(linear(n, **form) for n in (120, 84, 10)), batch=6, rate=4)
    found = count(Statement(spec, 60000, 1, 0, Order(7, 3, 11, 5, 0)))
    assert (found.columns, found.leaves, found.elements, found.rounds, found.claims) == (185, 22, 2281, 556, 373)


def test_padding_may_hold_anything() -> None:
    given = small()
    oracle = Oracle(given.statement, given.witness())
    rng, filled = random.Random(1), 0
    for name, table in oracle.tables.items():
        kept = pad(oracle.column(name).copy())
        inside = pad(np.full(oracle.shapes[name], 1, dtype=object))
        for cell in np.ndindex(table.shape):
            if not inside[cell]:
                kept[cell] = rng.randrange(P)
                filled += 1
        oracle.tables[name] = kept
    assert filled > 50
    verify(given.statement, oracle, prove(given.statement, oracle))


def test_every_element_of_a_proof_matters() -> None:
    given = small(steps=1)
    oracle = Oracle(given.statement, given.witness())
    proof = prove(given.statement, oracle)
    verify(given.statement, oracle, proof)
    places = [(i, j) for i, (_, elements) in enumerate(proof) for j in range(len(elements))]
    rng, rejected = random.Random(3), 0
    chosen = rng.sample(places, 60)
    for i, j in chosen:
        label, elements = proof[i]
        changed = [*elements[:j], elements[j] + Element(*rng.choice([(1, 0), (0, 1), (P - 1, 0)])), *elements[j + 1 :]]
        rejected += rejects(given, oracle, [*proof[:i], (label, changed), *proof[i + 1 :]])
    print(f"changed elements of a proof rejected: {rejected}/{len(chosen)} of {len(places)}")
    assert rejected == len(chosen)


def test_messages_have_their_label_length_and_number() -> None:
    given = small(steps=1)
    oracle = Oracle(given.statement, given.witness())
    proof = prove(given.statement, oracle)
    label, elements = proof[-1]
    for wrong in (
        proof[:-1],
        [*proof, (label, elements)],
        [*proof[:-1], ("another", elements)],
        [*proof[:-1], (label, [*elements, Element(0)])],
        [*proof[:-1], (label, [])],
        [],
    ):
        assert rejects(given, oracle, wrong)


def test_a_proof_is_for_its_own_statement() -> None:
    given = small(steps=1)
    columns = given.witness()
    oracle = Oracle(given.statement, columns)
    proof = prove(given.statement, oracle)
    order = given.statement.order
    for other in (
        given.changed(first=given.statement.first + 1),
        given.changed(order=order._replace(b=(order.b + 1) % 7)),
        given.changed(order=order._replace(j=order.j + 1)),
    ):
        assert rejects(other, Oracle(other.statement, columns), proof)
    for name in ("1.bias@0", "1.bias@1", "D", "L", "table.R6"):  # another state, dataset or count under the same proof
        changed = columns[name].copy()
        changed.flat[0] += 1
        assert rejects(given, Oracle(given.statement, columns | {name: changed}), proof)


def rejects(given: Case, oracle: Oracle, proof: Any) -> bool:
    try:
        verify(given.statement, oracle, proof)
    except Rejected:
        return True
    return False


def test_the_sponge_of_the_proof_serves_as_transcript() -> None:
    given = plain(steps=1)
    oracle = Oracle(given.statement, given.witness())
    proof = prove(given.statement, oracle, SpongeTranscript)
    verify(given.statement, oracle, proof, SpongeTranscript)
    assert rejects(given, oracle, proof)  # under another transcript


def test_wide_formats_are_proven_in_limbs() -> None:
    form = Format(exponent=8, bits=18)
    block = conv(2, (2, 2), activation=form, weight=form, error=form, initial=200)
    top = linear(3, activation=form, weight=form, error=form, initial=200)
    check(case(make((1, 3, 3), block, top, batch=1, rate=5), steps=1, table_bits=9))
