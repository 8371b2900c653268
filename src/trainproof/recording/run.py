"""A recording from its plan to its seal: what both doors share."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trainproof.attest import canonical
from trainproof.errors import RecordError, ResumeError, UsageError
from trainproof.recording import chain, dataset, plan
from trainproof.recording.format import Closure, Commitment, Parent, Segment
from trainproof.recording.parts import commit, parse_keep, parse_nonce
from trainproof.recording.reader import COMMITMENT, LEAVES, SEGMENTS, STATES, TEMPORARY, Record
from trainproof.recording.recipe import derive_seed
from trainproof.recording.recorder import Recorder, Resume, final_sha256, now
from trainproof.recording.self_replay import SelfReplays
from trainproof.recording.state import StateAccess
from trainproof.recording.writer import RecordWriter
from trainproof.replay.job import RecipeSource

if TYPE_CHECKING:
    import torch

    from trainproof.attest.keys import Signer


def say(line: str) -> None:
    """Print a line of progress to standard error."""
    print(f"trainproof: {line}", file=sys.stderr, flush=True)


class Start:
    """What is known before the model: where the record goes, whose it is, the dataset's leaves, the nonce.

    Raises UsageError, KeyFileError, DatasetError or ResumeError.
    """

    def __init__(
        self,
        out: str | Path,
        base: Any,
        *,
        every: int,
        key: str | Path | Signer,
        resume: bool = False,
        private: bool = False,
        nonce: str | None = None,
        shared: bool = False,
        anchors: int = 0,
    ) -> None:
        from trainproof.attest.keys import Signer as KeySigner

        if not isinstance(every, int) or every < 1:
            raise UsageError("must be a positive number of steps", name="every", value=every)
        if not isinstance(anchors, int) or not 0 <= anchors <= every:
            raise UsageError("must lie between 0 (none) and every", name="anchors", value=anchors)
        if shared and private:
            raise UsageError("a private dataset has its own root, hence seed", name="shared", mend="leave it out")
        self.anchors = anchors
        self.path, self.every, self.resume, self.private = Path(out), every, resume, private
        self.signer = key if isinstance(key, KeySigner) else KeySigner.load(key)
        self.old = unfinished(self.path) if resume else None
        if self.old is None and not resume and self.path.exists() and any(self.path.iterdir()):
            raise UsageError("already there", name=str(self.path), mend="choose another folder, or resume it")
        seed = self.old.commitment.seed if self.old else None
        self.nonce = parse_nonce(nonce, shared) if seed is None else (seed.source, seed.nonce)
        self.leaves = b""
        if base is not None:
            self.commit_to(base)

    def commit_to(self, base: Any) -> None:
        """Read the whole base dataset and make its leaves."""
        self.leaves = dataset.leaves(base, self._secret())

    def script_seed(self, closure: Closure) -> bytes:
        """Return what seeds an unmodified script, whose dataset is not known before it runs."""
        return bytes.fromhex(derive_seed("0" * 64, closure.digest, self.signer.public, self.every, self.nonce[1]))

    def _secret(self) -> bytes:
        """Return the salt secret: zero for a public dataset, else a file of mode 0600 beside the record."""
        if not self.private:
            return dataset.NO_SECRET
        path = self.path.with_name(self.path.name + ".secret")
        if self.resume and path.exists():
            return canonical.read_bytes(path, 32, str(path))
        secret = secrets.token_bytes(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret)
        except FileExistsError:
            raise UsageError("already there", name=str(path), mend="it belongs to another record: move it") from None
        return secret

    def seed(self, closure: Closure) -> bytes:
        """Return the run's seed."""
        root, source = dataset.root(self.leaves), self.nonce[0]
        key = None if source == "task" else self.signer.public
        return bytes.fromhex(derive_seed(root, closure.digest, key, self.every, self.nonce[1]))


