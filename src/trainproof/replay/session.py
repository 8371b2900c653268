"""Replay by re-entry: the recipe runs as it always does; its loader feeds it recorded batches from a recorded state.

``trainproof.record`` and ``trainproof.train`` ask ``active()``; inside a worker they attach a ``Session`` instead of a
recorder. The session ends the recipe by raising ``Finished`` as soon as the last state is there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trainproof.errors import RecordError, ReplayError
from trainproof.recording import dataset as data
from trainproof.recording import values
from trainproof.recording.format import Anchor, BatchLog, Commitment, Segment
from trainproof.recording.instruments import Instruments
from trainproof.recording.loader import LoaderTap, SampleIndex, as_indices
from trainproof.recording.log import SegmentLog
from trainproof.recording.norms import distance
from trainproof.recording.parts import declared
from trainproof.recording.reader import Record
from trainproof.recording.state import Snapshot, StateAccess
from trainproof.recording.tree import from_tree, lookup
from trainproof.replay.job import Made, Unit

if TYPE_CHECKING:
    import torch

_active: Session | None = None


class Finished(BaseException):
    """Raised through the recipe's loop when the session has what it needs. Not an Exception: loops catch those."""


def active() -> Session | None:
    """Return the session of this process, if it is a replay."""
    return _active


def activate(session: Session | None) -> None:
    """Make ``session`` the one that ``active`` returns."""
    global _active
    _active = session


def perturbed(seed: bytes) -> bytes:
    """Return ``seed``, or in the two-seed test another one derived from it."""
    if _active is None or _active.unit.perturb <= 0:
        return seed
    return hashlib.sha256(b"trainproof.perturb.v1" + seed + str(_active.unit.perturb).encode()).digest()


