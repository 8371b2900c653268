"""The record's typed parts, version 1. docs/record.md is the specification; this file is its schema.

Everything is frozen, has no optional spelling, and is stored as canonical JSON. Integers stay below 2**53; larger ones
and floats are strings (decimal, C99 hexadecimal). A digest is 64 lower-case hexadecimal digits of BLAKE3-256 unless it
says SHA-256. What a field means never depends on where the record came from.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trainproof import limits

VERSION: Final = 1
PREDICATE_TYPE: Final = "https://trainproof.dev/attestation/proof-of-learning/v1"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# Exactly what float.hex() writes: one spelling a number, and none too large for a binary64.
_EXPONENT = r"(\+(0|[1-9][0-9]{0,2}|10[01][0-9]|102[0-3])|-([1-9][0-9]{0,2}|10[01][0-9]|102[0-2]))"
HexFloat = Annotated[
    str,
    Meta(pattern=rf"^(-?0x1\.[0-9a-f]{{13}}p{_EXPONENT}|-?0x0\.[0-9a-f]{{13}}p-1022|-?0x0\.0p\+0|-?inf|nan)\Z"),
]
Count = Annotated[int, Meta(ge=0, le=limits.STEPS)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARACTERS)]
Text = Annotated[str, Meta(max_length=4096)]  # free text: shown, never interpreted
Scheme = Literal["ed25519", "ecdsa-p256"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parts: immutable, no unknown fields."""


# -- trees: optimizer options, scheduler and scaler states, loader position ------------------------------------------


class Leaf(Part, frozen=True, tag_field="t", tag="s"):
    """A string."""

    v: Annotated[str, Meta(max_length=65536)]


class Integer(Part, frozen=True, tag_field="t", tag="i"):
    """An integer of any size, in decimal."""

    v: Annotated[str, Meta(pattern=r"^(0|-?[1-9][0-9]{0,1000})\Z")]


class Real(Part, frozen=True, tag_field="t", tag="f"):
    """A binary64, in C99 hexadecimal."""

    v: HexFloat


class Boolean(Part, frozen=True, tag_field="t", tag="b"):
    v: bool


class Null(Part, frozen=True, tag_field="t", tag="n"):
    pass


class TensorRef(Part, frozen=True, tag_field="t", tag="t"):
    """A tensor of the same state, by name."""

    v: Name


class Sequence(Part, frozen=True, tag_field="t", tag="l"):
    """A list, or a tuple (``tuple`` is true), of trees."""

    tuple: bool
    v: list[Tree]

    def __post_init__(self) -> None:
        _bound_nesting(self.v, limits.TREE_DEPTH)


class Mapping(Part, frozen=True, tag_field="t", tag="d"):
    """A dict as a list of (key tree, value tree), in insertion order."""

    v: list[tuple[Tree, Tree]]

    def __post_init__(self) -> None:
        _bound_nesting([tree for pair in self.v for tree in pair], limits.TREE_DEPTH)


Tree = Leaf | Integer | Real | Boolean | Null | TensorRef | Sequence | Mapping


def _bound_nesting(trees: list[Tree], depth: int) -> None:
    """Raise ValueError (a ValidationError when decoding) below ``depth``: what comes later recurses over trees."""
    if depth == 0:
        raise ValueError(f"nested deeper than {limits.TREE_DEPTH}")
    for tree in trees:
        if isinstance(tree, Sequence):
            _bound_nesting(tree.v, depth - 1)
        elif isinstance(tree, Mapping):
            _bound_nesting([part for pair in tree.v for part in pair], depth - 1)


# -- states ----------------------------------------------------------------------------------------------------------


class TensorEntry(Part, frozen=True):
    """One tensor of a state. ``order`` is the dimensions from slowest to fastest in memory, if not row-major."""

    name: Name
    dtype: Name
    shape: Annotated[list[Count], Meta(max_length=limits.TENSOR_DIMENSIONS)]
    order: Annotated[list[Count], Meta(max_length=limits.TENSOR_DIMENSIONS)] | None
    digest: Digest


