"""What a check is: a function of the context that passes with evidence, or refutes, or cannot decide."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainproof.verification.verdict import Check, Outcome

if TYPE_CHECKING:
    from trainproof.verification.context import Context


class Refuted(Exception):
    """The record cannot be what it says it is: ``evidence`` in words, and the segment where it shows, if one does."""

    outcome = Outcome.FAIL

    def __init__(self, evidence: str, segment: int | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(evidence)
        self.evidence, self.segment, self.details = evidence, segment, details


class Undecided(Refuted):
    """It could not be found out; never a softer acceptance."""

    outcome = Outcome.INCONCLUSIVE


CheckFunction = Callable[["Context"], Check]


def check(identity: str, title: str) -> Callable[[Callable[[Context], str]], CheckFunction]:
    """Turn a function that returns evidence, or raises Refuted or Undecided, into one that returns a timed Check."""

    def decorate(function: Callable[[Context], str]) -> CheckFunction:
        def run(context: Context) -> Check:
            began = time.perf_counter()
            segment: int | None = None
            details: tuple[str, ...] = ()
            try:
                outcome, evidence = Outcome.PASS, function(context)
            except Refuted as refuted:
                outcome, evidence = refuted.outcome, refuted.evidence
                segment, details = refuted.segment, refuted.details
            return Check(
                id=identity,
                title=title,
                outcome=outcome,
                evidence=evidence,
                segment=segment,
                seconds=time.perf_counter() - began,
                details=details,
            )

        run.id, run.title = identity, title  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
        return run

    return decorate


def skipped(function: CheckFunction, why: str) -> Check:
    """Return the entry of a check that was not run."""
    return Check(id=function.id, title=function.title, outcome=Outcome.SKIPPED, evidence=why)  # type: ignore[attr-defined]
