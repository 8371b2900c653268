"""Messages between prover and verifier, and the challenges drawn from them (docs/identities.md, 3).

The protocol is one program, run over a channel. When it proves, whatever is to be sent is computed and recorded; when
it verifies, it is read. Only the proving channel ever calls the functions that compute: the verifier has no witness.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import NamedTuple, Protocol

from blake3 import blake3

from trainproof.reference import poseidon2
from trainproof.reference.hashing import sized, u64
from trainproof.reference.iop.field import Element, P, Rejected, inverse
from trainproof.reference.iop.multilinear import Point
from trainproof.reference.iop.vector import Vector, between, inner

Proof = list[tuple[str, list[Element]]]
"""Messages in order. Labels are not sent, the statement fixes them: they name the place where two sides drift apart."""


class Term(NamedTuple):
    """A coefficient times a product of flat tables of one length."""

    coefficient: Element | int
    factors: list[Vector]


class Transcript(Protocol):
    """A hash that tagged messages go into and challenges come out of."""

    def absorb(self, tag: str, elements: Sequence[Element]) -> None: ...

    def absorb_bytes(self, tag: str, data: bytes) -> None: ...

    def challenge(self) -> Element: ...


class SpongeTranscript:
    """The transcript of docs/protocol.md, section 2.3."""

    def __init__(self, statement: list[int]) -> None:
        self._sponge = poseidon2.Transcript("step", statement)

    def absorb(self, tag: str, elements: Sequence[Element]) -> None:
        self._sponge.absorb_extensions(tag, [(x.a, x.b) for x in elements])

    def absorb_bytes(self, tag: str, data: bytes) -> None:
        self._sponge.absorb_bytes(tag, data)

    def challenge(self) -> Element:
        return Element(*self._sponge.challenge_extension())


class HashTranscript:
    """Chained BLAKE3: stands in for the sponge where many proofs are made, being a hundred times as fast."""

    def __init__(self, statement: list[int]) -> None:
        self._state = b""
        self.absorb("stmt", [Element(x) for x in statement])

    def absorb_bytes(self, tag: str, data: bytes) -> None:
        self._state = blake3(self._state + sized(tag.encode()) + sized(data)).digest()

    def absorb(self, tag: str, elements: Sequence[Element]) -> None:
        self.absorb_bytes(tag, b"".join(u64(x.a) + u64(x.b) for x in elements))

    def challenge(self) -> Element:
        self.absorb_bytes("draw", b"")
        words: list[int] = []
        seek = 0
        while len(words) < 2:
            word = int.from_bytes(blake3(self._state + b"out").digest(length=8, seek=seek), "little")
            seek += 8
            if word < P:
                words.append(word)
        return Element(*words)


class Channel(ABC):
    """What both sides share: the transcript, and the rounds of a sumcheck."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript

    def challenge(self) -> Element:
        return self.transcript.challenge()

    def challenges(self, count: int) -> Point:
        return tuple(self.challenge() for _ in range(count))

    @abstractmethod
    def values(self, tag: str, where: str, count: int, compute: Callable[[], Sequence[Element]]) -> list[Element]:
        """A message of ``count`` elements, absorbed under its tag; ``where`` tells people which one it is."""

    @abstractmethod
    def require(self, condition: bool, where: str) -> None:
        """A check of the verifier."""

    def sumcheck(
        self, label: str, rounds: int, degree: int, claim: Element, terms: Callable[[], list[Term]]
    ) -> tuple[Point, Element]:
        """Reduce the claim that Σ_x f(x) = ``claim`` to f(point) = the value returned.

        In each round the prover sends the round's polynomial at 0, 2, …, degree; its value at 1 follows from the claim.
        """
        tables: list[Term] = []
        point: list[Element] = []
        for i in range(rounds):
            if i == 0:
                tables = self.prepare(terms)
            sent = self.values("round", f"{label} {i}", degree, partial(round_values, tables, degree))
            r = self.challenge()
            claim = interpolate([sent[0], claim - sent[0], *sent[1:]], r)
            tables = fold(tables, r)
            point.append(r)
        return tuple(point), claim

    @abstractmethod
    def prepare(self, terms: Callable[[], list[Term]]) -> list[Term]:
        """The tables of a sumcheck; none when verifying."""


class ProvingChannel(Channel):
    """Records what is computed. It checks nothing: a cheating prover would not either."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self.proof: Proof = []

    def values(self, tag: str, where: str, count: int, compute: Callable[[], Sequence[Element]]) -> list[Element]:
        elements = list(compute())
        if len(elements) != count:
            raise AssertionError(f"{tag} {where} has {len(elements)} elements instead of {count}")
        self.proof.append((label(tag, where), elements))
        self.transcript.absorb(tag, elements)
        return elements

    def require(self, condition: bool, where: str) -> None:
        pass

    def prepare(self, terms: Callable[[], list[Term]]) -> list[Term]:
        return terms()


class VerifyingChannel(Channel):
    """Reads a proof; refuses a message of another label or length before using it."""

    def __init__(self, transcript: Transcript, proof: Proof) -> None:
        super().__init__(transcript)
        self._proof, self._read = proof, 0

    def values(self, tag: str, where: str, count: int, compute: Callable[[], Sequence[Element]]) -> list[Element]:
        self.require(self._read < len(self._proof), "the proof ends early")
        name, elements = self._proof[self._read]
        self._read += 1
        self.require(name == label(tag, where) and len(elements) == count, f"message {label(tag, where)}")
        self.transcript.absorb(tag, elements)
        return elements

    def require(self, condition: bool, where: str) -> None:
        if not condition:
            raise Rejected(where)

    def prepare(self, terms: Callable[[], list[Term]]) -> list[Term]:
        return []

    def end(self) -> None:
        self.require(self._read == len(self._proof), "the proof goes on after its end")


def label(tag: str, where: str) -> str:
    return f"{tag} {where}".rstrip()


# Sumcheck.


def round_values(terms: list[Term], degree: int) -> list[Element]:
    """Σ over the other variables of the terms, the first variable at 0, 2, …, degree."""
    tables = {id(table): table for term in terms for table in term.factors}
    places = Vector.of([x for x in range(degree + 1) if x != 1]).reshape(-1, 1)
    now = {}
    for key, table in tables.items():
        low, high = (half.reshape(1, -1) for half in (table[: len(table) // 2], table[len(table) // 2 :]))
        now[key] = between(low, high, places)
    found = [Element(0)] * degree
    for coefficient, factors in terms:
        *others, last = (now[id(factor)] for factor in factors)
        sums = inner(reduce(Vector.__mul__, others), last, 1) if others else last.sum(1)
        found = [total + value * coefficient for total, value in zip(found, sums.elements(), strict=True)]
    return found


def fold(terms: list[Term], r: Element) -> list[Term]:
    """The terms with their first variable at r."""
    folded: dict[int, Vector] = {}
    for term in terms:
        for table in term.factors:
            if id(table) not in folded:
                middle = len(table) // 2
                folded[id(table)] = between(table[:middle], table[middle:], r)
    return [Term(term.coefficient, [folded[id(table)] for table in term.factors]) for term in terms]


def interpolate(values: Sequence[Element], r: Element) -> Element:
    """The polynomial through (0, values[0]), (1, values[1]), … at r."""
    found = Element(0)
    for i, value in enumerate(values):
        basis, below = Element(1), 1
        for j in range(len(values)):
            if j != i:
                basis, below = basis * (r - j), below * (i - j)
        found = found + value * basis * inverse(below)
    return found
