"""Replays of one verification: what is built before step 0, and the chosen units; with what they cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainproof.limits import GIB
from trainproof.recording.environment import capture, differences, exact_differences, own_settings
from trainproof.recording.format import Environment
from trainproof.replay.job import Job, Ready, Unit, UnitResult
from trainproof.replay.pool import WORKER, replay_units
from trainproof.verification.check import Refuted, Undecided, check
from trainproof.verification.context import Context, Progress, unit_request
from trainproof.verification.select import Plan

# What must be the same in a replay process as in the record, as Ready says it.
_MUST_MATCH = ("torch", "threads", "cpu_capability", "matmul_precision", "default_dtype", "deterministic")


@dataclass
class Replays:
    """Starts replays. ``estimated_seconds`` is known after the first replayed unit."""

    context: Context
    job: Job
    jobs: int
    progress: Progress
    command: Sequence[str] = WORKER
    estimated_seconds: float = 0.0
    seconds: float = 0.0
    setup_seconds: float = 0.0
    layers: tuple[str, ...] = ()

    def run(self, units: Sequence[Unit], on_result: Callable[[UnitResult], object]) -> list[UnitResult]:
        """Replay ``units``; raises Undecided if a process cannot have the recorded settings, or as ``replay_units``."""
        began = time.perf_counter()
        try:
            return replay_units(
                self.job,
                units,
                self.job.environment or self.context.commitment.environment,
                self.jobs,
                self.context.policy.sandbox.unit_seconds,
                on_result,
                on_ready=self._on_ready,
                command=self.command,
            )
        finally:
            self.seconds += time.perf_counter() - began

    def _on_ready(self, ready: Ready) -> None:
        self.layers = tuple(ready.layers)
        if self.job.environment is not None:
            return  # exact arithmetic: under whatever settings
        recorded = self.context.commitment.environment
        for name in _MUST_MATCH:
            ours, theirs = ready.environment.get(name), str(getattr(recorded, name))
            if ours != theirs:
                raise Undecided(f"a replay process cannot have {name} {theirs}; it has {ours}")

    def build(self) -> None:
        """Build the initial state, and under other seeds for V3; put the results into the context.

        Raises Undecided if the recipe does not get to its first batch, Refuted if that contradicts the record.
        """
        context = self.context
        count = context.policy.initial.builds if context.commitment.closure.door == "recipe" else 2
        perturbed = range(1, count + 1) if context.commitment.parent is None else ()
        first = tuple(context.digests[:1])
        ambient = () if context.commitment.closure.door == "recipe" else (-1,)
        numbers = (0, *perturbed, *ambient)
        units = [Unit(kind="initial", start=0, end=0, perturb=p, digests=first) for p in numbers]
        done = 0

        def on_result(result: UnitResult) -> bool:
            nonlocal done
            done += 1
            self.progress("initial state", done, len(units))
            return result.failure is not None

        results = self.run(units, on_result)
        for result in results:
            self.setup_seconds += result.load_seconds
            raise_failure(result, 0)
            if len(result.segments) != 1 or result.segments[0].steps:
                raise Undecided("the replay process did not report one initial state", 0)
        context.initial, *context.builds = results
        if ambient:
            context.ambient = context.builds.pop()

    def replay(self, plan: Plan) -> None:
        """Replay the plan's units in order, up to the first that does not agree; results go into the context.

        Raises Undecided if the first unit's speed puts the whole above the policy's cost.
        """
        context, units = self.context, plan.chosen
        by_start = {unit.start: unit for unit in units}
        began = time.perf_counter()

        def on_result(result: UnitResult) -> bool:
            unit = by_start[result.unit.start]
            context.results[unit.index] = result
            self.setup_seconds += result.load_seconds
            if not self.estimated_seconds and result.failure is None:
                self._estimate(plan, result, time.perf_counter() - began)
            self.progress("replay", len(context.results), len(units))
            return result.failure is not None or not _agrees(context, result)

        self.progress("replay", 0, len(units))
        self.run([unit_request(context, unit) for unit in units], on_result)

    def _estimate(self, plan: Plan, result: UnitResult, elapsed: float) -> None:
        """Extrapolate from the first unit: seconds a step, and the time to get a unit going."""
        steps = max(1, sum(len(segment.steps) for segment in result.segments))
        start = max(0.0, elapsed - result.step_seconds)
        waves = -(-len(plan.chosen) // self.jobs)
        self.estimated_seconds = plan.steps * result.step_seconds / steps / self.jobs + start * min(waves, self.jobs)
        limit = self.context.policy.cost.seconds
        if self.estimated_seconds > limit:
            raise Undecided(f"estimated {self.estimated_seconds:.0f} s, above the policy's cap of {limit:g} s")
        self.progress(f"plan: about {self.estimated_seconds:.0f} s in all, by the first unit", 1, len(plan.chosen))


def _agrees(context: Context, result: UnitResult) -> bool:
    """Return whether nothing in a unit differs at first sight: decides when to stop, not what is wrong."""
    if result.bad_samples or result.bad_order is not None:
        return False
    expected = range(result.unit.start + 1, result.unit.end + 1)
    if [segment.index for segment in result.segments] != list(expected):
        return False
    for segment in result.segments:
        recorded = context.segment(segment.index)
        if segment.state != recorded.state or segment.steps != recorded.steps or segment.hypers != recorded.hypers:
            return False
        if segment.trailing != recorded.trailing or segment.update_norm != recorded.update_norm:
            return False
    return True


def raise_failure(result: UnitResult, segment: int) -> None:
    """Raise Refuted or Undecided if the unit did not get to its end."""
    if result.failure is not None:
        kind = Refuted if result.refuted else Undecided
        raise kind(f"the replay did not get to its end: {result.failure}", segment)


def default_jobs(environment: Environment) -> int:
    """Return how many replay processes fit on this machine's processors."""
    return max(1, (os.cpu_count() or 1) // environment.threads)


def job_of(context: Context, scratch: Path, readable: list[str], salts: Path | None) -> Job:
    """Return the job that every replay process of this verification is given."""
    sandbox = context.policy.sandbox
    return Job(
        record=str(context.record.path.resolve()),
        recipe=context.source,
        scratch=str(scratch),
        readable=readable,
        sandbox=sandbox.mode,
        memory_bytes=int(sandbox.memory_gib * GIB),
        salts=None if salts is None else str(salts.resolve()),
        commitment=context.record.commitment_digest,
        environment=own_settings() if context.claims_exact else None,
    )


@check("ENV", "environment")
def environment_check(context: Context) -> str:
    """A replay here, under the recorded settings, can give the recorded bits; exact arithmetic needs no such settings.

    The record's word is enough to leave them out: whether its recipe is an exact one is V14's to find.
    """
    from trainproof.errors import UsageError
    from trainproof.recording.closure import packages_of
    from trainproof.replay.pool import variables

    recorded = context.commitment.environment
    device = "cpu" if recorded.device == "cpu" else "cuda"
    here = capture(packages_of(Path(context.source.path)), device)
    found = exact_differences(recorded, here) if context.claims_exact else differences(recorded, here)
    try:
        variables(own_settings() if context.claims_exact else recorded, context.scratch)
    except UsageError as error:
        found.append(str(error))
    if found:
        raise Undecided("this machine cannot replay the record: " + "; ".join(found), details=tuple(found))
    if context.claims_exact:
        return _exact_environment(recorded)
    if recorded.cpu_model != here.cpu_model:
        context.caveats.append(f"Recorded on another processor model ({recorded.cpu_model}) of the same vendor.")
    return f"torch {recorded.torch}, {recorded.cpu_capability}, {recorded.threads} threads, {recorded.device}"


def _exact_environment(recorded: Environment) -> str:
    """Say what is different, though it decides nothing."""
    here = own_settings()
    names = ("threads", "cpu_capability", "onednn_isa", "cpu_vendor", "machine", "python", "torch", "numpy")
    pairs = [(name, getattr(recorded, name), getattr(here, name)) for name in names]
    other = [
        f"{name} {theirs or 'none'} there, {ours or 'none'} here" for name, theirs, ours in pairs if theirs != ours
    ]
    return "exact arithmetic, any settings: " + ("; ".join(other) if other else "the recorded ones are this machine's")


@check("RUN", "every chosen unit was replayed to its end")
def completed_check(context: Context) -> str:
    """No unit was left out, crashed, or reported other segments than it was asked for."""
    assert context.plan is not None
    undecided: Refuted | None = None
    for unit in context.plan.chosen:
        result = context.results.get(unit.index)
        try:
            if result is None:
                raise Undecided("was not replayed: an earlier unit did not agree", unit.start + 1)
            raise_failure(result, unit.start + 1)
            if [segment.index for segment in result.segments] != list(range(unit.start + 1, unit.end + 1)):
                raise Undecided("the replay process reported other segments", unit.start + 1)
        except Undecided as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return f"{len(context.results)} units"
