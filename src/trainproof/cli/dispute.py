"""``trainproof dispute``: two records of the same training differ; whose is wrong?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, console, progress, rows
from trainproof.verification.printable import printable

if TYPE_CHECKING:
    from trainproof.verification.dispute import Dispute, Side


def dispute(
    a: Annotated[Path, Parameter(name="A", help="A record's folder.")],
    b: Annotated[Path, Parameter(name="B", help="The other record's folder.")],
    /,
    *,
    recipe: Annotated[str, Parameter(help="YOUR copy of the recipe: file.py or file.py:Class.")],
    readable: Annotated[
        tuple[Path, ...], Parameter(help="A file or folder that the recipe reads, beside its own (repeat for more).")
    ] = (),
    json: Json = False,
) -> Result:
    """Find the first step at which two records differ, train it again, and say whose is wrong.

    Both must be of one task: the same recipe, data and shared seed (train --shared). At most the steps between two
    stored states are trained again. The recipe is code and will be run (confined): read it first.

    Exits with 0 if the records agree, 1 if A, B or both are wrong, 3 if they are incomparable or it cannot be found
    out, and 4 if one of them is malformed or not what its prover signed.
    """
    from trainproof.verification.dispute import dispute as decide

    with progress("comparing", quiet=json) as update:
        found = decide(
            a,
            b,
            recipe=recipe,
            readable=list(readable),
            on_progress=lambda what, done, total: update(done, total, what),
        )
    if not json:
        _print(found)
    return found.exit_code, found.to_json()


def _print(found: Dispute) -> None:
    console().print(printable(found.headline(), 400), soft_wrap=True)
    replayed = found.replayed
    again = "nothing"
    if replayed is not None:
        again = (
            f"steps {replayed.first}..{replayed.last}, from the state that {replayed.record} stores in segment "
            f"{replayed.keyframe}; {replayed.opened} samples opened"
        )
    rows(
        [
            ("A", _side(found.a)),
            ("B", _side(found.b)),
            ("evidence", [printable(line, 400) for line in found.evidence] or "—"),
            ("trained again", again),
        ]
    )


def _side(side: Side) -> list[str]:
    return [f"{printable(side.path, 200)}, {side.steps} steps, root {side.root}", f"signed by {side.key}"]
