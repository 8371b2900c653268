"""How much a proof of steps holds, before there is any witness: the verifier's program over a channel that counts.

Possible because no message, length or order depends on the witness (docs/identities.md, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from trainproof.reference.iop.channel import Channel, HashTranscript, Term
from trainproof.reference.iop.field import Element
from trainproof.reference.iop.fractions import slots
from trainproof.reference.iop.identities import Lookup, families
from trainproof.reference.iop.layout import Statement
from trainproof.reference.iop.proof import column_shapes, numbers
from trainproof.reference.iop.protocol import Protocol


class Count(NamedTuple):
    """``cells`` are committed (dataset and multiplicities included), ``lookups`` single ones, ``leaves`` log2 of the
    tree's; ``elements`` are sent; ``rounds`` of all sumchecks; ``claims`` on ``columns`` at ``points``."""

    columns: int
    cells: int
    lookups: int
    leaves: int
    messages: int
    elements: int
    rounds: int
    claims: int
    points: int


class CountingChannel(Channel):
    """Every message is there, of zeros; every check passes."""

    def __init__(self, statement: Statement) -> None:
        super().__init__(HashTranscript(numbers(statement)))
        self.messages = self.elements = self.rounds = 0

    def values(self, tag: str, where: str, count: int, compute: Callable[[], Sequence[Element]]) -> list[Element]:
        self.messages, self.elements = self.messages + 1, self.elements + count
        self.rounds += tag == "round"
        return [Element(0)] * count

    def require(self, condition: bool, where: str) -> None:
        pass

    def prepare(self, terms: Callable[[], list[Term]]) -> list[Term]:
        return []


def count(statement: Statement) -> Count:
    """What a proof of this statement holds."""
    channel = CountingChannel(statement)
    protocol = Protocol(statement, channel, None)
    protocol.run()
    shapes = column_shapes(statement)
    opened = protocol.ledger.opened
    return Count(
        columns=len(shapes),
        cells=sum(prod(shape) for shape in shapes.values()),
        lookups=sum(prod(family.shape) for family in families(statement) if isinstance(family, Lookup)),
        leaves=slots(statement)[1],
        messages=channel.messages,
        elements=channel.elements,
        rounds=channel.rounds,
        claims=len(opened),
        points=len({point for _, point in opened}),
    )
