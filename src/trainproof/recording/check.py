"""The preflight: is this training inside the support matrix? What is not is refused by name, with a mend.

``require`` raises at the first finding; ``check_recipe`` and ``launch.check_command`` list them for the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof.errors import TrainproofError, UnsupportedError
from trainproof.recording.loader import generators_of
from trainproof.recording.state import StateAccess

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("SGD", "Adam", "AdamW")
_PARALLEL = ("DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule", "DataParallel")


@dataclass(frozen=True)
class Finding:
    """One thing that cannot be recorded: where, what, and what to do instead."""

    name: str
    problem: str
    mend: str


def require(access: StateAccess, loader: torch.utils.data.DataLoader[Any], *, exact: bool = False) -> None:
    """Raise UnsupportedError for the first finding. ``exact``: trainproof's own loop trains an exact recipe."""
    for finding in findings(access, loader, exact=exact):
        raise UnsupportedError(finding.problem, name=finding.name, mend=finding.mend)


def findings(access: StateAccess, loader: Any, *, exact: bool = False) -> list[Finding]:
    """Return everything about these objects that a replay could not follow."""
    return [*_model(access), *_optimizer(access, exact), *_loader(loader)]


def _model(access: StateAccess) -> list[Finding]:
    import torch
    from torch.nn.modules.module import Module

    found = []
    model = access.model
    wrappers = [c.__name__ for m in model.modules() for c in type(m).__mro__ if c.__name__ in _PARALLEL]
    if wrappers:
        found.append(Finding("model", f"{wrappers[0]} is not supported", "train in one process on one device"))
    if type(model).__name__ == "OptimizedModule":
        found.append(Finding("model", "torch.compile is not supported", "record the model without compiling it"))
    tensors = [*model.named_parameters(), *model.named_buffers()]
    devices = {t.device for _, t in tensors}
    if len(devices) > 1:
        found.append(Finding("model", f"lies on several devices: {sorted(map(str, devices))}", "use one device"))
    for name, tensor in tensors:
        if tensor.is_complex() or tensor.layout is not torch.strided or tensor.is_quantized:
            found.append(
                Finding(name, f"a {tensor.dtype} {tensor.layout} tensor is not supported", "use dense real tensors")
            )
    for name, module in model.named_modules():
        if type(module).get_extra_state is not Module.get_extra_state:
            found.append(Finding(name or "model", "has extra state that is not a tensor", "keep it in a buffer"))
        if getattr(module, "sparse", False) and isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag)):
            found.append(Finding(name, "sparse gradients are not supported", "set sparse=False"))
    return found


def _optimizer(access: StateAccess, exact: bool) -> list[Finding]:
    found = []
    optimizer = access.optimizer
    kind = type(optimizer).__name__
    if not exact and (kind not in OPTIMIZERS or not type(optimizer).__module__.startswith("torch.optim")):
        found.append(
            Finding("optimizer", f"{kind} is not supported", f"use one of torch.optim's {', '.join(OPTIMIZERS)}")
        )
    for option in ("capturable", "differentiable"):
        if any(group.get(option) for group in optimizer.param_groups):
            found.append(Finding("optimizer", f"{option}=True is not supported", f"leave {option} out"))
    if any(not isinstance(group["lr"], float | int) for group in optimizer.param_groups):
        found.append(Finding("optimizer", "a tensor as learning rate is not supported", "use a number"))
    own = {id(p) for p in access.model.parameters()}
    stepped = {id(p) for g in optimizer.param_groups for p in g["params"]}
    if stepped - own:
        found.append(Finding("optimizer", "updates parameters that are not the model's", "pass the whole model"))
    trained = {n for n, p in access.model.named_parameters() if p.requires_grad and id(p) not in stepped}
    if trained:
        mend = "set requires_grad=False, or give them to the one optimizer: several optimizers are not supported"
        found.append(Finding(min(trained), "is trainable, but not by this optimizer", mend))
    if any(getattr(p, "_post_accumulate_grad_hooks", None) for g in optimizer.param_groups for p in g["params"]):
        found.append(
            Finding("optimizer", "a step inside backward is not supported", "call optimizer.step() in the loop")
        )
    return found


def _loader(loader: Any) -> list[Finding]:
    from torch.utils.data import DataLoader, IterableDataset

    if not isinstance(loader, DataLoader):
        return [
            Finding("data_loader", f"a {type(loader).__name__} is not supported", "use torch.utils.data.DataLoader")
        ]
    found = []
    if type(loader).__name__ == "StatefulDataLoader":
        found.append(
            Finding("data_loader", "StatefulDataLoader is not supported", "use DataLoader: the record keeps its state")
        )
    if isinstance(loader.dataset, IterableDataset):
        found.append(Finding("dataset", "IterableDataset is not supported", "use a map-style dataset"))
    if loader.num_workers > 0 and not getattr(loader, "in_order", True):
        found.append(Finding("data_loader", "in_order=False is not supported", "leave batches in order"))
    if getattr(loader, "_iterator", None) is not None:
        found.append(Finding("data_loader", "was already started", "make the loader just before recording"))
    if type(loader.sampler).__name__ == "DistributedSampler":
        found.append(Finding("sampler", "DistributedSampler is not supported", "train in one process"))
    if loader.num_workers > 0 and loader.worker_init_fn is not None:
        found.append(Finding("data_loader", "worker_init_fn is not re-entered", "move its work into the dataset"))
    if not isinstance(loader.dataset, IterableDataset):
        try:
            generators_of(loader)
        except AttributeError:
            found.append(Finding("data_loader", "has no sampler", "let DataLoader make one"))
    return found


def check_recipe(spec: str | Path) -> list[Finding]:
    """Return what is wrong with the recipe ``file.py[:Class]``: it is built, and one batch is trained."""
    from trainproof.recording import dataset as data
    from trainproof.recording.closure import closure_of
    from trainproof.recording.recipe import load_recipe, source_of
    from trainproof.recording.train import Loop

    try:
        recipe = load_recipe(spec)
        source = source_of(recipe)
        closure_of(source.path, "recipe", source.qualname)
        base = recipe.dataset()
        data.leaves(_Head(base))
        loop = Loop(recipe, base, bytes(32), None)
        return _one_step(loop)
    except TrainproofError as error:
        return [Finding(error.name or str(spec), str(error), error.mend or "see docs/record.md")]


def _one_step(loop: Any) -> list[Finding]:
    loop.batches.epoch = 0
    losses = []
    for _ in range(2):
        loop.model.train()
        batch = next(iter(loop.loader))
        losses.append(loop.loss(batch, 0))
    if losses[0].dim() != 0 or not losses[0].requires_grad:
        return [
            Finding("loss", "must be a scalar that depends on the parameters", "return e.g. cross_entropy(model(x), y)")
        ]
    losses[0].backward()
    for name, parameter in loop.model.named_parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            return [Finding(name, "has a sparse gradient", "use dense gradients")]
    return []


class _Head:
    """The first samples of a dataset, to look for randomness without reading all of it."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return min(8, len(self.dataset))

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]
