"""The specification of an exact training: everything but data, seed and number of steps (docs/exact.md section 10).

Plain data without torch: the step proof's verifier reads it too. Shifts and shapes are derived, never stored, so that
they cannot contradict the formats. ``compile`` makes specifications; whoever is given one calls ``bounds.check``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trainproof.attest import canonical

VERSION: Final = 1
ZERO: Final = 128  # the byte that means 0
EXP_BITS: Final = 18  # exponent of both EXP tables; their product is rounded to 16
SUM_BITS: Final = 16

Exponent = Annotated[int, Meta(ge=0, le=40)]
Bits = Annotated[int, Meta(ge=2, le=40)]
Size = Annotated[int, Meta(ge=1, le=1 << 20)]
Pair = tuple[Size, Size]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parts: immutable, no unknown fields."""


class Format(Part, frozen=True):
    """The integer z stands for z·2^-exponent; −2^(bits−1) ≤ z < 2^(bits−1)."""

    exponent: Exponent
    bits: Bits

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1


class Velocity(Part, frozen=True):
    """A velocity's range in ``bits``, and how many bits of the gradient it drops (``shift``, u)."""

    bits: Bits
    shift: Exponent


class Block(Part, frozen=True):
    """A linear part and an activation (section 2). ``name`` is the linear layer's in the Sequential, e.g. ``"0"``.

    Parameters are ``<name>.weight`` (outputs, inputs, kernel rows, kernel columns; for ``linear`` outputs, inputs) and
    ``<name>.bias`` (outputs). ``inputs`` is (C, H, W); of a linear block (features, 1, 1). ``initial`` is ρ.
    """

    name: Name
    kind: Literal["conv", "linear"]
    inputs: tuple[Size, Size, Size]
    outputs: Size
    kernel: Pair
    stride: Pair
    padding: tuple[Annotated[int, Meta(ge=0, le=1 << 20)], Annotated[int, Meta(ge=0, le=1 << 20)]]
    bias: bool
    relu: bool
    pool: Literal["none", "max", "avg"]
    window: Pair
    activation: Format
    weight: Format
    error: Format
    initial: Annotated[int, Meta(ge=0, lt=1 << 40)]
    weight_velocity: Velocity | None
    bias_velocity: Velocity | None

    @property
    def positions(self) -> tuple[int, int]:
        """Rows and columns of the linear part's outputs that exist: those that some pooling window covers."""
        rows, columns = self.windows
        return rows * self.window[0], columns * self.window[1]

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns after pooling."""
        rows, columns = (
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(self.inputs[1:], self.padding, self.kernel, self.stride, strict=True)
        )
        return rows // self.window[0], columns // self.window[1]

    @property
    def result(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the block's output: the next block's X."""
        return (self.outputs, *self.windows)

    @property
    def area(self) -> int:
        """v: log2 of the cells of an averaging window, 0 without one."""
        return (self.window[0] * self.window[1]).bit_length() - 1 if self.pool == "avg" else 0

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight tensor."""
        if self.kind == "linear":
            return (self.outputs, self.inputs[0])
        return (self.outputs, self.inputs[0], *self.kernel)

    @property
    def fan_in(self) -> int:
        """Terms of one output."""
        return self.inputs[0] * self.kernel[0] * self.kernel[1]


class Input(Part, frozen=True):
    """Shape (C, H, W) of a sample's bytes, and the exponent of byte − 128."""

    shape: tuple[Size, Size, Size]
    exponent: Exponent


class Loss(Part, frozen=True):
    """``high`` and ``low`` are the tables TH and TL of section 3; empty for mean-squared error."""

    kind: Literal["cross_entropy", "mean_squared_error"]
    high: Annotated[list[Annotated[int, Meta(ge=0, le=1 << EXP_BITS)]], Meta(max_length=1024)]
    low: Annotated[list[Annotated[int, Meta(ge=0, le=1 << EXP_BITS)]], Meta(max_length=1024)]


class Rate(Part, frozen=True):
    """The rate of step t is m·2^-exponent with the m of the last piece (first step, m) that begins at or before t."""

    exponent: Exponent
    pieces: Annotated[
        list[tuple[Annotated[int, Meta(ge=0, lt=1 << 32)], Annotated[int, Meta(ge=1, lt=1 << 16)]]],
        Meta(min_length=1, max_length=1024),
    ]

    def multiplier(self, step: int) -> int:
        """Return m of step ``step``."""
        return [m for first, m in self.pieces if first <= step][-1]

    @property
    def largest(self) -> int:
        """The largest m."""
        return max(m for _, m in self.pieces)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter tensor of a specification, with all that its update needs; derived."""

    name: str
    number: int
    shape: tuple[int, ...]
    format: Format
    initial: int
    shift: int
    velocity: Velocity | None


class Spec(Part, frozen=True):
    """A whole specification. ``batch`` is L: a batch has 2^L samples. ``momentum`` is j (β = 1 − 2^-j) or None."""

    version: Literal[1]
    input: Input
    blocks: Annotated[list[Block], Meta(min_length=1, max_length=256)]
    loss: Loss
    batch: Annotated[int, Meta(ge=0, le=16)]
    rate: Rate
    momentum: Annotated[int, Meta(ge=1, le=10)] | None

    @property
    def batch_size(self) -> int:
        """B, samples a batch."""
        return 1 << self.batch

    @property
    def classes(self) -> int:
        """C, outputs of the last block."""
        return self.blocks[-1].outputs

    def input_exponent(self, index: int) -> int:
        """Return ain: the exponent of block ``index``'s X."""
        if index == 0:
            return self.input.exponent
        below = self.blocks[index - 1]
        return below.activation.exponent + below.area

    def forward_shift(self, index: int) -> int:
        """Return s of z = rnd(Z, s) in block ``index`` (section 2)."""
        block = self.blocks[index]
        return self.input_exponent(index) + block.weight.exponent - block.activation.exponent

    def error_shift(self, index: int) -> int:
        """Return s of dy = rnd(D, s) that block ``index`` ≥ 1 passes to the block below (section 4)."""
        block, below = self.blocks[index], self.blocks[index - 1]
        return block.weight.exponent + block.error.exponent - below.error.exponent + below.area

    def weight_shift(self, index: int) -> int:
        """Return s_weight of block ``index`` (section 5)."""
        return self.input_exponent(index) + self.bias_shift(index)

    def bias_shift(self, index: int) -> int:
        """Return s_bias of block ``index`` (section 5)."""
        block = self.blocks[index]
        return self.rate.exponent + self.batch + block.error.exponent - block.weight.exponent

    def parameters(self) -> list[Parameter]:
        """Return all parameter tensors in the order of section 7."""
        found: list[Parameter] = []
        for i, b in enumerate(self.blocks):
            rows = [("weight", b.weight_shape, b.initial, self.weight_shift(i), b.weight_velocity)]
            if b.bias:
                rows.append(("bias", (b.outputs,), 0, self.bias_shift(i), b.bias_velocity))
            for kind, shape, initial, shift, velocity in rows:
                found.append(Parameter(f"{b.name}.{kind}", len(found), shape, b.weight, initial, shift, velocity))
        return found

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return canonical.encode(self)

    def digest(self) -> str:
        """Return the digest of section 10 in hexadecimal."""
        from trainproof.recording.chain import digest_of

        return digest_of("exact", self.encode())