class StateManifest(Part, frozen=True):
    """A full training state: every tensor by digest (names ascending), and everything else as one tree.

    Names start with ``model/`` (parameters and all buffers), ``optimizer/<index>/``, ``rng/``, ``loader/`` or
    ``extra/<name>/``. ``aliases`` maps a tied tensor's name to the name it is stored under. ``root`` is the state root
    of docs/hashing.md section 2 over the tensors and the pseudo-entries ``#tree``, ``#aliases`` and ``#layout``.
    """

    tensors: Annotated[list[TensorEntry], Meta(max_length=limits.TENSORS_PER_STATE)]
    aliases: list[tuple[Name, Name]]
    tree: Tree
    root: Digest


# -- the log ---------------------------------------------------------------------------------------------------------


class BatchLog(Part, frozen=True):
    """A delivered batch: the loader iteration it belongs to, its sample indices, the digest of what was delivered.

    ``dropped``: the loop left the iteration (``break``) without a backward pass over this batch.
    """

    iteration: Count
    indices: list[Count]
    digest: Digest
    dropped: bool = False


class StepLog(Part, frozen=True):
    """One optimizer step: its batches, losses as passed to backward(), and the row of ``hypers`` that was in force.

    ``skipped`` is true if the gradient scaler refused the step.
    """

    batches: list[BatchLog]
    losses: list[HexFloat]
    hyper: Count
    skipped: bool


class Anchor(Part, frozen=True):
    """The root of the full state after ``steps`` steps of the segment: hashed, not stored (docs/record.md, 3)."""

    steps: Annotated[int, Meta(ge=1, le=limits.STEPS_PER_SEGMENT)]
    root: Digest


class Segment(Part, frozen=True):
    """The steps from one state to the next. Segment 0 has no steps and holds the initial state.

    ``hypers`` are the distinct optimizer options (a tree: a list with a dict a parameter group) in order of first use.
    ``trailing`` are batches delivered after the last step and never used by one. ``resumed`` is true if a new process
    continued the run at the segment's beginning. ``update_norm`` is the l2 norm, in binary64, of the change of all
    parameters. ``stored`` says whether ``states/`` has the tensors. ``chain`` = H(previous, state root, batch root, log
    root).
    """

    version: Literal[1]
    index: Annotated[int, Meta(ge=0, le=limits.SEGMENTS)]
    first_step: Count
    steps: Annotated[list[StepLog], Meta(max_length=limits.STEPS_PER_SEGMENT)]
    hypers: list[Tree]
    trailing: list[BatchLog]
    anchors: Annotated[list[Anchor], Meta(max_length=limits.STEPS_PER_SEGMENT)]
    resumed: bool
    update_norm: HexFloat
    stored: bool
    state: StateManifest
    previous: Digest
    chain: Digest


# -- the commitment, made before step 0 ------------------------------------------------------------------------------


class ClosureFile(Part, frozen=True):
    """A source file of the recipe's closure, by module name (``__main__`` for the entry file)."""

    module: Name
    size: Count
    digest: Digest


class Closure(Part, frozen=True):
    """What the verifier must have the same copy of: entry file, local modules, arguments, and the class for door 1.

    ``digest`` is the value digest of everything else in this part.
    """

    door: Literal["recipe", "loop", "script"]
    qualname: Name | None
    arguments: Annotated[list[Text], Meta(max_length=256)]
    files: Annotated[list[ClosureFile], Meta(max_length=limits.CLOSURE_FILES, min_length=1)]
    digest: Digest


class Environment(Part, frozen=True):
    """The settings that decide bits; a verifier replays under the same or says INCONCLUSIVE."""

    trainproof: Name
    python: Name
    torch: Name
    numpy: Name
    packages: list[tuple[Name, Name]]
    machine: Name
    cpu_vendor: Text
    cpu_model: Text
    cpu_capability: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,32}\Z")]
    onednn_isa: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{0,32}\Z")]
    threads: Annotated[int, Meta(ge=1, le=limits.THREADS)]
    device: Text
    cuda: Text | None
    cudnn: Text | None
    deterministic: bool
    tf32: bool
    matmul_precision: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,16}\Z")]
    default_dtype: Name


