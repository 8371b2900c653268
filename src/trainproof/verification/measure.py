"""One pass over all stored states: contents against digests, finite values, and how far each unit moved the model.

Each state is read once and at most three are in memory. Update sizes come from here, never from the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from trainproof.recording import chain
from trainproof.recording.format import Segment
from trainproof.recording.norms import distance, squared_distance
from trainproof.recording.state import check_tensors
from trainproof.verification.context import Context, Survey
from trainproof.verification.select import UnitFacts

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


def survey(context: Context) -> Survey:
    """Go over all stored states of a record whose segments V0 has read."""
    kinds = {f"model/{p.name}": p.kind for p in context.commitment.model}
    stored = [row.index for row in context.rows if row.stored]
    units: list[UnitFacts] = []
    wrong: list[tuple[int, str]] = []
    infinite: list[tuple[int, str]] = []
    frozen: list[tuple[int, str]] = []
    models: dict[str, int] = {}
    duplicates: list[tuple[int, int]] = []
    first: Tensors = {}
    first_segment: Segment | None = None
    before: Tensors = {}
    earlier: Tensors = {}
    for position, index in enumerate(stored):
        segment = context.segment(index)
        now = context.record.tensors(index)
        bad = check_tensors(now, segment.state)
        if bad is not None:
            wrong.append((index, bad))
        if first_segment is None:
            first_segment, first = segment, _model(now)
        infinite += [(index, n) for n in _not_finite(now, segment, first_segment, kinds)]
        frozen += [(index, n) for n in _changed(segment, first_segment, kinds)]
        root = chain.model_root(segment.state)
        if root in models:
            duplicates.append((models[root], index))
        models[root] = index
        if position > 0:
            if units:
                units[-1] = _with_cosine(units[-1], earlier, before, now)
            units.append(_unit(context, position - 1, stored[position - 1], index, before, now))
            earlier = _model(before)
        before = now
    return Survey(
        units=tuple(units),
        wrong_digests=tuple(wrong),
        not_finite=tuple(infinite),
        frozen_changed=tuple(frozen),
        displacement=distance(first, before),
        duplicates=tuple(duplicates),
    )


def _model(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model/")}


def _not_finite(now: Tensors, segment: Segment, first: Segment, kinds: Mapping[str, str]) -> list[str]:
    """Return the floating tensors that are not finite; a buffer may be if it has the initial state's very bits."""
    import torch

    initial = {e.name: e.digest for e in first.state.tensors}
    digests = {e.name: e.digest for e in segment.state.tensors}
    found = []
    for name, tensor in now.items():
        if not tensor.dtype.is_floating_point or bool(torch.isfinite(tensor).all()):
            continue
        constant = kinds.get(name) == "buffer" and digests[name] == initial.get(name)
        if not constant or bool(torch.isnan(tensor).any()):
            found.append(name)
    return found


def _changed(segment: Segment, first: Segment, kinds: Mapping[str, str]) -> list[str]:
    initial = {e.name: e.digest for e in first.state.tensors}
    return [e.name for e in segment.state.tensors if kinds.get(e.name) == "frozen" and initial.get(e.name) != e.digest]


def _unit(context: Context, index: int, start: int, end: int, before: Tensors, after: Tensors) -> UnitFacts:
    rows = context.rows[start + 1 : end + 1]
    steps = sum(row.steps for row in rows)
    losses = [row.mean_loss for row in rows if not math.isnan(row.mean_loss)]
    return UnitFacts(
        index=index,
        start=start,
        end=end,
        first_step=rows[0].first_step,
        last_step=rows[0].first_step + steps - 1,
        epoch=rows[0].epoch,
        update_norm=distance(before, after),
        optimizer_change=_optimizer_change(before, after),
        mean_loss=math.fsum(losses) / len(losses) if losses else math.nan,
    )


def _optimizer_change(before: Tensors, after: Tensors) -> float:
    """Return the l2 norm of the change of all optimizer tensors; one that was not there counts from zero.

    Counts of steps are left out: they would drown everything else, and a forger could lower them to hide a change.
    """
    import torch

    total = [0.0]
    for name, tensor in after.items():
        if name.startswith("optimizer/") and not name.endswith("/step"):
            previous = before.get(name)
            total.append(squared_distance(torch.zeros_like(tensor) if previous is None else previous, tensor))
    return math.sqrt(math.fsum(total))


def _with_cosine(unit: UnitFacts, earlier: Tensors, before: Tensors, now: Tensors) -> UnitFacts:
    """Return ``unit``, which went from ``earlier`` to ``before``, with the cosine to the next update, to ``now``."""
    dot = norms = others = 0.0
    for name, middle in before.items():
        if name.startswith("model/") and middle.dtype.is_floating_point:
            a = (middle.double() - earlier[name].double()).reshape(-1)
            b = (now[name].double() - middle.double()).reshape(-1)
            dot += float(a @ b)
            norms += float(a @ a)
            others += float(b @ b)
    cosine = dot / math.sqrt(norms * others) if norms > 0 and others > 0 else math.nan
    return replace(unit, cosine=cosine)
