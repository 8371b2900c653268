"""What the verifier asks of a replay process, and what it answers: one canonical JSON object a line.

A unit is the stretch between two stored states. The process never decides anything: it reports what the verifier's own
recipe produced, and the verifier compares.
"""

from __future__ import annotations

from typing import Literal

from trainproof.recording.format import Environment, HexFloat, LoaderSpec, OptimizerSpec, Parameter, Part, Segment


class RecipeSource(Part, frozen=True):
    """The verifier's own copy of the recipe: ``path`` of the file, class name for door 1, command-line arguments."""

    path: str
    qualname: str | None
    arguments: list[str]


class Job(Part, frozen=True):
    """First line on the worker's standard input.

    ``salts`` is the path of a salt secret, if the prover disclosed one. ``commitment`` is the digest of the commitment
    that the record must have, "" for any. ``environment`` are the settings to run under, None for the recorded ones.
    """

    record: str
    recipe: RecipeSource
    scratch: str
    readable: list[str]
    sandbox: Literal["required", "best-effort", "off"]
    memory_bytes: int
    salts: str | None
    commitment: str = ""
    environment: Environment | None = None


class Cut(Part, frozen=True):
    """Where a replay stops within segment ``end`` of its unit: after ``batches`` of the segment's batches.

    ``following`` is the loader iteration of the batch that comes next, None if the run ends there: it is not taken from
    the record, whose end may be in dispute. Only the samples of the last ``opened`` batches are compared with their
    leaves.
    """

    batches: int
    opened: int
    following: int | None


class Unit(Part, frozen=True):
    """One request. ``kind`` 'replay': re-enter at the stored state ``start`` and run to the end of segment ``end``.

    'initial': run the recipe to the first delivered batch and report the state there; with ``perturb`` > 0 every seed
    that the recipe sets or is given is replaced by one derived from it and ``perturb`` (the two-seed test of V3); with
    ``perturb`` < 0 only the generators that it finds are others, which shows what it does not seed.
    ``digests`` are those of the segment files ``start`` to ``end``, as the verifier checked them; empty for any.
    ``cut`` stops a replay earlier than at the end of segment ``end``, whose part it then answers with.
    """

    kind: Literal["replay", "initial"]
    start: int
    end: int
    perturb: int
    digests: tuple[str, ...] = ()
    cut: Cut | None = None


class TensorError(Part, frozen=True):
    """How far a replayed tensor is from the recorded one: norms of the difference, also relative to the update."""

    name: str
    l1: HexFloat
    l2: HexFloat
    linf: HexFloat
    cosine: HexFloat
    relative: HexFloat


class TensorSummary(Part, frozen=True):
    """Of a freshly built tensor: whether all its elements are equal, its mean and standard deviation, and a digest."""

    name: str
    constant: bool
    mean: HexFloat
    std: HexFloat
    digest: str


class Made(Part, frozen=True):
    """What the verifier's own recipe declares, as the commitment has it: for comparison with the committed parts.

    ``batches`` is the loader's length, None if it has none. ``exact`` is the specification of an exact recipe (its
    canonical JSON), None for any other recipe.
    """

    model: list[Parameter]
    optimizer: OptimizerSpec
    loader: LoaderSpec
    batches: int | None = None
    exact: str | None = None


class UnitResult(Part, frozen=True):
    """One answer. ``segments`` are the replayed segments (start, end], as a recorder would have written them, with
    empty chain values of zeros; comparing them with the record's is the verifier's part. For 'initial', one segment 0.

    ``opened`` samples were hashed against the dataset's leaves; ``bad_samples`` did not match; ``bad_order`` names the
    first iteration and position whose indices the recipe's own sampler would not have drawn. ``errors`` compares the
    end state with the recorded one where they differ and the latter is stored. ``failure`` is why the recipe did not
    get there; ``refuted`` if that contradicts the record (it cannot be restored into the recipe, or the recipe takes
    another course) and is not the process's own trouble. ``made`` is for 'initial' with ``perturb`` 0.

    ``files`` are those that the process has read so far and that are neither code, nor the record, nor the system's.

    An 'initial' unit leaves the model's tensors (names as in the manifest, row-major) in the job's scratch folder, as
    ``initial_file(perturb)``.
    """

    unit: Unit
    segments: list[Segment]
    opened: int
    bad_samples: list[int]
    bad_order: tuple[int, int] | None
    errors: list[TensorError]
    summaries: list[TensorSummary]
    load_seconds: float
    step_seconds: float
    failure: str | None
    layers: list[str]
    refuted: bool = False
    made: Made | None = None
    files: tuple[str, ...] = ()


class Ready(Part, frozen=True):
    """First line on the worker's standard output: what it runs under, for comparison with the record's environment."""

    environment: dict[str, str]
    layers: list[str]


def initial_file(perturb: int) -> str:
    """Return the name of the safetensors file that an 'initial' unit leaves in scratch."""
    return f"initial-{perturb}.safetensors"
