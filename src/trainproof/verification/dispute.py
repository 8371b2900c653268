"""Decide between two records of the same training: find the first step at which they differ, and train that one again.

The steps are numbered as in docs/dispute.md. Both records are hostile; what is their provers' word is what they signed.
``dispute`` returns a result whatever the outcome; a record that cannot be used at all is an error that names it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from trainproof import _core
from trainproof.attest import keys
from trainproof.attest.statement import open_seal
from trainproof.errors import DisputedRecordError, RecordError, SandboxError
from trainproof.recording.format import Commitment
from trainproof.recording.reader import Record
from trainproof.replay.job import RecipeSource, Unit, UnitResult
from trainproof.replay.pool import WORKER
from trainproof.verification.check import CheckFunction, Refuted
from trainproof.verification.checks.v00_parse import v00_parse
from trainproof.verification.checks.v01_signature import v01_signature
from trainproof.verification.checks.v02_recipe import difference
from trainproof.verification.checks.v05_continuity import v05_continuity
from trainproof.verification.context import Context, Progress
from trainproof.verification.policy import Policy
from trainproof.verification.replays import Replays, environment_check, job_of
from trainproof.verification.source import readable_paths, resolve
from trainproof.verification.stretch import Name, Stretch, Unknown
from trainproof.verification.timeline import Fork, Order, Timeline, ended, fork
from trainproof.verification.verdict import Check, Outcome

if TYPE_CHECKING:
    from trainproof.recording.format import Closure
    from trainproof.recording.recipe import Recipe

Answer = Literal["agree", "A wrong", "B wrong", "both wrong", "incomparable", "inconclusive"]
_CODES: dict[Answer, int] = {
    "agree": 0,
    "A wrong": 1,
    "B wrong": 1,
    "both wrong": 1,
    "incomparable": 3,
    "inconclusive": 3,
}
# What of an environment decides no bits.
_DESCRIPTIVE = ("cpu_model", "python")


@dataclass(frozen=True)
class Side:
    """One of the two records: its folder, its prover's key, its final chain value, its number of steps."""

    path: str
    key: str
    root: str
    steps: int


@dataclass(frozen=True)
class Replayed:
    """What was trained again: from the state that ``record`` stores at the end of segment ``keyframe``, which both
    share, the steps ``first`` to ``last``; ``opened`` samples were compared with the dataset's leaves.
    """

    record: Name
    keyframe: int
    first: int
    last: int
    opened: int


@dataclass(frozen=True)
class Dispute:
    """The result. Steps count from 0 over the run.

    ``step`` is the first at which the records differ, or at which one that is wrong was not given the seed's batches;
    where the states around it were not all hashed, the cause lies within ``since`` to ``step``. ``field`` is what makes
    records incomparable; ``longer`` the one that goes on where an agreeing other one ends.
    """

    outcome: Answer
    a: Side
    b: Side
    evidence: tuple[str, ...]
    step: int | None = None
    since: int | None = None
    field: str = ""
    longer: Literal["A", "B", ""] = ""
    replayed: Replayed | None = None

    @property
    def exit_code(self) -> int:
        """Return the command line's code: 0 the records agree, 1 somebody is wrong, 3 it could not be found out."""
        return _CODES[self.outcome]

    def headline(self) -> str:
        """Return the outcome in one line."""
        where = "" if self.step is None else f" at step {self.step}"
        if self.since is not None and self.step is not None and self.since < self.step:
            where = f" within steps {self.since}..{self.step}"
        what = f" ({self.field})" if self.field else f", {self.longer} is longer" if self.longer else ""
        return f"{self.outcome}{where}{what}"

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        return {**asdict(self), "evidence": list(self.evidence), "headline": self.headline()}


