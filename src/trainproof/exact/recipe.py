"""Door 1's recipe for exact training: architecture, data and numbers; everything else is docs/exact.md.

A verifier replays such a recipe on any machine: what it computes does not depend on threads, instruction set or
versions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainproof.errors import DatasetError, RecipeError
from trainproof.exact.order import AffineOrder
from trainproof.exact.spec import Format, Spec, Velocity
from trainproof.recording.optimizers import Constant, Optimizer, Pieces, Schedule
from trainproof.recording.recipe import Recipe

if TYPE_CHECKING:
    import torch
_FIXED = ("accumulate", "augment", "clip_norm", "drop_last", "ema", "precision")
_OWN = ("optimizer", *_FIXED)


class ExactRecipe(Recipe):
    """Subclass this: ``build``, ``dataset`` and ``lr`` are required, the rest has defaults.

    ``build()`` returns a plain ``nn.Sequential``: only its architecture counts, the initial weights are section 7's.
    ``dataset()`` returns a ``TensorDataset`` of images, uint8 (N, C, H, W), and integer labels (N,) from 0.
    ``batch_size`` is a power of two; ``lr`` a float m·2^-e, or a list of (first step, such a float); ``momentum`` is
    None or 1 − 2^-j; ``loss`` is 'cross_entropy' or 'mean_squared_error'; ``activation``, ``weight`` and ``error`` are
    the formats, which ``layers`` overrides by a layer's name, as in ``compile_net``. ``workers`` loader processes.
    """

    lr: float | Sequence[tuple[int, float]]
    momentum: float | None = None
    loss: str = "cross_entropy"  # type: ignore[assignment]  # a name: the function is the specification's
    input_exponent: int = 8
    activation: Format = Format(exponent=10, bits=18)
    weight: Format = Format(exponent=16, bits=18)
    error: Format | None = None
    layers: Mapping[str, Mapping[str, Format | Velocity]] = {}

    def validate(self) -> None:
        """Raise RecipeError naming the first attribute that cannot be used."""
        name = type(self).__name__
        for attribute in _OWN:
            if getattr(self, attribute, None) is not getattr(Recipe, attribute, None):
                mend = "leave it out"
                raise RecipeError(f"{attribute} is not part of exact training", name=name, mend=mend)
        if not hasattr(self, "lr"):
            raise RecipeError("lr is missing", name=name, mend="set it to a power of two, as 2**-6")
        size = self.batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size & (size - 1):
            raise RecipeError("batch_size must be a power of two", name=name, value=size)
        if not isinstance(self.workers, int) or isinstance(self.workers, bool) or self.workers < 0:
            raise RecipeError("workers must be an integer ≥ 0", name=name, value=self.workers)

    def spec(self, dataset: Any = None) -> Spec:
        """Return the compiled specification (docs/exact.md section 10), from ``dataset`` or ``self.dataset()``.

        Raises FormatError if the formats cannot hold it, DatasetError as ``tensors_of`` does.
        """
        import torch

        from trainproof.exact.compile import compile_net

        images, _ = tensors_of(self.dataset() if dataset is None else dataset)
        with torch.random.fork_rng(devices=[]):  # the layers draw weights that nobody uses
            net = self.build()
        channels, height, width = images.shape[1:]
        return compile_net(
            net,  # type: ignore[arg-type]  # it refuses everything but a Sequential
            input_shape=(channels, height, width),
            batch_size=self.batch_size,
            lr=self.lr,
            loss=self.loss,  # type: ignore[arg-type]
            momentum=self.momentum,
            input_exponent=self.input_exponent,
            activation=self.activation,
            weight=self.weight,
            error=self.error,
            layers=self.layers,
        )


def tensors_of(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (images uint8 (N, C, H, W), labels (N,) integer) of a recipe's dataset, all as it must be.

    Raises DatasetError for anything else.
    """
    import torch
    from torch.utils.data import TensorDataset

    if type(dataset) is not TensorDataset or len(dataset.tensors) != 2:
        value = type(dataset).__name__
        raise DatasetError("must be a TensorDataset of images and labels", name="dataset", value=value)
    images, labels = dataset.tensors
    if images.dtype != torch.uint8 or images.dim() != 4:
        value = f"{images.dtype}, shape {tuple(images.shape)}"
        raise DatasetError("must be uint8 (N, C, H, W)", name="images", value=value)
    if labels.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8) or labels.dim() != 1:
        value = f"{labels.dtype}, shape {tuple(labels.shape)}"
        raise DatasetError("must be integers (N,)", name="labels", value=value)
    return images, labels


