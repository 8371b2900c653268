"""``trainproof check``: can this training be recorded and replayed?"""

from __future__ import annotations

import dataclasses
from typing import Annotated

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Rest, Result, console
from trainproof.errors import UsageError
from trainproof.verification.printable import printable


def check(
    recipe: Annotated[str | None, Parameter(help="A recipe, file.py or file.py:Class.", show=True)] = None,
    /,
    *,
    json: Json = False,
    rest: Rest = None,
) -> Result:
    """Say whether a training can be recorded, and what to change if not.

    A recipe is built and one batch of it is trained. A script (after --) runs up to its first training batch. Of exact
    training, the specification is shown: formats, shifts, and how far every sum is from the limit.
    """
    if (recipe is None) == (rest is None):
        raise UsageError("give a recipe, or a command after --, not both", name="check")
    if recipe is not None:
        from trainproof.recording.check import check_recipe

        findings = check_recipe(recipe)
    else:
        from trainproof.recording.launch import check_command

        findings = check_command(rest or [])
    if not json:
        out = console()
        for finding in findings:
            text = f"✗ {printable(finding.name, 120)}: {printable(finding.problem, 400)}"
            out.print(f"{text}\n  instead: {printable(finding.mend, 400)}", soft_wrap=True)
        if not findings:
            out.print("✓ this training can be recorded and replayed")
            specification = _specification(recipe) if recipe is not None else ""
            out.print(specification, soft_wrap=True, markup=False, highlight=False, end="")
    code = UsageError.exit_code if findings else 0
    return code, {"recordable": not findings, "findings": [dataclasses.asdict(f) for f in findings]}


def _specification(recipe: str) -> str:
    """Return the table of an exact recipe's specification; empty for another recipe."""
    from trainproof.exact.recipe import ExactRecipe
    from trainproof.exact.table import table
    from trainproof.recording.recipe import load_recipe

    loaded = load_recipe(recipe)
    return f"\n{table(loaded.spec())}" if isinstance(loaded, ExactRecipe) else ""
