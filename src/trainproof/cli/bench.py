"""``trainproof bench``: measure trainproof on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, Whole


def bench(
    what: Annotated[Literal["record"], Parameter(help="What to measure: record (overhead, bytes, replay).")],
    /,
    *,
    quick: Annotated[bool, Parameter(help="Small sizes: try the measurement out. Its figures mean nothing.")] = False,
    rounds: Annotated[int, Whole, Parameter(help="Interleaved pairs; the median counts.", show_default=True)] = 5,
    out: Annotated[
        Path | None, Parameter(help="An existing folder for records meanwhile, else a temporary one.")
    ] = None,
    json: Json = False,
) -> Result:
    """Measure the cost of recording and of replaying on this machine, against the same loop unrecorded."""
    from trainproof.bench.record import main

    return 0, main(json_output=False, quick=quick, rounds=rounds, out=None if out is None else str(out))
