"""``trainproof bench``: measure trainproof on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, Whole
from trainproof.errors import UsageError


def bench(
    what: Annotated[
        Literal["record", "exact"],
        Parameter(help="What to measure: record (overhead, bytes, replay) or exact (accuracy and time of integers)."),
    ],
    /,
    *,
    quick: Annotated[bool, Parameter(help="Small sizes: try the measurement out. Its figures mean nothing.")] = False,
    rounds: Annotated[
        int | None, Whole, Parameter(help="Interleaved pairs of record, 5 if not given; the median counts.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="An existing folder for record's records meanwhile, else a temporary one.")
    ] = None,
    json: Json = False,
) -> Result:
    """Measure, on this machine, what recording and replaying cost, or exact training against float training."""
    if what == "exact":
        from trainproof.bench import exact

        for name, value in (("--rounds", rounds), ("--out", out)):
            if value is not None:
                raise UsageError("is only for record", name=name, value=str(value), mend="leave it out")
        return 0, exact.main(json_output=False, quick=quick)
    from trainproof.bench import record

    return 0, record.main(
        json_output=False,
        quick=quick,
        rounds=record.ROUNDS if rounds is None else rounds,
        out=None if out is None else str(out),
    )
