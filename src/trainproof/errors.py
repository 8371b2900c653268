"""Every exception that crosses the public API, by whose turn it is to act.

Each carries the offending ``name`` and ``value`` where there is one, and a ``mend``: what to do instead.
``str(error)`` is one line, fit for a terminal. ``exit_code`` is the command line's documented code: 1 refuted,
2 usage, 3 inconclusive, 4 input or output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainproof.verification.verdict import Report

_SHOWN = 120  # characters of a hostile value that an error message repeats


def shorten(value: object) -> str:
    """Return ``value`` as one printable line of bounded length, safe to show on a terminal."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: 2 * _SHOWN])
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class TrainproofError(Exception):
    """Base of all: what is wrong, the ``name`` and ``value`` that are, and how to ``mend`` it."""

    exit_code = 4

    def __init__(self, message: str, *, name: str | None = None, value: Any = None, mend: str | None = None) -> None:
        self.name, self.value, self.mend = name, value, mend
        line = message
        if name is not None:
            line = f"{shorten(name)}: {line}"
        if value is not None:
            line += f" (got {shorten(value)})"
        if mend is not None:
            line += f"; {mend}"
        super().__init__(line)


class UsageError(TrainproofError):
    """The caller's arguments do not fit together."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe (a class or a script) cannot be used as it is."""


class UnsupportedError(UsageError):
    """The training uses something outside the support matrix; ``mend`` names what to use instead."""


class PolicyError(UsageError):
    """The verifier's policy is malformed, has an unknown field, or checks nothing."""


class PlanError(UsageError):
    """The planned record does not fit the disk or the memory."""


class FormatError(UsageError):
    """Formats that cannot hold the sums, or a rate, layer or shape that has no exact form."""


class RangeError(TrainproofError):
    """A value left its range in exact training: in which ``layer``, ``tensor`` and ``step`` (None outside a run)."""

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        tensor: str,
        step: int | None = None,
        value: Any = None,
        mend: str | None = None,
    ) -> None:
        self.layer, self.tensor, self.step = layer, tensor, step
        where = f"{layer} {tensor}" if step is None else f"{layer} {tensor} in step {step}"
        super().__init__(message, name=where, value=value, mend=mend)


class KeyFileError(TrainproofError):
    """A key file is missing, malformed, or of a kind that is not accepted."""


class DatasetError(TrainproofError):
    """The dataset cannot be committed to: a sample of an unsupported type, or an index out of range."""


class RecordError(TrainproofError):
    """A record is malformed, truncated, oversized or not canonical: nothing of it is used."""


class LimitError(RecordError):
    """A size named by the input is beyond ``trainproof.limits``."""


class SignatureError(RecordError):
    """A signature does not verify, or is by another key than the one expected."""


class DisputedRecordError(RecordError):
    """One of two disputed records cannot be used: it is malformed, or not what its prover signed. ``which``: A or B."""

    def __init__(self, which: str, message: str) -> None:
        self.which = which
        super().__init__(f"record {which}: {message}")


class ResumeError(RecordError):
    """A record cannot be resumed: it is sealed, or belongs to another run."""


class SandboxError(TrainproofError):
    """The operating system cannot confine the replay as the policy asks."""

    exit_code = 3


class ReplayError(TrainproofError):
    """The recipe did not run to the end of a segment when it was re-entered."""


class VerificationError(TrainproofError):
    """The verdict is not ACCEPT; ``report`` says which check decided and why."""

    exit_code = 1

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(report.headline())
        self.exit_code = report.exit_code
