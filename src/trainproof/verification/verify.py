"""Verify a record that may be hostile. The steps are numbered as in docs/verification.md, section 2.

``run`` returns a report whatever the verdict; ``verify`` raises unless it is ACCEPT. What cannot be read at all is an
error, not a verdict.
"""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from trainproof.attest.statement import open_seal
from trainproof.errors import (
    PolicyError,
    RecordError,
    SandboxError,
    SignatureError,
    UsageError,
    VerificationError,
)
from trainproof.recording.format import Commitment, Statement
from trainproof.recording.reader import Record
from trainproof.recording.tree import from_tree
from trainproof.replay.pool import WORKER
from trainproof.verification.assemble import report_of, verdict_of
from trainproof.verification.check import CheckFunction, Refuted, Undecided, check, skipped
from trainproof.verification.checks import BEFORE, FINAL, REBUILT, REPLAYED, WHOLE
from trainproof.verification.context import Context, Progress
from trainproof.verification.ledger import Attempt, Ledger
from trainproof.verification.policy import Policy
from trainproof.verification.replays import Replays, completed_check, default_jobs, environment_check, job_of
from trainproof.verification.select import choose
from trainproof.verification.source import readable_paths, resolve, salts_of
from trainproof.verification.verdict import Check, Outcome, Report, Verdict

if TYPE_CHECKING:
    from trainproof.recording.recipe import Recipe

PARENTS = 8  # records in a chain of trust, the first included
Parents = Sequence["str | Path | tuple[str | Path, Recipe | str | Path]"]


def verify(record: str | Path, *, recipe: Recipe | str | Path, policy: Policy, **options: object) -> Report:
    """Return the report of ``run`` if the verdict is ACCEPT, else raise VerificationError, which carries it.

    Takes what ``run`` takes.
    """
    report = run(record, recipe=recipe, policy=policy, **options)  # type: ignore[arg-type]
    if report.verdict is not Verdict.ACCEPT:
        raise VerificationError(report)
    return report


def run(
    record: str | Path,
    *,
    recipe: Recipe | str | Path,
    policy: Policy,
    ledger: Ledger | str | Path | None = None,
    parents: Parents = (),
    salts: str | Path | None = None,
    jobs: int | None = None,
    nonce: str | None = None,
    arguments: Iterable[str] = (),
    readable: Iterable[str | Path] = (),
    on_progress: Progress | None = None,
    command: Sequence[str] = WORKER,
    depth: int = 1,
) -> Report:
    """Verify the record folder at ``record`` and return the report, whatever the verdict.

    ``recipe`` is the verifier's own copy: an instance, ``file.py`` or ``file.py:Class``; ``arguments`` are the
    command line of a script. ``policy`` sets every threshold. ``ledger`` keeps one nonce a record and makes a REJECT
    permanent; ``parents`` are the records that a warm start comes from, each a folder or (folder, recipe). ``salts``
    is the prover's secret file of a private dataset. ``jobs`` is the number of replay processes (default: what the
    processors allow). ``nonce`` (64 hexadecimal digits) draws the sample instead of a fresh one. ``readable`` are
    files and folders that the recipe reads, beside its own folder and those in TRAINPROOF_DATA. ``on_progress(what,
    done, total)`` is called as the work goes on. ``command`` starts a replay process; ``depth`` counts the records of
    a chain of trust.

    Raises RecordError or LimitError if the record or the ledger cannot be read, PolicyError without a policy,
    UsageError or RecipeError for other arguments.
    """
    if not isinstance(policy, Policy):
        raise PolicyError("a verification needs a policy", name="policy", value=policy, mend="see docs/policy.md")
    if nonce is not None and not (len(nonce) == 64 and set(nonce) <= set("0123456789abcdef")):
        raise UsageError("must be 64 lower-case hexadecimal digits", name="nonce", value=nonce)
    if jobs is not None and jobs < 1:
        raise UsageError("must be at least 1", name="jobs", value=jobs)
    progress: Progress = on_progress or (lambda what, done, total: None)
    book = Ledger(ledger) if isinstance(ledger, (str, Path)) else ledger
    secret = None if salts is None else salts_of(salts)

    # (1) Parse what is small: commitment, seal. Segments follow in V0.
    opened = Record.open(record)
    if secret is not None and not opened.commitment.dataset.private:
        raise UsageError("the record's dataset is public, its salts are zeros", name="salts", mend="leave it out")
    source, closure = resolve(recipe, opened.commitment, arguments)
    context = Context(opened, policy, source, closure, _statement(opened), ledger=book)
    context.parent_policies = frozenset((policy.digest(), parent_policy(policy).digest()))
    context.verify_parent = _parents(context, parents, recipe, book, progress, depth)
    readable = readable_paths(source, opened.path, secret, readable)

    with tempfile.TemporaryDirectory(prefix="trainproof-replay-") as scratch:
        context.scratch = Path(scratch).resolve()
        job = job_of(context, context.scratch, readable, secret)
        jobs = jobs or default_jobs(job.environment or opened.commitment.environment)
        replays = Replays(context, job, jobs, progress, command)
        return _Verification(context, replays, book, nonce, progress, secret is not None).run()


