"""Openings of committed matrices, as a verifier sees them: docs/protocol.md, section 7.

Weights are summed cell by cell, as they are defined. Checks raise Rejected or ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from math import prod
from typing import NamedTuple

from trainproof.reference.field import P, extend, inverse, parse, reverse_bits, root_of_unity
from trainproof.reference.iop.field import HALF, Element, Rejected
from trainproof.reference.poseidon2 import CAP_HEIGHT, DIGEST, SALT, Transcript, layers, leaf, verify_path

Point = tuple[Element, ...]
Digests = list[list[int]]


class Parameters(NamedTuple):
    """Section 7.1."""

    log_blowup: int
    queries: int
    fold_bits: int
    query_grinding: int
    challenge_grinding: int


class Matrix(NamedTuple):
    """2^height rows."""

    height: int
    width: int
    salted: bool


class Block(NamedTuple):
    """Cells from ``start`` on, column by column; each axis is padded to a power of two."""

    matrix: int
    start: int
    shape: tuple[int, ...]

    @property
    def variables(self) -> int:
        return sum(ceil_log(size) for size in self.shape)

    def cells(self) -> Iterator[int]:
        """Numbers within the padded block of the cells that are not padding."""
        for place in product(*(range(size) for size in self.shape)):
            index = 0
            for along, size in zip(place, self.shape, strict=True):
                index = index << ceil_log(size) | along
            yield index


class Key(NamedTuple):
    """What the verifier takes from nobody."""

    parameters: Parameters
    matrices: list[Matrix]
    blocks: list[Block]

    @property
    def rows(self) -> int:
        return max(matrix.height for matrix in self.matrices)

    @property
    def columns(self) -> int:
        return max(ceil_log(matrix.width) for matrix in self.matrices)

    @property
    def first(self) -> int:
        """The matrix of weight one."""
        return next(i for i, matrix in enumerate(self.matrices) if matrix.height == self.rows)

    def entering(self, height: int) -> list[int]:
        return [i for i, matrix in enumerate(self.matrices) if matrix.height == height and i != self.first]

    def stops(self) -> list[tuple[int, int]]:
        """Height of each word, and height that it is folded to."""
        found, height = [], self.rows
        while height:
            below = max((matrix.height for matrix in self.matrices if matrix.height < height), default=0)
            found.append((height, max(height - self.parameters.fold_bits, below)))
            height = found[-1][1]
        return found

    def describe(self) -> list[int]:
        words = [*self.parameters, len(self.matrices)]
        for matrix in self.matrices:
            words += [matrix.height, matrix.width, int(matrix.salted)]
        words.append(len(self.blocks))
        for block in self.blocks:
            words += [block.matrix, block.start, len(block.shape), *block.shape]
        return words


class Claim(NamedTuple):
    """The block's extension has a value at a point."""

    point: Point
    value: Element


class Query(NamedTuple):
    """Row, salt and path of each matrix; leaf and path of each word."""

    rows: list[tuple[list[int], list[int] | None, Digests]]
    words: list[tuple[list[Element], Digests]]


class Proof(NamedTuple):
    """Section 7.5, read."""

    rounds: list[list[Element]]
    column_nonces: list[int]
    values: list[Element]
    entry_nonces: list[int]
    caps: list[Digests]
    folds: list[list[Element]]
    fold_nonces: list[int]
    query_nonce: int
    queries: list[Query]


def ceil_log(size: int) -> int:
    return (size - 1).bit_length()


def require(condition: bool, where: str) -> None:
    if not condition:
        raise Rejected(where)


def eq(point: Point, index: int) -> Element:
    """Π over the coordinates: x where the index has a 1, else 1 − x; the highest bit first."""
    found = Element(1)
    for i, x in enumerate(reversed(point)):
        found = found * (x if index >> i & 1 else 1 - x)
    return found


def evaluate(rows: list[list[int]], block: Block, point: Point) -> Element:
    """A claim's value, by its definition."""
    found = Element(0)
    for index in block.cells():
        column, row = divmod(block.start + index, len(rows))
        found = found + eq(point, index) * rows[row][column]
    return found


