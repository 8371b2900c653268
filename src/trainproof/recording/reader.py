"""Read a record that may be hostile: sizes first, canonical JSON only, tensors by safetensors, known files only.

Reading proves nothing: the verifier's checks (trainproof.verification.checks) compare what is read here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import LimitError, RecordError
from trainproof.recording import chain
from trainproof.recording.format import Commitment, Segment
from trainproof.recording.tensors import load_tensors

if TYPE_CHECKING:
    import torch

COMMITMENT, LEAVES, SEAL, SEGMENTS, STATES = "commitment.json", "dataset.leaves", "seal.json", "segments", "states"
TEMPORARY = "."  # prefix of files being written: ignored in a record that is not sealed, removed on resume


def segment_name(index: int) -> str:
    """Return the file name of segment ``index`` without its ending."""
    return f"{index:08d}"


def segment_digest(data: bytes) -> str:
    """Return the digest of a segment file's bytes, in hexadecimal."""
    return chain.digest_of("segment-file", data)


class Record:
    """A record folder. ``open`` reads the commitment and the list of files; segments are parsed when asked for.

    ``expected`` are digests (``segment_digest``) that segment files must have: the folder may be the prover's, and what
    has been checked is not what a later look finds there unless that is checked too.

    Raises RecordError or LimitError for anything malformed; never executes or unpickles anything.
    """

    def __init__(self, path: Path, commitment: Commitment, count: int) -> None:
        self.path, self.commitment, self._count = path, commitment, count
        self.commitment_digest = chain.commitment_digest(commitment)
        self.segment = lru_cache(maxsize=8)(self._segment)
        self.expected: dict[int, str] = {}

    @classmethod
    def open(cls, path: str | Path) -> Record:
        """Open the record at ``path``: commitment parsed, names of all files checked."""
        path = Path(path)
        try:
            if not path.is_dir():
                raise RecordError(
                    "no record folder here", name=str(path), mend="give the folder that train or record wrote"
                )
            data = canonical.read_bytes(path / COMMITMENT, limits.COMMITMENT_BYTES)
            commitment = canonical.decode(data, Commitment, COMMITMENT)
            return cls(path, commitment, _count_segments(path))
        except OSError as error:
            raise RecordError(f"cannot be read: {error.strerror or error}", name=str(path)) from None

    def __len__(self) -> int:
        """Return the number of segment files, the initial state's included."""
        return self._count

    def _segment(self, index: int) -> Segment:
        """Parse segment ``index`` (cached)."""
        name = f"{SEGMENTS}/{segment_name(index)}.json"
        if not 0 <= index < self._count:
            raise RecordError("no such segment in this record", name=name)
        data = canonical.read_bytes(self.path / name, limits.SEGMENT_BYTES, name)
        if index in self.expected and segment_digest(data) != self.expected[index]:
            raise RecordError("changed while it was being verified", name=name)
        return canonical.decode(data, Segment, name)

    @property
    def root(self) -> str:
        """Return the final chain value: what the seal signs, the ledger knows, and a publisher publishes."""
        return self.segment(self._count - 1).chain

    def seal_bytes(self) -> bytes:
        """Return the bytes of the DSSE envelope; parse it with trainproof.attest.dsse."""
        return canonical.read_bytes(self.path / SEAL, limits.SEAL_BYTES)

    def sealed(self) -> bool:
        """Return whether the record has a seal file (which may still be invalid)."""
        return (self.path / SEAL).exists()

    def leaves(self) -> bytes:
        """Return the dataset's leaves, 32 bytes a sample; exactly as many as the commitment says."""
        data = canonical.read_bytes(self.path / LEAVES, limits.LEAVES_BYTES)
        if len(data) != 32 * self.commitment.dataset.size:
            raise RecordError(
                f"must hold {self.commitment.dataset.size} leaves of 32 bytes", name=LEAVES, value=len(data)
            )
        return data

    def state_path(self, index: int) -> Path:
        """Return where the tensors of the state at the end of segment ``index`` lie."""
        return self.path / STATES / f"{segment_name(index)}.safetensors"

    def stored(self) -> list[int]:
        """Return the indices of segments whose state is stored, ascending. Segment 0 and the last always are."""
        return [i for i in range(self._count) if self.segment(i).stored]

    def tensors(self, index: int, prefix: str = "") -> dict[str, torch.Tensor]:
        """Load the stored tensors of state ``index`` whose names start with ``prefix`` (aliases not expanded).

        Shapes and dtypes are those of the manifest, memory is row-major, device is the CPU. The *contents* are not yet
        compared with the manifest's digests: see ``trainproof.recording.state.manifest_of``.
        """
        return load_tensors(self.state_path(index), self.segment(index).state, prefix)


def _count_segments(path: Path) -> int:
    """Return the number of segments after checking that the folder holds exactly the files that a record has."""
    expected_top = {COMMITMENT, LEAVES, SEAL, SEGMENTS, STATES}
    sealed = (path / SEAL).exists()
    for entry in path.iterdir():
        if entry.name not in expected_top and (sealed or not entry.name.startswith(TEMPORARY)):
            raise RecordError("is not part of a record", name=entry.name, mend="remove it or ask the prover")
    folder = path / SEGMENTS
    if not folder.is_dir() or folder.is_symlink() or (path / STATES).is_symlink():
        raise RecordError("missing, or a link", name=SEGMENTS)
    names = sorted(e.name for e in folder.iterdir() if sealed or not e.name.startswith(TEMPORARY))
    if not names or len(names) > limits.SEGMENTS:
        raise LimitError(f"must hold 1 to {limits.SEGMENTS} segments", name=SEGMENTS, value=len(names))
    for index, name in enumerate(names):
        if name != f"{segment_name(index)}.json":
            raise RecordError(f"expected segment {index} here: one is missing or misnamed", name=f"{SEGMENTS}/{name}")
    return len(names)