def dispute(
    a: str | Path,
    b: str | Path,
    *,
    recipe: Recipe | str | Path,
    readable: Iterable[str | Path] = (),
    sandbox: Literal["required", "best-effort"] = "best-effort",
    on_progress: Progress | None = None,
    command: Sequence[str] = WORKER,
) -> Dispute:
    """Compare two records, find the first step at which they differ, train it again and say whose is wrong.

    ``a`` and ``b`` are record folders, called A and B. ``recipe`` is the verifier's own copy: an instance, ``file.py``
    or ``file.py:Class``; it is run, confined as ``sandbox`` says. ``readable`` are files and folders that it reads
    beside its own. ``on_progress(what, done, total)`` is called as the work goes on; ``command`` starts a replay.

    Raises DisputedRecordError, which names the record, if one is malformed, unsigned or not what its prover signed;
    UsageError or RecipeError for other arguments.
    """
    progress: Progress = on_progress or (lambda what, done, total: None)
    ready = Policy.bitwise()
    policy = ready.replace(sandbox=msgspec.structs.replace(ready.sandbox, mode=sandbox))
    # (1) Both records by themselves.
    opened = [_open(name, path) for name, path in (("A", a), ("B", b))]
    source, closure = resolve(recipe, opened[0].commitment, ())
    contexts = []
    for number, (name, record) in enumerate(zip("AB", opened, strict=True)):
        progress(f"record {name}", number, 4)
        contexts.append(_sound(name, record, policy, source, closure))
    with tempfile.TemporaryDirectory(prefix="trainproof-dispute-") as scratch:
        return _Dispute(contexts, Path(scratch).resolve(), list(readable), progress, command).run()


# -- (1) what each record is by itself -------------------------------------------------------------------------------


def _open(name: str, path: str | Path) -> Record:
    try:
        return Record.open(path)
    except RecordError as error:
        raise DisputedRecordError(name, str(error)) from None


def _sound(name: str, record: Record, policy: Policy, source: RecipeSource, closure: Closure) -> Context:
    """Return the context of a record that is whole: what its prover signed, and nothing else, counts against it."""
    try:
        if not record.sealed():
            raise RecordError("is not sealed", name=str(record.path), mend="the prover must finish the run first")
        statement = open_seal(record.seal_bytes(), record.commitment.key)
        context = Context(record, policy, source, closure, statement)
        for function in (v00_parse, v01_signature, v05_continuity):
            _passed(function, context)
        if _core.merkle_root(context.leaves).hex() != record.commitment.dataset.root:
            raise Refuted("the dataset's leaves do not hash to the committed root")
        if record.commitment.closure.door == "recipe":
            _ended_as_planned(context)
    except RecordError as error:
        raise DisputedRecordError(name, str(error)) from None
    except Refuted as error:
        where = "" if error.segment is None else f"segment {error.segment}: "
        raise DisputedRecordError(name, where + error.evidence) from None
    return context


def _passed(function: CheckFunction, context: Context) -> None:
    """Raise Refuted if a check refutes; what its prover could not replay itself may still be disputed."""
    found: Check = function(context)
    if found.outcome is Outcome.FAIL:
        raise Refuted(f"{found.id}: {found.evidence}", found.segment)


def _ended_as_planned(context: Context) -> None:
    """A record that says it is complete has the steps of its epochs; another has fewer, and no batches left over."""
    planned, left_over = Order(context.commitment).planned()
    last = context.segment(len(context.record) - 1)
    steps, trailing = last.first_step + len(last.steps), len(last.trailing)
    if ended(last) and (steps, trailing) != (planned, left_over):
        raise Refuted(f"it says that it is complete after {steps} steps; its epochs have {planned}", last.index)
    if not ended(last) and (steps > planned or trailing or (steps == planned and not left_over)):
        raise Refuted(f"it does not say that it ended, after {steps} steps of {planned}", last.index)


# -- (2) whether they can be compared --------------------------------------------------------------------------------


def _incomparable(x: Context, y: Context) -> tuple[str, str] | None:
    """Return the first field that makes two records runs of different things, and why; None if there is none."""
    a, b = x.commitment, y.commitment
    for name, commitment in (("A", a), ("B", b)):
        if commitment.closure.door != "recipe":
            return "closure.door", f"{name} is of door '{commitment.closure.door}': only a recipe's order is the seed's"
        if commitment.closure != x.closure:
            return "closure", f"{name} is of another recipe than yours: {difference(x.closure, commitment.closure)}"
        if commitment.parent is not None:
            return "parent", f"{name} is a warm start: your recipe does not make its initial state"
        if commitment.dataset.private:
            return "dataset.private", f"the samples of {name} are behind salts, and cannot be opened"
    for name in ("dataset", "loader", "model", "optimizer", "every", "anchors", "seed"):
        found = _differing(getattr(a, name), getattr(b, name), name)
        if found is not None:
            if found.startswith("seed"):
                return found, "the seeds differ: give both provers the task's nonce, and let them train with --shared"
            return found, f"A and B differ in {found}"
    return _other_settings(a, b, ("trainproof",) if x.claims_exact else a.environment.__struct_fields__)