class Session:
    """One unit. ``opened`` is shared by a worker's units: a sample is compared with its leaf once.

    With ``skip``, the loader iterations before the unit pass empty, so that a loop that counts its epochs by itself
    does what it did by their number, and ends where it ended.
    """

    def __init__(
        self, record: Record, unit: Unit, leaves: bytes, secret: bytes, opened: set[int], skip: bool = False
    ) -> None:
        self.record, self.unit = record, unit
        self.leaves, self.secret, self.opened = leaves, secret, opened
        self.log = SegmentLog()
        self.results: list[Segment] = []
        self._anchors: list[Anchor] = []
        self.final: Snapshot | None = None
        self.access: StateAccess | None = None
        self.made: Made | None = None
        self.bad_samples: list[int] = []
        self.bad_order: tuple[int, int] | None = None
        self.newly_opened = 0
        self.load_seconds = self.step_seconds = 0.0
        self._created = time.perf_counter()
        self._running = 0.0
        self._before: Snapshot | None = None
        self._started = self._exhausted = False
        self._pending = self._recorded_batches() if unit.kind == "replay" else []
        self._next = 0
        self._instruments: Instruments | None = None
        self._to_skip = self.completed_iterations if skip else 0

    @property
    def commitment(self) -> Commitment:
        """Return the record's commitment."""
        return self.record.commitment

    def _recorded_batches(self) -> list[BatchLog]:
        found: list[BatchLog] = []
        last = 0
        for index in range(self.unit.start + 1, self.unit.end + 1):
            segment, last = self.record.segment(index), len(found)
            for step in segment.steps:
                found += step.batches
            found += segment.trailing
        return found if self.unit.cut is None else found[: last + self.unit.cut.batches]

    @property
    def _reaches_the_end(self) -> bool:
        """Whether the unit's last state was cut because the run was over, not because another batch came."""
        if self.unit.cut is not None:
            return self.unit.cut.following is None
        return self._end_position("ended") is True

    # -- lifetime, called by train and record --

    @property
    def started(self) -> bool:
        """Return whether the unit's first batch was delivered."""
        return self._started

    def counts_from(self) -> int:
        """Return ``completed_iterations`` to a loop that begins after them, so that none passes empty."""
        self._to_skip = 0
        return self.completed_iterations

    @property
    def completed_iterations(self) -> int:
        """Return how many loader iterations lie before the unit."""
        if self.unit.kind == "initial":
            return 0
        segment = self.record.segment(self.unit.start)
        return int(from_tree(lookup(segment.state.tree, "loader", "iteration")))

    def attach(self, access: StateAccess, loader: torch.utils.data.DataLoader[Any], **declaration: Any) -> None:
        """Attach to the recipe's objects; ``declaration`` is for ``parts.declared``.

        Raises ReplayError if the recipe makes a second recording, RecordError if its dataset has another size.
        """
        if self.access is not None:
            raise ReplayError("starts a second recording", name="recipe", mend="record one run in a script")
        size, committed = len(data.base_of(loader.dataset)), self.commitment.dataset.size
        if size != committed:
            raise RecordError(f"{committed} samples are committed; the recipe's has {size}", name="dataset")
        self.access = access
        self.made = declared(access, loader, **declaration)
        self._instruments = Instruments(access, loader, self)
        self._instruments.attach()

    def leave(self) -> None:
        """The recipe has left its recording by itself: the last state is cut here."""
        if self._instruments is not None:
            self._instruments.detach()
        if self._started and self._next == len(self._pending) and self.unit.kind == "replay":
            self._capture()
            raise Finished
        raise ReplayError(
            f"ended after {self._next} of {len(self._pending)} batches", name="recipe", mend="it must train as recorded"
        )

    def detach(self) -> None:
        """Remove all hooks; called by the worker whatever happened."""
        if self._instruments is not None:
            self._instruments.detach()

    # -- the loader --

    def iterate(self, tap: LoaderTap, real: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Return the iterator that feeds the recorded batches. ``real`` is never used: no workers, no prefetching."""
        if self._exhausted:
            self._capture()
            raise Finished
        if self._to_skip > 0:
            self._to_skip -= 1
            return iter(())
        if not self._started and self.unit.kind == "replay":
            self._restore(tap)
        else:
            tap.begin()
        return self._feed(tap, tap.redraw())

    def _restore(self, tap: LoaderTap) -> None:
        """Load the unit's first state: what the loop does after this is what it did when it was recorded."""
        segment, tensors = self._start()
        assert self.access is not None
        tap.restore(self.access.restore(segment.state, tensors))
        tap.rewind()

    def _start(self) -> tuple[Segment, dict[str, Any]]:
        segment = self.record.segment(self.unit.start)
        return segment, self.record.tensors(self.unit.start)

    def _feed(self, tap: LoaderTap, sampler: Iterator[Any]) -> Iterator[Any]:
        from torch.utils.data._utils.fetch import _MapDatasetFetcher

        loader = tap.loader
        fetcher = _MapDatasetFetcher(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)
        while not self._left_here(tap):
            item = next(sampler, None)
            if item is None:
                break
            indices = as_indices(item)
            if self.unit.kind == "initial":
                self._capture()
                raise Finished
            if self._next == len(self._pending):
                if self._stays_here(tap):
                    self._capture()
                    raise Finished
                break
            batch = self._pending[self._next]
            if batch.iteration != tap.iteration:
                break  # the recorded loop left this iteration here
            if indices != batch.indices and self.bad_order is None:
                self.bad_order = (tap.iteration, tap.position)
            delivered = self._deliver(tap, batch, fetcher, isinstance(item, (list, tuple)))
            if batch.dropped:
                # The recorded loop took this batch and broke out, by a counter that re-entry cannot set: so do it here.
                break
            yield delivered
        self._exhausted = self._next == len(self._pending) and self._reaches_the_end

    def _left_here(self, tap: LoaderTap) -> bool:
        """Return whether the recorded loop left this iteration before its sampler was asked for another item."""
        if self.unit.kind == "initial":
            return False
        if self._next < len(self._pending):
            leaves = self._pending[self._next].iteration != tap.iteration
        else:
            leaves = not self._stays_here(tap)
        try:
            return leaves and tap.position < len(tap.loader)
        except TypeError:  # a sampler without a length
            return False

    def _stays_here(self, tap: LoaderTap) -> bool:
        """Return whether the recorded run delivered its next batch in this same iteration."""
        if self.unit.cut is not None:
            return self.unit.cut.following == tap.iteration
        return not self._reaches_the_end and self._end_position("iteration") == tap.iteration

    def _end_position(self, key: str) -> Any:
        return from_tree(lookup(self.record.segment(self.unit.end).state.tree, "loader", key))

    def _deliver(self, tap: LoaderTap, batch: BatchLog, fetcher: Any, is_list: bool) -> Any:
        if self.unit.cut is None or self._next >= len(self._pending) - self.unit.cut.opened:
            self._compare_leaves(tap.loader.dataset, batch.indices)
        marked = [SampleIndex(i, batch.iteration) for i in batch.indices]
        try:
            delivered = fetcher.fetch(marked if is_list else marked[0])
        except IndexError:
            raise RecordError("names a sample that the dataset does not have", name="indices") from None
        if not self._started:
            self._begin()
        elif len(self.log.steps) >= self.commitment.every:
            self._capture()
        elif self.log.anchor_due(self.commitment.anchors, self.commitment.every):
            self._anchor(tap)
        self._next += 1
        self.log.batch(batch.iteration, batch.indices, values.digest(delivered))
        tap.position += 1
        assert self._instruments is not None
        self._instruments.delivered()
        return delivered

    def _begin(self) -> None:
        """Load the state again, just before the first batch: fetching and sampling may have drawn random numbers."""
        assert self.access is not None
        assert self._instruments is not None
        segment, tensors = self._start()
        self.access.restore(segment.state, tensors)
        self._before = Snapshot(tensors, {}, [], segment.state.tree)
        tap = self._instruments.tap
        live = self.access.capture(tap.state()).manifest()
        if live.root != segment.state.root:
            different = [a.name for a, b in zip(live.tensors, segment.state.tensors, strict=False) if a != b]
            raise RecordError(
                "the recorded state cannot be restored into the recipe's model",
                name=different[0] if different else "state",
            )
        self.log = SegmentLog.starting_after(segment)
        self._started = True
        self._running = time.perf_counter()
        self.load_seconds = self._running - self._created

    def _compare_leaves(self, dataset: Any, indices: list[int]) -> None:
        base = data.base_of(dataset)
        for index in indices:
            if index in self.opened:
                continue
            wanted = self.leaves[32 * index : 32 * index + 32]
            if not 0 <= index < len(base) or data.leaf(base, index, self.secret) != wanted:
                self.bad_samples.append(index)
            self.opened.add(index)
            self.newly_opened += 1

    # -- states --

    def _anchor(self, tap: LoaderTap) -> None:
        """Hash the state within a segment, as the recorder does."""
        assert self.access is not None
        root = self.access.capture(tap.state()).manifest().root
        self._anchors.append(Anchor(steps=len(self.log.steps), root=root))

    def _capture(self) -> None:
        """Cut the state, as the recorder does, and keep what it would have written."""
        assert self.access is not None
        assert self._instruments is not None
        if self._running:
            self.step_seconds += time.perf_counter() - self._running
        finished = self.log.finish()
        ended = self.unit.kind == "replay" and finished.index == self.unit.end and self._reaches_the_end
        snapshot = self.access.capture(self._instruments.tap.state(ended))
        recorded = self.record.segment(finished.index)
        norm = 0.0 if self._before is None else distance(self._before.tensors, snapshot.tensors)
        self.results.append(
            SegmentLog.with_state(
                finished, snapshot.manifest(), anchors=self._anchors, update_norm=norm, stored=recorded.stored
            )
        )
        self._anchors = []
        self._before = self.final = snapshot
        if self._running:
            self._running = time.perf_counter()
