"""Read a plain ``nn.Sequential`` into the blocks of docs/exact.md section 2; whatever has no exact form is refused.

Only the layers' own classes are read, not subclasses: a subclass may compute something else in its ``forward``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

import msgspec
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact.spec import Block, Format

Shape = tuple[int, int, int]

_STOCK: Final = (nn.Linear, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten)
_USE: Final = "use Linear, Conv2d, ReLU, MaxPool2d, AvgPool2d and Flatten in a plain nn.Sequential"
_RELU: Final = "use nn.ReLU"
_NORM: Final = "leave it out, or fold a trained one into the layer before it"
_INSTEAD: Final = {
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), _NORM),
    **dict.fromkeys(("LayerNorm", "GroupNorm", "InstanceNorm2d", "LocalResponseNorm", "RMSNorm"), "leave it out"),
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "Identity"), "leave it out"),
    **dict.fromkeys(("GELU", "SiLU", "ELU", "SELU", "CELU", "LeakyReLU", "PReLU", "RReLU", "ReLU6", "Mish"), _RELU),
    **dict.fromkeys(("Sigmoid", "Tanh", "Hardtanh", "Hardswish", "Hardsigmoid", "Softplus", "Softsign"), _RELU),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Softmax2d", "Softmin"), "leave it out: the loss contains it"),
    "AdaptiveAvgPool2d": "use nn.AvgPool2d with its window written out",
    "AdaptiveMaxPool2d": "use nn.MaxPool2d with its window written out",
    "LPPool2d": "use nn.AvgPool2d or nn.MaxPool2d",
    **dict.fromkeys(("Conv1d", "Conv3d", "ConvTranspose2d"), "use nn.Conv2d"),
    **dict.fromkeys(("ZeroPad2d", "ConstantPad2d", "ReflectionPad2d"), "use the padding of nn.Conv2d (zeros)"),
    "Bilinear": "use nn.Linear",
    "Unflatten": "give Conv2d and pooling layers the shape (C, H, W) before nn.Flatten()",
}


def times(shape: tuple[int, ...]) -> str:
    """Return ``shape`` for people: ``16×5×5``."""
    return "×".join(map(str, shape))


def read(net: nn.Module, input_shape: Shape, *, activation: Format, weight: Format, error: Format) -> list[Block]:
    """Return the blocks of ``net`` on samples of ``input_shape`` (C, H, W), all with these formats.

    ρ (``initial``) is 0 and no block has a velocity: the compiler fills them in. Nothing is allocated and no weight is
    read. Raises FormatError naming the layer, what has no exact form, and what to use instead.
    """
    if type(net) is not nn.Sequential:
        raise FormatError(
            "a network with its own forward (residual connections, say) has no exact form",
            value=type(net).__name__,
            mend=_USE,
        )
    reader = _Reader(input_shape, {"activation": activation, "weight": weight, "error": error})
    for name, module in _flat(net, ""):
        reader.add(name, module)
    return reader.finish()


def _flat(net: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield dotted name and module of all leaves in order; a module that occurs twice is yielded twice."""
    _plain(net, prefix[:-1] or "the network")
    for key, module in net._modules.items():
        if type(module) is nn.Sequential:
            yield from _flat(module, f"{prefix}{key}.")
        elif module is not None:
            yield prefix + key, module


def _plain(module: nn.Module, name: str) -> None:
    """Refuse hooks and a ``forward`` of the module's own: they may change what it computes."""
    hooks: list[object] = [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
    for parameter in module._parameters.values():
        if parameter is not None:
            hooks += [parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None)]
    if any(hooks):
        raise FormatError("has hooks, which have no exact form", name=name, mend="remove them (weight_norm sets some)")
    if "forward" in vars(module):
        raise FormatError("has a forward of its own, which has no exact form", name=name, mend=_USE)


def _pair(value: int | tuple[int, ...], name: str, what: str, least: int = 1) -> tuple[int, int]:
    """Return (rows, columns) of a layer's ``what``, of at least ``least`` each."""
    pair = (value,) if isinstance(value, int) else tuple(value) if isinstance(value, tuple | list) else ()
    if len(pair) not in (1, 2) or not all(isinstance(n, int) and n >= least for n in pair):
        raise FormatError(f"{what} is not one or two integers of at least {least}", name=name, value=value)
    return pair[0], pair[-1]


