"""Prove and verify with polynomial evaluation as the oracle (docs/identities.md, 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from blake3 import blake3

from trainproof.reference.hashing import sized, u64
from trainproof.reference.iop.channel import HashTranscript, Proof, ProvingChannel, Transcript, VerifyingChannel
from trainproof.reference.iop.field import Element, P, Rejected
from trainproof.reference.iop.fractions import multiplicity_columns
from trainproof.reference.iop.identities import committed
from trainproof.reference.iop.layout import Statement, dataset_columns
from trainproof.reference.iop.limits import check
from trainproof.reference.iop.multilinear import Array, Point, Shape, evaluate, pad
from trainproof.reference.iop.protocol import Protocol
from trainproof.reference.iop.sums import Sums
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.vector import Vector
from trainproof.reference.iop.witness import Columns


def column_shapes(statement: Statement) -> dict[str, Shape]:
    """Every column that is committed: of the witness, the dataset, and the multiplicities."""
    return committed(statement) | dataset_columns(statement) | multiplicity_columns(statement)


class Oracle:
    """Stands in for the commitment: holds all columns, evaluates them anywhere.

    ``tables`` have their padding, with anything in it: the weights of an evaluation vanish there, so it counts as 0.
    """

    def __init__(self, statement: Statement, columns: Mapping[str, Array]) -> None:
        self.shapes = column_shapes(statement)
        self.tables = {name: pad(columns[name]) for name in self.shapes}
        self._flat: dict[str, Vector] = {}

    def column(self, name: str) -> Array:
        """The cells that count."""
        return self.tables[name][tuple(slice(size) for size in self.shapes[name])]

    def columns(self) -> Columns:
        return {name: self.column(name) for name in self.shapes}

    def evaluate(self, name: str, point: Point) -> Element:
        if name not in self._flat:
            self._flat[name] = Vector.of(pad(self.column(name))).reshape(-1)
        return evaluate(self._flat[name], point)

    def digest(self) -> bytes:
        """What the commitment is in the transcript."""
        state = blake3()
        for name, table in self.tables.items():
            state.update(sized(name.encode()) + u64(table.size) + b"".join(u64(int(x) % P) for x in table.flat))
        return bytes(state.digest())


Begin = Callable[[list[int]], Transcript]
"""A transcript that has absorbed a statement."""


def numbers(statement: Statement) -> list[int]:
    """The statement as elements: the specification's digest in words of 32 bits, then what is not in it."""
    digest = bytes.fromhex(statement.spec.digest())
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    return [*words, statement.samples, statement.steps, statement.first, statement.table_bits, *statement.order]


def prove(statement: Statement, oracle: Oracle, begin: Begin = HashTranscript) -> Proof:
    """The messages of a prover who holds these columns, valid or not."""
    check(statement)
    channel = ProvingChannel(begin(numbers(statement)))
    channel.transcript.absorb_bytes("commit", oracle.digest())
    Protocol(statement, channel, Sums(statement, Tensors(statement, oracle.columns()))).run()
    return channel.proof


def verify(statement: Statement, oracle: Oracle, proof: Proof, begin: Begin = HashTranscript) -> None:
    """Check a proof.

    Raises:
        Rejected: the first check that fails.
        FormatError: the statement is outside what can be proven (docs/identities.md, 15).
    """
    check(statement)
    channel = VerifyingChannel(begin(numbers(statement)), proof)
    channel.transcript.absorb_bytes("commit", oracle.digest())
    protocol = Protocol(statement, channel, None)
    protocol.run()
    channel.end()
    for (name, point), value in protocol.ledger.opened.items():  # 11: the oracle confirms every claim on a column
        channel.require(oracle.evaluate(name, point) == value, f"opening {name}")


def verdict(statement: Statement, columns: Columns) -> str | None:
    """Prove and verify; None if accepted, else the check that failed. ``columns`` are those of ``column_shapes``."""
    oracle = Oracle(statement, columns)
    try:
        verify(statement, oracle, prove(statement, oracle))
    except Rejected as error:
        return error.where
    return None
