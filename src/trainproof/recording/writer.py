"""Write a record: every file under a temporary name, synced, renamed, its folder synced. A torn record is never seen.

The verifier never imports this file. Attacks use it to chain and sign what an honest recorder would not write.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trainproof import _core
from trainproof.attest import canonical
from trainproof.errors import RecordError, UsageError
from trainproof.recording import chain
from trainproof.recording.format import VERSION, Commitment, Seal, Segment
from trainproof.recording.reader import COMMITMENT, LEAVES, SEAL, SEGMENTS, STATES, TEMPORARY, Record, segment_name
from trainproof.recording.tensors import Arena, itemsize, safetensors_header
from trainproof.recording.values import raw

if TYPE_CHECKING:
    import torch

    from trainproof.attest.keys import Signer

# Kept free on disk, so that a record that fills it can still be signed.
RESERVE = ".reserve"
_RESERVE_BYTES = 1 << 18


class RecordWriter:
    """Append segments to a record. Not thread-safe: one thread writes."""

    def __init__(self, path: Path, head: str, count: int) -> None:
        self.path, self.head, self.count = path, head, count

    @classmethod
    def create(cls, path: str | Path, commitment: Commitment, leaves: bytes) -> RecordWriter:
        """Start a record in a new or empty folder. Raises UsageError if something is there."""
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError("already there", name=str(path), mend="choose another folder, or resume it")
        for folder in (path, path / SEGMENTS, path / STATES):
            folder.mkdir(parents=True, exist_ok=True)
        writer = cls(path, chain.commitment_digest(commitment), 0)
        writer._write(path / RESERVE, [b"\0" * _RESERVE_BYTES])
        writer._write(path / LEAVES, [leaves])
        writer._write(path / COMMITMENT, [canonical.encode(commitment)])
        return writer

    @classmethod
    def reopen(cls, path: str | Path, keep: int) -> RecordWriter:
        """Continue a record after its first ``keep`` segments; what comes after, and temporary files, are removed."""
        path = Path(path)
        record = Record.open(path)
        if record.sealed():
            raise UsageError("is sealed and cannot grow", name=str(path), mend="record to another folder")
        for index in range(keep, len(record)):
            # States go after segments: a segment that says 'stored' must always have its state.
            (path / SEGMENTS / f"{segment_name(index)}.json").unlink()
        names = {segment_name(i) for i in range(keep)}
        for folder in (path, path / SEGMENTS, path / STATES):
            for entry in folder.iterdir():
                stale = folder.name == STATES and entry.name.split(".")[0] not in names
                if entry.is_file() and (entry.name.startswith(TEMPORARY) or stale) and entry.name != RESERVE:
                    entry.unlink()
        head = record.segment(keep - 1).chain if keep else record.commitment_digest
        return cls(path, head, keep)

    def append(self, segment: Segment, tensors: Mapping[str, torch.Tensor] | Arena | None) -> Segment:
        """Chain and write ``segment``; ``tensors`` (row-major, CPU) are written first if it is ``stored``.

        An arena must have the layout of the segment's manifest.

        Returns the segment as written. Raises OSError if the disk is full; then nothing of the segment is visible.
        """
        linked = chain.link(msgspec.structs.replace(segment, previous=self.head))
        name = segment_name(self.count)
        if linked.stored:
            if tensors is None:
                raise RecordError("a stored state needs its tensors", name=name)
            data: list[Any]
            if isinstance(tensors, Arena):
                data = [tensors.file()]
            else:
                data = [safetensors_header(linked.state), *(raw(tensors[e.name]) for e in linked.state.tensors)]
            self._write(self.path / STATES / f"{name}.safetensors", data)
        self._write(self.path / SEGMENTS / f"{name}.json", [canonical.encode(linked)])
        self.head = linked.chain
        self.count += 1
        return linked

    def seal(self, signer: Signer, *, name: str, sha256: str, **fields: Any) -> Seal:
        """Sign the record as it stands. ``fields`` are those of Seal that the record itself does not determine:
        ``ended``, ``self_replays``, ``started``, ``finished``. ``sha256`` is the final model's SHA-256 state root.
        """
        from trainproof.attest.statement import seal_record

        record = Record.open(self.path)
        last = record.segment(len(record) - 1)
        seal = Seal(
            version=VERSION,
            commitment=record.commitment_digest,
            chain=last.chain,
            segments=len(record),
            steps=last.first_step + len(last.steps),
            model=chain.model_root(last.state),
            **fields,
        )
        self.release_reserve()
        self._write(self.path / SEAL, [seal_record(signer, seal, name, sha256)])
        return seal

    def release_reserve(self) -> None:
        """Give back the reserved disk space."""
        (self.path / RESERVE).unlink(missing_ok=True)

    def _write(self, path: Path, data: list[Any]) -> None:
        _core.write_file(str(path), data)


def free_bytes(path: Path) -> int:
    """Return the free space of the file system that ``path`` is or will be on."""
    while not path.exists():
        path = path.parent
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


__all__ = ["RESERVE", "RecordWriter", "free_bytes", "itemsize", "safetensors_header"]
