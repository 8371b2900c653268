"""Door 1: a recipe is a class with a model, a dataset and a loss; everything else about it is data.

``trainproof.train`` drives the loop. Initial weights, sample order and augmentation derive from one seed that the
prover does not choose alone (``derive_seed``).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trainproof import _core
from trainproof.attest import canonical
from trainproof.errors import RecipeError
from trainproof.recording.chain import digest_of
from trainproof.recording.format import Commitment, PublicKey
from trainproof.recording.optimizers import Optimizer
from trainproof.replay.imports import SourceLoader
from trainproof.replay.job import RecipeSource

if TYPE_CHECKING:
    import torch


class Recipe:
    """Subclass this: ``optimizer``, ``build``, ``dataset`` and ``loss`` are required, the rest has defaults.

    Class attributes are data that the verifier reads in its own copy:
    ``batch_size`` samples a batch; ``drop_last`` an incomplete batch at an epoch's end; ``accumulate`` batches a step;
    ``clip_norm`` maximal l2 norm of the gradient or None; ``precision`` 'float32' or 'bfloat16' (autocast on the CPU or
    GPU); ``ema`` decay of an averaged copy of the weights or None; ``workers`` loader processes.
    """

    optimizer: Optimizer
    batch_size: int = 32
    drop_last: bool = True
    accumulate: int = 1
    clip_norm: float | None = None
    precision: str = "float32"
    ema: float | None = None
    workers: int = 0
    augment: Any = None

    def build(self) -> torch.nn.Module:
        """Return the model. Its random fills come from the run's seed (trainproof.seeded)."""
        raise RecipeError("build() is missing", name=type(self).__name__)

    def dataset(self) -> Any:
        """Return a map-style dataset: ``len`` and ``[index]``, the same sample each time."""
        raise RecipeError("dataset() is missing", name=type(self).__name__)

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        """Return the scalar loss of a batch."""
        raise RecipeError("loss(model, batch) is missing", name=type(self).__name__)

    def validate(self) -> None:
        """Raise RecipeError naming the first attribute that cannot be used."""
        name = type(self).__name__
        if not isinstance(getattr(self, "optimizer", None), Optimizer):
            raise RecipeError(
                "optimizer is missing or not data", name=name, mend="set it to trainproof.SGD(…), Adam(…) or AdamW(…)"
            )
        for attribute, least in (("batch_size", 1), ("accumulate", 1), ("workers", 0)):
            value = getattr(self, attribute)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise RecipeError(f"{attribute} must be an integer ≥ {least}", name=name, value=value)
        if self.precision not in ("float32", "bfloat16"):
            raise RecipeError("precision must be 'float32' or 'bfloat16'", name=name, value=self.precision)
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise RecipeError("clip_norm must be positive or None", name=name, value=self.clip_norm)
        if self.ema is not None and not 0 < self.ema < 1:
            raise RecipeError("ema must lie between 0 and 1", name=name, value=self.ema)

    def steps_per_epoch(self, samples: int) -> int:
        """Return the optimizer steps that one pass over ``samples`` takes, at least 1."""
        batches = samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)
        if batches < 1:
            raise RecipeError(
                f"a batch does not fit the dataset of {samples} samples", name="batch_size", value=self.batch_size
            )
        return max(1, batches // self.accumulate)


class SeededBatches:
    """Batches of the seeded order (docs/hashing.md section 6); the pass is given by ``epoch``."""

    def __init__(self, seed: bytes, size: int, batch_size: int, drop_last: bool) -> None:
        self.seed, self.size, self.batch_size, self.drop_last = seed, size, batch_size, drop_last
        self.epoch = 0

    def __len__(self) -> int:
        return self.size // self.batch_size if self.drop_last else -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = _core.permutation(self.seed, self.epoch, self.size)
        for b in range(len(self)):
            yield order[b * self.batch_size : (b + 1) * self.batch_size].tolist()


def derive_seed(dataset_root: str, closure: str, key: PublicKey | None, every: int, nonce: str) -> str:
    """Return the run's seed in hexadecimal: H(dataset root, closure digest, prover key, every, nonce).

    The prover's key is in it, so that nobody can sign another's record as their own: W_0 would not fit. It is None in a
    task's shared seed, by which several provers train the same.
    """
    return digest_of("seed", canonical.encode([dataset_root, closure, key, every, nonce]))


def seed_of(commitment: Commitment) -> str:
    """Return the seed that follows from what a commitment says, in hexadecimal."""
    key = None if commitment.seed.source == "task" else commitment.key
    return derive_seed(commitment.dataset.root, commitment.closure.digest, key, commitment.every, commitment.seed.nonce)


def load_recipe(spec: str | Path) -> Recipe:
    """Return an instance of the recipe named ``file.py`` or ``file.py:Class``.

    The file is imported under its own name, so ``if __name__ == "__main__"`` blocks do not run. Raises RecipeError if
    there is no such file, no or more than one recipe in it, or its class needs arguments.
    """
    path, _, wanted = str(spec).partition(":")
    module = load_module(Path(path))
    own = [
        v
        for v in vars(module).values()
        if inspect.isclass(v) and issubclass(v, Recipe) and v is not Recipe and v.__module__ == module.__name__
    ]
    named = {c.__qualname__: c for c in own}
    if wanted and wanted not in named:
        raise RecipeError(f"no recipe of this name; found {sorted(named)}", name=f"{path}:{wanted}")
    if not wanted and len(own) != 1:
        raise RecipeError(f"holds {len(own)} recipes", name=path, mend=f"name one: {path}:Class")
    cls = named[wanted] if wanted else own[0]
    try:
        recipe = cls()
    except TypeError as error:
        raise RecipeError(f"needs arguments: {error}", name=cls.__name__, mend="use class attributes") from None
    recipe.validate()
    return recipe


def load_module(path: Path) -> ModuleType:
    """Import a source file as a module of its own name, with its folder on the path."""
    path = path.resolve()
    name = f"_trainproof_recipe_{path.stem}"
    # From source always: bytecode beside it may say something else.
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
    if not path.is_file() or spec is None or spec.loader is None:
        raise RecipeError("no such Python file", name=str(path))
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def source_of(recipe: Recipe) -> RecipeSource:
    """Return where a recipe instance's class comes from. Raises RecipeError if that is not a file at module level."""
    cls = type(recipe)
    try:
        path = inspect.getsourcefile(cls)
    except (TypeError, OSError):
        path = None
    if path is None or "<locals>" in cls.__qualname__ or not Path(path).is_file():
        raise RecipeError(
            "its source is not a file", name=cls.__name__, mend="define it at the top level of a .py file"
        )
    changed = dict(vars(recipe))
    if changed:
        raise RecipeError(
            "instance attributes are not part of the recipe", name=cls.__name__, value=changed, mend="make a subclass"
        )
    return RecipeSource(path=str(Path(path).resolve()), qualname=cls.__qualname__, arguments=[])