class Parameter(Part, frozen=True):
    """A parameter or buffer of the model at the start."""

    name: Name
    dtype: Name
    shape: Annotated[list[Count], Meta(max_length=limits.TENSOR_DIMENSIONS)]
    kind: Literal["parameter", "frozen", "buffer"]


class OptimizerSpec(Part, frozen=True):
    """Class and the options of each group at step 0.

    ``schedule`` is door 1's schedule as data, else the schedulers' classes.
    """

    kind: Name
    groups: Annotated[list[Tree], Meta(max_length=1024)]
    schedule: Tree


class DatasetSpec(Part, frozen=True):
    """``root`` is over ``size`` leaves (docs/hashing.md section 4), listed in ``dataset.leaves``. Salts are all derived
    from the zero secret unless ``private``.
    """

    size: Annotated[int, Meta(ge=1, le=limits.LEAVES_BYTES // 32)]
    root: Digest
    private: bool


class LoaderSpec(Part, frozen=True):
    """How batches are drawn. ``order`` 'seeded' is trainproof's own seeded order, 'affine' that of docs/exact.md
    section 6; both are checked for the whole record.
    """

    order: Literal["seeded", "affine", "loader"]
    batch_size: Count
    drop_last: bool
    sampler: Name
    accumulate: Annotated[int, Meta(ge=1, le=65536)]


class SeedSpec(Part, frozen=True):
    """seed = H(dataset root, recipe, prover key, every, nonce). ``source`` 'free': the prover chose the nonce; 'task':
    it is a task's, shared by its provers, and null stands for the key.
    """

    source: Literal["free", "verifier", "task"]
    nonce: Digest
    seed: Digest


class PublicKey(Part, frozen=True):
    scheme: Scheme
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64,182}\Z")]


class Parent(Part, frozen=True):
    """A warm start: the record whose final model this one starts from, by its final chain value and its model root."""

    chain: Digest
    model: Digest


class Commitment(Part, frozen=True):
    """Everything that is fixed before step 0."""

    version: Literal[1]
    closure: Closure
    environment: Environment
    model: Annotated[list[Parameter], Meta(min_length=1, max_length=limits.TENSORS_PER_STATE)]
    optimizer: OptimizerSpec
    dataset: DatasetSpec
    loader: LoaderSpec
    seed: SeedSpec
    every: Annotated[int, Meta(ge=1, le=limits.STEPS_PER_SEGMENT)]
    keyframes: Annotated[int, Meta(ge=1, le=65536)]  # every how many segments the tensors are stored; 1 stores all
    anchors: Annotated[
        int, Meta(ge=0, le=limits.STEPS_PER_SEGMENT)
    ]  # every how many steps the state is hashed; 0 never
    epochs: Count | None
    parent: Parent | None
    key: PublicKey
    note: Text


# -- the seal --------------------------------------------------------------------------------------------------------


class Subject(Part, frozen=True):
    name: Name
    digest: dict[Literal["sha256", "blake3"], Digest]


class SelfReplay(Part, frozen=True):
    """The prover's own replay of a segment before sealing; ``detail`` names the first tensor that differs."""

    segment: Count
    outcome: Literal["bitwise", "differs", "not run"]
    detail: Text


class Seal(Part, frozen=True):
    """The signed predicate. ``commitment`` and ``chain`` bind the whole record; ``model`` is the final model's root."""

    version: Literal[1]
    commitment: Digest
    chain: Digest
    segments: Count
    steps: Count
    model: Digest
    ended: Literal["complete", "disk full"]
    self_replays: Annotated[list[SelfReplay], Meta(max_length=16)]
    started: Text
    finished: Text


class Statement(Part, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    """An in-toto Statement v1 whose subject is the final model."""

    type: Literal["https://in-toto.io/Statement/v1"]
    subject: Annotated[list[Subject], Meta(min_length=1, max_length=1)]
    predicate_type: Literal["https://trainproof.dev/attestation/proof-of-learning/v1"]
    predicate: Seal
