"""Weights to and from ordinary float networks (docs/exact.md section 12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact import bounds
from trainproof.exact.layers import read
from trainproof.exact.spec import Block, Format, Parameter, Spec

# What two networks of the same specification have in common, formats and start apart.
_GEOMETRY: Final = (
    "name",
    "kind",
    "inputs",
    "outputs",
    "kernel",
    "stride",
    "padding",
    "bias",
    "relu",
    "pool",
    "window",
)

_Tree = dict[str, Any]  # children by name in order: a module, or the tree of a nested Sequential


def from_float(spec: Spec, net: nn.Sequential) -> dict[str, NDArray[np.int64]]:
    """Return the weights of ``net`` as integers, ⌊x · 2^w + ½⌋: int64 arrays by the names of ``spec.parameters()``.

    ``net`` is a Sequential that compiles to the layers of ``spec``, with any floating dtype, on any device.
    Raises FormatError if it has other layers, or naming tensor, value and format of a weight out of range.
    Source: docs/exact.md section 12.
    """
    form = spec.blocks[0].weight
    blocks = read(net, spec.input.shape, activation=form, weight=form, error=form)
    if len(blocks) != len(spec.blocks):
        message = f"has {len(blocks)} linear layers, the specification {len(spec.blocks)}"
        raise FormatError(message, name="the network", mend="give the network that was compiled")
    for block, wanted in zip(blocks, spec.blocks, strict=True):
        for field in _GEOMETRY:
            if getattr(block, field) != getattr(wanted, field):
                message = f"{field} is {getattr(block, field)}, in the specification {getattr(wanted, field)}"
                raise FormatError(message, name=block.name, mend="give the network that was compiled")
    tensors = dict(net.named_parameters())
    return {p.name: _integers(p, tensors[p.name].detach()) for p in spec.parameters()}


def to_float(spec: Spec, weights: Mapping[str, NDArray[np.int64]]) -> nn.Sequential:
    """Return ``weights`` as an ordinary float32 network on the CPU: the integers divided by 2^w, exact up to 25 bits.

    ``weights`` are integer arrays by the names of ``spec.parameters()``. The linear layers have the names they were
    compiled from, so that a state dict of the network that was compiled fits; the ReLU is before the pooling. Its input
    is (byte − 128) · 2^-input exponent, float32 (n, C, H, W); its output the logits.
    Raises FormatError for an invalid specification, and naming a tensor that is missing, unknown or out of range.
    Source: docs/exact.md section 12.
    """
    bounds.check(spec)
    tensors = _floats(spec, weights)
    root: _Tree = {}
    taken = {tuple(b.name.split(".")[: n + 1]) for b in spec.blocks for n in range(b.name.count(".") + 1)}
    path: tuple[str, ...] = ()
    flat = False
    for block in spec.blocks:
        own = tuple(block.name.split("."))
        if block.kind == "linear" and not flat:
            _insert(root, _shared(path, own), "flatten", nn.Flatten(), taken)
            flat = True
        path = own
        _child(root, path[:-1])[path[-1]] = _layer(block, tensors)
        for kind, module in _after(block):
            _insert(root, path[:-1], f"{path[-1]}_{kind}", module, taken)
    if not flat:
        _insert(root, (), "flatten", nn.Flatten(), taken)
    try:
        return _sequential(root)
    except KeyError as error:
        # A Sequential made this way cannot have such a child either; only a stranger's specification names one.
        raise FormatError(f"no layer can have this name: {error}", name="blocks") from None


# --- numbers


def _range(form: Format) -> str:
    scale = 2.0**-form.exponent
    return (
        f"the weight's format (exponent {form.exponent}, {form.bits} bits): {form.low * scale} to {form.high * scale}"
    )


def _integers(parameter: Parameter, tensor: torch.Tensor) -> NDArray[np.int64]:
    form = parameter.format
    real = tensor.to("cpu", torch.float64).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.ldexp(real, form.exponent)
        down = np.floor(scaled)
        rounded = down + (scaled - down >= 0.5)  # scaled + ½ would be rounded just below a half
        good = (rounded >= form.low) & (rounded <= form.high)  # NaN is not
    if not good.all():
        value = float(real[~good].flat[0])
        mend = "scale the weights down, or give more bits or a smaller exponent to the layer's weight"
        raise FormatError(f"beyond {_range(form)}", name=parameter.name, value=value, mend=mend)
    whole: NDArray[np.int64] = rounded.astype(np.int64)
    return whole


def _floats(spec: Spec, weights: Mapping[str, NDArray[np.int64]]) -> dict[str, torch.Tensor]:
    parameters = {p.name: p for p in spec.parameters()}
    if odd := sorted(set(weights) ^ set(parameters)):
        raise FormatError("missing or unknown", name=odd[0])
    found = {}
    for name, parameter in parameters.items():
        value, form = np.asarray(weights[name]), parameter.format
        if value.dtype.kind != "i" or value.shape != parameter.shape:
            shape = f"{value.dtype} {value.shape}"
            raise FormatError(f"not an int64 array of shape {parameter.shape}", name=name, value=shape)
        good = (value >= form.low) & (value <= form.high)
        if not good.all():
            raise FormatError(f"beyond {_range(form)}", name=name, value=int(value[~good].flat[0]))
        found[name] = torch.from_numpy(np.ldexp(value.astype(np.float64), -form.exponent).astype(np.float32))
    return found


# --- layers


def _layer(block: Block, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    # On the meta device nothing is drawn: the caller's random numbers stay as they are.
    if block.kind == "linear":
        layer: nn.Module = nn.Linear(block.inputs[0], block.outputs, bias=block.bias, device="meta")
    else:
        layer = nn.Conv2d(
            block.inputs[0],
            block.outputs,
            block.kernel,
            stride=block.stride,
            padding=block.padding,
            bias=block.bias,
            device="meta",
        )
    state = {"weight": tensors[f"{block.name}.weight"]}
    if block.bias:
        state["bias"] = tensors[f"{block.name}.bias"]
    layer.load_state_dict(state, assign=True)
    return layer.requires_grad_()


def _after(block: Block) -> Iterator[tuple[str, nn.Module]]:
    if block.relu:
        yield "relu", nn.ReLU()
    if block.pool == "max":
        yield "pool", nn.MaxPool2d(block.window)
    elif block.pool == "avg":
        yield "pool", nn.AvgPool2d(block.window)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return the innermost parent of both layers."""
    common = 0
    while common < min(len(one), len(other)) - 1 and one[common] == other[common]:
        common += 1
    return one[:common]


def _child(tree: _Tree, path: tuple[str, ...]) -> _Tree:
    for part in path:
        tree = tree.setdefault(part, {})
    return tree


def _insert(root: _Tree, parent: tuple[str, ...], name: str, module: nn.Module, taken: set[tuple[str, ...]]) -> None:
    """Append a layer without parameters: by the next number if its neighbours are numbered, else by ``name``."""
    tree = _child(root, parent)
    last = next(reversed(tree), "-1")
    if last.isascii() and last.lstrip("-").isdigit() and (*parent, str(int(last) + 1)) not in taken:
        name = str(int(last) + 1)
    while name in tree or (*parent, name) in taken:
        name += "_"
    tree[name] = module


def _sequential(tree: _Tree) -> nn.Sequential:
    net = nn.Sequential()
    for name, child in tree.items():
        net.add_module(name, _sequential(child) if isinstance(child, dict) else child)
    return net
