"""The hash chain over a record's segments (docs/record.md section 4).

h_{-1} = commitment digest; h_i = H("trainproof.chain.v1\\0" | h_{i-1} | state root | batch root | log root).
"""

from __future__ import annotations

from typing import Any

import msgspec

from trainproof import _core
from trainproof.attest import canonical
from trainproof.recording.format import Commitment, Segment, StateManifest


def digest_of(label: str, data: bytes) -> str:
    """Return BLAKE3 over ``trainproof.<label>.v1`` NUL ``data`` as hexadecimal."""
    hasher = _core.Hasher(f"trainproof.{label}.v1\0".encode())
    hasher.update(data)
    return hasher.digest().hex()


def commitment_digest(commitment: Commitment) -> str:
    """Return the digest of the canonical commitment: the chain's beginning."""
    return digest_of("commitment", canonical.encode(commitment))


def state_root(manifest: StateManifest) -> str:
    """Return the root that ``manifest.root`` must equal: tensors by digest, and the rest as pseudo-entries."""
    layout = [[e.name, e.dtype, e.shape, e.order] for e in manifest.tensors]
    entries = [(e.name, bytes.fromhex(e.digest)) for e in manifest.tensors]
    entries += [
        ("#tree", bytes.fromhex(digest_of("tree", canonical.encode(manifest.tree)))),
        ("#aliases", bytes.fromhex(digest_of("aliases", canonical.encode(manifest.aliases)))),
        ("#layout", bytes.fromhex(digest_of("layout", canonical.encode(layout)))),
    ]
    return _core.state_root(entries).hex()


def model_root(manifest: StateManifest) -> str:
    """Return the state root over the ``model/`` tensors alone: what is published as the final model."""
    entries = [(e.name, bytes.fromhex(e.digest)) for e in manifest.tensors if e.name.startswith("model/")]
    return _core.state_root(entries).hex()


def batch_root(segment: Segment) -> str:
    """Return the digest of every delivered batch of ``segment``, in order."""
    batches = [step.batches for step in segment.steps]
    return digest_of("batches", canonical.encode([*batches, segment.trailing]))


def log_root(segment: Segment) -> str:
    """Return the digest of everything in ``segment`` that the state and batch roots do not cover."""
    steps: list[Any] = [[step.losses, step.hyper, step.skipped] for step in segment.steps]
    flags = [segment.version, segment.index, segment.first_step, segment.resumed, segment.stored]
    rest = [segment.hypers, segment.anchors, segment.update_norm]
    return digest_of("log", canonical.encode([flags, steps, *rest]))


def chain_value(segment: Segment) -> str:
    """Return the value that ``segment.chain`` must equal, from its own contents and ``segment.previous``."""
    parts = [segment.previous, state_root(segment.state), batch_root(segment), log_root(segment)]
    return digest_of("chain", b"".join(bytes.fromhex(part) for part in parts))


def link(segment: Segment) -> Segment:
    """Return ``segment`` with its chain value filled in."""
    return msgspec.structs.replace(segment, chain=chain_value(segment))
