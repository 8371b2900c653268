"""V0: the record is well-formed beyond its schema (docs/verification.md, V0). Cheap, whole record.

Stops code execution and bombs (the readers do: sizes first, no pickle), and values that would slip through
comparisons: a NaN is neither above nor below a bound.
"""

from __future__ import annotations

import math
import os

from trainproof.errors import RecordError
from trainproof.recording.format import BatchLog, Segment
from trainproof.recording.reader import STATES, segment_name
from trainproof.recording.tree import from_tree, hexfloat, lookup
from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context, SegmentRow

Layout = dict[str, tuple[str, tuple[int, ...], tuple[int, ...] | None]]

_NO_UPDATE = hexfloat(0.0)
_SECTIONS = frozenset({"model", "extra", "optimizer", "groups", "schedulers", "scaler", "rng", "loader"})
# What safetensors and the recorder share: anything else has no arithmetic to replay.
_DTYPES = frozenset({"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"})


@check("V0", "well-formed: structure, layout, finite values")
def v00_parse(context: Context) -> str:
    """Parse every segment strictly and check what a schema cannot say; then look at every stored value."""
    _state_files(context)
    _ = context.leaves  # as many as committed, or it is no record
    layout: Layout = {}
    iteration = 0
    loader = _Loader()
    for index in range(len(context.record)):
        segment = context.read(index)
        _place(context, segment)
        _layout(context, segment, layout)
        iteration = _log(segment, iteration)
        loader.follow(segment)
        context.rows.append(_row(segment, context.rows))
    if not context.rows[-1].stored:
        raise Refuted("the last state is not stored", len(context.rows) - 1)
    if len(context.rows) < 2:
        raise Refuted("it holds an initial state and no training")
    loader.end(len(context.rows) - 1)
    bad = context.survey.not_finite
    if bad:
        raise Refuted(f"{bad[0][1]} is not finite", bad[0][0])
    return f"{len(context.rows)} segments, {len(context.units)} units, {len(layout)} tensors a state"


def _state_files(context: Context) -> None:
    """Every file in ``states/`` must belong to a segment; whether it should be there is checked with the segment."""
    folder = context.record.path / STATES
    known = {f"{segment_name(i)}.safetensors" for i in range(len(context.record))}
    if not folder.is_dir():
        raise RecordError("missing, or not a folder", name=STATES)
    for entry in folder.iterdir():
        if entry.name not in known:
            raise RecordError("is not part of a record", name=f"{STATES}/{entry.name}", mend="ask the prover")


def _place(context: Context, segment: Segment) -> None:
    """Index, first step, number of steps and the stored flag follow from the place in the record."""
    rows, commitment, last = context.rows, context.commitment, len(context.record) - 1
    index = len(rows)
    first = rows[-1].first_step + rows[-1].steps if rows else 0
    if segment.index != index:
        raise Refuted(f"says it is segment {segment.index}", index)
    if segment.first_step != first:
        raise Refuted(f"begins at step {segment.first_step}, not at {first}", index)
    steps = len(segment.steps)
    if index == 0 and (steps or segment.trailing or segment.hypers or segment.resumed):
        raise Refuted("the initial state has steps, batches or a resume", index)
    if index == 0 and segment.update_norm != _NO_UPDATE:
        raise Refuted("the initial state logs an update", index)
    if 0 < index < last and steps != commitment.every:
        raise Refuted(f"has {steps} steps, not {commitment.every}", index)
    if index == last and index > 0 and (steps > commitment.every or not (steps or segment.trailing)):
        raise Refuted(f"the last segment has {steps} steps", index)
    if index < last and segment.trailing:
        raise Refuted("has batches after its last step, but is not the last segment", index)
    _anchors(segment, commitment.anchors, commitment.every)
    stored = index % commitment.keyframes == 0 or index == last
    if segment.stored != stored:
        raise Refuted("its tensors are stored, or not, against the commitment's keyframes", index)
    if not stored and os.path.lexists(context.record.state_path(index)):
        raise RecordError("is of a state that is not stored", name=f"{STATES}/{segment_name(index)}.safetensors")


def _anchors(segment: Segment, anchors: int, every: int) -> None:
    """A full segment has every anchor that the commitment announces, a shorter one those it has come to."""
    steps = len(segment.steps)
    announced = list(range(anchors, min(every, steps + 1), anchors)) if anchors else []
    found = [anchor.steps for anchor in segment.anchors]
    # The end of a run may come before the delivery at which its last anchor would have been cut.
    if found != announced and (steps == every or found != [n for n in announced if n < steps]):
        raise Refuted(f"anchors after steps {found[:5]} of the segment, not {announced[:5]}", segment.index)