class Run:
    """One recording. Make it, ``start`` it, train, then ``finish`` it; or ``abandon`` it, to be resumed."""

    def __init__(
        self,
        start: Start,
        *,
        source: RecipeSource,
        closure: Closure,
        access: StateAccess,
        loader: torch.utils.data.DataLoader[Any],
        keep: str = "all",
        order: str = "loader",
        accumulate: int = 1,
        schedule: Any = None,
        epochs: int | None = None,
        steps: int | None = None,
        skip_iterations: bool = False,
        parent: Parent | None = None,
        note: str = "",
        self_replay: bool = True,
        quiet: bool = False,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> None:
        self.path = start.path
        self.say = (lambda _: None) if quiet else say
        self.signer = start.signer
        keyframes = parse_keep(keep)
        old = start.old
        self.commitment = commit(
            closure=closure,
            entry=Path(source.path),
            access=access,
            loader=loader,
            leaves=start.leaves,
            private=start.private,
            order=order,
            accumulate=accumulate,
            schedule=schedule,
            every=start.every,
            anchors=start.anchors,
            keyframes=keyframes,
            epochs=epochs,
            nonce=start.nonce,
            key=self.signer.public,
            parent=parent,
            note=note,
        )
        self.plan = plan.plan(access, self.path, steps=steps, every=start.every, keyframes=keyframes)
        plan.announce(self.plan, self.say)
        position: Resume | None = None
        if old is None:
            if start.resume and self.path.exists():
                shutil.rmtree(self.path)  # unfinished() found no state in it: nothing is lost
            try:
                self.writer = RecordWriter.create(self.path, self.commitment, start.leaves)
            except OSError as error:
                raise RecordError(f"cannot be written: {error.strerror}", name=str(self.path)) from None
        else:
            position = self._reopen(old, skip_iterations)
        self.replays = SelfReplays(self.path, source, self.say) if self_replay else None
        self.recorder = Recorder(
            access,
            loader,
            self.commitment,
            self.writer,
            self.signer,
            resume=position,
            on_segment=self._segment_written,
        )
        self._on_segment = on_segment
        if position is not None:
            self.recorder.seed_from(position.segment, position.tensors)
        self.say(f"commitment {self.writer.head if old is None else chain.commitment_digest(self.commitment)}")

    def _reopen(self, old: Record, skip: bool) -> Resume:
        """Cut the record back to its last stored state and return where to continue."""
        difference = first_difference(old.commitment, self.commitment)
        if difference is not None:
            raise ResumeError("is not what the record was started with", name=difference, mend="record to a new folder")
        last = old.stored()[-1]
        segment, tensors = old.segment(last), old.tensors(last)
        if chain.chain_value(segment) != segment.chain or chain.state_root(segment.state) != segment.state.root:
            raise ResumeError("its chain is broken", name=str(self.path), value=f"segment {last}")
        self.writer = RecordWriter.reopen(self.path, last + 1)
        from trainproof.recording.tree import from_tree, lookup

        iteration = int(from_tree(lookup(segment.state.tree, "loader", "iteration")))
        self.say(f"resuming after step {segment.first_step + len(segment.steps)}, in loader iteration {iteration}")
        return Resume(segment, tensors, iteration, iteration if skip else 0)

    def _segment_written(self, segment: Segment) -> None:
        if self.replays is not None and segment.stored and segment.index > 0:
            self.replays.first(segment.index)
        if self._on_segment is not None:
            self._on_segment(segment)

    def start(self) -> None:
        """Attach to the training."""
        self.recorder.start()

    def finish(self) -> Record:
        """Cut the last state, replay the first and last unit, seal. Returns the finished record.

        Raises RecordError if there is nothing to seal, or no space for the seal.
        """
        self.recorder.finish()
        error = self.recorder.error
        if not any((self.path / SEGMENTS).glob("0*.json")):
            why = "nothing was trained" if error is None else f"no state was written: {error.strerror}"
            raise RecordError(why, name=str(self.path))
        try:
            return seal(self.path, self.writer, self.signer, self.recorder, self.replays, self.say)
        except OSError as full:
            raise RecordError(
                f"cannot be sealed: {full.strerror}", name=str(self.path), mend="make space, and resume it"
            ) from None

    def abandon(self) -> None:
        """Write what is queued and leave the record unsealed."""
        self.recorder.stop()
        if self.replays is not None:
            self.replays.cancel()
        self.say(f"not sealed; continue it with resume: {self.path}")


def seal(
    path: Path,
    writer: RecordWriter,
    signer: Signer,
    recorder: Recorder,
    replays: SelfReplays | None,
    tell: Callable[[str], None],
) -> Record:
    """Cut the record back to its last stored state, replay its ends, and sign it."""
    record = Record.open(path)
    last = record.stored()[-1]
    if last != len(record) - 1 or recorder.error is not None:  # a full disk between or in two stored states
        writer = RecordWriter.reopen(path, last + 1)
        record = Record.open(path)
    if recorder.error is not None:
        writer.release_reserve()
    results = replays.finish(record) if replays is not None else []
    writer.seal(
        signer,
        name="model",
        sha256=final_sha256(record.segment(last), record.tensors(last, "model/")),
        ended=recorder.ended,
        self_replays=results,
        started=recorder.started,
        finished=now(),
    )
    tell(
        f"sealed {path}: {record.segment(last).first_step + len(record.segment(last).steps)} steps, root {record.root}"
    )
    return Record.open(path)


def unfinished(path: Path) -> Record | None:
    """Return the unsealed record at ``path``, or None if it holds no state yet. Raises ResumeError if it is sealed."""
    folder = path / SEGMENTS
    if not (path / COMMITMENT).exists() or not folder.is_dir() or not any(folder.glob("0*.json")):
        ours = (SEGMENTS, STATES, LEAVES, COMMITMENT)
        if path.exists() and any(e.name not in ours and not e.name.startswith(TEMPORARY) for e in path.iterdir()):
            raise ResumeError("is not a record", name=str(path), mend="choose another folder")
        return None
    record = Record.open(path)
    if record.sealed():
        raise ResumeError("is sealed: its run was finished", name=str(path), mend="record to another folder")
    return record


def first_difference(a: Commitment, b: Commitment) -> str | None:
    """Return the name of the first field in which two commitments differ, or None."""
    x: dict[str, Any] = msgspec.to_builtins(a)
    y: dict[str, Any] = msgspec.to_builtins(b)
    if x == y:
        return None
    for field, value in x.items():
        if value != y[field]:
            if isinstance(value, dict):
                inner = next(k for k in value if value[k] != y[field].get(k))
                return f"{field}.{inner}"
            return field
    return "commitment"
