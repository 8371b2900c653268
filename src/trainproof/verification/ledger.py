"""The verifier's ledger: which records were challenged with which nonce, and what came out.

A prover who can have the same record verified many times waits for the draw that misses the forged segment. So a root
(a record's final chain value) gets one nonce, for ever: every later attempt replays the same choice. A REJECT is
permanent. An ACCEPT is what a warm start's parent is looked up by.

The file is JSON lines, each canonical, appended under a lock and synced. Only a line that was never finished (a crash
while writing it) is dropped; anything else that is malformed or contradicts an earlier line is refused.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from msgspec import Meta

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import LimitError, RecordError, UsageError
from trainproof.recording.format import Count, Digest, Part
from trainproof.verification.verdict import Verdict

Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]


class Begun(Part, frozen=True, tag_field="event", tag="begin"):
    """An attempt to verify ``root`` under the policy with digest ``policy``; ``attempt`` counts from 0."""

    attempt: Count
    root: Digest
    policy: Digest
    nonce: Digest
    time: Time


class Finished(Part, frozen=True, tag_field="event", tag="finish"):
    """How attempt ``attempt`` ended. ``model`` is the final model's root, null where it was not reached."""

    attempt: Count
    root: Digest
    policy: Digest
    nonce: Digest
    verdict: Literal["ACCEPT", "REJECT", "INCONCLUSIVE"]
    level: Annotated[int, Meta(ge=0, le=4)] | None
    model: Digest | None
    time: Time


Entry = Begun | Finished


@dataclass(frozen=True)
class Attempt:
    """A verification in progress. ``number`` is the ledger's, ``earlier`` how often this root was begun before."""

    number: int
    root: str
    policy: str
    nonce: str
    earlier: int


def default_path() -> Path:
    """Return ``$XDG_DATA_HOME/trainproof/ledger.jsonl``, in ``~/.local/share`` where that is not absolute."""
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "share"
    return base / "trainproof" / "ledger.jsonl"


