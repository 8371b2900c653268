"""Record a run while it trains: states are copied on the training thread, and hashed, chained and written off it.

A state is cut at the first delivery after ``every`` steps, or at the end: not in the optimizer's hook, since a loop may
clamp weights or step a scheduler afterwards. A full disk ends the record, never the training.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from trainproof.errors import TrainproofError, UnsupportedError
from trainproof.recording import values
from trainproof.recording.format import Anchor, Commitment, Segment, SelfReplay
from trainproof.recording.instruments import Instruments
from trainproof.recording.loader import LoaderTap
from trainproof.recording.log import SegmentLog
from trainproof.recording.norms import distance
from trainproof.recording.state import Pool, Snapshot, StateAccess
from trainproof.recording.writer import RecordWriter

if TYPE_CHECKING:
    import torch

    from trainproof.attest.keys import Signer

_QUEUE = 2  # snapshots waiting to be written; with the one being written and the one being made, four in memory


def now() -> str:
    """Return the time in UTC, to the second: a claim of the prover, not evidence."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class _Item:
    segment: Segment | None  # None: an anchor after ``steps`` steps
    snapshot: Snapshot
    stored: bool
    steps: int = 0


class Recorder:
    """The watcher that records. ``on_segment`` is called with each written segment, on the writer's thread."""

    def __init__(
        self,
        access: StateAccess,
        loader: torch.utils.data.DataLoader[Any],
        commitment: Commitment,
        writer: RecordWriter,
        signer: Signer,
        *,
        resume: Resume | None = None,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> None:
        self.access, self.commitment, self.writer, self.signer = access, commitment, writer, signer
        self.on_segment = on_segment
        self.log = SegmentLog()
        self.instruments = Instruments(access, loader, self)
        self.started = now()
        self.error: OSError | None = None
        self.steps_recorded = 0
        self._resume = resume
        self._pool = Pool()
        self._anchors: list[Anchor] = []
        self._first = True
        self._before: Snapshot | None = None
        self._items: queue.Queue[_Item | None] = queue.Queue(maxsize=_QUEUE)
        self._thread = threading.Thread(target=self._write_all, name="trainproof-writer", daemon=True)
        self._failure: BaseException | None = None
        self.self_replays: list[SelfReplay] = []

    # -- lifetime --

    def start(self) -> None:
        """Attach to the loop's objects and start the writer."""
        self.instruments.attach()
        self._thread.start()

    @property
    def ended(self) -> str:
        """Return how the record ended so far, as the seal says it."""
        return "disk full" if self.error else "complete"

    @property
    def completed_iterations(self) -> int:
        """Return how many loader iterations of a resumed record need not be run again; 0 for a new one."""
        return self._resume.iteration if self._resume else 0

    def counts_from(self) -> int:
        """Return ``completed_iterations`` to a loop that begins after them, so that none passes empty."""
        if self._resume is not None:
            self._resume.skip_iterations = 0
        return self.completed_iterations

    def finish(self) -> None:
        """Cut the final state, and wait until everything is on disk. Raises the writer's failure, if not I/O."""
        self.instruments.detach()
        try:
            if self.log.steps or self.log.batches:
                self._cut(final=True)
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Detach and let the writer finish what is queued; the record stays unsealed."""
        self.instruments.detach()
        if self._thread.is_alive():
            self._items.put(None)
            self._thread.join()

    # -- events --

    def iterate(self, tap: LoaderTap, real: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Begin a loader iteration; a resumed one continues where its state was cut."""
        if self._resume is not None and not self._resume.done:
            return self._continue(tap, real, self._resume)
        tap.begin()
        return self._deliver(tap, real())

    def _continue(self, tap: LoaderTap, real: Callable[[], Iterator[Any]], resume: Resume) -> Iterator[Any]:
        if resume.skip_iterations > 0:
            # A loop that counts its epochs by itself: completed ones pass with an empty loader.
            resume.skip_iterations -= 1
            return iter(())
        resume.done = True
        tap.restore(self.access.restore(resume.segment.state, resume.tensors))
        return self._deliver(tap, tap.reenter(real), resume)

    def _deliver(self, tap: LoaderTap, inner: Iterator[Any], resume: Resume | None = None) -> Iterator[Any]:
        token = tap.live = object()
        for batch in inner:
            if tap.live is not token:
                raise UnsupportedError(
                    "an iterator was used after a new one had begun: nested iterators cannot be re-entered",
                    name="loader",
                    mend="finish one iteration before the next",
                )
            indices = tap.queue.popleft()
            if resume is None:
                yield self._on_delivery(tap, indices, batch)
                continue
            # Sampling and fetching may have drawn random numbers: the state is set once more, as it was cut.
            self.access.restore(resume.segment.state, resume.tensors)
            resume = None
            self.instruments.delivered()
            yield self._hand_over(tap, indices, batch)

    def _on_delivery(self, tap: LoaderTap, indices: list[int], batch: Any) -> Any:
        if self._first or len(self.log.steps) >= self.commitment.every:
            self._cut()
        elif self.error is None and self.log.anchor_due(self.commitment.anchors, self.commitment.every):
            self._anchor()
        self.instruments.delivered()
        return self._hand_over(tap, indices, batch)

    def _hand_over(self, tap: LoaderTap, indices: list[int], batch: Any) -> Any:
        if self.error is None:
            self.log.batch(tap.iteration, indices, values.digest(batch))
        tap.position += 1
        return batch

    def _cut(self, final: bool = False) -> None:
        """Copy the state and queue the segment that ends here."""
        self._first = False
        if self.error is not None:
            self.log.finish()
            return
        tap = self.instruments.tap
        snapshot = self.access.capture(tap.state(ended=final), self._pool)
        segment = self.log.finish()
        stored = final or segment.index % self.commitment.keyframes == 0
        self.steps_recorded = segment.first_step + len(segment.steps)
        self._items.put(_Item(segment, snapshot, stored))

    def _anchor(self) -> None:
        """Copy the state and queue it to be hashed, within the segment."""
        snapshot = self.access.capture(self.instruments.tap.state(), self._pool)
        self._items.put(_Item(None, snapshot, False, len(self.log.steps)))

    # -- the writer's thread --

    def _write_all(self) -> None:
        while True:
            item = self._items.get()
            if item is None:
                return
            if self.error is not None or self._failure is not None:
                continue
            try:
                self._write(item)
            except OSError as error:
                self.error = error
                print(
                    f"trainproof: the record ends here, the training goes on: {error.strerror}: {self.writer.path}",
                    file=sys.stderr,
                )
            except BaseException as error:
                self._failure = error

    def _write(self, item: _Item) -> None:
        manifest = item.snapshot.manifest()
        if item.segment is None:
            self._anchors.append(Anchor(steps=item.steps, root=manifest.root))
            self._pool.give(item.snapshot)
            return
        norm = 0.0 if self._before is None else distance(self._before.tensors, item.snapshot.tensors)
        segment = SegmentLog.with_state(
            item.segment, manifest, anchors=self._anchors, update_norm=norm, stored=item.stored
        )
        self._anchors = []
        written = self.writer.append(segment, (item.snapshot.arena or item.snapshot.tensors) if item.stored else None)
        if self._before is not None:
            self._pool.give(self._before)
        self._before = item.snapshot
        if self.on_segment is not None:
            self.on_segment(written)

    def seed_from(self, segment: Segment, tensors: dict[str, torch.Tensor]) -> None:
        """Continue the log after ``segment``, whose state is ``tensors``."""
        self.log = SegmentLog.starting_after(segment)
        self.log.resumed = True
        self.steps_recorded = segment.first_step + len(segment.steps)
        # A copy: what was read from a file is not for the pool.
        model = {name: tensor.clone() for name, tensor in tensors.items() if name.startswith("model/")}
        self._before = Snapshot(model, {}, [], segment.state.tree)
        self._first = False


@dataclass
class Resume:
    """Where a resumed run continues. ``skip_iterations`` iterations pass empty first: for a loop that begins at 0."""

    segment: Segment
    tensors: dict[str, torch.Tensor]
    iteration: int
    skip_iterations: int
    done: bool = False


def final_sha256(segment: Segment, tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 state root of the model's tensors, for the statement's subject."""
    from trainproof import _core

    model = [e for e in segment.state.tensors if e.name.startswith("model/")]
    if len(model) == 0:
        raise TrainproofError("the state holds no model", name="state")
    hashed = _core.tensor_digests([(e.dtype, e.shape, values.raw(tensors[e.name])) for e in model], "sha256")
    return _core.state_root([(e.name, d) for e, d in zip(model, hashed, strict=True)], "sha256").hex()


def self_replay_result(segment: int, outcome: str, detail: str) -> SelfReplay:
    """Return the seal's entry for a self-replay."""
    return msgspec.convert({"segment": segment, "outcome": outcome, "detail": detail[:4000]}, SelfReplay)
