"""What is proven and what is committed: the statement, each block's geometry, every column (docs/identities.md, 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import NamedTuple

from trainproof.exact.spec import Spec, Velocity
from trainproof.reference.iop.multilinear import Shape, bits
from trainproof.reference.stream import Stream


class Order(NamedTuple):
    """Where the run stands in its passes (docs/exact.md, 6): position ``j`` of the pass x ↦ a·x + b; the next one's is
    g·a, g·b + c. All modulo the number of samples."""

    a: int
    b: int
    g: int
    c: int
    j: int

    @staticmethod
    def start(seed: bytes, samples: int) -> Order:
        """Before the first step."""
        a, g = (coprime(Stream("exact.order", seed, number, 0), samples) for number in (0, 1))
        b, c = (Stream("exact.order", seed, number, 0).below(samples) for number in (2, 3))
        return Order(a, b, g, c, 0)

    def next(self, samples: int) -> Order:
        """One position on."""
        if self.j + 1 < samples:
            return self._replace(j=self.j + 1)
        return self._replace(a=self.g * self.a % samples, b=(self.g * self.b + self.c) % samples, j=0)


def coprime(stream: Stream, size: int) -> int:
    while True:
        x = stream.below(size)
        if gcd(x, size) == 1:
            return x


@dataclass(frozen=True)
class Statement:
    """k steps from step ``first`` of a run over ``samples`` samples, begun at ``order``. All of it is public.

    ``table_bits``: a range [0, 2^m) is one table up to this m, and limbs of it beyond. ``without`` names families of
    constraints that prover and verifier leave out: only for tests that show what each is there for.
    """

    spec: Spec
    samples: int
    steps: int
    first: int
    order: Order
    table_bits: int = 20
    without: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def places(self) -> list[Order]:
        """The order's state at each of the k·B positions, and after them."""
        found = [self.order]
        for _ in range(self.steps * self.spec.batch_size):
            found.append(found[-1].next(self.samples))
        return found

    @property
    def public_index(self) -> list[int]:
        """a·j + b of each position."""
        return [place.a * place.j + place.b for place in self.places[:-1]]

    @property
    def multipliers(self) -> list[int]:
        """m_t of each step."""
        return [self.spec.rate.multiplier(self.first + t) for t in range(self.steps)]

    @property
    def index_bits(self) -> int:
        """lN."""
        return bits(self.samples)

    @property
    def positions(self) -> Shape:
        """The shape (t, b)."""
        return (self.steps, self.spec.batch_size)

    @cached_property
    def geometry(self) -> list[Geometry]:
        return [Geometry(self.spec, index) for index in range(len(self.spec.blocks))]

    def source_shape(self, index: int) -> Shape:
        """The shape (t, b, c, y, x) of block ``index``'s input X."""
        return (*self.positions, *self.geometry[index].source)

    def result_shape(self, index: int) -> Shape:
        """The shape (t, b, o, wy, wx) of block ``index``'s windows."""
        return (*self.positions, *self.geometry[index].block.result)


class Part(NamedTuple):
    """One committed piece of a parameter: the weights of one kernel offset, or the bias (``offset`` None).

    ``name``@t is its column before step t, ``name``.velocity@t its velocity's. ``shift`` is s of its update.
    """

    name: str
    block: int
    offset: int | None
    shape: Shape
    shift: int
    velocity: Velocity | None


