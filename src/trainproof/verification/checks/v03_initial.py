"""V3: where the initial weights come from (docs/verification.md, V3; chain of trust: Jia et al., 2021, section V-D3).

A start that the seed explains cannot have been chosen for the final weights: it stops sort-matched starts, starts
inverted from gradients, and stolen ones. The seed in turn holds the prover's key (V1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainproof.errors import RecordError
from trainproof.recording import chain
from trainproof.recording.format import Segment, StateManifest, Tree
from trainproof.recording.tensors import load_tensors
from trainproof.recording.tree import lookup
from trainproof.replay.job import UnitResult, initial_file
from trainproof.verification import initial
from trainproof.verification.check import Refuted, check
from trainproof.verification.compare import first_difference
from trainproof.verification.context import Context
from trainproof.verification.initial import Array, Moments


@check("V3", "initial state")
def v03_initial(context: Context) -> str:
    """Compare the initial state with the one that the verifier's own copy of the recipe makes from the seed."""
    assert context.initial is not None
    recorded, rebuilt = context.segment(0), context.initial.segments[0]
    if any(entry.name.startswith("optimizer/") for entry in recorded.state.tensors):
        raise Refuted("the optimizer has a state before the first step", 0)
    if context.commitment.parent is not None:
        return _warm_start(context, recorded, rebuilt)
    if recorded.state == rebuilt.state:
        return "bitwise what the recipe makes; optimizer fresh"
    if context.commitment.closure.door == "loop" and _only_generators_differ(recorded.state, rebuilt.state):
        return _free_generators(context, recorded, rebuilt)
    if context.commitment.closure.door == "recipe":
        raise Refuted(f"{_named(recorded.state, rebuilt.state)} is not what the seed gives", 0)
    return _weak_start(context, recorded, rebuilt)


@check("V3", "no weights hidden in the recipe")
def v03_hidden(context: Context) -> str:
    """Build the model under other seeds: parameters must change with the seed, and around nothing but a constant."""
    assert context.initial is not None
    if context.commitment.parent is not None:
        return "a warm start: the weights are the verified parent's"
    kinds = {f"model/{p.name}": p.kind for p in context.commitment.model}
    moments: dict[str, Moments] = {name: Moments() for name in kinds}
    for build in [context.initial, *context.builds]:
        for name, values in _built(context, build).items():
            moments[name].add(values)
    _integer_tables(context, kinds)
    found = initial.hidden_weights({n: m for n, m in moments.items() if m.first is not None})
    for hidden in found:
        if kinds[hidden.name] != "buffer":
            raise Refuted(f"weights may hide in the recipe: {hidden}", 0, tuple(map(str, found)))
        context.caveats.append(f"The recipe holds a fixed table: buffer {hidden.name} is the same under every seed.")
    return f"{len(moments)} tensors over {1 + len(context.builds)} builds"


def _integer_tables(context: Context, kinds: Mapping[str, str]) -> None:
    """An integer tensor that is the same under every seed, and not one number, may hold weights as well."""
    assert context.initial is not None
    floating = {f"model/{p.name}" for p in context.commitment.model if "float" in p.dtype}
    builds = [{s.name: s.digest for s in build.summaries} for build in context.builds]
    for summary in context.initial.summaries:
        if summary.name in floating or summary.constant or any(b.get(summary.name) != summary.digest for b in builds):
            continue
        if kinds.get(summary.name) != "buffer":
            raise Refuted(f"weights may hide in the recipe: {summary.name} is the same under every seed", 0)
        context.caveats.append(f"The recipe holds a fixed table: buffer {summary.name} is the same under every seed.")


def _built(context: Context, build: UnitResult) -> dict[str, Array]:
    """Return the floating tensors that a build left in scratch, flat, in binary64."""
    state = build.segments[0].state
    manifest = StateManifest(
        tensors=[entry for entry in state.tensors if entry.name.startswith("model/")],
        aliases=[],
        tree=state.tree,
        root=state.root,
    )
    tensors = load_tensors(context.scratch / initial_file(build.unit.perturb), manifest)
    return {name: t.double().reshape(-1).numpy() for name, t in tensors.items() if t.dtype.is_floating_point}


