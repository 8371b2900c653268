"""Exact training from start to end: order, initial weights, steps, and snapshots to go on from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from trainproof import _core
from trainproof.errors import FormatError, RangeError, RecordError, ResumeError, UsageError
from trainproof.exact import bounds, engine
from trainproof.exact.initial import initial
from trainproof.exact.order import AffineOrder
from trainproof.exact.spec import Spec
from trainproof.recording.values import dtype_name, raw

Arrays = dict[str, NDArray[np.int64]]

_VERSION: Final = "trainproof.exact.snapshot.v1"
_FIELDS: Final = frozenset({"version", "spec", "seed", "step", "images", "labels"})
_PREDICTED_AT_ONCE: Final = 500


@dataclass(frozen=True)
class _State:
    """All that a step changes; replaced as a whole, so an interrupted step leaves the one before."""

    step: int
    params: dict[str, Tensor]
    velocities: dict[str, Tensor]


class Trainer:
    """An exact training run: specification, data and seed determine every bit of it.

    Args:
        spec: the specification.
        images: (N, C, H, W) uint8, N < 2^32; kept on ``device``.
        labels: (N,) int64, 0 ≤ label < classes.
        seed: 32 bytes; determines the order, and the initial weights unless they are given.
        weights: initial parameters by name, int64 arrays (default: those of docs/exact.md section 7).
        device: "cpu" or a CUDA device; what is computed does not depend on it.

    Raises:
        DatasetError: images or labels of another dtype, shape or range.
        FormatError: a specification whose sums may not be exact; weights missing, unknown or of another shape.
        RangeError: given weights are out of range.
        UsageError: a seed that is not 32 bytes, or a device without binary64.

    Source: docs/exact.md.
    """

    def __init__(
        self,
        spec: Spec,
        images: Tensor,
        labels: Tensor,
        seed: bytes,
        *,
        weights: Mapping[str, NDArray[np.int64]] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        bounds.check(spec)
        self.device = torch.device(device)
        if self.device.type not in ("cpu", "cuda"):
            raise UsageError("has no binary64", name="device", value=str(device), mend="use 'cpu' or 'cuda'")
        engine.check_images(spec, images)
        engine.check_labels(spec, labels, len(images))
        self.spec, self.seed = spec, seed
        self._order = AffineOrder(seed, len(images))
        self._images, self._labels = images.to(self.device), labels.to(self.device)
        params = self._tensors(initial(spec, seed) if weights is None else weights)
        velocities = {} if spec.momentum is None else {name: torch.zeros_like(t) for name, t in params.items()}
        engine.check_parameters(spec, params)
        self._state = _State(0, params, velocities)

    @property
    def steps(self) -> int:
        """Number of steps done."""
        return self._state.step

    def step(self) -> float:
        """Do one step; return the reported loss (section 11) of its batch, before the update.

        Raises RangeError if a value leaves its range; then the step is not done.
        """
        state, spec = self._state, self.spec
        positions = self._order.indices(state.step * spec.batch_size, spec.batch_size)
        chosen = torch.tensor(positions, device=self.device)
        trace = engine.forward(spec, state.params, self._images[chosen], step=state.step)
        dz, loss = engine.loss(spec, trace.logits, self._labels[chosen], step=state.step)
        grads = engine.backward(spec, state.params, trace, dz, step=state.step)
        params, velocities = engine.update(spec, state.params, state.velocities, grads, state.step)
        self._state = _State(state.step + 1, params, velocities)
        return loss

    def run(self, steps: int, progress: Callable[[int, float], None] | None = None) -> list[float]:
        """Do ``steps`` steps; return their reported losses. ``progress(steps done, loss)`` is called after each.

        What is raised meanwhile, KeyboardInterrupt too, leaves the state after the last whole step: ``save`` keeps it.
        Raises UsageError if ``steps`` is negative, and what ``step`` raises.
        """
        if steps < 0:
            raise UsageError("must not be negative", name="steps", value=steps)
        losses: list[float] = []
        for _ in range(steps):
            losses.append(self.step())
            if progress is not None:
                progress(self.steps, losses[-1])
        return losses

    def weights(self) -> Arrays:
        """Return the parameters by name: int64 arrays of their own, in the order of ``spec.parameters()``."""
        return _arrays(self._state.params)

    def velocities(self) -> Arrays:
        """Return the velocities by their parameters' names, as ``weights``; empty without momentum."""
        return _arrays(self._state.velocities)

    def predict(self, images: Tensor) -> Tensor:
        """Return the class (n,) int64 of each of ``images`` (n, C, H, W) uint8: the first of the greatest logits.

        Raises DatasetError for another dtype or shape, RangeError if an activation leaves its range.
        """
        engine.check_images(self.spec, images)
        parts = torch.split(images, _PREDICTED_AT_ONCE)
        params = self._state.params
        return torch.cat([engine.forward(self.spec, params, p.to(self.device)).logits.argmax(1).cpu() for p in parts])

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a snapshot: one safetensors file with parameters and velocities (``weight/<name>``,
        ``velocity/<name>``; int64), bound to specification, seed, step and data. A reader sees all of it or none.

        Raises OSError if it cannot be written; then what was at ``path`` is still there.
        """
        state = self._state
        tensors = {f"weight/{name}": array for name, array in _arrays(state.params).items()}
        tensors |= {f"velocity/{name}": array for name, array in _arrays(state.velocities).items()}
        metadata = {**self._identity(), "seed": self.seed.hex(), "step": str(state.step)}
        _core.write_file(os.fspath(path), [save(tensors, metadata)])

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        spec: Spec,
        images: Tensor,
        labels: Tensor,
        *,
        device: str | torch.device = "cpu",
    ) -> Trainer:
        """Return a trainer that goes on where the snapshot was saved, bit for bit.

        Raises:
            RecordError: not a snapshot, or a tensor is missing, unknown, of another shape, or out of range.
            ResumeError: a snapshot of another specification or other data.
            OSError: the file cannot be read.
        """
        metadata, tensors = _read(Path(path), spec)
        weights, velocities = (
            {name.removeprefix(kind): array for name, array in tensors.items() if name.startswith(kind)}
            for kind in ("weight/", "velocity/")
        )
        bounds.check(spec)  # so that a FormatError below is the snapshot's
        try:
            trainer = cls(spec, images, labels, bytes.fromhex(metadata["seed"]), weights=weights, device=device)
            moving = trainer._tensors(velocities)
            engine.check_parameters(spec, trainer._state.params, moving)
        except (FormatError, RangeError) as error:
            raise RecordError(f"not a snapshot of this training: {error}", name=str(path)) from None
        for field, value in trainer._identity().items():
            if metadata[field] != value:
                message = f"the snapshot is of other {field}"
                raise ResumeError(message, name=str(path), value=metadata[field], mend="give those it was made with")
        trainer._state = _State(int(metadata["step"]), trainer._state.params, moving)
        return trainer

    def _identity(self) -> dict[str, str]:
        """What a snapshot must have in common with whoever goes on from it."""
        digests = {
            name: _core.tensor_digest(dtype_name(tensor), tuple(tensor.shape), raw(tensor)).hex()
            for name, tensor in (("images", self._images), ("labels", self._labels))
        }
        return {"version": _VERSION, "spec": self.spec.digest(), **digests}

    def _tensors(self, arrays: Mapping[str, NDArray[np.int64]]) -> dict[str, Tensor]:
        """Return the arrays as binary64 on the device. Raises FormatError if one is not int64."""
        found = {}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype != np.int64:
                value = getattr(array, "dtype", type(array).__name__)
                raise FormatError("must be an array of int64", name=name, value=str(value))
            if array.size and not -(1 << 53) < array.min() <= array.max() < 1 << 53:
                # Converted, it could look like a number in range.
                layer, _, kind = name.rpartition(".")
                raise RangeError("a value is beyond binary64's integers", layer=layer, tensor=kind)
            found[name] = torch.from_numpy(array.astype(np.float64)).to(self.device)
        return found


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.to(torch.int64).cpu().numpy() for name, tensor in tensors.items()}


def _read(path: Path, spec: Spec) -> tuple[dict[str, str], Arrays]:
    """Return a snapshot's metadata and its tensors: those ``spec`` needs and no others.

    Raises RecordError, before a tensor is read, if it is no snapshot, or of tensors of other names, dtypes or shapes.
    """
    wanted = {f"weight/{p.name}": p.shape for p in spec.parameters()}
    if spec.momentum is not None:
        wanted |= {f"velocity/{p.name}": p.shape for p in spec.parameters()}

    def refuse(message: str, value: Any = None) -> RecordError:
        return RecordError(message, name=str(path), value=value)

    path.open("rb").close()  # an OSError with the system's number: safetensors has none
    try:
        with safe_open(path, framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if set(metadata) != _FIELDS or metadata["version"] != _VERSION:
                raise refuse("not a snapshot of exact training")
            seed, step = metadata["seed"], metadata["step"]
            if len(seed) != 64 or not set(seed) <= set("0123456789abcdef"):
                raise refuse("the seed is not 32 bytes", seed)
            if not (step.isascii() and step.isdigit() and str(int(step[:20])) == step):
                raise refuse("the step is not a number", step)
            if metadata["spec"] != spec.digest():
                raise ResumeError("the snapshot is of another specification", name=str(path), value=metadata["spec"])
            if odd := sorted(set(file.keys()) ^ set(wanted)):
                raise refuse("has a missing or unknown tensor", odd[0])
            for name, shape in wanted.items():
                tensor = file.get_slice(name)
                if tensor.get_dtype() != "I64" or tuple(tensor.get_shape()) != shape:
                    raise refuse("has a tensor of another dtype or shape", name)
            return metadata, {name: file.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise refuse(f"not a safetensors file: {error}") from None
