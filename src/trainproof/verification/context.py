"""What the checks of one verification share: the record, the verifier's own things, and what earlier checks found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import RecordError, SignatureError
from trainproof.recording.format import Closure, Commitment, Segment, Statement
from trainproof.recording.reader import SEGMENTS, Record, segment_digest, segment_name
from trainproof.replay.job import RecipeSource, Unit, UnitResult
from trainproof.verification.compare import Bitwise, Comparison
from trainproof.verification.policy import Policy
from trainproof.verification.select import Plan, UnitFacts

if TYPE_CHECKING:
    import torch

    from trainproof.exact.spec import Spec


class Accepted(Protocol):
    """What a ledger says of a record that it accepted."""

    @property
    def level(self) -> int | None: ...


class LedgerLike(Protocol):
    """What the checks ask of a ledger (trainproof.verification.ledger.Ledger)."""

    def refused(self, root: str) -> object | None: ...

    def accepted(self, root: str) -> Accepted | None: ...


@dataclass(frozen=True)
class SegmentRow:
    """The few facts of a segment that are kept in memory for all of them."""

    index: int
    first_step: int
    steps: int
    skipped: int
    resumed: bool
    stored: bool
    chain: str
    epoch: int
    mean_loss: float


@dataclass(frozen=True)
class Survey:
    """What one pass over all stored states found. Problems are (segment, tensor); norms are as in UnitFacts."""

    units: tuple[UnitFacts, ...]
    wrong_digests: tuple[tuple[int, str], ...]
    not_finite: tuple[tuple[int, str], ...]
    frozen_changed: tuple[tuple[int, str], ...]
    displacement: float
    duplicates: tuple[tuple[int, int], ...]  # pairs of stored segments whose models are equal


@dataclass
class Context:
    """One verification in progress. Checks read it; the few fields that they fill in say so."""

    record: Record
    policy: Policy
    source: RecipeSource
    closure: Closure
    """Of the verifier's own copy of the recipe."""
    statement: Statement | SignatureError
    """The signed statement, or why it is not one."""
    ledger: LedgerLike | None = None
    verify_parent: Callable[[str], Accepted | None] = lambda chain: None
    """Returns the verified parent record of this chain value, if it was given and accepted."""
    parent_policies: frozenset[str] = frozenset()
    """Digests of the policies by which a parent's ACCEPT in the ledger counts."""
    comparison: Comparison = field(default_factory=Bitwise)
    rows: list[SegmentRow] = field(default_factory=list)
    """Filled by V0, a row a segment."""
    digests: list[str] = field(default_factory=list)
    """Filled by V0: of every segment file, so that what is read again is what was checked."""
    marked: dict[int, list[str]] = field(default_factory=dict)
    """Filled by the cheap checks: units that must be replayed, and why."""
    plan: Plan | None = None
    initial: UnitResult | None = None
    builds: list[UnitResult] = field(default_factory=list)
    """The model built under other seeds, for V3."""
    ambient: UnitResult | None = None
    """The model built again with other generators to begin with: what differs, the recipe does not seed."""
    exact: Spec | None = None
    """Filled by V14: the specification that the verifier's own recipe gave, if it is an exact one."""
    scratch: Path = Path()
    """Where the initial units leave the tensors they built."""
    results: dict[int, UnitResult] = field(default_factory=dict)
    """Results of replayed units, by the unit's index."""
    caveats: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    level_cap: int = 3

    @property
    def commitment(self) -> Commitment:
        """Return the record's commitment."""
        return self.record.commitment

    @property
    def claims_exact(self) -> bool:
        """Whether the record says that its arithmetic is exact: then V14 asks the verifier's own recipe."""
        return self.commitment.loader.order == "affine"

    @cached_property
    def leaves(self) -> bytes:
        """Return the dataset's leaves."""
        return self.record.leaves()

    @cached_property
    def survey(self) -> Survey:
        """Return what the one pass over all stored states finds; only after V0 has gone over the segments."""
        from trainproof.verification.measure import survey

        return survey(self)

    @property
    def units(self) -> tuple[UnitFacts, ...]:
        """Return all units, in the order of the training."""
        return self.survey.units

    def read(self, index: int) -> Segment:
        """Parse segment ``index`` for the first time, strictly, and remember its digest."""
        name = f"{SEGMENTS}/{segment_name(index)}.json"
        data = canonical.read_bytes(self.record.path / name, limits.SEGMENT_BYTES, name)
        if len(self.digests) == index:
            self.digests.append(segment_digest(data))
            self.record.expected[index] = self.digests[index]
        return canonical.decode(data, Segment, name)

    def segment(self, index: int) -> Segment:
        """Return segment ``index`` again, quickly: it must be what ``read`` saw."""
        name = f"{SEGMENTS}/{segment_name(index)}.json"
        data = canonical.read_bytes(self.record.path / name, limits.SEGMENT_BYTES, name)
        if segment_digest(data) != self.digests[index]:
            raise RecordError("changed while it was being verified", name=name)
        return msgspec.json.decode(data, type=Segment)

    def segments(self) -> Iterator[Segment]:
        """Yield every segment, in order."""
        for index in range(len(self.record)):
            yield self.segment(index)

    def tensors(self, index: int, prefix: str = "") -> dict[str, torch.Tensor]:
        """Load stored tensors again: they must be what the manifest says, as V5 saw them."""
        from trainproof.recording.state import check_tensors
        from trainproof.verification.check import Refuted

        found = self.record.tensors(index, prefix)
        wrong = check_tensors(found, self.segment(index).state)
        if wrong is not None:
            raise Refuted(f"{wrong} is stored with other contents than its digest says", index)
        return found

    def unit_of(self, segment: int) -> int:
        """Return the index of the unit that segment ``segment`` belongs to; the initial state belongs to the first."""
        every = self.commitment.keyframes
        return max(0, min((segment - 1) // every, len(self.units) - 1))

    def mark(self, segment: int, reason: str, *, before: bool = False) -> None:
        """Have the unit of ``segment`` replayed; with ``before`` also the unit before it."""
        unit = self.unit_of(segment)
        for index in [unit - 1, unit] if before else [unit]:
            if 0 <= index < len(self.units):
                reasons = self.marked.setdefault(index, [])
                if reason not in reasons:
                    reasons.append(reason)

    def replayed(self) -> Iterator[tuple[UnitResult, Segment, Segment]]:
        """Yield (result of its unit, replayed segment, recorded segment) for every replayed segment, in order."""
        for index in sorted(self.results):
            result = self.results[index]
            for segment in result.segments:
                if result.unit.start < segment.index <= result.unit.end:
                    yield result, segment, self.segment(segment.index)


def unit_request(context: Context, unit: UnitFacts) -> Unit:
    """Return the request that replays ``unit``, from the very segments that were checked."""
    digests = context.digests[unit.start : unit.end + 1]
    return Unit(kind="replay", start=unit.start, end=unit.end, perturb=0, digests=tuple(digests))


def options(tree: Any) -> list[dict[str, Any]]:
    """Return the optimizer options of each parameter group of a hyperparameter tree.

    Raises RecordError if it is not a list of mappings with string keys.
    """
    from trainproof.recording.tree import from_tree

    groups = from_tree(tree)
    if not isinstance(groups, list) or not all(
        isinstance(g, dict) and all(isinstance(k, str) for k in g) for g in groups
    ):
        raise RecordError("must be a list with the options of each parameter group", name="hypers")
    return groups


Progress = Callable[[str, int, int], object]
"""Called with what is being done, how many of it are done, and how many there are."""

__all__ = [
    "Accepted",
    "Context",
    "LedgerLike",
    "Progress",
    "SegmentRow",
    "Survey",
    "options",
    "unit_request",
]
