"""Exact integer training: the same bits on every machine (docs/exact.md).

``trainproof.exact.Recipe`` is trained, recorded and verified by ``trainproof.train`` and ``trainproof.verify``.
Importing this package is light: torch is imported by the modules that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Format": ("trainproof.exact.spec", "Format"),
    "Recipe": ("trainproof.exact.recipe", "ExactRecipe"),
    "Spec": ("trainproof.exact.spec", "Spec"),
    "Trainer": ("trainproof.exact.trainer", "Trainer"),
    "Velocity": ("trainproof.exact.spec", "Velocity"),
    "compile_net": ("trainproof.exact.compile", "compile_net"),
    "from_float": ("trainproof.exact.convert", "from_float"),
    "to_float": ("trainproof.exact.convert", "to_float"),
}

__all__ = ["Format", "Recipe", "Spec", "Trainer", "Velocity", "compile_net", "from_float", "to_float"]

if TYPE_CHECKING:
    from trainproof.exact.compile import compile_net
    from trainproof.exact.convert import from_float, to_float
    from trainproof.exact.recipe import ExactRecipe as Recipe
    from trainproof.exact.spec import Format, Spec, Velocity
    from trainproof.exact.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'trainproof.exact' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
