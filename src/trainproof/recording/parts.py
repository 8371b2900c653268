"""Assemble a commitment from live objects: the same for both doors."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof.errors import UsageError
from trainproof.recording import dataset as data
from trainproof.recording import environment
from trainproof.recording.closure import packages_of
from trainproof.recording.format import (
    VERSION,
    Closure,
    Commitment,
    DatasetSpec,
    LoaderSpec,
    OptimizerSpec,
    Parameter,
    Parent,
    PublicKey,
    SeedSpec,
)
from trainproof.recording.recipe import derive_seed
from trainproof.recording.state import StateAccess
from trainproof.recording.tree import to_tree
from trainproof.recording.values import dtype_name
from trainproof.replay.job import Made

if TYPE_CHECKING:
    import torch


def parse_keep(keep: str) -> int:
    """Return how many segments apart states are stored: 'all' or 'keyframes:N'."""
    if keep == "all":
        return 1
    kind, _, number = keep.partition(":")
    if kind == "keyframes" and number.isdigit() and 1 <= int(number) <= 65536:
        return int(number)
    raise UsageError("must be 'all' or 'keyframes:N' with N from 1 to 65536", name="keep", value=keep)


def parse_nonce(nonce: str | None, shared: bool = False) -> tuple[str, str]:
    """Return (source, nonce): the verifier's if one was given, else a fresh one of the prover's own choice.

    With ``shared`` it is a task's, and must be given.
    """
    if nonce is None and shared:
        raise UsageError("a shared seed needs the task's nonce", name="nonce", mend="give the task's 64 digits")
    if nonce is None:
        return "free", secrets.token_hex(32)
    if len(nonce) != 64 or any(c not in "0123456789abcdef" for c in nonce):
        raise UsageError("must be 64 lower-case hexadecimal digits", name="nonce", value=nonce)
    return "task" if shared else "verifier", nonce


def commit(
    *,
    closure: Closure,
    entry: Path,
    access: StateAccess,
    loader: torch.utils.data.DataLoader[Any],
    leaves: bytes,
    private: bool,
    order: str,
    accumulate: int,
    schedule: Any,
    every: int,
    keyframes: int,
    anchors: int,
    epochs: int | None,
    nonce: tuple[str, str],
    key: PublicKey,
    parent: Parent | None,
    note: str,
) -> Commitment:
    """Return the commitment of a run that is about to start."""
    root = data.root(leaves)
    made = declared(access, loader, order=order, accumulate=accumulate, schedule=schedule)
    parameter = next(access.model.parameters())
    return Commitment(
        version=VERSION,
        closure=closure,
        environment=environment.capture(packages_of(entry), str(parameter.device)),
        model=made.model,
        optimizer=made.optimizer,
        dataset=DatasetSpec(size=len(leaves) // 32, root=root, private=private),
        loader=made.loader,
        seed=SeedSpec(
            source=nonce[0],  # type: ignore[arg-type]
            nonce=nonce[1],
            seed=derive_seed(root, closure.digest, None if nonce[0] == "task" else key, every, nonce[1]),
        ),
        every=every,
        keyframes=keyframes,
        anchors=anchors,
        epochs=epochs,
        parent=parent,
        key=key,
        note=note,
    )


def declared(
    access: StateAccess,
    loader: torch.utils.data.DataLoader[Any],
    *,
    order: str = "loader",
    accumulate: int = 1,
    schedule: Any = None,
    exact: str | None = None,
) -> Made:
    """Return what a recipe declares by the objects that it trains with; a replay declares it again (check V2).

    Without a ``schedule`` it is the classes of the registered schedulers. ``exact`` is an exact recipe's specification.
    """
    if schedule is None:
        schedule = [type(s).__name__ for s in access.scheduler]
    return Made(
        model=parameters_of(access.model),
        optimizer=OptimizerSpec(
            kind=type(access.optimizer).__name__,
            groups=[to_tree(options, "optimizer") for options in access.group_options()],
            schedule=to_tree(schedule, "schedule"),
        ),
        loader=LoaderSpec(
            order=order,  # type: ignore[arg-type]
            batch_size=batch_size_of(loader),
            drop_last=drop_last_of(loader),
            sampler=type(loader.sampler).__name__,
            accumulate=accumulate,
        ),
        batches=length_of(loader),
        exact=exact,
    )


def length_of(loader: Any) -> int | None:
    """Return how many batches an iteration of the loader has; None if its sampler does not say."""
    try:
        return len(loader)
    except TypeError:
        return None


def batch_size_of(loader: Any) -> int:
    """Return the loader's batch size; 1 where it does not batch, 0 where a batch sampler hides it."""
    if loader.batch_size is not None:
        return int(loader.batch_size)
    return int(getattr(loader.batch_sampler, "batch_size", 0)) if loader.batch_sampler is not None else 1


def drop_last_of(loader: Any) -> bool:
    """Return whether an incomplete last batch is dropped."""
    return bool(getattr(loader.batch_sampler, "drop_last", loader.drop_last))


def parameters_of(model: torch.nn.Module) -> list[Parameter]:
    """Return parameters and buffers of a model, tied ones once, in its own order."""
    found = [
        Parameter(
            name=name,
            dtype=dtype_name(p),
            shape=list(p.shape),
            kind="parameter" if p.requires_grad else "frozen",
        )
        for name, p in model.named_parameters()
    ]
    return found + [
        Parameter(name=name, dtype=dtype_name(b), shape=list(b.shape), kind="buffer")
        for name, b in model.named_buffers()
    ]
