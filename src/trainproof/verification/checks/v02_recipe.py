"""V2: the recipe is the verifier's, and its hyperparameters are the committed ones, within bounds
(docs/verification.md, V2).

Stops infinitesimal updates (a rate that vanishes replays well, whatever the weights) and hyperparameters that smuggle a
displacement into one step.
"""

from __future__ import annotations

import math
from typing import Any

from trainproof.errors import RecordError, SignatureError, TrainproofError
from trainproof.recording import optimizers
from trainproof.recording.format import Closure, Commitment, Segment, Sequence
from trainproof.recording.optimizers import Schedule
from trainproof.recording.tree import from_tree
from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context, options

_SCHEDULES = {
    cls.__name__: cls
    for cls in (optimizers.Constant, optimizers.Cosine, optimizers.Linear, optimizers.Pieces, optimizers.Steps)
}
_JUMP = 0.1  # a learning rate that changes by more than this between two steps is a change of schedule


@check("V2", "recipe, hyperparameters, amount of work")
def v02_recipe(context: Context) -> str:
    """Compare closures, then go over the hyperparameters of every step."""
    _closure(context)
    _amount(context)
    audit = _Audit(context)
    for segment in context.segments():
        audit.segment(segment)
    audit.end()
    return audit.evidence()


def _closure(context: Context) -> None:
    ours, committed, pinned = context.closure, context.commitment.closure, context.policy.pins.closure
    if ours != committed:
        raise Refuted(f"the recipe is not the verifier's copy: {difference(ours, committed)}")
    if pinned and ours.digest != pinned:
        raise Refuted(f"the recipe's closure {ours.digest} is not the one that the policy pins")
    if not pinned:
        context.caveats.append("The recipe is the root of trust: it was taken as accepted because it was given.")


def difference(ours: Closure, committed: Closure) -> str:
    """Return the first difference of two closures in words."""
    for name in ("door", "qualname", "arguments"):
        a, b = getattr(ours, name), getattr(committed, name)
        if a != b:
            return f"{name} is {a!r} here, {b!r} in the record"
    mine, theirs = ({f.module: f for f in closure.files} for closure in (ours, committed))
    for module in sorted(mine.keys() | theirs.keys()):
        if module not in theirs:
            return f"module {module} is not in the record"
        if module not in mine:
            return f"module {module} is not in the verifier's copy"
        if mine[module] != theirs[module]:
            return f"module {module} differs"
    return "its digest does not follow from its files"


def _amount(context: Context) -> None:
    """How much work there is, and how often it was interrupted."""
    bounds, rows, commitment = context.policy.bounds, context.rows, context.commitment
    steps = rows[-1].first_step + rows[-1].steps
    resumes = [row.index for row in rows if row.resumed]
    skips = sum(row.skipped for row in rows)
    if commitment.every > bounds.every_max:
        raise Refuted(f"a state every {commitment.every} steps; the policy allows {bounds.every_max}")
    if steps < bounds.steps_min:
        raise Refuted(f"{steps} steps; the policy asks for {bounds.steps_min}")
    if len(resumes) > bounds.resumes_max:
        raise Refuted(f"{len(resumes)} resumes; the policy allows {bounds.resumes_max}", resumes[-1])
    if not skips <= bounds.skipped_max * steps:
        raise Refuted(f"{skips} of {steps} steps were skipped; the policy allows {bounds.skipped_max:.2%}")
    for index in resumes:
        context.mark(index, "resume", before=True)
    for row in rows:
        if row.skipped:
            context.mark(row.index, "skipped step", before=True)
    if commitment.closure.door == "recipe":
        _planned_steps(context, steps)
    elif commitment.epochs is not None:
        raise Refuted("only trainproof's own loop commits to epochs")


