"""Door 1: ``trainproof.train(recipe, …)``. trainproof drives the loop; everything random derives from one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof import _core
from trainproof.errors import RecipeError, UsageError
from trainproof.exact.recipe import AffineBatches, Exact, ExactRecipe, check_weights, prepare
from trainproof.recording import dataset as data
from trainproof.recording.check import require
from trainproof.recording.closure import closure_of
from trainproof.recording.optimizers import Optimizer
from trainproof.recording.reader import Record
from trainproof.recording.recipe import Recipe, SeededBatches, load_recipe, source_of
from trainproof.recording.record import parent_of
from trainproof.recording.run import Run, Start
from trainproof.recording.seeded import seeded
from trainproof.recording.state import StateAccess
from trainproof.replay import session as sessions

if TYPE_CHECKING:
    import torch

    from trainproof.attest.keys import Signer
    from trainproof.exact.spec import Spec


def train(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    epochs: int,
    every: int,
    key: str | Path | Signer,
    keep: str = "all",
    anchors: int | None = None,
    resume: bool = False,
    private: bool = False,
    nonce: str | None = None,
    shared: bool = False,
    parent: str | Path | None = None,
    note: str = "",
    self_replay: bool = True,
    quiet: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> Record:
    """Train ``recipe`` (an instance, or ``file.py:Class``) for ``epochs`` passes and record it into the folder ``out``.

    ``every`` steps a state is taken; ``keep`` 'all' stores each, 'keyframes:N' every N-th (all are hashed). ``anchors``
    hashes the state every so many steps within a segment; unless it is given, every step of an exact recipe and none of
    another. ``key`` is the prover's private key file.
    ``nonce`` (64 hexadecimal digits) is the verifier's; without one the report will say 'seed freely chosen'. With
    ``shared`` the nonce is a task's, and the seed leaves out the prover's key: all who train the task train the same,
    and their records can be disputed (docs/dispute.md).
    ``private`` salts the dataset's leaves by a secret file beside ``out``. ``parent`` is the record whose final model
    this one starts from. ``progress(step, steps, loss)`` is called after every step.

    Returns the sealed record. Raises RecipeError, UnsupportedError, PlanError, ResumeError before anything is trained.
    """
    instance = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    instance.validate()
    if epochs < 1:
        raise UsageError("must be at least 1", name="epochs", value=epochs)
    source = source_of(instance)
    closure = closure_of(source.path, "recipe", source.qualname)
    dataset = instance.dataset()
    if isinstance(instance, ExactRecipe):
        prepare(instance, dataset)
        anchors = 1 if anchors is None else anchors
    start = Start(
        out,
        dataset,
        every=every,
        key=key,
        resume=resume,
        private=private,
        nonce=nonce,
        shared=shared,
        anchors=anchors or 0,
    )
    loop = Loop(instance, dataset, start.seed(closure), weights_of(parent))
    steps = epochs * len(loop.batches) // instance.accumulate
    run = Run(
        start,
        source=source,
        closure=closure,
        access=loop.access,
        loader=loop.loader,
        keep=keep,
        order=loop.order,
        accumulate=instance.accumulate,
        schedule=loop.parts.optimizer.describe(),
        epochs=epochs,
        steps=steps,
        parent=parent_of(parent),
        note=note,
        self_replay=self_replay,
        quiet=quiet,
    )
    try:
        run.start()
        first = run.recorder.completed_iterations
        loop.run(range(first, epochs), run.recorder.steps_recorded, steps, progress)
    except BaseException:
        run.abandon()
        raise
    return run.finish()


def reenter(recipe: Recipe, dataset: Any, session: sessions.Session) -> None:
    """Run ``recipe`` on its ``dataset`` in a replay, from the iteration that the session's unit begins in."""
    commitment = session.commitment
    loop = Loop(recipe, dataset, bytes.fromhex(commitment.seed.seed), None)
    session.attach(
        loop.access,
        loop.loader,
        order=loop.order,
        accumulate=recipe.accumulate,
        schedule=loop.parts.optimizer.describe(),
        exact=None if loop.parts.spec is None else loop.parts.spec.encode().decode(),
    )
    iteration, step = 0, 0
    if session.unit.kind == "replay":
        segment = session.record.segment(session.unit.start)
        iteration = session.completed_iterations
        step = segment.first_step + len(segment.steps)
    loop.run(range(iteration, commitment.epochs or iteration + 1), step, 0, None)
    session.leave()


@dataclass(frozen=True)
class _Parts:
    """What a recipe is trained with. ``spec`` is an exact recipe's, else None."""

    model: torch.nn.Module
    batches: SeededBatches | AffineBatches
    optimizer: Optimizer
    spec: Spec | None


