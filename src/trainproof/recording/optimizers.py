"""Door 1's optimizers and learning-rate schedules: data from an allow-list, so that a verifier can recompute every
step's hyperparameters without running anything (check V2).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainproof.errors import RecipeError
from trainproof.recording.format import Tree
from trainproof.recording.tree import to_tree

if TYPE_CHECKING:
    import torch


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise RecipeError("must be a positive number", name=name, value=value)


@dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of the step. Subclasses define ``at(step, steps_per_epoch)``."""

    lr: float

    def __post_init__(self) -> None:
        _positive(lr=self.lr)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of step ``step`` (from 0)."""
        raise RecipeError("is not a schedule that can be used", name=type(self).__name__, mend="use Constant or Cosine")

    def describe(self) -> dict[str, Any]:
        """Return the schedule as data."""
        return {"schedule": type(self).__name__, **vars(self)}


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step."""

    def at(self, step: int, steps_per_epoch: int) -> float:
        return float(self.lr)


@dataclass(frozen=True)
class _Decay(Schedule):
    """From ``lr`` to ``end`` over ``epochs``, after a linear warm-up of ``warmup`` steps; then ``end``."""

    epochs: float
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        _positive(lr=self.lr, epochs=self.epochs)
        if self.end < 0 or self.warmup < 0:
            raise RecipeError("must not be negative", name="end, warmup", value=(self.end, self.warmup))

    def at(self, step: int, steps_per_epoch: int) -> float:
        if step < self.warmup:
            return float(self.lr) * (step + 1) / self.warmup
        total = max(1.0, self.epochs * steps_per_epoch - self.warmup)
        return self._curve(min(1.0, (step - self.warmup) / total))

    def _curve(self, part: float) -> float:
        """Return the rate after ``part`` (0 to 1) of the decay."""
        return self.lr + (self.end - self.lr) * part


@dataclass(frozen=True)
class Cosine(_Decay):
    """Half a cosine from ``lr`` to ``end`` over ``epochs``, after a warm-up of ``warmup`` steps; then ``end``."""

    def _curve(self, part: float) -> float:
        return self.end + (self.lr - self.end) * 0.5 * (1.0 + math.cos(math.pi * part))


@dataclass(frozen=True)
class Linear(_Decay):
    """A straight line from ``lr`` to ``end`` over ``epochs``, after a linear warm-up of ``warmup`` steps."""


@dataclass(frozen=True)
class Steps(Schedule):
    """``lr`` times ``gamma`` at each of ``milestones`` (in epochs)."""

    milestones: tuple[float, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _positive(lr=self.lr, gamma=self.gamma)

    def at(self, step: int, steps_per_epoch: int) -> float:
        passed = sum(step >= m * steps_per_epoch for m in self.milestones)
        return float(self.lr) * float(self.gamma) ** passed


@dataclass(frozen=True)
class Pieces(Schedule):
    """Constant in pieces, by step: ``pieces`` are (first step, rate), ascending; the first begins at step 0."""

    pieces: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        firsts = [first for first, _ in self.pieces]
        if not firsts or firsts[0] != 0 or firsts != sorted(set(firsts)):
            raise RecipeError("must begin at step 0 and ascend", name="pieces", value=self.pieces)
        for _, rate in self.pieces:
            _positive(lr=rate)
        if self.lr != self.pieces[0][1]:
            raise RecipeError("must be the first piece's rate", name="lr", value=self.lr)

    def at(self, step: int, steps_per_epoch: int) -> float:
        return float(self.pieces[bisect_right(self.pieces, step, key=lambda piece: piece[0]) - 1][1])


@dataclass(frozen=True)
class Optimizer:
    """An optimizer as data. ``lr`` is a number or a Schedule; ``no_decay``: biases and norms do not decay."""

    lr: float | Schedule
    weight_decay: float = 0.0
    no_decay: bool = False

    @property
    def schedule(self) -> Schedule:
        """Return the learning-rate schedule."""
        return self.lr if isinstance(self.lr, Schedule) else Constant(float(self.lr))

    def create(self, model: torch.nn.Module, steps_per_epoch: int) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters, with the rate of step 0."""
        trainable = [p for p in model.parameters() if p.requires_grad]
        if not trainable:
            raise RecipeError("has no trainable parameters", name="model")
        groups: list[dict[str, Any]] = [{"params": trainable}]
        if self.no_decay:
            decayed = [p for p in trainable if p.dim() > 1]
            plain = [p for p in trainable if p.dim() <= 1]
            groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        return self._torch([g for g in groups if g["params"]], self.schedule.at(0, steps_per_epoch))

    def _torch(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        raise RecipeError(
            "is not an optimizer that can be used", name=type(self).__name__, mend="use SGD, Adam or AdamW"
        )

    def set_step(self, optimizer: torch.optim.Optimizer, step: int, steps_per_epoch: int) -> None:
        """Set the learning rate of step ``step``."""
        lr = self.schedule.at(step, steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr

    def describe(self) -> dict[str, Any]:
        """Return the optimizer as data, its schedule included."""
        return {"optimizer": type(self).__name__, **vars(self), "lr": self.schedule.describe()}


@dataclass(frozen=True)
class SGD(Optimizer):
    """torch.optim.SGD."""

    momentum: float = 0.0
    nesterov: bool = False

    def _torch(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(
            groups, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
        )


@dataclass(frozen=True)
class Adam(Optimizer):
    """torch.optim.Adam."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def _torch(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(groups, lr=lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """torch.optim.AdamW (decoupled weight decay, 0.01 unless said otherwise)."""

    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def _torch(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(groups, lr=lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)


def options_tree(optimizer: torch.optim.Optimizer) -> Tree:
    """Return the options of every group, without parameters, as the log holds them."""
    return to_tree(
        [{k: v for k, v in g.items() if k not in ("params", "param_names")} for g in optimizer.param_groups],
        "hyperparameters",
    )