def _named(a: StateManifest, b: StateManifest) -> str:
    """Return what differs first between two states, in words."""
    ours, theirs = ({e.name: e for e in state.tensors} for state in (a, b))
    for name in sorted(ours.keys() | theirs.keys(), key=str.encode):
        if ours.get(name) != theirs.get(name):
            return name
    return f"state '{first_difference(a.tree, b.tree) or 'aliases'}'"


def _same_but_weights(context: Context, recorded: Segment, rebuilt: Segment, sections: Sequence[str]) -> None:
    """Optimizer, schedulers and scaler are as the recipe makes them; registered extras too, or copies of the
    weights.
    """
    weights = {e.digest for e in recorded.state.tensors if e.name.startswith("model/")}
    made = {e.name: e.digest for e in rebuilt.state.tensors}
    for entry in recorded.state.tensors:
        if entry.name.startswith("extra/") and entry.digest not in weights and made.get(entry.name) != entry.digest:
            raise Refuted(f"{entry.name} is neither what the recipe makes nor a copy of the initial weights", 0)
    for section in sections:
        a, b = _section(recorded.state.tree, section), _section(rebuilt.state.tree, section)
        if a != b:
            raise Refuted(f"state '{section}' is not what the recipe makes", 0)


def _section(tree: Tree, *names: str) -> Tree | None:
    try:
        return lookup(tree, *names)
    except RecordError:
        return None


def _only_generators_differ(recorded: StateManifest, rebuilt: StateManifest) -> bool:
    """Whether the states are equal but for the random generators and what the loader has drawn from them."""

    def rest(state: StateManifest) -> tuple[object, ...]:
        tensors = [e for e in state.tensors if not e.name.startswith(("rng/", "loader/"))]
        return tensors, state.aliases, [_section(state.tree, name) for name in _FRESH]

    return rest(recorded) == rest(rebuilt)


def _free_generators(context: Context, recorded: Segment, rebuilt: Segment) -> str:
    """A loop that does not seed every generator leaves their start to the prover: like a seed freely chosen.

    Raises Refuted if the recipe does seed one whose state in the record is another.
    """
    _only_unseeded_generators(context, recorded, rebuilt)
    different = _named(recorded.state, rebuilt.state)
    if context.policy.initial.free_seed == "refuse":
        raise Refuted(f"{different} is not what the recipe makes, and the policy refuses a seed freely chosen", 0)
    context.caveats.append(
        f"The recipe does not set every random generator ({different}): their first state was the prover's to choose."
    )
    return f"bitwise what the recipe makes but for generators that it does not seed ({different}); optimizer fresh"


def _only_unseeded_generators(context: Context, recorded: Segment, rebuilt: Segment) -> None:
    """A generator that comes out the same whatever it was before the recipe is the recipe's, and no free choice."""
    assert context.ambient is not None
    found, made, again = (_generators(s.state) for s in (recorded, rebuilt, context.ambient.segments[0]))
    for name in sorted(found.keys() | made.keys()):
        if found.get(name) != made.get(name) and made.get(name) == again.get(name):
            raise Refuted(f"{name} is seeded by the recipe, and is another in the record", 0)


def _generators(state: StateManifest) -> dict[str, object]:
    """Return the random generators' states and the loader's beginning, each as a whole."""
    found: dict[str, object] = {e.name: e for e in state.tensors if e.name.startswith(("rng/", "loader/"))}
    for owner, name in (("rng", "python"), ("rng", "numpy")):
        tensor = found.pop(f"{owner}/{name}/1", None)
        found[f"{owner}/{name}"] = (tensor, _section(state.tree, owner, name))
    return found | {"loader": _section(state.tree, "loader")}


_FRESH = ("optimizer", "groups", "schedulers", "scaler", "extra")


