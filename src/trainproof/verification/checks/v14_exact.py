"""V14: exact training is exact (docs/verification.md, V14): its arithmetic is that of the verifier's own recipe, in
which every machine agrees, so that a difference has a step, and nothing to excuse it.

That a recipe is exact is found in the process that runs the verifier's copy, never read in the record: a record that
says so without being so is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from trainproof.attest import canonical
from trainproof.errors import FormatError, RecordError
from trainproof.exact import bounds
from trainproof.exact.spec import Format, Spec, Velocity
from trainproof.recording.format import Parameter, Segment, TensorEntry
from trainproof.recording.tree import from_tree, lookup
from trainproof.verification.check import Refuted, Undecided, check
from trainproof.verification.context import Context, options

if TYPE_CHECKING:
    import torch

_OTHERS = ("rng", "loader")  # the parts of a state whose tensors are not the training's own


@check("V14", "exact arithmetic: recipe, formats")
def v14_exact(context: Context) -> str:
    """The verifier's recipe is exact, its sums stay below 2^53, and the record commits to its specification."""
    assert context.initial is not None
    made = context.initial.made
    if made is None or made.exact is None:
        raise Refuted("the record's order is exact training's, and the recipe is no exact one")
    try:
        spec = canonical.decode(made.exact.encode(), Spec, "specification")
    except RecordError as error:
        raise Undecided(f"the replay process reported no specification: {error}") from None
    try:
        bounds.check(spec)
    except FormatError as error:
        raise Refuted(f"the recipe's arithmetic is not exact: {error}") from None
    commitment = context.commitment
    wanted = [Parameter(name=p.name, dtype="float64", shape=list(p.shape), kind="parameter") for p in spec.parameters()]
    if commitment.model != wanted:
        raise Refuted("the committed model is not the specification's")
    try:
        committed = from_tree(lookup(commitment.optimizer.schedule, "spec"))
    except RecordError:
        committed = None
    if committed != spec.digest():
        raise Refuted(f"the record commits to specification {committed}; the recipe's is {spec.digest()}")
    context.exact = spec
    context.facts["exact specification"] = spec.digest()
    return f"specification {spec.digest()[:16]}…, {len(spec.blocks)} blocks; no sum reaches 2^53"


@check("V14", "exact arithmetic: rates, states")
def v14_states(context: Context) -> str:
    """Steps have the specification's options, states its tensors; every stored value is an integer in range."""
    assert context.exact is not None
    spec, steps, stored = context.exact, 0, 0
    for segment in context.segments():
        _options(spec, segment)
        forms = _layout(spec, segment)
        steps += len(segment.steps)
        if not segment.stored:
            continue
        stored += 1
        tensors = context.tensors(segment.index)
        for name, form in forms.items():
            problem = _problem(tensors[name], form)
            if problem is not None:
                raise Refuted(f"{name} {problem}", segment.index)
    return f"{steps} steps with the specification's rate and momentum; integers in range in {stored} stored states"


def _options(spec: Spec, segment: Segment) -> None:
    """Rate and momentum of every step, in type and bits; no step is left out."""
    from trainproof.exact.module import momentum_of, rate_at
    from trainproof.verification.checks.v02_recipe import same

    hypers = [options(tree) for tree in segment.hypers]
    for offset, step in enumerate(segment.steps):
        number = segment.first_step + offset
        groups, wanted = hypers[step.hyper], {"lr": rate_at(spec, number), "momentum": momentum_of(spec)}
        for name, value in wanted.items():
            if len(groups) != 1 or groups[0].keys() != wanted.keys() or not same(groups[0][name], value):
                raise Refuted(f"step {number} does not have the specification's {name}, {value!r}", segment.index)
        if step.skipped:
            raise Refuted(f"step {number} was skipped", segment.index)


def _layout(spec: Spec, segment: Segment) -> dict[str, Format | Velocity]:
    """Return the form of every tensor of the state but the generators'; raises Refuted if it has others."""
    found = {e.name: e for e in segment.state.tensors if e.name.split("/")[0] not in _OTHERS}
    forms: dict[str, Format | Velocity] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for parameter in spec.parameters():
        rows: list[tuple[str, Format | Velocity | None]] = [(f"model/{parameter.name}", parameter.format)]
        if segment.index > 0:
            rows.append((f"optimizer/{parameter.number}/momentum_buffer", parameter.velocity))
        for name, form in rows:
            if form is not None:
                forms[name], shapes[name] = form, parameter.shape
    for name in sorted(found.keys() | forms.keys()):
        if name not in forms or name not in found or not _is_exact(found[name], shapes[name]):
            raise Refuted(f"{name} is not a tensor of the specification, or has another type or shape", segment.index)
    return forms


def _is_exact(entry: TensorEntry, shape: tuple[int, ...]) -> bool:
    return (entry.dtype, tuple(entry.shape), entry.order) == ("float64", shape, None)


def _problem(tensor: torch.Tensor, form: Format | Velocity) -> str | None:
    """Return why the values of a tensor are not integers in the range of ``form``, or None."""
    low, high = (value.item() for value in tensor.aminmax())
    edge = 1 << (form.bits - 1)
    if not bool((tensor == tensor.floor()).all()):
        return "holds a number that is no integer"
    if not (-edge <= low and high < edge):
        return f"holds {low if not -edge <= low else high:.0f}, out of the range of {form.bits} bits"
    if bool(((tensor == 0) & tensor.signbit()).any()):
        return "holds a zero with a sign"  # equal in value, another in its bits: no arithmetic here makes one
    return None


@check("V14", "exact arithmetic, replayed")
def v14_replayed(context: Context) -> str:
    """In every replayed segment, every state that was hashed is the replay's; the first that differs has a step."""
    states = 0
    for result, replayed, recorded in context.replayed():
        agreed = 0
        for steps, equal in _roots(replayed, recorded):
            if not equal:
                first, last = recorded.first_step + agreed, recorded.first_step + steps - 1
                which = f"step {first}" if first >= last else f"one of the steps {first} to {last}"
                difference: Any = context.comparison.tensors(result, replayed, recorded, lambda _: True)
                difference = difference or context.comparison.rest(replayed, recorded)
                raise Refuted(f"the record leaves the replay at {which}: {difference}", recorded.index)
            agreed = steps
            states += 1
    return (
        f"{states} states equal in every bit, one every {context.commitment.anchors or context.commitment.every} steps"
    )


def _roots(replayed: Segment, recorded: Segment) -> Iterator[tuple[int, bool]]:
    """Yield (steps since the segment's beginning, whether both have the same state there), the end last."""
    for ours, theirs in zip_longest(replayed.anchors, recorded.anchors):
        yield (theirs or ours).steps, ours == theirs
    yield len(recorded.steps), replayed.state.root == recorded.state.root