class _Reader:
    """What has been read so far: ``blocks``, and whether the last block's output is ``flat``."""

    def __init__(self, shape: Shape, formats: dict[str, Format]) -> None:
        self.shape, self.formats = shape, formats
        self.blocks: list[Block] = []
        self.flat = False
        self.seen: set[int] = set()
        self.before = "the input"
        self.last = ""

    def add(self, name: str, module: nn.Module) -> None:
        """Read the next layer."""
        kind = type(module)
        if kind not in _STOCK:
            self.refuse(name, module)
        _plain(module, name)
        self.last = name
        if isinstance(module, nn.Linear):
            self.linear(name, module)
        elif isinstance(module, nn.Conv2d):
            self.conv(name, module)
        elif isinstance(module, nn.Flatten):
            if module.start_dim != 1 or module.end_dim != -1:
                value = f"start_dim={module.start_dim}, end_dim={module.end_dim}"
                raise FormatError("flattens other than whole samples", name=name, value=value, mend="use nn.Flatten()")
            self.flat = True
        elif isinstance(module, nn.ReLU):
            self.relu(name)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            self.pool(name, module)

    def refuse(self, name: str, module: nn.Module) -> None:
        kind = type(module)
        for stock in (*_STOCK, nn.Sequential):
            if isinstance(module, stock):
                message = f"{kind.__name__}, a subclass of nn.{stock.__name__}, may compute something else"
                raise FormatError(message, name=name, mend=f"use nn.{stock.__name__} itself")
        mend = _INSTEAD.get(kind.__name__) if kind.__module__.startswith("torch.nn.") else None
        if mend is None and kind.__module__.startswith("torch.nn."):
            mend = _USE
        raise FormatError(
            f"{kind.__name__} has no exact form",
            name=name,
            mend=mend or f"{_USE}: modules with their own forward (residual connections, say) are not supported",
        )

    def block(self, name: str, module: nn.Linear | nn.Conv2d, **fields: object) -> None:
        own = {id(parameter) for parameter in module.parameters()}
        if own & self.seen:
            raise FormatError("a layer used twice (shared weights) has no exact form", name=name, mend="use two layers")
        self.seen |= own
        base = {
            "kernel": (1, 1),
            "stride": (1, 1),
            "padding": (0, 0),
            "relu": False,
            "pool": "none",
            "window": (1, 1),
            "initial": 0,
            "weight_velocity": None,
            "bias_velocity": None,
        }
        block = Block(**{**base, **self.formats, "name": name, "bias": module.bias is not None, **fields})  # type: ignore[arg-type]
        for kind, wanted in (("weight", block.weight_shape), ("bias", (block.outputs,))):
            tensor = module._parameters[kind]
            if tensor is not None and (tuple(tensor.shape) != wanted or not tensor.is_floating_point()):
                value = f"{tensor.dtype}, {tuple(tensor.shape)}"
                raise FormatError(f"its {kind} is not real, of shape {wanted}", name=name, value=value)
        if min(block.windows) < 1:
            shape = times(block.inputs[1:])
            raise FormatError(
                f"the kernel {times(block.kernel)} does not fit into {shape} with padding {times(block.padding)}",
                name=name,
                mend="use a smaller kernel, more padding, or fewer layers before it",
            )
        self.blocks.append(block)
        self.shape, self.before = block.result, name

    def linear(self, name: str, module: nn.Linear) -> None:
        if not self.flat:
            message = f"nn.Linear on {times(self.shape)} from {self.before}, which is not flattened"
            raise FormatError(message, name=name, mend="put nn.Flatten() before it")
        features = prod(self.shape)
        if module.in_features != features:
            raise FormatError(
                f"takes {module.in_features} features, but {self.before} gives {features} = {times(self.shape)}",
                name=name,
                mend=f"use nn.Linear({features}, {module.out_features})",
            )
        self.block(name, module, kind="linear", inputs=(features, 1, 1), outputs=module.out_features)

    def conv(self, name: str, module: nn.Conv2d) -> None:
        if self.flat:
            raise FormatError("nn.Conv2d after nn.Flatten", name=name, mend="flatten after the last Conv2d")
        if module.in_channels != self.shape[0]:
            raise FormatError(
                f"takes {module.in_channels} channels, but {self.before} gives {times(self.shape)}",
                name=name,
                mend=f"use nn.Conv2d({self.shape[0]}, {module.out_channels}, ...)",
            )
        kernel, padding = _pair(module.kernel_size, name, "kernel_size"), module.padding
        if module.groups != 1:
            raise FormatError("groups have no exact form", name=name, value=module.groups, mend="use groups=1")
        if _pair(module.dilation, name, "dilation") != (1, 1):
            raise FormatError("dilation has no exact form", name=name, value=module.dilation, mend="use dilation=1")
        if module.padding_mode != "zeros":
            mend = "use padding_mode='zeros'"
            raise FormatError("pads with other than zeros", name=name, value=module.padding_mode, mend=mend)
        if padding == "same":
            odd = kernel[0] % 2 == kernel[1] % 2 == 1
            mend = f"use padding={(kernel[0] // 2, kernel[1] // 2)}" if odd else "use an odd kernel and its padding"
            raise FormatError("padding by name has no exact form", name=name, value=padding, mend=mend)
        sides = (0, 0) if isinstance(padding, str) else _pair(padding, name, "padding", 0)  # "valid" is 0
        self.block(
            name,
            module,
            kind="conv",
            inputs=self.shape,
            outputs=module.out_channels,
            kernel=kernel,
            stride=_pair(module.stride, name, "stride"),
            padding=sides,
        )

    def current(self, name: str, what: str) -> Block:
        """Return the block that an activation layer belongs to."""
        if not self.blocks:
            mend = "begin with nn.Conv2d, or nn.Flatten() and nn.Linear"
            raise FormatError(f"{what} before the first nn.Linear or nn.Conv2d", name=name, mend=mend)
        return self.blocks[-1]

    def relu(self, name: str) -> None:
        block = self.current(name, "nn.ReLU")
        if block.relu:
            raise FormatError("a second nn.ReLU changes nothing", name=name, mend="leave it out")
        if block.pool == "avg":
            mend = "put nn.AvgPool2d after nn.ReLU"
            raise FormatError("nn.ReLU after nn.AvgPool2d has no exact form", name=name, mend=mend)
        self.blocks[-1] = msgspec.structs.replace(block, relu=True)

    def pool(self, name: str, module: nn.MaxPool2d | nn.AvgPool2d) -> None:
        what = f"nn.{type(module).__name__}"
        block = self.current(name, what)
        window = _pair(module.kernel_size, name, "kernel_size")
        if module.stride is not None and _pair(module.stride, name, "stride") != window:
            raise FormatError(
                f"{what} with windows that overlap or leave gaps",
                name=name,
                value=module.stride,
                mend="use stride = kernel",
            )
        if _pair(module.padding, name, "padding", 0) != (0, 0):
            raise FormatError(f"{what} with padding", name=name, value=module.padding, mend="use padding=0")
        if module.ceil_mode:
            raise FormatError(f"{what} with ceil_mode", name=name, value=True, mend="use ceil_mode=False")
        if isinstance(module, nn.MaxPool2d):
            if _pair(module.dilation, name, "dilation") != (1, 1):
                raise FormatError(f"{what} with dilation", name=name, value=module.dilation, mend="use dilation=1")
            if module.return_indices:
                mend = "use return_indices=False"
                raise FormatError(f"{what} with return_indices", name=name, value=True, mend=mend)
        elif module.divisor_override is not None:
            mend = "use divisor_override=None"
            raise FormatError(f"{what} with its own divisor", name=name, value=module.divisor_override, mend=mend)
        if window == (1, 1):
            return  # a window of one cell is no pooling
        if self.flat:
            raise FormatError(f"{what} after nn.Flatten", name=name, mend="pool before flattening")
        if block.pool != "none":
            first = "nn.MaxPool2d" if block.pool == "max" else "nn.AvgPool2d"
            mend = "use one larger window, or a Conv2d between them"
            raise FormatError(f"{what} right after {first} has no exact form", name=name, mend=mend)
        if isinstance(module, nn.AvgPool2d) and prod(window) & (prod(window) - 1):
            mend = "use a window whose area is a power of two, such as 2, 4 or (2, 4)"
            raise FormatError("the mean of a window that is no power of two", name=name, value=window, mend=mend)
        kind = "max" if isinstance(module, nn.MaxPool2d) else "avg"
        pooled = msgspec.structs.replace(block, pool=kind, window=window)
        if min(pooled.windows) < 1:
            message = f"the window {times(window)} does not fit into {times(block.result)} from {block.name}"
            raise FormatError(message, name=name, mend="use a smaller window")
        self.blocks[-1] = pooled
        self.shape = pooled.result

    def finish(self) -> list[Block]:
        """Return the blocks, once it is certain that the last one gives logits."""
        if not self.blocks:
            raise FormatError("the network has no nn.Linear and no nn.Conv2d", mend=_USE)
        block = self.blocks[-1]
        if block.relu or block.pool != "none":
            what = "nn.ReLU" if block.relu else "pooling"
            mend = "end with nn.Linear: the loss takes its outputs as they are"
            raise FormatError(f"{what} after the last nn.Linear or nn.Conv2d", name=block.name, mend=mend)
        if not self.flat or block.windows != (1, 1):
            mend = "end with nn.Flatten() and nn.Linear"
            raise FormatError(f"the network's output is {times(block.result)}, not logits", name=block.name, mend=mend)
        return self.blocks
