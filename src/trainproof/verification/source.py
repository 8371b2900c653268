"""The verifier's own things: its copy of the recipe, and where a replay may read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from trainproof.attest import canonical
from trainproof.errors import RecordError, UsageError
from trainproof.recording.closure import closure_of
from trainproof.recording.format import Closure, Commitment
from trainproof.recording.recipe import Recipe, source_of
from trainproof.replay.job import RecipeSource

SALT_BYTES = 32
DATA_VARIABLE = "TRAINPROOF_DATA"
"""Folders that recipes read, separated as in PATH: handed to replays, and readable there."""


def resolve(
    recipe: Recipe | str | Path, commitment: Commitment, arguments: Iterable[str]
) -> tuple[RecipeSource, Closure]:
    """Return the verifier's copy of the recipe and its closure.

    ``recipe`` is an instance, ``file.py`` or ``file.py:Class``. The record only says which of the file's doors it came
    through; a class that the caller did not name is the committed one, looked up in the caller's file. Raises
    RecipeError if there is no such file, UsageError if an instance is given for a record of a script.
    """
    door = commitment.closure.door
    if isinstance(recipe, Recipe):
        source = source_of(recipe)
        if door != "recipe":
            raise UsageError(
                f"the record was made by door '{door}', not from a recipe class", name="recipe", mend="give the script"
            )
    else:
        path, _, name = str(recipe).partition(":")
        if not Path(path).is_file():
            raise UsageError("no such file", name="recipe", value=path, mend="give your own copy of the recipe")
        if name and door != "recipe":
            raise UsageError(f"the record was made by door '{door}'", name="recipe", value=name, mend="give the script")
        qualname = (name or commitment.closure.qualname) if door == "recipe" else None
        source = RecipeSource(path=str(Path(path).resolve()), qualname=qualname, arguments=list(arguments))
    return source, closure_of(source.path, door, source.qualname, source.arguments)


def salts_of(path: str | Path) -> Path:
    """Return the path of a salt secret after looking at it. Raises RecordError unless it is a file of 32 bytes: by
    another one, every sample of an honest record would seem to be forged.
    """
    path = Path(path)
    size = len(canonical.read_bytes(path, SALT_BYTES, str(path)))
    if size != SALT_BYTES:
        raise RecordError(f"a salt secret has {SALT_BYTES} bytes", name=str(path), value=size)
    return path


def readable_paths(source: RecipeSource, record: Path, salts: Path | None, more: Iterable[str | Path]) -> list[str]:
    """Return absolute paths that replays may read: the record, the recipe's folder, the salts, and what the caller
    adds.
    """
    found = [record, Path(source.path).parent, *map(Path, more)]
    found += [Path(entry) for entry in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if entry]
    if salts is not None:
        found.append(salts)
    return sorted({str(path.resolve()) for path in found})