@dataclass(frozen=True)
class Exact(Optimizer):
    """The optimizer of an exact recipe, as data: what a verifier recomputes, and the specification's digest."""

    momentum: float = 0.0
    spec: str = ""

    @classmethod
    def of(cls, spec: Spec) -> Exact:
        """Return the optimizer of a specification."""
        from trainproof.exact.module import momentum_of

        return cls(lr=schedule_of(spec), momentum=momentum_of(spec), spec=spec.digest())

    def create(self, model: torch.nn.Module, steps_per_epoch: int) -> torch.optim.Optimizer:
        """Return ``ExactSGD`` over an ``ExactNet``."""
        from trainproof.exact.module import ExactNet, ExactSGD

        assert isinstance(model, ExactNet)
        return ExactSGD(model)

    def set_step(self, optimizer: torch.optim.Optimizer, step: int, steps_per_epoch: int) -> None:
        """Set the number of the step, from which its rate follows."""
        from trainproof.exact.module import ExactSGD

        assert isinstance(optimizer, ExactSGD)
        optimizer.number = step

    def describe(self) -> dict[str, Any]:
        """Return the optimizer as data, its schedule and the specification's digest included."""
        schedule = self.schedule.describe()
        return {"optimizer": "ExactSGD", "lr": schedule, "momentum": self.momentum, "spec": self.spec}


def schedule_of(spec: Spec) -> Schedule:
    """Return the rates of a specification as a schedule: binary64 numbers, exactly."""
    pieces = tuple((first, math.ldexp(m, -spec.rate.exponent)) for first, m in spec.rate.pieces)
    return Constant(pieces[0][1]) if len(pieces) == 1 else Pieces(pieces[0][1], pieces)


class AffineBatches:
    """Batches of the order of docs/exact.md section 6; ``epoch`` is the number of the stretch of ``len`` batches.

    Positions count on from one stretch to the next, so a batch may cross the end of a pass over the samples.
    """

    drop_last = True

    def __init__(self, seed: bytes, size: int, batch_size: int) -> None:
        self.order, self.size, self.batch_size = AffineOrder(seed, size), size, batch_size
        self.epoch = 0

    def __len__(self) -> int:
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for b in range(len(self)):
            yield self.order.indices((self.epoch * len(self) + b) * self.batch_size, self.batch_size)


def prepare(recipe: ExactRecipe, dataset: Any) -> Spec:
    """Return the recipe's specification after looking at everything that training would stumble over.

    Raises FormatError, DatasetError or RecipeError.
    """
    from trainproof.exact import bounds

    images, labels = tensors_of(dataset)
    spec = recipe.spec(dataset)
    bounds.check(spec)
    if (spec.batch_size, tuple(spec.input.shape)) != (recipe.batch_size, tuple(images.shape[1:])):
        raise RecipeError("spec() is not of this batch and these images", name=type(recipe).__name__)
    recipe.steps_per_epoch(len(images))
    low, high = (int(v) for v in labels.aminmax())
    if not 0 <= low <= high < spec.classes:
        value = f"{low} to {high}"
        raise DatasetError(f"must be 0 to {spec.classes - 1}", name="labels", value=value)
    return spec


def check_weights(net: torch.nn.Module, start: Mapping[str, torch.Tensor]) -> None:
    """Look at the weights that a parent record gave an ``ExactNet``: they must be integers in range.

    ``start`` are the parent's own tensors: a float network's may be integers, and are refused all the same. Raises
    RecipeError, FormatError or RangeError.
    """
    import torch

    from trainproof.exact import engine
    from trainproof.exact.module import ExactNet

    assert isinstance(net, ExactNet)
    for name, tensor in start.items():
        if tensor.dtype != torch.float64:
            problem = "the parent's final model is not of exact training"
            raise RecipeError(problem, name=name, value=str(tensor.dtype))
    engine.check_parameters(net.spec, net.values())