def _warm_start(context: Context, recorded: Segment, rebuilt: Segment) -> str:
    """The weights are the final model of a parent record that was itself verified."""
    parent = context.commitment.parent
    assert parent is not None
    if chain.model_root(recorded.state) != parent.model:
        raise Refuted("the initial weights are not the declared parent's final model", 0)
    _same_but_weights(context, recorded, rebuilt, _FRESH)
    if _generators(recorded.state) != _generators(rebuilt.state):
        if context.commitment.closure.door != "loop":
            raise Refuted("random generators or the loader's beginning are not what the seed gives", 0)
        _free_generators(context, recorded, rebuilt)
    context.caveats.append(f"Warm start: the weights come from record {parent.chain}, verified with its own recipe.")
    if context.ledger is not None and context.ledger.refused(parent.chain) is not None:
        raise Refuted("the declared parent was refused: the ledger says so", 0)
    accepted = context.ledger.accepted(parent.chain) if context.ledger is not None else None
    if getattr(accepted, "policy", None) not in context.parent_policies:
        accepted = None  # what a laxer policy accepted may start anywhere
    model = getattr(accepted, "model", None)
    if accepted is None or model != parent.model:
        accepted = context.verify_parent(parent.chain)
        model = getattr(accepted, "model", None)
    if accepted is None:
        raise Refuted("the declared parent is neither in the ledger as ACCEPT by this policy nor given and accepted", 0)
    if model != parent.model:
        raise Refuted("the declared parent ends in another model", 0)
    level = accepted.level or 0
    context.level_cap = min(context.level_cap, level)
    context.facts["parent"] = f"{parent.chain}, level L{level}"
    return f"the final model of an accepted parent (level L{level}); optimizer fresh"


def _weak_start(context: Context, recorded: Segment, rebuilt: Segment) -> str:
    """No seed explains the weights. They must at least be distributed and ordered like the recipe's own builds."""
    rule = context.policy.initial
    what = _named(recorded.state, rebuilt.state)
    if rule.weak_start == "refuse":
        raise Refuted(f"{what} is not what the recipe makes, and the policy refuses a weak start", 0)
    if chain.model_root(recorded.state) == chain.model_root(rebuilt.state):
        raise Refuted(f"{what} is not what the recipe makes, though the weights are", 0)
    _same_but_weights(context, recorded, rebuilt, _FRESH)
    assert context.ambient is not None
    if chain.model_root(context.ambient.segments[0].state) == chain.model_root(rebuilt.state):
        raise Refuted(f"the recipe seeds its initial weights, and {what} is another in the record", 0)
    _only_unseeded_generators(context, recorded, rebuilt)
    kinds = {f"model/{p.name}": p.kind for p in context.commitment.model}
    shapes = {e.name: e.shape for e in recorded.state.tensors}
    ours = {e.name: e.digest for e in recorded.state.tensors}
    made = {e.name: e.digest for e in rebuilt.state.tensors}
    builds = [_built(context, build) for build in [context.initial, *context.builds] if build is not None]
    start = context.tensors(0, "model/")
    final = context.tensors(len(context.record) - 1, "model/")
    random = [n for n in builds[0] if any(not np.array_equal(builds[0][n], b[n]) for b in builds[1:])]
    for name in kinds:
        if name not in random and ours[name] != made[name]:
            raise Refuted(f"{name} is the same under every seed, and another in the record", 0)
    for name in random:
        values = start[name].double().reshape(-1).numpy()
        last = final[name].double().reshape(-1).numpy()
        made_values = [build[name] for build in builds]
        problem = (
            initial.distribution_problem(values, made_values, rule.ks_alpha / len(random))
            or (initial.order_problem(values, last, rule.spearman_max) if kinds[name] == "parameter" else None)
            or initial.spectrum_problem(values, made_values, shapes[name])
        )
        if problem is not None:
            raise Refuted(f"{name}: {problem}", 0)
    context.level_cap = min(context.level_cap, 1)
    context.caveats.append(
        "Weak start: no seed explains the initial weights; they may have been trained before the record begins."
    )
    return f"weak start: {len(random)} tensors are distributed as the recipe makes them, and ordered by chance"
