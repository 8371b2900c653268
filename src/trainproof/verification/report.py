"""A verification's result for reading: JSON, a terminal, and one self-contained HTML file.

Everything that came from a record is hostile here. The page escapes all of it, shows control characters instead of
obeying them, bounds every length, contains no script, and forbids itself (Content-Security-Policy) to load anything.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof.errors import TrainproofError
from trainproof.verification.printable import duration, number, plain, printable
from trainproof.verification.verdict import Check, Outcome, Report, UnitRow, Verdict

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 400  # units in the page's table; the JSON has all of them

LEVELS = (
    ("L0", "integrity", "the record is whole: signed by this key, and unchanged since"),
    ("L1", "sampled", "stretches of the training, chosen by the verifier afterwards, were replayed"),
    ("L2", "tolerance", "every stretch was replayed and agrees within a tolerance (not reported by this version)"),
    ("L3", "bitwise", "every step was replayed and agrees in every bit"),
    ("L4", "zero knowledge", "every step is proved without showing data or weights (not reported by this version)"),
)

NOT_SAID = (
    "Where the data came from. The dataset's root says which bytes were used; labels may be another model's answers, "
    "and where data determine the weights (tiny or convex models) data can be made to fit them. Pin the root if you "
    "know it.",
    "That this was the only run. Whoever trains with many seeds can show the best.",
    "That the recipe is harmless. It was the verifier's own copy and the verifier's to read; weights can hide in code.",
    "Anything to those who do not trust this verifier. A sample convinces others only if its nonce was not the "
    "verifier's to choose; record and recipe are all it takes to run the verification again.",
    "When the training happened. Times in a record are its prover's word.",
)

_SYMBOLS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.INCONCLUSIVE: "?", Outcome.SKIPPED: "–"}
_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.INCONCLUSIVE: "yellow", Outcome.SKIPPED: "dim"}
_VERDICT_STYLES = {Verdict.ACCEPT: "bold green", Verdict.REJECT: "bold red", Verdict.INCONCLUSIVE: "bold yellow"}


def to_plain(report: Report) -> dict[str, Any]:
    """Return JSON types: enums by value, floats as numbers unless they are not finite ("NaN", "Infinity"), all units.

    Beside the fields there are ``headline``, ``failed`` (the deciding check or None) and ``exit_code``.
    """

    def factory(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value.value if isinstance(value, Enum) else value for key, value in pairs}

    result = dataclasses.asdict(report, dict_factory=factory)
    failed = report.failed
    result["failed"] = None if failed is None else dataclasses.asdict(failed, dict_factory=factory)
    result["headline"] = report.headline()
    result["exit_code"] = report.exit_code
    converted: dict[str, Any] = plain(result)
    return converted


def write_html(report: Report, path: Path) -> Path:
    """Write the page to ``path``, by way of a temporary file beside it: either all of it is there or nothing.

    Raises TrainproofError (exit code 4) if it cannot be written.
    """
    page = render(report).encode("utf-8")
    path = Path(path)
    try:
        temporary = path.with_name(f".tmp-{secrets.token_hex(8)}-{path.name}"[:200])
        with temporary.open("xb") as file:
            try:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainproofError(f"the report cannot be written: {reason}", name=str(path)) from None
    return path


def render(report: Report) -> str:
    """Return the whole page."""
    import jinja2

    from trainproof.verification import plots

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(show=printable, number=number, duration=duration)
    text = resources.files("trainproof.verification").joinpath("templates/report.html.j2").read_text("utf-8")
    rows = [row for row in report.units if row.chosen]
    rows.sort(key=lambda row: (row.outcome is Outcome.PASS, row.start))
    return environment.from_string(text).render(
        report=report,
        headline=report.headline(),
        failed=report.failed,
        levels=LEVELS,
        says=says(report),
        not_said=[*report.caveats, *NOT_SAID],
        symbols=_SYMBOLS,
        decided=_decided(report),
        skipped=[check for check in report.checks if check.outcome is Outcome.SKIPPED],
        plots=plots.draw(report),
        rows=sorted(rows[:ROWS], key=lambda row: row.start),
        hidden_rows=max(0, len(rows) - ROWS),
        covered=_covered(report),
        policy=list(flatten(report.policy)),
        algorithm2=list(flatten(report.algorithm2)),
    )


def says(report: Report) -> list[str]:
    """Return what the verdict says, as sentences."""
    if report.verdict is Verdict.REJECT:
        check = report.failed
        where = "" if check is None or check.segment is None else f" in segment {check.segment}"
        name = "a check" if check is None else f"check {check.id}"
        return [
            f"The record is refuted: {name} failed{where}. What it claims does not follow from this recipe on this "
            "data, under the recorded settings.",
            "REJECT is permanent: no later verification of this record undoes it.",
            "It does not say why. A training that was not deterministic gives the same verdict; the recorder replays "
            "segments of its own before it seals, and reports that.",
        ]
    if report.verdict is Verdict.INCONCLUSIVE:
        return [
            "Nothing was verified, and nothing refuted. The check that could not be decided is named above.",
            "It is not a softer ACCEPT: until another attempt decides it, the record is unverified.",
        ]
    units, steps, total = _covered(report)
    said = [
        "The record is whole: it was signed by the key below, and no byte has changed since.",
        f"{units} of {len(report.units)} stretches ({steps:,} of {total:,} steps) were run again, with the "
        "verifier's own copy of the recipe, and agree in every bit: weights, buffers, optimizer state, random "
        "generators, batches and logged losses.",
    ]
    if report.coverage == "all":
        said.append("There is no step that was not replayed.")
    else:
        said.append(
            "The stretches were chosen after the record was fixed, from the nonce below. What was not replayed is "
            "covered by probability: see the selection's evidence."
        )
    return said


def flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return the leaves of nested dicts as (dotted name, value)."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, float):
            yield name, number(value, 6)
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(number(v, 6) if isinstance(v, float) else str(v) for v in value) or "—"
        else:
            yield name, "—" if value in (None, "") else str(value)


def print_report(report: Report, console: Console | None = None) -> None:
    """Print verdict, checks and cost to a terminal (plain text where it is none)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for name in ("", "check", "evidence", "segment", "time"):
        table.add_column(name, justify="right" if name in ("segment", "time") else "left", overflow="fold")
    for check in _decided(report):
        style = _STYLES[check.outcome]
        table.add_row(
            Text(_SYMBOLS[check.outcome], style),
            Text(printable(f"{check.id} {check.title}", 80), style),
            Text(printable(check.evidence, 400)),
            Text("" if check.segment is None else str(check.segment)),
            Text(duration(check.seconds) if check.seconds else ""),
        )
    console.print(table)
    if len(_decided(report)) < len(report.checks):
        console.print(Text(f"–   {len(report.checks) - len(_decided(report))} more checks were not run", "dim"))
    for caveat in report.caveats:
        console.print(Text(f"  note: {printable(caveat, 400)}", "dim"), soft_wrap=True)
    units, steps, total = _covered(report)
    replayed = f"replayed {units} of {len(report.units)} units, {steps} of {total} steps"
    console.print(Text(f"{replayed}, in {duration(report.cost.seconds)}"), soft_wrap=True)
    console.print(Text(printable(report.headline(), 600), _VERDICT_STYLES[report.verdict]), soft_wrap=True)


def _decided(report: Report) -> list[Check]:
    """Return the checks that were run."""
    return [check for check in report.checks if check.outcome is not Outcome.SKIPPED]


def _covered(report: Report) -> tuple[int, int, int]:
    """Return units replayed, steps replayed, and steps in all."""
    replayed = [row for row in report.units if row.outcome is not None]
    return len(replayed), sum(map(_length, replayed)), sum(map(_length, report.units))


def _length(row: UnitRow) -> int:
    return row.last_step - row.first_step + 1


__all__ = ["Check", "flatten", "print_report", "render", "says", "to_plain", "write_html"]
