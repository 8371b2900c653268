"""Turn a finished verification into a Report: verdict, level, rows, facts, and what the verdict does not say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from trainproof.attest import keys
from trainproof.errors import SignatureError
from trainproof.reference.algorithm2 import beside
from trainproof.replay.job import UnitResult
from trainproof.verification.context import Context
from trainproof.verification.replays import Replays
from trainproof.verification.select import UnitFacts
from trainproof.verification.verdict import Check, Cost, Outcome, Report, UnitRow, Verdict

_INTEGRITY = ("V0", "V1", "V5")


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return REJECT if a check failed, else INCONCLUSIVE if one was not decided, else ACCEPT."""
    outcomes = {check.outcome for check in checks}
    if Outcome.FAIL in outcomes:
        return Verdict.REJECT
    return Verdict.INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else Verdict.ACCEPT


def level_of(context: Context, checks: Sequence[Check], verdict: Verdict) -> int | None:
    """Return the level: 3 if all was replayed, 1 if a sample was, capped by the start; 0 if only the record is
    whole.
    """
    if verdict is Verdict.REJECT:
        return None
    if verdict is Verdict.INCONCLUSIVE:
        whole = {check.id for check in checks if check.outcome is Outcome.PASS}
        return 0 if all(identity in whole for identity in _INTEGRITY) else None
    return min(context.level_cap, 3 if coverage_of(context) == "all" else 1)


def coverage_of(context: Context) -> str:
    """Return 'all' if every unit is in the plan (whatever the policy asked for), else 'sampled'."""
    if context.plan is None:
        return context.policy.coverage
    return "all" if len(context.plan.reasons) == len(context.plan.units) else "sampled"


def report_of(context: Context, checks: Sequence[Check], replays: Replays | None, nonce: str, started: str) -> Report:
    """Return the report."""
    verdict = verdict_of(checks)
    policy: dict[str, Any] = msgspec.to_builtins(context.policy)
    plan = context.plan
    decided = next((c for c in checks if c.outcome is Outcome.FAIL and c.segment is not None), None)
    units = context.units if any(c.id == "V0" and c.outcome is Outcome.PASS for c in checks) else ()
    return Report(
        record=str(context.record.path),
        verdict=verdict,
        level=level_of(context, checks, verdict),
        comparison=context.comparison.name,
        coverage=coverage_of(context),
        checks=tuple(checks),
        units=tuple(_row(context, unit, decided) for unit in units),
        cost=Cost(
            units=0 if plan is None else len(plan.reasons),
            steps=0 if plan is None else plan.steps,
            estimated_seconds=replays.estimated_seconds if replays else 0.0,
            seconds=replays.seconds if replays else 0.0,
            setup_seconds=replays.setup_seconds if replays else 0.0,
        ),
        policy=policy,
        policy_digest=context.policy.digest(),
        nonce=nonce,
        root=context.rows[-1].chain if context.rows else "",
        prover=_prover(context),
        facts=_facts(context, replays) | context.facts,
        caveats=tuple(dict.fromkeys(context.caveats)),
        algorithm2=beside(context.results.values()) if context.results else {},
        started=started,
    )


def _prover(context: Context) -> str:
    try:
        return keys.key_id(context.commitment.key)
    except SignatureError:
        return ""


def _row(context: Context, unit: UnitFacts, decided: Check | None) -> UnitRow:
    result = context.results.get(unit.index)
    outcome: Outcome | None = None
    error: float | None = None
    if result is not None:
        failed = decided is not None and decided.segment is not None and unit.start < decided.segment <= unit.end
        outcome = Outcome.FAIL if failed else Outcome.INCONCLUSIVE if result.failure else Outcome.PASS
        error = None if result.failure else _error(context, unit, result)
    chosen = context.plan.reasons.get(unit.index, []) if context.plan else []
    return UnitRow(
        start=unit.start,
        end=unit.end,
        first_step=unit.first_step,
        last_step=unit.last_step,
        epoch=unit.epoch,
        update_norm=unit.update_norm,
        optimizer_change=unit.optimizer_change,
        mean_loss=unit.mean_loss,
        chosen=tuple(chosen),
        replay_error=error,
        outcome=outcome,
    )


def _error(context: Context, unit: UnitFacts, result: UnitResult) -> float:
    """Return ‖replayed − recorded‖ / ‖recorded update‖ over all parameters; 0.0 is bitwise."""
    parameters = {f"model/{p.name}" for p in context.commitment.model if p.kind != "buffer"}
    squares = math.fsum(float.fromhex(e.l2) ** 2 for e in result.errors if e.name in parameters)
    if squares == 0.0:
        return 0.0
    return math.sqrt(squares) / unit.update_norm if unit.update_norm > 0 else math.inf


def _facts(context: Context, replays: Replays | None) -> dict[str, str]:
    commitment = context.commitment
    files = ", ".join(f.module for f in context.closure.files)
    found = {
        "recipe": f"{context.source.path}{':' + context.source.qualname if context.source.qualname else ''}",
        "recipe closure": f"{context.closure.digest} ({files})",
        "arguments": " ".join(context.closure.arguments),
        "dataset": f"{commitment.dataset.size} samples, root {commitment.dataset.root}",
        "optimizer": commitment.optimizer.kind,
        "record every": f"{commitment.every} steps, tensors stored every {commitment.keyframes} states",
        "seed nonce": f"{commitment.seed.nonce} ({commitment.seed.source})",
        "environment": f"torch {commitment.environment.torch}, {commitment.environment.cpu_model}, "
        f"{commitment.environment.cpu_capability}, {commitment.environment.threads} threads, "
        f"{commitment.environment.device}",
        "numerics": f"matrix products {commitment.environment.matmul_precision}, "
        f"deterministic algorithms {commitment.environment.deterministic}, TF32 {commitment.environment.tf32}, "
        f"oneDNN {commitment.environment.onednn_isa or 'unrestricted'}, default {commitment.environment.default_dtype}",
        "note": commitment.note,
    }
    if not isinstance(context.statement, SignatureError):
        seal = context.statement.predicate
        found["final model"] = seal.model
        found["prover's times"] = f"{seal.started} to {seal.finished}"
        found["prover's own replays"] = ", ".join(f"{r.segment}: {r.outcome}" for r in seal.self_replays)
    if context.plan is not None:
        found["selection"] = context.plan.describe()
    if replays is not None and replays.layers:
        found["sandbox"] = ", ".join(replays.layers)
    return {label: value for label, value in found.items() if value}