class _Verification:
    """The steps after parsing, in order; each list of checks stops at the first that does not pass."""

    def __init__(
        self,
        context: Context,
        replays: Replays,
        ledger: Ledger | None,
        nonce: str | None,
        progress: Progress,
        salted: bool,
    ) -> None:
        self.context, self.replays, self.ledger, self.progress = context, replays, ledger, progress
        self.nonce, self.salted = nonce, salted
        self.checks: list[Check] = []
        self.started = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.attempt: Attempt | None = None

    def run(self) -> Report:
        """Run every step and return the report."""
        context = self.context
        steps: list[CheckFunction] = [
            *BEFORE,  # (2) signature, chain, recipe and bounds
            _refused_before,
            environment_check,  # (3) before anything is run
            self._salts(),
            self._step("V3", "the recipe runs", lambda: self.replays.build()),  # (4) initial state
            *REBUILT,
            *WHOLE,  # (5) cheap tests on the whole record
            self._step("PLAN", "units to replay, within the policy's cost", self._plan),  # (6) choose
            self._step("RUN", "replays", self._replay),  # (7) replay
            *REPLAYED,
            completed_check,
            *FINAL,  # (8) final state
        ]
        if not context.claims_exact:
            # An exact recipe behind a record that does not say so: V2 finds that it declares another loader.
            steps = [step for step in steps if step.id != "V14"]  # type: ignore[attr-defined]
        for number, function in enumerate(steps):
            self.progress(f"{function.id} {function.title}", number, len(steps))  # type: ignore[attr-defined]
            found = function(context)
            self.checks.append(found)
            if found.outcome is not Outcome.PASS:
                why = f"not run: {found.id} decided"
                self.checks += [skipped(later, why) for later in steps[number + 1 :]]
                break
        # (9) Verdict.
        report = report_of(context, self.checks, self.replays, self.nonce or "", self.started)
        if self.attempt is not None and self.ledger is not None:
            assert not isinstance(context.statement, SignatureError)
            self.ledger.finish(self.attempt, report.verdict, report.level, context.statement.predicate.model)
        return report

    def _step(self, identity: str, title: str, action: Callable[[], str | None]) -> CheckFunction:
        """Return a step of the work as a check: it does not pass if the work cannot be done."""

        @check(identity, title)
        def step(context: Context) -> str:
            try:
                return action() or "done"
            except SandboxError as error:
                raise Undecided(str(error)) from None

        return step

    def _salts(self) -> CheckFunction:
        """A private dataset can be compared only with the prover's secret."""

        @check("V4", "salts of a private dataset")
        def salts(context: Context) -> str:
            if context.commitment.dataset.private and not self.salted:
                raise Undecided("the dataset is private and the prover's salt secret was not given")
            return "given" if self.salted else "none needed"

        return salts

    def _plan(self) -> str:
        """Draw the nonce, now that the record is fixed, choose, and compare the plan with the policy's cap."""
        context = self.context
        root = context.rows[-1].chain
        if self.ledger is not None:
            self.attempt = self.ledger.begin(root, context.policy.digest(), self.nonce)
            self.nonce = self.attempt.nonce
            if self.attempt.earlier:
                context.caveats.append(
                    f"This record was challenged {self.attempt.earlier} times before, with this nonce."
                )
        self.nonce = self.nonce or secrets.token_hex(32)
        plan = choose(
            context.units,
            context.policy.selection,
            coverage=context.policy.coverage,
            displacement=context.survey.displacement,
            marked=context.marked,
            nonce=self.nonce,
            chain=root,
            memory=memory_of(context.commitment),
        )
        context.plan = plan
        units, steps = (
            f"{len(plan.reasons)} of {len(plan.units)} units",
            f"{plan.steps} of {sum(row.steps for row in context.rows)} steps",
        )
        cap = f"{context.policy.cost.steps} steps, {context.policy.cost.seconds:g} s"
        self.progress(f"plan: {units}, {steps} will be trained again; the policy's cap is {cap}", 0, len(plan.reasons))
        limit = context.policy.cost.steps
        if plan.steps > limit:
            raise Undecided(f"the plan has {plan.steps} steps, above the policy's cap of {limit}")
        if context.policy.selection.d_ref == 0.0 and len(plan.reasons) < len(plan.units):
            context.caveats.append("d_ref is not set: the sample's size rests on the record's own displacement.")
        return plan.describe()

    def _replay(self) -> str:
        assert self.context.plan is not None
        self.replays.replay(self.context.plan)
        return f"{len(self.context.results)} of {len(self.context.plan.reasons)} units, {self.replays.seconds:.1f} s"