class Geometry:
    """A block as a convolution of X(t,b,c,q): its window cells i, kernel offsets κ, and which q they meet.

    A linear block takes all of (c, y, x) as its channels: it has one offset and no positions.
    """

    def __init__(self, spec: Spec, index: int) -> None:
        self.index, self.block = index, spec.blocks[index]
        self.last = index + 1 == len(spec.blocks)
        self.source: Shape = spec.input.shape if index == 0 else spec.blocks[index - 1].result
        linear = self.block.kind == "linear"
        self.channels: Shape = self.source if linear else self.source[:1]
        self.space: Shape = () if linear else self.source[1:]
        self.windows: Shape = () if linear else self.block.windows
        self.cells = [(y, x) for y in range(self.block.window[0]) for x in range(self.block.window[1])]
        self.offsets = [(y, x) for y in range(self.block.kernel[0]) for x in range(self.block.kernel[1])]
        self.input_exponent = spec.input_exponent(index)
        self.shift = spec.forward_shift(index)
        self.parts = self._parts(spec)

    @property
    def gated(self) -> bool:
        """Whether the error passes through selector bits h_i."""
        return not self.last and (self.block.relu or self.block.pool == "max")

    @property
    def shared(self) -> bool:
        """Whether the cells of a window have one y, their maximum."""
        return self.block.pool == "max"

    def y(self, cell: int) -> str:
        """The column of cell ``cell``'s output."""
        return f"{self.index}.y" if self.shared else f"{self.index}.y{cell}"

    @property
    def outputs(self) -> list[str]:
        """The columns whose sum is the next block's X."""
        return [self.y(0)] if self.shared else [self.y(cell) for cell in range(len(self.cells))]

    def d(self, cell: int) -> str:
        return f"{self.index}.d{cell}"

    def h(self, cell: int) -> str:
        return f"{self.index}.h{cell}"

    @property
    def dy(self) -> str:
        return f"{self.index}.dy"

    def meets(self, axis: int, cell: int, offset: int) -> list[tuple[int, int]]:
        """Along one axis: the pairs of window w and input position q with q = stride·(window·w + i) + κ − padding."""
        block = self.block
        i, kappa = self.cells[cell][axis], self.offsets[offset][axis]
        pairs = (
            (w, block.stride[axis] * (block.window[axis] * w + i) + kappa - block.padding[axis])
            for w in range(self.windows[axis])
        )
        return [(w, q) for w, q in pairs if 0 <= q < self.space[axis]]

    def _parts(self, spec: Spec) -> list[Part]:
        block, index = self.block, self.index
        shape = (block.outputs, *self.channels)
        found = [
            Part(f"{index}.weight{k}", index, k, shape, spec.weight_shift(index), block.weight_velocity)
            for k in range(len(self.offsets))
        ]
        if block.bias:
            shift = spec.bias_shift(index)
            found.append(Part(f"{index}.bias", index, None, shape[:1], shift, block.bias_velocity))
        return found


def packing(shape: Shape) -> tuple[int, int, int]:
    """How pixels are packed: address bits of the block i, of the element j, and how many blocks are used."""
    count = sum(bits(size) for size in shape)
    last = 0
    for size in shape:
        last = last << bits(size) | (size - 1)
    for high in (3, 2):
        if high <= count:
            used = (last >> (count - high)) + 1
            if used < 8:
                return high, count - high, used
    return count, 0, last + 1


def dataset_columns(statement: Statement) -> dict[str, Shape]:
    """The dataset's columns: packed pixels D(row, j), and labels L(row)."""
    _, low, _ = packing(statement.spec.input.shape)
    return {"D": (statement.samples, 1 << low), "L": (statement.samples,)}


def columns(statement: Statement) -> dict[str, Shape]:
    """Every column of the witness but limbs and multiplicities, with its shape."""
    spec, n = statement.spec, statement.positions
    found: dict[str, Shape] = {f"bit{j}": n for j in range(statement.index_bits)}
    found["Q"] = n
    found["P"] = statement.source_shape(0)
    result = statement.result_shape(len(spec.blocks) - 1)
    found["hl"] = result
    for geometry in statement.geometry[:-1]:
        shape = statement.result_shape(geometry.index)
        found |= dict.fromkeys(geometry.outputs, shape)
        if geometry.gated:
            for i in range(len(geometry.cells)):
                found |= {geometry.d(i): shape, geometry.h(i): shape}
        found[geometry.dy] = shape
    if spec.loss.kind == "cross_entropy":
        found |= {"M": n, "parity": n}
        found |= dict.fromkeys(("dM", "hM", "cp", "hi", "lo", "th", "tl", "e", "p"), result)
    else:
        found["z"] = result
    for geometry in statement.geometry:
        for part in geometry.parts:
            for t in range(statement.steps + 1):
                found[f"{part.name}@{t}"] = part.shape
                if spec.momentum is not None:
                    found[f"{part.name}.velocity@{t}"] = part.shape
    return found
