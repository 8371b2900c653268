"""The stretch that decides a dispute: from a stored state that both records share to the step in question, replayed.

It is asked of a confined replay process (docs/verification.md section 5), which reports; what it means is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainproof.recording.format import Segment
from trainproof.replay.job import Cut, Unit, UnitResult
from trainproof.verification.context import Context
from trainproof.verification.timeline import WORDS, Fork, Item, Order, Timeline, ended, items, rest_of

Name = Literal["A", "B"]


class Unknown(Exception):
    """It cannot be found out; the text says why."""


class Stretch:
    """From the last stored state that both records share to the step in question.

    Raises Unknown if no record can be entered there.
    """

    def __init__(self, a: Timeline, b: Timeline, order: Order, parted: Fork) -> None:
        self.a, self.b, self.parted = a, b, parted
        self.lines: dict[Name, Timeline] = {"A": a, "B": b}
        index, accumulate = parted.segment, order.commitment.loader.accumulate
        segments = {name: line.context.segment(index) for name, line in self.lines.items()}
        self.steps = parted.step - segments["A"].first_step + 1
        self.agreed = a.items(index)[: parted.agreed]
        known = [item.step + 1 for item in self.agreed if item.kind == "state"]
        self.since = min(parted.step, max([segments["A"].first_step, *known]))
        # Which batch comes next follows from the seed, not from the records: there is none if both end here.
        following: int | None = order.following(accumulate * (parted.step + 1))
        epochs = {name: line.context.commitment.epochs or 0 for name, line in self.lines.items()}
        at_ends = all(len(segments[n].steps) == self.steps and self._ends(n) for n in self.lines)
        trailing = {len(segment.trailing) for segment in segments.values()} if at_ends else {0}
        able: list[Name] = [name for name in self.lines if epochs[name] > (following or 0)]
        if at_ends and (parted.kind in ("end", "update") or not able):
            able, following = ["A", "B"], None
            if len(trailing) > 1:
                raise Unknown("A and B end with other numbers of batches that no step used")
        if not able:
            raise Unknown(f"no record goes on after step {parted.step}, and not both end there")
        self.ends = following is None
        left_over = trailing.pop() if self.ends else 0
        # Of the records that can be entered, the one that stores the later state.
        stored = {name: self._stored(name, index) for name in able}
        self.base: Name = max(able, key=lambda name: (stored[name], name == "A"))
        self.start = stored[self.base]
        before = self.lines[self.base].context.rows[self.start]
        self.first = before.first_step + before.steps
        self.cut = Cut(
            batches=accumulate * self.steps + left_over,
            opened=accumulate * (parted.step - self.since + 1) + left_over,
            following=following,
        )

    def _ends(self, name: Name) -> bool:
        line = self.lines[name]
        return self.parted.segment == line.last and ended(line.context.segment(line.last))

    def _stored(self, name: Name, index: int) -> int:
        """Return the last segment before ``index`` whose state a record stores: the first always is."""
        rows = self.lines[name].context.rows
        return next(i for i in range(index - 1, -1, -1) if rows[i].stored)

    def unit(self, context: Context) -> Unit:
        """Return the request."""
        digests = tuple(context.digests[self.start : self.parted.segment + 1])
        return Unit(kind="replay", start=self.start, end=self.parted.segment, perturb=0, digests=digests, cut=self.cut)

    def segment_of(self, result: UnitResult) -> Segment:
        """Return the replayed part of the segment in question, after comparing all before it with what is agreed.

        Raises Unknown if the replay is of no use: the agreed states are what tells that it does what was recorded.
        """
        if result.bad_samples:
            raise Unknown(f"sample {result.bad_samples[0]} of your dataset is not the committed one")
        if result.bad_order is not None:
            raise Unknown("your recipe's sampler draws other batches than the seed gives")
        expected = list(range(self.start + 1, self.parted.segment + 1))
        segments = result.segments
        if [s.index for s in segments] != expected or len(segments[-1].steps) != self.steps:
            raise Unknown("the replay takes another number of steps than both records")
        for segment in segments[:-1]:
            self._regenerated(segment, self.a.items(segment.index), last=False)
        self._regenerated(segments[-1], self.agreed, last=self.ends)
        return segments[-1]

    def _regenerated(self, segment: Segment, agreed: Sequence[Item], *, last: bool) -> None:
        found = {(item.kind, item.step): item.digest for item in items(segment, last=last)}
        for item in agreed:
            ours = found.get((item.kind, item.step))
            # An agreed state of the very step in question may be one that only a run that goes on has.
            if ours != item.digest and not (ours is None and item.step == self.parted.step):
                raise Unknown(
                    f"A and B agree on the {WORDS[item.kind]} of step {item.step}, and the replay gives another: this "
                    "machine computes otherwise than theirs, or both are wrong there"
                )

    def wrong(self, line: Timeline, replayed: Segment) -> list[str]:
        """Return, in words, what a record says of the step in question and the replay does not give.

        Raises Unknown if its last state has no counterpart.
        """
        recorded, step = line.context.segment(self.parted.segment), self.parted.step
        found = {item.kind: item.digest for item in items(replayed, last=self.ends) if item.step == step}
        wrong = []
        for item in line.items(self.parted.segment):
            if item.step != step or (item.kind == "update" and recorded.trailing and not self.ends):
                continue  # batches behind the last step move buffers, and with them the size of the update
            if item.kind == "end" and not self.ends:
                # It ends where the replay goes on, as the other record does: only the loader's position may differ.
                if not recorded.trailing and rest_of(recorded.state) != rest_of(replayed.state):
                    wrong.append(WORDS[item.kind])
                elif recorded.trailing and self.parted.open:
                    raise Unknown("a record ends with batches that no step used, and the other one goes on")
            elif item.kind in found and found[item.kind] != item.digest:
                wrong.append(WORDS[item.kind])
        return list(dict.fromkeys(wrong))