def memory_of(commitment: Commitment) -> float:
    """Return 1 + 1/((1 − β)·k): a unit of k steps, and those for which the largest first-moment decay β remembers."""
    beta = 0.0
    for group in commitment.optimizer.groups:
        options = from_tree(group)
        betas = options.get("betas") or (options.get("momentum") or 0.0,) if isinstance(options, dict) else (0.0,)
        beta = max([beta, *(float(b) for b in betas[:1])])
    steps = commitment.every * commitment.keyframes
    return 1.0 + 1.0 / ((1.0 - beta) * steps) if beta < 1.0 else math.inf


@check("V1", "not refused before")
def _refused_before(context: Context) -> str:
    """A REJECT is permanent: whoever may try again waits for the draw that misses."""
    if context.ledger is None:
        context.caveats.append("No ledger was kept: nothing stops a prover from having the same record drawn again.")
        return "no ledger"
    if context.ledger.refused(context.rows[-1].chain) is not None:
        raise Refuted("this record was refused before; the ledger says so, and a REJECT is permanent")
    return "not in the ledger as refused"


def _statement(record: Record) -> Statement | SignatureError:
    """Return the signed statement; a wrong signature is for V1 to report, a malformed envelope is an error."""
    if not record.sealed():
        raise RecordError("is not sealed", name=str(record.path), mend="the prover must finish the run first")
    try:
        return open_seal(record.seal_bytes(), record.commitment.key)
    except SignatureError as error:
        return error


def _parents(
    context: Context,
    parents: Parents,
    recipe: Recipe | str | Path,
    ledger: Ledger | None,
    progress: Progress,
    depth: int,
) -> Callable[[str], _Parent | None]:
    """Return a function that verifies the given parent record with a chain value, by the same policy."""

    def verify_parent(chain_value: str) -> _Parent | None:
        if depth >= PARENTS:
            raise Undecided(f"the chain of trust is longer than {PARENTS} records")
        for item in parents:
            path, its_recipe = item if isinstance(item, tuple) else (item, recipe)
            parent = Record.open(path)
            if parent.segment(len(parent) - 1).chain != chain_value:
                continue
            report = run(
                path,
                recipe=its_recipe,
                policy=parent_policy(context.policy),
                ledger=ledger,
                parents=parents,
                on_progress=progress,
                depth=depth + 1,
            )
            if report.verdict is Verdict.INCONCLUSIVE:
                raise Undecided(f"the parent record: {report.headline()}")
            if report.verdict is Verdict.REJECT:
                raise Refuted(f"the parent record: {report.headline()}", 0)
            if report.root != chain_value:
                raise Refuted("the parent record changed while it was being verified", 0)
            return _Parent(report.level, report.facts["final model"])
        return None

    return verify_parent


class _Parent:
    """An accepted parent, as the ledger would describe it."""

    def __init__(self, level: int | None, model: str) -> None:
        self.level, self.model = level, model


def parent_policy(policy: Policy) -> Policy:
    """Return the policy for a parent record: the same, but for pins and bounds that mean the record itself."""
    import msgspec

    from trainproof.verification.policy import Pins

    pins = Pins(closure="", dataset_root="", model_root="", nonce="")
    bounds = msgspec.structs.replace(policy.bounds, steps_min=1, gradients_min=1)
    return policy.replace(pins=pins, bounds=bounds)


__all__ = ["run", "verdict_of", "verify"]