def _differing(a: Any, b: Any, name: str) -> str | None:
    """Return the name of the first part in which two values of a commitment differ, or None."""
    if a == b:
        return None
    fields: tuple[str, ...] = getattr(a, "__struct_fields__", ())
    return next((f"{name}.{field}" for field in fields if getattr(a, field) != getattr(b, field)), name)


def _other_settings(a: Commitment, b: Commitment, fields: Iterable[str]) -> tuple[str, str] | None:
    """Return the first of the settings that decide bits, and differ: both runs may then be right.

    In exact training that is the version of trainproof alone, which decides what a state holds.
    """
    for field in fields:
        ours, theirs = getattr(a.environment, field), getattr(b.environment, field)
        if field == "python":
            ours, theirs = ours.rsplit(".", 1)[0], theirs.rsplit(".", 1)[0]
        elif field in _DESCRIPTIVE:
            continue
        if ours != theirs:
            return f"environment.{field}", f"A was trained under {field} {ours}, B under {theirs}: both may be right"
    return None


# -- (3) to (6) ------------------------------------------------------------------------------------------------------


class _Dispute:
    """The steps after both records were found whole."""

    def __init__(
        self,
        contexts: list[Context],
        scratch: Path,
        readable: list[str | Path],
        progress: Progress,
        command: Sequence[str],
    ) -> None:
        self.contexts, self.scratch, self.readable = contexts, scratch, readable
        self.progress, self.command = progress, command
        self.evidence: list[str] = []

    def run(self) -> Dispute:
        """Return the result."""
        found = _incomparable(*self.contexts)
        if found is not None:
            return self._result("incomparable", found[1], field=found[0])
        try:
            return self._compare()
        except (Unknown, SandboxError) as error:
            return self._result("inconclusive", str(error))
        except Refuted as error:  # raised by what verifications share: a process that cannot have the recorded settings
            return self._result("inconclusive", error.evidence)

    def _compare(self) -> Dispute:
        self.progress("comparing", 2, 4)
        a, b = (Timeline(context) for context in self.contexts)
        order = Order(self.contexts[0].commitment)
        # (3) The first difference, by bisection; none is looked for between runs that did not begin alike.
        alike = a.prefixes[0] == b.prefixes[0]
        parted = fork(a, b) if alike else None
        # (4) Whose batches are not the seed's, there or before, is wrong without a replay.
        deviant = self._deviant(order, parted)
        # (5) What the recipe makes from the seed, and the step in question, trained again.
        replay = None
        if alike and parted is not None and not deviant:
            replay = Stretch(a, b, order, parted)
        initial, result = self._run(replay)
        field = self._not_the_recipes(initial)
        if field:
            return self._result("incomparable", *self.evidence, field=field)
        if deviant:
            first = min(deviant.values())
            lines = [f"{name}: step {step} was not given the seed's batches" for name, step in deviant.items()]
            return self._result(_answer(set(deviant)), *lines, step=first, since=first)
        if parted is None or replay is None:
            return self._agreed(a, b)
        # (6) What the replay gives, and what each record says.
        assert result is not None
        segment = replay.segment_of(result)
        wrong = {name: replay.wrong(line, segment) for name, line in (("A", a), ("B", b))}
        replayed = Replayed(replay.base, replay.start, replay.first, parted.step, result.opened)
        for name, kinds in wrong.items():
            if kinds:
                self.evidence.append(f"{name}: the {', the '.join(kinds)} of step {parted.step} is not the recipe's")
            else:
                self.evidence.append(f"{name}: what it says of step {parted.step} is the recipe's")
        names = {name for name, kinds in wrong.items() if kinds}
        if not names:
            if not parted.open:
                raise Unknown(f"the records differ at step {parted.step} in what a replay does not show")
            return self._agreed(a, b, replayed)
        return self._result(_answer(names), *self.evidence, step=parted.step, since=replay.since, replayed=replayed)

    def _deviant(self, order: Order, parted: Fork | None) -> dict[str, int]:
        """Return the records, and their steps, that were not given the seed's batches up to the first difference."""
        found = {}
        for name, context in zip("AB", self.contexts, strict=True):
            step = order.deviation(context)
            if step is not None and (parted is None or step <= parted.step + (parted.kind == "end")):
                found[name] = step
        return found

    def _run(self, replay: Stretch | None) -> tuple[UnitResult, UnitResult | None]:
        """Build the initial state in a confined process, and replay there what is in question."""
        context = self.contexts["AB".index(replay.base) if replay else 0]
        context.scratch = self.scratch
        refused = _other_machine(context)
        if refused:
            raise Unknown(refused)
        readable = readable_paths(context.source, context.record.path, None, self.readable)
        replays = Replays(context, job_of(context, self.scratch, readable, None), 1, self.progress, self.command)
        units = [Unit(kind="initial", start=0, end=0, perturb=0, digests=tuple(context.digests[:1]))]
        units += [replay.unit(context)] if replay else []
        self.progress("replaying", 3, 4)
        results = replays.run(units, lambda result: result.failure is not None)
        for result in results:
            if result.failure is not None:
                raise Unknown(f"the replay did not get to its end: {result.failure}")
        if len(results) != len(units) or len(results[0].segments) != 1 or results[0].made is None:
            raise Unknown("the replay process reported something else than it was asked for")
        return results[0], results[1] if replay else None

    def _not_the_recipes(self, initial: UnitResult) -> str:
        """Return what of the beginning is not what the verifier's own recipe declares and makes; "" if all is.

        That training is exact is in the loader that it declares.
        """
        context, made = self.contexts[0], initial.made
        assert made is not None
        for name in ("model", "optimizer", "loader"):
            if getattr(made, name) != getattr(context.commitment, name):
                self.evidence.append(f"the committed {name} is not the one that your recipe declares")
                return name
        roots = [other.segment(0).state.root for other in self.contexts]
        others = [name for name, root in zip("AB", roots, strict=True) if root != initial.segments[0].state.root]
        for name in others:
            self.evidence.append(f"{name}: its initial state is not what your recipe makes from the seed")
        return "initial state" if others else ""

    def _agreed(self, a: Timeline, b: Timeline, replayed: Replayed | None = None) -> Dispute:
        steps = min(a.steps, b.steps)
        longer: Literal["A", "B", ""] = "A" if a.steps > b.steps else "B" if b.steps > a.steps else ""
        line = f"equal in everything that both say of their first {steps} steps"
        return self._result("agree", *self.evidence, line, longer=longer, replayed=replayed)

    def _result(self, outcome: Answer, *evidence: str, **fields: Any) -> Dispute:
        a, b = (
            Side(
                path=str(context.record.path),
                key=keys.key_id(context.commitment.key),
                root=context.rows[-1].chain,
                steps=context.rows[-1].first_step + context.rows[-1].steps,
            )
            for context in self.contexts
        )
        return Dispute(outcome, a, b, tuple(evidence), **fields)


def _other_machine(context: Context) -> str:
    """Return why this machine cannot decide, or "".

    Of exact training, only trainproof itself must be the recorded one. Which packages made its data is a prover's word
    and would excuse it: the samples are opened, and what else decides is what the verifier's recipe declares.
    """
    if not context.claims_exact:
        found = environment_check(context)
        return "" if found.outcome is Outcome.PASS else found.evidence
    recorded, here = context.commitment.environment.trainproof, metadata.version("trainproof")
    return "" if recorded == here else f"recorded by trainproof {recorded}, here is {here}"


def _answer(names: set[str]) -> Answer:
    return "both wrong" if len(names) == 2 else "A wrong" if "A" in names else "B wrong"


__all__ = ["Dispute", "Replayed", "Side", "dispute"]