def _planned_steps(context: Context, steps: int) -> None:
    """A recipe that ended by itself has trained its epochs; no recipe trains more."""
    commitment = context.commitment
    if commitment.epochs is None:
        raise Refuted("a recipe's record must commit to its epochs")
    planned = commitment.epochs * batches_per_epoch(commitment) // commitment.loader.accumulate
    assert not isinstance(context.statement, SignatureError)
    complete = context.statement.predicate.ended == "complete"
    if steps > planned or (complete and steps != planned):
        raise Refuted(f"{steps} steps, where {commitment.epochs} epochs have {planned}")


def batches_per_epoch(commitment: Commitment) -> int:
    """Return how many batches a pass over the dataset has in trainproof's own order."""
    size, loader = commitment.dataset.size, commitment.loader
    if loader.batch_size < 1:
        raise Refuted("a recipe's batch size must be at least 1")
    if loader.order == "affine" and not loader.drop_last:
        raise Refuted("the affine order has whole batches only, and the record's loader keeps others")
    return size // loader.batch_size if loader.drop_last else -(-size // loader.batch_size)


class _Audit:
    """Goes over the hyperparameters of every step, in order."""

    def __init__(self, context: Context) -> None:
        self.context, self.bounds = context, context.policy.bounds
        commitment = context.commitment
        self.committed = options(Sequence(tuple=False, v=commitment.optimizer.groups))
        self.schedule: Schedule | None = None
        if commitment.closure.door == "recipe":
            self.schedule = schedule_of(commitment)
            self.per_epoch = max(1, batches_per_epoch(commitment) // commitment.loader.accumulate)
        self.before: list[float] | None = None
        self.gradients = 0
        self.lowest, self.highest, self.zero = math.inf, 0.0, 0

    def segment(self, segment: Segment) -> None:
        """Check the steps of one segment."""
        try:
            hypers = [options(tree) for tree in segment.hypers]
        except RecordError as error:
            raise Refuted(str(error), segment.index) from None
        for groups in hypers:
            self._groups(groups, segment.index)
        for offset, step in enumerate(segment.steps):
            groups = hypers[step.hyper]
            if self.schedule is not None:
                self._scheduled(groups, segment.first_step + offset, segment.index)
            self._changes([float(g["lr"]) for g in groups], segment.index)
            self.gradients += sum(len(batch.indices) for batch in step.batches)

    def _groups(self, groups: list[dict[str, Any]], index: int) -> None:
        """Bounds on every option; all but the rate must be the committed ones, or change where it is replayed."""
        if len(groups) != len(self.committed):
            raise Refuted(f"{len(groups)} parameter groups, {len(self.committed)} committed", index)
        for group, committed in zip(groups, self.committed, strict=True):
            self._bounds(group, index)
            if group.keys() != committed.keys():
                raise Refuted("optimizer options that were not committed, or fewer", index)
            changed = sorted(k for k in group if k != "lr" and not same(group[k], committed[k]))
            if changed and self.schedule is not None:
                raise Refuted(f"{changed[0]} is {group[changed[0]]!r}, committed {committed[changed[0]]!r}", index)
            if changed:
                self.context.mark(index, f"{changed[0]} changed", before=True)

    def _bounds(self, group: dict[str, Any], index: int) -> None:
        bounds = self.bounds
        rate = _number(group, "lr", index)
        if rate != 0.0 and not bounds.lr_min <= rate <= bounds.lr_max:
            raise Refuted(f"learning rate {rate:.4g} outside [{bounds.lr_min:g}, {bounds.lr_max:g}]", index)
        limits: list[tuple[str, float, float]] = [(name, _number(group, name, index), top) for name, top in (
            ("momentum", bounds.momentum_max), ("weight_decay", bounds.weight_decay_max), ("dampening", 1.0)
        ) if name in group]  # fmt: skip
        if "betas" in group:
            betas = group["betas"]
            if not isinstance(betas, (tuple, list)):
                raise Refuted("betas must be two numbers", index)
            limits += [("beta", _real(beta, "beta", index), bounds.beta_max) for beta in betas]
        for name, value, top in limits:
            if not 0.0 <= value <= top:
                raise Refuted(f"{name} {value:.6g} outside [0, {top:g}]", index)
        if "eps" in group and not 0.0 < _number(group, "eps", index) <= 1.0:
            raise Refuted(f"eps {group['eps']!r} outside (0, 1]", index)

    def _scheduled(self, groups: list[dict[str, Any]], step: int, index: int) -> None:
        """Door 1: the rate of every step is the committed schedule's, to the bit."""
        assert self.schedule is not None
        try:
            expected = self.schedule.at(step, self.per_epoch)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise Refuted(f"the committed schedule is not one: {error}") from None
        for group in groups:
            if not same(group["lr"], expected):
                raise Refuted(f"step {step} used learning rate {group['lr']!r}; the schedule gives {expected!r}", index)

    def _changes(self, rates: list[float], index: int) -> None:
        """Mark units beside a jump of the rate; keep the extremes for the evidence."""
        for rate, before in zip(rates, self.before or rates, strict=True):
            if abs(rate - before) > _JUMP * max(rate, before):
                self.context.mark(index, "schedule change", before=True)
            self.lowest = min(self.lowest, rate) if rate > 0 else self.lowest
            self.highest = max(self.highest, rate)
        self.zero += all(rate == 0.0 for rate in rates)
        self.before = rates

    def end(self) -> None:
        """Check what only the whole record shows."""
        if self.gradients < self.bounds.gradients_min:
            raise Refuted(f"{self.gradients} gradient evaluations; the policy asks for {self.bounds.gradients_min}")
        if not self.highest > 0.0:
            raise Refuted("the learning rate is zero at every step")

    def evidence(self) -> str:
        """Return what was found, in words."""
        zero = f", zero at {self.zero} steps" if self.zero else ""
        exact = "equal to the schedule at every step" if self.schedule is not None else "committed options"
        return f"{exact}; learning rate {self.lowest:.3g} to {self.highest:.3g}{zero}; {self.gradients} gradients"


def same(a: object, b: object) -> bool:
    """Return whether two option values are equal in type and bits; NaN equals nothing."""
    return type(a) is type(b) and a == b


def schedule_of(commitment: Commitment) -> Schedule:
    """Return door 1's schedule, made from its committed data. Raises Refuted if it is none of trainproof's."""
    try:
        data = from_tree(commitment.optimizer.schedule)
        fields = dict(data["lr"])
        return _SCHEDULES[fields.pop("schedule")](**fields)
    except (KeyError, TypeError, ValueError, ArithmeticError, TrainproofError) as error:
        raise Refuted(f"the committed schedule is not one: {error}") from None


def _number(group: dict[str, Any], name: str, index: int) -> float:
    return _real(group.get(name), name, index)


def _real(value: object, name: str, index: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise Refuted(f"{name} is {value!r}, not a finite number", index)
    try:
        return float(value)
    except OverflowError:  # a record's integers have any size
        raise Refuted(f"{name} is an integer beyond all floating-point numbers", index) from None


@check("V2", "recipe: what it declares, as rebuilt")
def v02_declared(context: Context) -> str:
    """The verifier's own copy, re-entered, declares the committed model, optimizer, schedule and loader."""
    result = context.initial
    assert result is not None
    if result.made is None:
        raise Refuted("the recipe did not declare what it trains")
    for name in ("model", "optimizer", "loader"):
        if getattr(result.made, name) != getattr(context.commitment, name):
            raise Refuted(f"the committed {name} is not the one that the recipe declares")
    return "model, optimizer, schedule and loader are the recipe's"


@check("V2", "hyperparameters, replayed")
def v02_replayed(context: Context) -> str:
    """In every replayed segment the optimizer was given the recorded options, step by step."""
    steps = 0
    for _, replayed, recorded in context.replayed():
        if replayed.hypers != recorded.hypers:
            raise Refuted("the replay uses other optimizer options", recorded.index)
        ours, theirs = ([(s.hyper, s.skipped) for s in segment.steps] for segment in (replayed, recorded))
        if ours != theirs:
            raise Refuted("the replay uses other options at a step, or skips another", recorded.index)
        steps += len(theirs)
    return f"equal at {steps} replayed steps"
