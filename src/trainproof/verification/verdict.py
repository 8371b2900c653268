"""What a verification says: checks with evidence, and one verdict on two axes (comparison and coverage)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class Outcome(Enum):
    """Of a check: PASS, FAIL (refuted), INCONCLUSIVE (could not be decided), SKIPPED (not asked for)."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


class Verdict(Enum):
    """Of the verification. Only ACCEPT means that the record was verified."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"


EXIT_CODES = {Verdict.ACCEPT: 0, Verdict.REJECT: 1, Verdict.INCONCLUSIVE: 3}


@dataclass(frozen=True)
class Check:
    """One check: its id (V0 to V14), what it asks, its outcome, evidence in words, and its cost."""

    id: str
    title: str
    outcome: Outcome
    evidence: str
    segment: int | None = None
    seconds: float = 0.0
    steps_replayed: int = 0
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnitRow:
    """One stretch between stored states, for the table and the plots. ``chosen``: why it was replayed, or empty."""

    start: int
    end: int
    first_step: int
    last_step: int
    epoch: int
    update_norm: float
    optimizer_change: float
    mean_loss: float
    chosen: tuple[str, ...] = ()
    replay_error: float | None = None  # relative l2 error of the parameters; 0.0 is bitwise
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Cost:
    """Planned before the replay and measured after it."""

    units: int
    steps: int
    estimated_seconds: float
    seconds: float = 0.0
    setup_seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """The whole result. ``write`` renders the self-contained HTML; ``to_json`` is what ``--json`` prints."""

    record: str
    verdict: Verdict
    level: int | None  # 0 to 3; None if nothing holds
    comparison: str  # "bitwise" or "tolerance"
    coverage: str  # "all" or "sampled"
    checks: tuple[Check, ...]
    units: tuple[UnitRow, ...]
    cost: Cost
    policy: dict[str, Any]
    policy_digest: str
    nonce: str
    root: str  # the record's final chain value
    prover: str  # key id
    facts: dict[str, str] = field(
        default_factory=dict
    )  # recipe, dataset, environment: label to value, shown as they are
    caveats: tuple[str, ...] = ()  # what this verdict does not say
    algorithm2: dict[str, Any] = field(default_factory=dict)  # outcome of the paper's Algorithm 2, shown beside
    started: str = ""

    @property
    def exit_code(self) -> int:
        """Return 0 for ACCEPT, 1 for REJECT, 3 for INCONCLUSIVE."""
        return EXIT_CODES[self.verdict]

    @property
    def failed(self) -> Check | None:
        """Return the check that decided a REJECT or INCONCLUSIVE, or None."""
        want = Outcome.FAIL if self.verdict is Verdict.REJECT else Outcome.INCONCLUSIVE
        return None if self.verdict is Verdict.ACCEPT else next((c for c in self.checks if c.outcome is want), None)

    def headline(self) -> str:
        """Return the verdict in one line."""
        if self.verdict is Verdict.ACCEPT:
            return f"ACCEPT, level L{self.level} ({self.comparison}, {self.coverage})"
        check = self.failed
        if check is None:
            return str(self.verdict.value)
        where = "" if check.segment is None else f", segment {check.segment}"
        return f"{self.verdict.value}: {check.id} {check.title}{where}: {check.evidence}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; floats as they are, enums by value."""
        from trainproof.verification.report import to_plain

        return to_plain(self)

    def write(self, path: str | Path) -> Path:
        """Write the self-contained HTML report to ``path`` and return it."""
        from trainproof.verification.report import write_html

        return write_html(self, Path(path))
