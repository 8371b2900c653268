"""Idleness: a paid worker trains honestly but for one step, whose update it leaves out.

The record is what an honest recorder writes of what this process did: the file of the recipe is untouched, and the code
that runs is not. One missing update in thousands does not show in the final model's accuracy.

Caught by a dispute with an honest worker's record at that very step, and by V14 if a unit with it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainproof.errors import UsageError
from trainproof.recording.reader import Record

CAUGHT_BY = "V14"


def spoof(recipe_source: str | Path, out: str | Path, key: str | Path, *, step: int, **options: Any) -> Record:
    """Train an exact recipe (``file.py`` or ``file.py:Class``) without the update of step ``step``, and record it.

    ``options`` are those of ``trainproof.train``. Raises UsageError if the recipe is not of exact training.
    """
    from trainproof import train
    from trainproof.exact.recipe import ExactRecipe
    from trainproof.recording.recipe import load_recipe

    recipe = load_recipe(recipe_source)
    if not isinstance(recipe, ExactRecipe):
        raise UsageError("is not a recipe of exact training", name=str(recipe_source))
    with _without_update(step):
        return train(recipe, out, key=key, self_replay=False, **options)


@contextmanager
def _without_update(idle: int) -> Iterator[None]:
    """The engine's update, replaced by nothing in step ``idle``."""
    from trainproof.exact import engine

    honest: Callable[..., Any] = engine.update

    def update(spec: Any, params: Any, velocities: Any, grads: Any, step: int) -> Any:
        if step == idle:
            return dict(params), dict(velocities)
        return honest(spec, params, velocities, grads, step)

    engine.update = update
    try:
        yield
    finally:
        engine.update = honest
