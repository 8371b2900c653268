"""What a record says of its training, as a sequence that can be compared with another record's (docs/dispute.md).

A record's *items*, in order: of every step its log (batches, losses, optimizer options, whether it was skipped) and,
where the state after it was hashed, its root; at a segment's end also the update's size. Digests over all items up to
each segment's end make the first difference of two records a matter of bisection: two runs that differ once differ in
every later digest, even if they say the same again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from trainproof.attest import canonical
from trainproof.recording import chain
from trainproof.recording.chain import digest_of
from trainproof.recording.format import BatchLog, Boolean, Commitment, Leaf, Mapping, Segment, StateManifest
from trainproof.recording.tree import lookup
from trainproof.verification.checks.v02_recipe import batches_per_epoch
from trainproof.verification.checks.v04_data import expected_batches
from trainproof.verification.context import Context

Kind = Literal["log", "state", "end", "update"]
WORDS: dict[Kind, str] = {
    "log": "batches, loss or options",
    "state": "state",
    "end": "state at the end of the run",
    "update": "logged size of the update",
}


@dataclass(frozen=True)
class Item:
    """One claim: its kind, the step (counted over the run) that it belongs to, and a digest of what is claimed.

    'state' is a state from which the run goes on, 'end' the one in which it says that it ended: the loader's position
    differs.
    """

    kind: Kind
    step: int
    digest: str


def items(segment: Segment, *, last: bool) -> list[Item]:
    """Return the items of a segment, in order; ``last`` if it is its record's last one."""
    anchors = {anchor.steps: anchor.root for anchor in segment.anchors}
    found = []
    for number, step in enumerate(segment.steps, 1):
        at = segment.first_step + number - 1
        log = [step.batches, step.losses, segment.hypers[step.hyper], step.skipped]
        found.append(Item("log", at, digest_of("dispute-log", canonical.encode(log))))
        if number in anchors:
            found.append(Item("state", at, anchors[number]))
    at = segment.first_step + len(segment.steps) - 1
    if last and ended(segment):
        trailing = digest_of("dispute-end", canonical.encode([segment.state.root, segment.trailing]))
        found.append(Item("end", at, trailing))
    else:
        found.append(Item("state", at, segment.state.root))
    found.append(Item("update", at, digest_of("dispute-update", segment.update_norm.encode())))
    return found


def ended(segment: Segment) -> bool:
    """Return whether a segment's state says that the run ended there."""
    return lookup(segment.state.tree, "loader", "ended") == Boolean(v=True)


def rest_of(state: StateManifest) -> str:
    """Return a digest of everything in a state but the loader's position: where one run ends and another goes on, only
    that differs.
    """
    assert isinstance(state.tree, Mapping)
    tree = Mapping(v=[(key, value) for key, value in state.tree.v if key != Leaf(v="loader")])
    tensors = [entry for entry in state.tensors if not entry.name.startswith("loader/")]
    rest = StateManifest(tensors=tensors, aliases=state.aliases, tree=tree, root=state.root)
    return chain.state_root(rest)