def _layout(context: Context, segment: Segment, layout: Layout) -> None:
    """All states have the same tensors; the optimizer's may appear after the first step. The model's are committed."""
    names = [entry.name for entry in segment.state.tensors]
    if names != sorted(set(names), key=str.encode):
        raise Refuted("its tensors are not in order, or twice", segment.index)
    for entry in segment.state.tensors:
        if entry.name.split("/")[0] not in _SECTIONS or "/" not in entry.name:
            raise Refuted(f"{entry.name} is no part of a state", segment.index)
        described = (entry.dtype, tuple(entry.shape), None if entry.order is None else tuple(entry.order))
        if entry.dtype not in _DTYPES:
            raise Refuted(f"{entry.name} has dtype {entry.dtype}", segment.index)
        if entry.order is not None and sorted(entry.order) != list(range(len(entry.shape))):
            raise Refuted(f"{entry.name} has an impossible memory order", segment.index)
        if segment.index == 0 or (entry.name not in layout and _may_appear(entry.name)):
            layout[entry.name] = described
        elif layout.get(entry.name) != described:
            raise Refuted(f"{entry.name} has another dtype, shape or order than before, or is new", segment.index)
    fixed = [name for name in layout if not _may_appear(name)]
    if segment.index == 0:
        _committed_model(context, segment)
    elif len(fixed) != sum(not _may_appear(name) for name in names):
        raise Refuted("has fewer tensors than the state before", segment.index)


def _may_appear(name: str) -> bool:
    """Optimizers make their state at their first step, a parameter's when it first has a gradient."""
    return name.startswith("optimizer/")


def _committed_model(context: Context, segment: Segment) -> None:
    tensors = {e.name: (e.dtype, e.shape) for e in segment.state.tensors if e.name.startswith("model/")}
    aliases = dict(segment.state.aliases)
    if len(aliases) != len(segment.state.aliases) or any(
        alias in tensors or target not in {e.name for e in segment.state.tensors} for alias, target in aliases.items()
    ):
        raise Refuted("aliases do not name a tied tensor and the one it is stored under", 0)
    committed = {f"model/{p.name}": (p.dtype, p.shape) for p in context.commitment.model}
    if len(committed) != len(context.commitment.model) or tensors != committed:
        raise Refuted("the model's tensors are not the committed ones", 0)


def _log(segment: Segment, iteration: int) -> int:
    """Hyperparameter indices in range and all used, losses finite unless skipped, iterations ascending."""
    used = {step.hyper for step in segment.steps}
    if used != set(range(len(segment.hypers))):
        raise Refuted("hyperparameters that no step uses, or an index beyond them", segment.index)
    seen = -1
    for step in segment.steps:
        if step.hyper > seen + 1:
            raise Refuted("hyperparameters are not in order of first use", segment.index)
        seen = max(seen, step.hyper)
        if not step.batches:
            raise Refuted("a step without a batch", segment.index)
        if not step.skipped and not all(math.isfinite(float.fromhex(loss)) for loss in step.losses):
            raise Refuted("a loss is not finite, and its step was not skipped", segment.index)
    for batch in _batches(segment):
        if batch.iteration < iteration:
            raise Refuted(f"goes back to loader iteration {batch.iteration}", segment.index)
        if not batch.indices:
            raise Refuted("a batch without samples", segment.index)
        iteration = batch.iteration
    norm = float.fromhex(segment.update_norm)
    if not (math.isfinite(norm) and norm >= 0):
        raise Refuted("its update size is not a finite number ≥ 0", segment.index)
    return iteration


class _Loader:
    """Where the loader stood at each state must follow from the batches that were delivered.

    A replay draws from the recipe's sampler up to the position that a state names: a huge one would cost hours.
    """

    def __init__(self) -> None:
        self.iteration, self.delivered = -1, 0
        self.claimed: tuple[object, object] | None = None

    def follow(self, segment: Segment) -> None:
        """Compare what the last state says with the batch that came next, and read what this state says."""
        batches = _batches(segment)
        if self.claimed is not None and batches:
            following = batches[0].iteration
            wanted = (following, self.delivered if following == self.iteration else 0)
            if self.claimed != wanted:
                raise Refuted(f"its state says the loader stood at {self.claimed}, not {wanted}", segment.index - 1)
        for batch in batches:
            self.delivered = self.delivered + 1 if batch.iteration == self.iteration else 1
            self.iteration = batch.iteration
        tree = segment.state.tree
        self.claimed = (
            from_tree(lookup(tree, "loader", "iteration")),
            from_tree(lookup(tree, "loader", "position")),
        )

    def end(self, last: int) -> None:
        """The last state stands behind the last batch, or before an iteration that delivered nothing any more."""
        iteration, position = self.claimed or (None, None)
        later = isinstance(iteration, int) and self.iteration < iteration <= self.iteration + 2 and position == 0
        if self.claimed != (self.iteration, self.delivered) and not later:
            raise Refuted(f"its state says the loader stood at {self.claimed}, behind the last batch", last)


def _batches(segment: Segment) -> list[BatchLog]:
    return [batch for step in segment.steps for batch in step.batches] + segment.trailing


def _row(segment: Segment, rows: list[SegmentRow]) -> SegmentRow:
    losses = [float.fromhex(loss) for step in segment.steps if not step.skipped for loss in step.losses]
    batches = _batches(segment)
    return SegmentRow(
        index=segment.index,
        first_step=segment.first_step,
        steps=len(segment.steps),
        skipped=sum(step.skipped for step in segment.steps),
        resumed=segment.resumed,
        stored=segment.stored,
        chain=segment.chain,
        epoch=batches[0].iteration if batches else rows[-1].epoch if rows else 0,
        mean_loss=math.fsum(losses) / len(losses) if losses else math.nan,
    )
