"""Provers of the step proof that lie in messages: about virtual polynomials, sums and evaluations, at the right time.

A lie is told when the message is sent; what follows is computed honestly from the challenges that then come.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from iop_cheating import plain, pooled
from iop_cheats import CHEATS
from iop_nets import Case
from trainproof.reference.iop.channel import HashTranscript, ProvingChannel
from trainproof.reference.iop.field import Element, Rejected
from trainproof.reference.iop.fractions import multiplicities
from trainproof.reference.iop.layout import Part
from trainproof.reference.iop.multilinear import Array
from trainproof.reference.iop.proof import Oracle, numbers, prove, verify
from trainproof.reference.iop.protocol import Protocol
from trainproof.reference.iop.sums import Sums
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import Columns, limbs

SAMPLE = 16


class LyingChannel(ProvingChannel):
    """Adds ``delta`` to one element of one message, before it is absorbed."""

    def __init__(self, given: Case, message: int, element: int, delta: Element) -> None:
        super().__init__(HashTranscript(numbers(given.statement)))
        self._lie, self._message = (element, delta), message

    def values(self, tag: str, where: str, count: int, compute: Callable[[], Sequence[Element]]) -> list[Element]:
        def lie() -> list[Element]:
            elements = list(compute())
            if len(self.proof) == self._message:
                elements[self._lie[0]] = elements[self._lie[0]] + self._lie[1]
            return elements

        return super().values(tag, where, count, lie)


def verdict_on(given: Case, oracle: Oracle, channel: ProvingChannel, sums: Sums) -> str | None:
    channel.transcript.absorb_bytes("commit", oracle.digest())
    Protocol(given.statement, channel, sums).run()
    try:
        verify(given.statement, oracle, channel.proof)
    except Rejected as error:
        return error.where
    return None


def lie_in_messages(given: Case, count: int | None) -> tuple[int, int]:
    """Lie in each message, or some; return how many lies were rejected, of how many."""
    oracle = Oracle(given.statement, given.witness())
    sums = Sums(given.statement, Tensors(given.statement, oracle.columns()))
    proof = prove(given.statement, oracle)
    rng = random.Random(1)
    places = [(i, rng.randrange(len(elements))) for i, (_, elements) in enumerate(proof)]
    chosen = places if count is None else rng.sample(places, count)
    rejected = 0
    for i, j in chosen:
        channel = LyingChannel(given, i, j, rng.choice([Element(1), Element(-1), Element(0, 1)]))
        where = verdict_on(given, oracle, channel, sums)
        rejected += where is not None
    return rejected, len(chosen)


def test_a_lie_in_a_message_is_rejected() -> None:
    rejected, told = lie_in_messages(plain(), SAMPLE)
    print(f"lies in messages rejected: {rejected}/{told}")
    assert rejected == told


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_a_lie_in_any_message_is_rejected(loss: str) -> None:
    rejected, told = lie_in_messages(pooled(loss=loss, momentum=2, rate=3), None)
    print(f"lies in messages rejected: {rejected}/{told}")
    assert rejected == told


def test_a_wrong_value_of_a_column_is_found_by_the_oracle() -> None:
    given = plain()
    oracle = Oracle(given.statement, given.witness())
    sums = Sums(given.statement, Tensors(given.statement, oracle.columns()))
    proof = prove(given.statement, oracle)
    where = [
        verdict_on(given, oracle, LyingChannel(given, i, 0, Element(1)), sums)
        for i, (label, _) in enumerate(proof)
        if label in ("value D", "value table.R8")
    ]
    assert where == ["leaves: numerator", "selection"]


class LyingTensors(Tensors):
    """Lookups see a virtual polynomial that is changed at one cell; the sumchecks on it are honest."""

    def __init__(self, given: Case, columns: Columns, name: str, cell: tuple[int, ...], delta: int) -> None:
        super().__init__(given.statement, columns)
        self.lie = (name, cell, delta)

    def told(self, name: str, honest: Array) -> Array:
        if name != self.lie[0]:
            return honest
        found = honest.copy()
        found[self.lie[1]] += self.lie[2]
        return found

    def z(self, index: int, cell: int) -> Array:
        return self.told(f"z{index}.{cell}", super().z(index, cell))

    def d(self, index: int) -> Array:
        return self.told(f"d{index}", super().d(index))

    def gradient(self, part: Part) -> Array:
        return self.told(part.name, super().gradient(part))

    def exponential(self) -> Array:
        return self.told("exponential", super().exponential())

    def share(self) -> Array:
        return self.told("share", super().share())

    def later(self) -> Array:
        return self.told("later", super().later())


def shift(given: Case) -> int:
    return given.statement.geometry[0].shift


LIES: dict[str, tuple[str, str, str, Callable[[Case, Columns], int]]] = {
    # the virtual polynomial: a cheat that one lookup rejects, the column whose cell it is, who rejects the lie that
    # makes the lookup pass, and by how much the polynomial has to be lied about
    "z0.0": ("a_smaller_input_of_the_maximum", "0.d0", "forward 0", lambda g, c: -1 << shift(g)),
    "d1": ("another_error", "0.dy", "backward 1", lambda g, c: 1 << g.statement.spec.error_shift(1)),
    "0.weight0": ("another_weight", "0.weight0@1", "gradient 0", lambda g, c: -1 << g.statement.spec.weight_shift(0)),
    "0.bias": ("another_bias", "0.bias@1", "errors 0", lambda g, c: -1 << g.statement.spec.bias_shift(0)),
    "exponential": ("another_exponential", "e", "exponential", lambda g, c: 1 << 20),
    "share": ("a_larger_probability", "p", "share", lambda g, c: 0),
    "later": ("the_later_of_equal_logits", "hM", "later", lambda g, c: -1),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_virtual_polynomial_is_rejected(name: str) -> None:
    """The lookup that alone rejects a cheat is made to pass; the sumcheck that its claim leads to does not."""
    cheat, column, where, amount = LIES[name]
    given, changes = CHEATS[cheat][1]()
    changes = {key: cells for key, cells in changes.items() if ".limb" not in key}
    columns = given.witness(changes)
    cell = next(iter(changes[column]))
    delta = -int(columns["e"][cell[:2]].sum()) if name == "share" else amount(given, columns)
    at = (0, *cell) if name.startswith("0.") else cell
    columns |= limbs(LyingTensors(given, columns, name, at, delta))
    columns |= multiplicities(LyingTensors(given, columns, name, at, delta))
    sums = Sums(given.statement, LyingTensors(given, columns, name, at, delta))
    oracle = Oracle(given.statement, columns)
    assert verdict_on(given, oracle, ProvingChannel(HashTranscript(numbers(given.statement))), sums) == where