class Timeline:
    """The items of one record whose segments V0 has read. Only a digest a segment is kept in memory."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.last = len(context.record) - 1
        value = digest_of("dispute-start", context.segment(0).state.root.encode())
        self.prefixes = [value]
        for index in range(1, self.last + 1):
            value = _extended(value, self.items(index))
            self.prefixes.append(value)

    @property
    def steps(self) -> int:
        """Return how many steps the record has."""
        return self.context.rows[-1].first_step + self.context.rows[-1].steps

    def items(self, index: int) -> list[Item]:
        """Return the items of segment ``index``."""
        return items(self.context.segment(index), last=index == self.last)


def _extended(value: str, found: Sequence[Item]) -> str:
    for item in found:
        value = digest_of("dispute", f"{value} {item.kind} {item.step} {item.digest}".encode())
    return value


def bisect(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the first index at which two lists of prefix digests differ: the shorter's length if none does.

    Equal digests mean equal beginnings, so the answer is found by halving: all before it are equal, none after it is.
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if a[middle] == b[middle] else (low, middle)
    return low


def prefixes(found: Sequence[Item]) -> list[str]:
    """Return a prefix digest for each item of a segment."""
    value, values = "", []
    for item in found:
        value = _extended(value, [item])
        values.append(value)
    return values


@dataclass(frozen=True)
class Fork:
    """Where two records part: in segment ``segment``, at ``step``; the segment's first ``agreed`` items agree.

    ``kind`` says in what. ``open`` means that one record ends there and the other does not hold what its last state
    could be compared with, so that nothing is known to differ.
    """

    segment: int
    step: int
    kind: Kind
    agreed: int
    open: bool = False


def fork(a: Timeline, b: Timeline) -> Fork | None:
    """Return the first difference of two records with the same initial state.

    None: one is a prefix of the other, or they are equal.
    """
    index = bisect(a.prefixes, b.prefixes)
    if index == min(len(a.prefixes), len(b.prefixes)):
        return None
    ours, theirs = a.items(index), b.items(index)
    place = bisect(prefixes(ours), prefixes(theirs))
    if place == min(len(ours), len(theirs)):
        return None
    x, y = ours[place], theirs[place]
    if x.kind == y.kind:
        return Fork(index, x.step, x.kind, place)
    # Beginnings agree and kinds do not: one record ends here, where the other goes on.
    if {x.kind, y.kind} == {"update", "log"}:
        return None
    if {x.kind, y.kind} == {"update", "state"}:  # or both end, and one hashed its last state as an anchor as well
        return _last_difference(index, ours, theirs, place)
    short, long = (a, b) if x.kind == "end" or (x.kind == "state" and y.kind == "log") else (b, a)
    item = x if short is a else y
    state, other = short.context.segment(index), long.context.segment(index)
    whole = len(state.steps) == len(other.steps) and not state.trailing
    if item.kind == "end" and whole and rest_of(state.state) == rest_of(other.state):
        return None if ours[-1] == theirs[-1] else Fork(index, item.step, "update", place)
    return Fork(index, item.step, item.kind, place, open=True)


def _last_difference(index: int, ours: Sequence[Item], theirs: Sequence[Item], agreed: int) -> Fork | None:
    """Compare the last states and the updates of two segments of as many steps, whatever anchors lie before them."""
    for x, y in zip(ours[-2:], theirs[-2:], strict=True):
        if x != y:
            return Fork(index, x.step, x.kind, agreed)
    return None


class Order:
    """Trainproof's own order of samples, as the seed gives it.

    Compare ``planned`` with a record's steps first: a batch may not even fit the dataset.
    """

    def __init__(self, commitment: Commitment) -> None:
        self.commitment = commitment
        self.per_epoch = batches_per_epoch(commitment)

    def following(self, batches: int) -> int:
        """Return the loader iteration of the batch that comes after ``batches`` delivered ones."""
        return batches // self.per_epoch

    def planned(self) -> tuple[int, int]:
        """Return how many steps the committed epochs have, and how many batches are left over behind them."""
        return divmod((self.commitment.epochs or 0) * self.per_epoch, self.commitment.loader.accumulate)

    def deviation(self, context: Context) -> int | None:
        """Return the first step of a record that was not given the seed's batches; its number of steps if only a batch
        behind the last step is another; None if all are.
        """
        wanted = expected_batches(self.commitment, self.per_epoch)
        delivered = 0
        for segment in context.segments():
            for step, batches in _steps(segment):
                if len(batches) != self.commitment.loader.accumulate and step < segment.first_step + len(segment.steps):
                    return step
                for batch, indices in zip(batches, wanted, strict=False):
                    if (batch.iteration, batch.indices, batch.dropped) != (self.following(delivered), indices, False):
                        return step
                    delivered += 1
        return None


def _steps(segment: Segment) -> Iterator[tuple[int, list[BatchLog]]]:
    """Yield each step's number and batches; what no step used comes last, under the next number."""
    for number, step in enumerate(segment.steps):
        yield segment.first_step + number, step.batches
    if segment.trailing:
        yield segment.first_step + len(segment.steps), segment.trailing