def _parts_of(recipe: Recipe, dataset: Any, seed: bytes) -> _Parts:
    if not isinstance(recipe, ExactRecipe):
        batches = SeededBatches(seed, len(dataset), recipe.batch_size, recipe.drop_last)
        return _Parts(seeded(recipe.build, seed), batches, recipe.optimizer, None)
    from trainproof.exact.module import ExactNet

    spec = prepare(recipe, dataset)
    affine = AffineBatches(seed, len(dataset), recipe.batch_size)
    return _Parts(ExactNet(spec, sessions.perturbed(seed)), affine, Exact.of(spec), spec)


class Loop:
    """The loop that trainproof drives: the same code trains and is re-entered."""

    def __init__(self, recipe: Recipe, dataset: Any, seed: bytes, weights: dict[str, torch.Tensor] | None) -> None:
        import torch
        from torch.utils.data import DataLoader

        self.recipe = recipe
        self.parts = _parts_of(recipe, dataset, seed)
        self.order = "seeded" if self.parts.spec is None else "affine"
        model = self.parts.model
        if weights is not None:
            load_weights(model, weights)
            if self.parts.spec is not None:
                check_weights(model, weights)
        _seed_generators(seed)
        self.batches = self.parts.batches
        self.steps_per_epoch = recipe.steps_per_epoch(len(dataset))
        augmented: Any = dataset if recipe.augment is None else data.Augmented(dataset, recipe.augment, seed)
        self.loader: DataLoader[Any] = DataLoader(
            augmented,
            batch_sampler=self.batches,
            num_workers=recipe.workers,
            persistent_workers=recipe.workers > 0,
            generator=torch.Generator().manual_seed(0),
        )
        self.optimizer = self.parts.optimizer.create(model, self.steps_per_epoch)
        self.model = model
        extra: dict[str, Any] = {}
        if recipe.ema is not None:
            from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

            extra["ema"] = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
        self.access = StateAccess(model, self.optimizer, [], None, extra)
        require(self.access, self.loader, exact=self.parts.spec is not None)

    def loss(self, batch: Any, step: int) -> torch.Tensor:
        """Return the scalar loss of a batch that step ``step`` uses."""
        if self.parts.spec is None:
            return self.recipe.loss(self.model, batch)
        from trainproof.exact.module import ExactNet

        assert isinstance(self.model, ExactNet)
        return self.model.loss(batch, step)

    def run(self, epochs: range, step: int, steps: int, progress: Callable[[int, int, float], None] | None) -> None:
        """Train the passes in ``epochs``; ``step`` is the first step's number. Gradients carry over."""
        import torch

        recipe, model, optimizer = self.recipe, self.model, self.optimizer
        device = next(model.parameters()).device.type
        model.train()
        gathered = 0
        for epoch in epochs:
            self.batches.epoch = epoch
            for batch in self.loader:
                with torch.autocast(device, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                    loss = self.loss(batch, step)
                if loss.dim() != 0:
                    raise RecipeError(
                        "loss() must return a scalar", name=type(recipe).__name__, value=tuple(loss.shape)
                    )
                torch.autograd.backward(loss / recipe.accumulate if recipe.accumulate > 1 else loss)
                gathered += 1
                if gathered < recipe.accumulate:
                    continue
                gathered = 0
                self.parts.optimizer.set_step(optimizer, step, self.steps_per_epoch)
                if recipe.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
                for average in self.access.extra.values():
                    average.update_parameters(model)
                step += 1
                if progress is not None:
                    progress(step, steps, float(loss.detach()))


def _seed_generators(seed: bytes) -> None:
    """Seed torch, NumPy and Python for what the model draws while it trains (dropout)."""
    import random

    import numpy as np
    import torch

    words = _core.stream_words("training", seed, 0, 0, 3)
    torch.manual_seed(int(words[0]) >> 1)
    np.random.seed(int(words[1]) & 0xFFFFFFFF)
    random.seed(int(words[2]))


def weights_of(parent: str | Path | None) -> dict[str, torch.Tensor] | None:
    """Return the final model's tensors of the parent record, or None."""
    if parent is None:
        return None
    record = Record.open(parent)
    return record.tensors(len(record) - 1, "model/")


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy a parent's tensors into the model. Raises RecipeError if names or shapes differ."""
    import torch

    live = dict([*model.named_parameters(), *model.named_buffers()])
    with torch.no_grad():
        for name, tensor in live.items():
            given = weights.get(f"model/{name}")
            if given is None or given.shape != tensor.shape:
                raise RecipeError("the parent's final model has no such tensor", name=name)
            tensor.copy_(given)
