"""Interpolation: claim a stolen model by a record whose weights lie on a line from a fresh start to it.

Proof-of-learning was broken by records of no training (Zhang et al., S&P 2022; Fang et al., EuroS&P 2023): take the
final weights of somebody's model, a fresh start, and points between them. This attacker does everything else right: its
own key, and so its own seed, initial weights and sample order; the real batches, augmented and hashed; losses really
evaluated on the interpolated weights; batch-norm statistics and optimizer state that fit the line; a valid chain and
signature. It saves the backward passes and, what counts, it gets the stolen weights.

Caught by V6: a replayed segment does not end where the record says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainproof.attest.keys import Signer
from trainproof.errors import UsageError
from trainproof.recording.format import SelfReplay
from trainproof.recording.optimizers import Optimizer
from trainproof.recording.reader import Record
from trainproof.recording.recipe import Recipe, load_recipe
from trainproof.recording.recorder import final_sha256, now
from trainproof.recording.writer import RecordWriter

CAUGHT_BY = "V6"


def spoof(target_record: str | Path, recipe_source: str | Path, out: str | Path, key: str | Path) -> Path:
    """Write to ``out`` a well-formed record, signed by ``key``, that ends in the weights of ``target_record``.

    ``recipe_source`` is the recipe's ``file.py`` or ``file.py:Class`` (door 1), of which the target record is a run.
    Raises UsageError if the target is not a record of a recipe, or its optimizer is not SGD with momentum, Adam or
    AdamW.
    """
    target = Record.open(target_record)
    commitment = target.commitment
    if commitment.closure.door != "recipe" or commitment.epochs is None:
        raise UsageError(
            "not a record of a recipe", name=str(target_record), mend="give one that trainproof.train wrote"
        )
    last = target.segment(len(target) - 1)
    stolen = {name.removeprefix("model/"): t for name, t in target.tensors(last.index, "model/").items()}
    recipe = _disguised(load_recipe(recipe_source), stolen, last.first_step + len(last.steps))
    with tempfile.TemporaryDirectory(prefix="trainproof-spoof-") as folder:
        draft = Path(folder) / "draft"
        from trainproof import train

        train(
            recipe,
            out=draft,
            epochs=commitment.epochs,
            every=commitment.every,
            keep="all" if commitment.keyframes == 1 else f"keyframes:{commitment.keyframes}",
            key=key,
            self_replay=False,
            quiet=True,
        )
        return _reseal(Record.open(draft), Path(out), Signer.load(key))


def _reseal(draft: Record, out: Path, signer: Signer) -> Path:
    """Write the draft again, with a seal that says that the attacker has replayed it."""
    writer = RecordWriter.create(out, draft.commitment, draft.leaves())
    for index in range(len(draft)):
        segment = draft.segment(index)
        writer.append(segment, draft.tensors(index) if segment.stored else None)
    last = draft.segment(len(draft) - 1)
    replays = [SelfReplay(segment=i, outcome="bitwise", detail="") for i in (1, last.index)]
    time = now()
    writer.seal(
        signer,
        name="model",
        sha256=final_sha256(last, draft.tensors(last.index, "model/")),
        ended="complete",
        self_replays=replays,
        started=time,
        finished=time,
    )
    return out


def _disguised(honest: Recipe, stolen: dict[str, Tensor], steps: int) -> Recipe:
    """Return a recipe that has the honest one's source, data and batches, and walks the line instead of training."""
    line = _Line(stolen, steps)
    cls = type(honest)

    def build(self: Recipe) -> nn.Module:
        model: nn.Module = cls.build(self)
        line.begin(model)
        return model

    def loss(self: Recipe, model: nn.Module, batch: Any) -> Tensor:
        with torch.no_grad():
            value = cls.loss(self, model, batch)
        return value.requires_grad_()  # its backward() costs nothing and moves nothing

    members = {"build": build, "loss": loss, "optimizer": _walker(cls.optimizer, line)}
    # By these names the closure is that of the honest source file.
    members |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    disguised: Recipe = type(cls.__name__, (cls,), members)()
    return disguised


class _Line:
    """Where the model is after each step. Progress is in proportion to the learning rate, as a training's would be."""

    def __init__(self, stolen: dict[str, Tensor], steps: int) -> None:
        self.stolen, self.steps = stolen, steps
        self.rates: list[float] = []

    def begin(self, model: nn.Module) -> None:
        """Note the fresh start."""
        self.model, self.done = model, 0
        self.start: dict[str, Tensor] = {}

    def plan(self, rate: Callable[[int], float]) -> None:
        """Fix how far each step goes: ``rate(t)`` is the learning rate of step t."""
        rates = [rate(t) for t in range(self.steps)]
        total = sum(rates)
        self.whole = total
        self.progress = [sum(rates[: t + 1]) / total for t in range(self.steps)]
        self.progress[-1] = 1.0

    def advance(self) -> None:
        """Take the next step on the line: parameters, and floating buffers such as running statistics."""
        part = self.progress[self.done]
        with torch.no_grad():
            for name, tensor in {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}.items():
                start = self.start.setdefault(name, tensor.clone())
                if tensor.is_floating_point():
                    tensor.copy_(self.stolen[name] if part == 1.0 else torch.lerp(start, self.stolen[name], part))
        self.done += 1

    def direction(self, name: str) -> Tensor:
        """Return the change of a parameter for one unit of learning rate."""
        return (self.stolen[name] - self.start[name]) / self.whole


def _walker(honest: Optimizer, line: _Line) -> Optimizer:
    """Return a description equal to the honest optimizer's that creates one which walks the line."""
    kind: Any = type(honest)
    if kind.__name__ not in ("SGD", "Adam", "AdamW") or getattr(honest, "momentum", 1.0) == 0.0:
        raise UsageError("must be SGD with momentum, Adam or AdamW", name="optimizer", value=kind.__name__)

    def create(self: Optimizer, model: nn.Module, steps_per_epoch: int) -> torch.optim.Optimizer:
        made: Any = kind.create(self, model, steps_per_epoch)
        line.plan(lambda t: self.schedule.at(t, steps_per_epoch))
        names = {id(p): n for n, p in model.named_parameters()}
        made.__class__ = _walking(type(made), line, names)
        return made  # type: ignore[no-any-return]

    walker: Optimizer = type(kind.__name__, (kind,), {"create": create})(**vars(honest))
    return walker


def _walking(kind: type[torch.optim.Optimizer], line: _Line, names: dict[int, str]) -> type[torch.optim.Optimizer]:
    """Return a subclass of ``kind``, by the same name, whose step walks the line and leaves a state that fits it."""

    def step(self: torch.optim.Optimizer, closure: Any = None) -> None:
        line.advance()
        for group in self.param_groups:
            for parameter in group["params"]:
                _fit(self.state[parameter], kind.__name__, line.direction(names[id(parameter)]), line.done)

    walking = type(kind.__name__, (kind,), {"step": kind.profile_hook_step(step), "__module__": kind.__module__})
    assert issubclass(walking, torch.optim.Optimizer)
    return walking


def _fit(state: dict[str, Any], kind: str, direction: Tensor, steps: int) -> None:
    """Set the state that would have made the optimizer move by ``direction`` times its learning rate."""
    if kind == "SGD":
        state["momentum_buffer"] = -direction
        return
    # m / √v is the direction; √v of 1e-3 is as small as honest ones are.
    state["step"] = torch.tensor(float(steps))
    state["exp_avg"] = -1e-3 * direction
    state["exp_avg_sq"] = torch.full_like(direction, 1e-6)