def code(rows: list[list[int]], log_blowup: int) -> list[list[int]]:
    """The rows of the codes of the columns (7.2)."""
    columns = [extend(list(column), log_blowup, 1) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def cap(rows: list[list[int]], log_blowup: int, salts: list[list[int]] | None) -> Digests:
    """What stands for a matrix."""
    coded = code(rows, log_blowup)
    leaves = [leaf(row, salts[i] if salts else None) for i, row in enumerate(coded)]
    return layers(leaves)[-1]


def read(key: Key, data: bytes) -> Proof:
    """The proof that bytes encode."""
    elements = iter(parse(data))

    def base(count: int) -> list[int]:
        found = [x for _, x in zip(range(count), elements, strict=False)]
        require(len(found) == count, "the proof ends early")
        return found

    def extensions(count: int) -> list[Element]:
        return [Element(*base(2)) for _ in range(count)]

    def digests(count: int) -> Digests:
        return [base(DIGEST) for _ in range(count)]

    log, stops = key.parameters.log_blowup, key.stops()
    entries = sum(bool(key.entering(height)) for height in range(key.rows + 1))

    def word_cap(height: int) -> int:
        return 1 << min(height + log, CAP_HEIGHT)

    def word_path(height: int) -> int:
        return max(height + log - CAP_HEIGHT, 0)

    def query() -> Query:
        rows = [(base(m.width), base(SALT) if m.salted else None, digests(word_path(m.height))) for m in key.matrices]
        return Query(rows, [(extensions(1 << h - to), digests(word_path(to))) for h, to in stops])

    proof = Proof(
        rounds=[extensions(2) for _ in range(key.columns + key.rows)],
        column_nonces=base(key.columns),
        values=extensions(len(key.matrices)),
        entry_nonces=base(entries),
        caps=[digests(word_cap(to)) for _, to in stops],
        folds=[extensions(2) for _ in range(key.rows)],
        fold_nonces=base(stops[0][0] - stops[0][1] if stops else 0),
        query_nonce=base(1)[0],
        queries=[query() for _ in range(key.parameters.queries)],
    )
    require(next(elements, None) is None, "the proof goes on after its end")
    return proof


def between(a: Element, b: Element, x: Element) -> Element:
    return (1 - x) * a + x * b


def fold(values: list[Element], height: int, index: int, log_blowup: int, challenges: list[Element]) -> Element:
    """What number ``index`` of a word of this height, the first of its leaf, and those after it fold to (7.2)."""
    for alpha in challenges:
        log = height + log_blowup
        folded = []
        for i in range(0, len(values), 2):
            x = pow(root_of_unity(log), reverse_bits(index + i, log), P)
            a, b = values[i], values[i + 1]
            folded.append(between((a + b) * HALF, (a - b) * (HALF * inverse(x)), alpha))
        values, height, index = folded, height - 1, index // 2
    return values[0]


def absorb(transcript: Transcript, name: str, elements: list[Element]) -> None:
    transcript.absorb_extensions(name, [(x.a, x.b) for x in elements])


def verify(key: Key, caps: list[Digests], claims: list[Claim], data: bytes, transcript: Transcript) -> None:
    """Section 7.4. Raises what is wrong."""
    proof, parameters, matrices, r = read(key, data), key.parameters, key.matrices, key.rows

    def draw() -> Element:
        return Element(*transcript.challenge_extension())

    # 1, 2.
    transcript.absorb("open", key.describe())
    for one in caps:
        transcript.absorb_digests("cap", one)
    absorb(transcript, "claims", [claim.value for claim in claims])
    tau = tuple(draw() for _ in range(ceil_log(len(claims))))
    claimed = sum((eq(tau, i) * claim.value for i, claim in enumerate(claims)), Element(0))
    # 3.
    point: list[Element] = []
    for i, (at_0, at_2) in enumerate(proof.rounds):
        absorb(transcript, "round", [at_0, at_2])
        if i < key.columns:
            transcript.check_grinding(parameters.challenge_grinding, proof.column_nonces[i])
        x, at_1 = draw(), claimed - at_0
        claimed = (x - 1) * (x - 2) * at_0 * HALF - x * (x - 2) * at_1 + x * (x - 1) * at_2 * HALF
        point.append(x)
    gamma, xi = tuple(point[: key.columns]), tuple(point[key.columns :])
    # 4.
    absorb(transcript, "value", proof.values)
    total = Element(0)
    for i, (block, claim) in enumerate(zip(key.blocks, claims, strict=True)):
        height = matrices[block.matrix].height
        weight = Element(0)
        for index in block.cells():
            weight = weight + eq(claim.point, index) * eq((*gamma, *xi[:height]), block.start + index)
        padding = prod((1 - x for x in xi[height:]), start=Element(1))
        total = total + eq(tau, i) * weight * padding * proof.values[block.matrix]
    require(total == claimed, "values")
    # 5.
    beta = {key.first: Element(1)}
    y = proof.values[key.first]
    alpha: dict[int, Element] = {}
    entry_nonces, fold_nonces, folds = iter(proof.entry_nonces), iter(proof.fold_nonces), iter(proof.folds)
    for number, (height, to) in enumerate([*key.stops(), (0, 0)]):
        if key.entering(height):
            transcript.check_grinding(parameters.challenge_grinding, next(entry_nonces))
        for j in key.entering(height):
            beta[j] = draw()
            y = y + beta[j] * proof.values[j]
        if height:
            transcript.absorb_digests("word", proof.caps[number])
        for i in range(height, to, -1):
            first, second = next(folds)
            absorb(transcript, "fold", [first, second])
            require(between(first, second, xi[i - 1]) == y, f"ends of variable {i - 1}")
            if number == 0:
                transcript.check_grinding(parameters.challenge_grinding, next(fold_nonces))
            alpha[i] = draw()
            y = between(first, second, alpha[i])
    # 6.
    transcript.check_grinding(parameters.query_grinding, proof.query_nonce)
    places = [transcript.challenge_bits(r + parameters.log_blowup) for _ in range(parameters.queries)]
    # 7.
    for place, query in zip(places, proof.queries, strict=True):
        entering = {height: Element(0) for height in range(r + 1)}
        for j, (row, salt, siblings) in enumerate(query.rows):
            height = matrices[j].height
            verify_path(caps[j], height + parameters.log_blowup, place >> (r - height), leaf(row, salt), siblings)
            batched = sum(map(partial(weighted, gamma), range(len(row)), row), Element(0))
            entering[height] = entering[height] + beta[j] * batched
        folded = Element(0)
        for number, (height, to) in enumerate(key.stops()):
            values, siblings = query.words[number]
            within, index = place >> (r - height), place >> (r - to)
            row = [c for value in values for c in (value.a, value.b)]
            verify_path(proof.caps[number], to + parameters.log_blowup, index, leaf(row), siblings)
            start = index << (height - to)
            require(values[within - start] == folded + entering[height], f"word of height {height}")
            challenges = [alpha[i] for i in range(height, to, -1)]
            folded = fold(values, height, start, parameters.log_blowup, challenges)
        require(folded + entering[0] == y, "the constant")


def weighted(gamma: Point, column: int, x: int) -> Element:
    return eq(gamma, column) * x
