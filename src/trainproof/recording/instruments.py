"""The hooks that watch a training loop, shared by the recorder and by a replay so that both see the same events.

Events: a batch is delivered (loader.py), a loss goes backward, the optimizer has stepped or the scaler has refused to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from trainproof.errors import UnsupportedError
from trainproof.recording.loader import LoaderTap, Sink
from trainproof.recording.log import SegmentLog
from trainproof.recording.state import StateAccess

if TYPE_CHECKING:
    import torch


class Watcher(Sink, Protocol):
    """What instruments report to."""

    log: SegmentLog


class Instruments:
    """Attach to a model, an optimizer, a loader and a scaler; detach without a trace."""

    def __init__(self, access: StateAccess, loader: torch.utils.data.DataLoader[Any], watcher: Watcher) -> None:
        self.access, self.watcher = access, watcher
        self.tap = LoaderTap(loader, watcher)
        self._undo: list[Callable[[], None]] = []
        self._stepped_since_delivery = 0

    def attach(self) -> None:
        """Install every hook."""
        self.tap.attach()
        self._undo.append(self.tap.detach)
        handle = self.access.optimizer.register_step_post_hook(lambda *_: self._on_step())
        self._undo.append(handle.remove)
        self._watch_backward()
        if self.access.scaler is not None:
            self._watch_scaler(self.access.scaler)

    def detach(self) -> None:
        """Remove every hook, last first."""
        while self._undo:
            self._undo.pop()()

    def delivered(self) -> None:
        """Note that a batch was delivered (called by the watcher)."""
        self._stepped_since_delivery = 0

    def _on_step(self, skipped: bool = False) -> None:
        import torch

        self._stepped_since_delivery += 1
        if self._stepped_since_delivery > 1:
            raise UnsupportedError(
                "more than one optimizer step for a delivered batch cannot be re-entered",
                name="optimizer",
                mend="let the loader deliver a batch for every step",
            )
        found = getattr(self.access.optimizer, "found_inf", None)
        if isinstance(found, torch.Tensor):
            # A fused optimizer is called even when it will skip, and this hook with it.
            skipped = skipped or bool(found.item() > 0)
        self.watcher.log.step(self.access.group_options(), skipped)

    def _watch_backward(self) -> None:
        import torch

        original = torch.autograd.backward
        watcher = self.watcher  # its log changes when a state is restored

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            first = tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors))
            if first.numel() == 1:
                # A copy: the loop may change its loss in place, and reading it now would wait for a GPU.
                watcher.log.loss(first.detach().clone().reshape(()))
            return original(tensors, *args, **kwargs)

        torch.autograd.backward = backward

        def undo() -> None:
            torch.autograd.backward = original

        self._undo.append(undo)

    def _watch_scaler(self, scaler: Any) -> None:
        original = type(scaler)
        instruments = self

        def step(this: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = instruments._stepped_since_delivery
            result = original.step(this, optimizer, *args, **kwargs)
            if optimizer is instruments.access.optimizer and instruments._stepped_since_delivery == before:
                instruments._on_step(skipped=True)
            return result

        scaler.__class__ = type(f"Recorded{original.__name__}", (original,), {"step": step})

        def undo() -> None:
            scaler.__class__ = original

        self._undo.append(undo)


def discover(optimizer: torch.optim.Optimizer) -> tuple[list[Any], list[Any]]:
    """Return (schedulers, averaged models) that exist for ``optimizer`` though nobody registered them, oldest first.

    A scheduler that another one drives (SequentialLR, ChainedScheduler) is left to its driver.
    """
    import gc

    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
    from torch.optim.swa_utils import AveragedModel

    kinds = (LRScheduler, ReduceLROnPlateau, AveragedModel)
    gc.collect()  # of an earlier run in this process, only what is still in use shall be found
    objects = [o for o in gc.get_objects() if issubclass(type(o), kinds)]  # isinstance() would wake lazy modules
    schedulers = [o for o in objects if getattr(o, "optimizer", None) is optimizer]
    driven = {id(inner) for s in schedulers for inner in getattr(s, "_schedulers", [])}
    parameters = {id(p) for g in optimizer.param_groups for p in g["params"]}
    averaged = [o for o in objects if isinstance(o, AveragedModel) and not parameters & {id(p) for p in o.parameters()}]
    return [s for s in schedulers if id(s) not in driven], averaged
