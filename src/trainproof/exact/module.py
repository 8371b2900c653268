"""Exact training in PyTorch's own clothes: a module and an optimizer that a recorder can watch (docs/exact.md).

The module's parameters are binary64 tensors that hold integers, its loss is one autograd function around the engine,
whose gradients are the sums G of section 4, and the optimizer's step is section 5. No value passes through autograd's
own arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainproof.errors import DatasetError, UsageError
from trainproof.exact import engine
from trainproof.exact.initial import initial
from trainproof.exact.spec import Spec


class ExactNet(nn.Module):
    """The network of a specification, with the initial weights of section 7.

    Parameters are float64 and named as in ``spec.parameters()``. ``seed`` is 32 bytes.
    """

    def __init__(self, spec: Spec, seed: bytes) -> None:
        super().__init__()
        self.spec = spec
        for name, values in initial(spec, seed).items():
            *path, last = name.split(".")
            owner: nn.Module = self
            for part in path:
                # Not by add_module: a layer may have the name of an attribute, 'loss' or 'spec'.
                child = owner._modules.setdefault(part, nn.Module())
                assert child is not None
                owner = child
            owner.register_parameter(last, nn.Parameter(torch.from_numpy(values).to(torch.float64)))

    def values(self) -> dict[str, Tensor]:
        """Return the parameters by name, detached, in the order of section 7."""
        live = dict(self.named_parameters())
        return {p.name: live[p.name].detach() for p in self.spec.parameters()}

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of ``x`` (n, C, H, W) uint8: float64 integers with the last block's exponent.

        Raises what ``engine.forward`` raises.
        """
        return engine.forward(self.spec, self.values(), x).logits

    def loss(self, batch: Any, step: int | None = None) -> Tensor:
        """Return the reported loss (section 11) of ``batch``, (images uint8, integer labels): a float64 scalar.

        Its ``backward()`` leaves G in each parameter's ``grad``. ``step`` is for the message of an error. Raises
        DatasetError, FormatError or RangeError as the engine does.
        """
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            raise DatasetError("must be images and labels", name="batch", value=type(batch).__name__)
        images, labels = batch
        live = dict(self.named_parameters())
        names = [p.name for p in self.spec.parameters()]
        found: Tensor = _Loss.apply(self, images, labels.to(torch.int64), step, *(live[name] for name in names))
        return found


class _Loss(torch.autograd.Function):
    """The engine as one node of a graph that has no other."""

    @staticmethod
    def forward(
        ctx: Any, net: ExactNet, images: Tensor, labels: Tensor, step: int | None, *parameters: Tensor
    ) -> Tensor:
        values = net.values()
        trace = engine.forward(net.spec, values, images, step=step)
        errors, reported = engine.loss(net.spec, trace.logits, labels, step=step)
        ctx.kept = net.spec, values, trace, errors, step
        return torch.tensor(reported, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if grads[0].item() != 1.0:
            raise UsageError("cannot be scaled before backward()", name="exact loss", value=grads[0].item())
        spec, values, trace, errors, step = ctx.kept
        found = engine.backward(spec, values, trace, errors, step=step)
        return (None, None, None, None, *(found[p.name] for p in spec.parameters()))


class ExactSGD(torch.optim.Optimizer):
    """The update of section 5, with its rate m·2^-r and its momentum 1 − 2^-j as the options that a record holds.

    The state of a parameter is its velocity, ``momentum_buffer``; none without momentum. ``number`` is the number of
    the next step, which decides the rate: whoever continues a run sets it.
    """

    def __init__(self, net: ExactNet) -> None:
        self.net, self.number = net, 0
        live = dict(net.named_parameters())
        ordered = [live[p.name] for p in net.spec.parameters()]
        super().__init__(ordered, {"lr": rate_at(net.spec, 0), "momentum": momentum_of(net.spec)})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter from its ``grad``; the velocities begin at zero.

        Raises UsageError without gradients or with a closure, RangeError if a value leaves its range: then nothing has
        changed.
        """
        if closure is not None:
            raise UsageError("takes no closure", name="ExactSGD.step")
        spec = self.net.spec
        live = {p.name: tensor for p, tensor in zip(spec.parameters(), self.param_groups[0]["params"], strict=True)}
        grads = {}
        for name, tensor in live.items():
            if tensor.grad is None:
                raise UsageError("has no gradient", name=name, mend="call loss(batch).backward() before step()")
            grads[name] = tensor.grad
        velocities = {}
        if spec.momentum is not None:
            for name, tensor in live.items():
                kept = self.state.get(tensor, {}).get("momentum_buffer")
                velocities[name] = torch.zeros_like(tensor.detach()) if kept is None else kept
        self.param_groups[0]["lr"] = rate_at(spec, self.number)
        values, moved = engine.update(spec, self.net.values(), velocities, grads, self.number)
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(values[name])
                if name in moved:
                    self.state[tensor]["momentum_buffer"] = moved[name]
        self.number += 1


def rate_at(spec: Spec, step: int) -> float:
    """Return the rate m·2^-r of ``step`` (from 0), exactly."""
    return math.ldexp(spec.rate.multiplier(step), -spec.rate.exponent)


def momentum_of(spec: Spec) -> float:
    """Return β = 1 − 2^-j, or 0.0 without momentum."""
    return 0.0 if spec.momentum is None else 1.0 - math.ldexp(1.0, -spec.momentum)
