"""The log of the current segment, built the same way by the recorder and by a replay."""

from __future__ import annotations

from typing import Any

import msgspec

from trainproof.recording.format import Anchor, BatchLog, Segment, StateManifest, StepLog, Tree
from trainproof.recording.tree import hexfloat, to_tree

ZERO = "0" * 64


class SegmentLog:
    """Collects batches, losses and steps until the segment is closed."""

    def __init__(self) -> None:
        self._reset(0, 0)
        self.resumed = False

    def _reset(self, index: int, first_step: int) -> None:
        self.index, self.first_step = index, first_step
        self.steps: list[StepLog] = []
        self.batches: list[BatchLog] = []
        self.losses: list[Any] = []
        self._hypers: list[Tree] = []
        self._keys: dict[str, int] = {}
        self._losses_before = 0
        self._anchored = 0

    @classmethod
    def starting_after(cls, segment: Segment) -> SegmentLog:
        """Return the log of the segment that follows ``segment``."""
        log = cls()
        log._reset(segment.index + 1, segment.first_step + len(segment.steps))
        return log

    def batch(self, iteration: int, indices: list[int], digest: str) -> None:
        """Log a delivered batch."""
        if self.batches and self.batches[-1].iteration != iteration:
            self._mark_dropped()
        self._losses_before = len(self.losses)
        self.batches.append(BatchLog(iteration=iteration, indices=indices, digest=digest))

    def _mark_dropped(self) -> None:
        """Mark the last batch if nothing went backward since it was delivered: its iteration was left."""
        if self.batches and len(self.losses) == self._losses_before:
            self.batches[-1] = msgspec.structs.replace(self.batches[-1], dropped=True)

    def loss(self, value: Any) -> None:
        """Log a loss: a number, or a detached scalar tensor that is read when the step is logged."""
        self.losses.append(value)

    def step(self, options: list[dict[str, Any]], skipped: bool) -> None:
        """Log an optimizer step that used everything logged since the last one."""
        key = repr(options)
        if key not in self._keys:
            self._keys[key] = len(self._hypers)
            self._hypers.append(to_tree(options, "hyperparameters"))
        losses = [hexfloat(float(x)) for x in self.losses]
        self.steps.append(StepLog(batches=self.batches, losses=losses, hyper=self._keys[key], skipped=skipped))
        self.batches, self.losses = [], []
        self._losses_before = 0

    def anchor_due(self, anchors: int, every: int) -> bool:
        """Return whether the state is to be hashed before the next batch; asked once a delivery."""
        done = len(self.steps)
        if anchors == 0 or done == self._anchored or done >= every or done % anchors != 0:
            return False
        self._anchored = done
        return True

    def finish(self) -> Segment:
        """Return the segment without its state, and begin the next. Cheap: for the training thread."""
        self._mark_dropped()
        empty = StateManifest(tensors=[], aliases=[], tree=to_tree(None, ""), root=ZERO)
        segment = Segment(
            version=1,
            index=self.index,
            first_step=self.first_step,
            steps=self.steps,
            hypers=self._hypers,
            trailing=self.batches,
            anchors=[],
            resumed=self.resumed,
            update_norm=hexfloat(0.0),
            stored=False,
            state=empty,
            previous=ZERO,
            chain=ZERO,
        )
        self._reset(self.index + 1, self.first_step + len(self.steps))
        self.resumed = False
        return segment

    @staticmethod
    def with_state(
        segment: Segment, state: StateManifest, *, anchors: list[Anchor], update_norm: float, stored: bool
    ) -> Segment:
        """Return ``segment`` with its state filled in."""
        norm = hexfloat(update_norm)
        return msgspec.structs.replace(segment, state=state, anchors=anchors, update_norm=norm, stored=stored)