class Ledger:
    """A ledger file; it is created by the first ``begin``. Every method reads the file anew, under its lock.

    Methods raise RecordError if the file cannot be used or is malformed, LimitError if it is or would become too large.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first; none if there is no file yet."""
        if not self.path.exists():
            return []
        with self._locked(write=False) as file:
            return self._read(file)[0]

    def begin(self, root: str, policy: str, nonce: str | None = None) -> Attempt:
        """Write down that ``root`` is challenged, before it is, and return its nonce (64 hexadecimal digits).

        The first attempt of a root draws 32 random bytes, or takes ``nonce``; every later attempt gets the same. Raises
        UsageError if another ``nonce`` is asked for then.
        """
        with self._locked(write=True) as file:
            entries, end = self._read(file)
            begun = [entry for entry in entries if isinstance(entry, Begun)]
            same = [entry for entry in begun if entry.root == root]
            if same and nonce not in (None, same[0].nonce):
                raise UsageError(
                    "the ledger has another nonce for this record",
                    name="nonce",
                    value=nonce,
                    mend=f"one record gets one challenge; leave the nonce out to use {same[0].nonce}",
                )
            chosen = same[0].nonce if same else nonce or secrets.token_hex(32)
            entry = Begun(attempt=len(begun), root=root, policy=policy, nonce=chosen, time=_now())
            self._append(file, end, entry)
            return Attempt(number=len(begun), root=root, policy=policy, nonce=chosen, earlier=len(same))

    def finish(self, attempt: Attempt, verdict: Verdict, level: int | None, model_root: str | None) -> Finished:
        """Write down how ``attempt`` ended. Raises UsageError if this ledger did not begin it, or it ended already."""
        entry = Finished(
            attempt=attempt.number,
            root=attempt.root,
            policy=attempt.policy,
            nonce=attempt.nonce,
            verdict=verdict.value,
            level=level,
            model=model_root,
            time=_now(),
        )
        with self._locked(write=True) as file:
            entries, end = self._read(file)
            problem = _contradiction(entry, _Index(entries))
            if problem:
                raise UsageError(problem, name="attempt", value=attempt.number)
            self._append(file, end, entry)
        return entry

    def refused(self, root: str) -> Finished | None:
        """Return the first REJECT of ``root``, which no later verification can undo, or None."""
        return next((entry for entry in self._finished(root) if entry.verdict == "REJECT"), None)

    def accepted(self, root: str) -> Finished | None:
        """Return the ACCEPT of ``root`` with the highest level, the latest of these; None if it was ever refused."""
        finished = self._finished(root)
        if any(entry.verdict == "REJECT" for entry in finished):
            return None
        accepted = [entry for entry in finished if entry.verdict == "ACCEPT"]
        return max(reversed(accepted), key=lambda entry: -1 if entry.level is None else entry.level, default=None)

    def _finished(self, root: str) -> list[Finished]:
        return [entry for entry in self.entries() if isinstance(entry, Finished) and entry.root == root]

    @contextmanager
    def _locked(self, write: bool) -> Iterator[BinaryIO]:
        """Open the file (when writing, create it) and hold its lock: shared for reading, exclusive for writing."""
        try:
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
            # Not to wait for the other end of a pipe; a regular file does not mind.
            descriptor = os.open(self.path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise RecordError("the ledger is not a regular file", name=str(self.path))
        with os.fdopen(descriptor, "r+b" if write else "rb") as file:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
                yield file
            except OSError as error:
                raise self._unusable(error) from None

    def _read(self, file: BinaryIO) -> tuple[list[Entry], int]:
        """Return the entries and the offset at which the next one belongs."""
        size = os.fstat(file.fileno()).st_size
        if size > limits.LEDGER_BYTES:
            raise LimitError(f"the ledger is larger than the limit of {limits.LEDGER_BYTES} bytes", name=str(self.path))
        *lines, unfinished = file.read(limits.LEDGER_BYTES + 1).split(b"\n")
        entries: list[Entry] = []
        index = _Index(entries)
        for number, line in enumerate(lines, 1):
            name = f"{self.path}, line {number}"
            entry: Entry = canonical.decode(line, Entry, name)  # type: ignore[arg-type]
            problem = _contradiction(entry, index)
            if problem:
                raise RecordError(problem, name=name, mend="restore the ledger from a copy; do not start a new one")
            entries.append(entry)
            index.add(entry)
        return entries, size - len(unfinished)

    def _append(self, file: BinaryIO, end: int, entry: Entry) -> None:
        line = canonical.encode(entry) + b"\n"
        if end + len(line) > limits.LEDGER_BYTES:
            raise LimitError(f"the ledger would exceed the limit of {limits.LEDGER_BYTES} bytes", name=str(self.path))
        file.seek(end)
        file.truncate()
        file.write(line)
        file.flush()
        os.fsync(file.fileno())

    def _unusable(self, error: Exception) -> RecordError:
        reason = getattr(error, "strerror", None) or error
        return RecordError(f"the ledger cannot be used: {reason}", name=str(self.path))


class _Index:
    """What earlier entries say, for finding contradictions without a search a line."""

    def __init__(self, entries: list[Entry]) -> None:
        self.begun: list[Begun] = []
        self.nonces: dict[str, str] = {}
        self.ended: set[int] = set()
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        if isinstance(entry, Begun):
            self.begun.append(entry)
            self.nonces.setdefault(entry.root, entry.nonce)
        else:
            self.ended.add(entry.attempt)


def _contradiction(entry: Entry, index: _Index) -> str | None:
    """Return how ``entry`` contradicts earlier entries, or None."""
    if isinstance(entry, Begun):
        if entry.attempt != len(index.begun):
            return f"attempt {entry.attempt} where attempt {len(index.begun)} is next"
        if index.nonces.get(entry.root, entry.nonce) != entry.nonce:
            return "a second nonce for the same record"
        return None
    if entry.attempt >= len(index.begun):
        return f"attempt {entry.attempt} ends but was not begun here"
    start = index.begun[entry.attempt]
    if (start.root, start.policy, start.nonce) != (entry.root, entry.policy, entry.nonce):
        return f"attempt {entry.attempt} was begun for another record, policy or nonce"
    if entry.attempt in index.ended:
        return f"attempt {entry.attempt} ended already"
    return None


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
