"""Sizes that hostile input is held to, read before anything is allocated. ``trainproof doctor`` prints them."""

from __future__ import annotations

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

POLICY_BYTES = 64 * KIB
KEY_BYTES = 16 * KIB
COMMITMENT_BYTES = 16 * MIB
SEAL_BYTES = 1 * MIB
SEGMENT_BYTES = 64 * MIB
STATE_BYTES = 64 * GIB
STATE_HEADER_BYTES = 16 * MIB
LEAVES_BYTES = 4 * GIB
LEDGER_BYTES = 64 * MIB
WORKER_LINE_BYTES = 64 * MIB

SEGMENTS = 1_000_000
STEPS = 1 << 40
STEPS_PER_SEGMENT = 100_000
TENSORS_PER_STATE = 100_000
TENSOR_DIMENSIONS = 16
NAME_CHARACTERS = 512
TREE_DEPTH = 32
CLOSURE_COMPRESSED_BYTES = 64 * KIB
CLOSURE_FILES = 1_000
THREADS = 1_024
RESUMES = 20


def table() -> dict[str, int]:
    """Return every limit by name."""
    units = {"KIB", "MIB", "GIB"}
    return {n: value for n, value in globals().items() if n.isupper() and isinstance(value, int) and n not in units}
