"""Exact integer training: docs/exact.md, sections 1 to 8 and 11.

All values are Python's unbounded integers, in NumPy arrays of dtype object, so that nothing here can wrap or round:
the functions are defined whatever the ranges are. Only ``step`` looks at them.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainproof.errors import RangeError
from trainproof.exact.spec import Block, Format, Spec, Velocity
from trainproof.reference.stream import Stream

Array = NDArray[Any]  # of Python integers, dtype object
Tensors = dict[str, Array]


def rnd(z: Any, s: int) -> Any:
    """Z / 2^s, half up; of an integer or of each in an array."""
    return z if s == 0 else (z + 2 ** (s - 1)) // 2**s


def integers(values: Any) -> Array:
    """As Python's integers, whatever integers they are now (also those that floats hold)."""
    array = np.asarray(values)
    found = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        found[index] = int(array[index])
    return found


def zeros(*shape: int) -> Array:
    return integers(np.zeros(shape, dtype=np.int64))


# Section 2.


class Trace(NamedTuple):
    """A forward pass: each block's X and z, both (B, channels, rows, columns), and the logits, (B, C)."""

    inputs: list[Array]
    outputs: list[Array]
    logits: Array


def padded(block: Block, x: Array) -> Array:
    """X with its padding, so that position q and offset κ meet at stride·q + κ."""
    rows, columns = block.padding
    # NumPy pads with its own zeros, which overflow where Python's do not.
    return integers(np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)), constant_values=0))


def field(block: Block, row: int, column: int) -> tuple[slice, slice]:
    """What the output position (row, column) sees of the padded X: all κ."""
    top, left = block.stride[0] * row, block.stride[1] * column
    return slice(top, top + block.kernel[0]), slice(left, left + block.kernel[1])


def kernel(block: Block, weights: Tensors) -> Array:
    """weight(o,c,κ), with two axes for κ in a linear block too."""
    return integers(weights[f"{block.name}.weight"]).reshape(block.outputs, block.inputs[0], *block.kernel)


def cells(block: Block, row: int, column: int) -> list[tuple[int, int]]:
    """The positions of a pooling window, row-major; one without pooling."""
    height, width = block.window
    return [(row * height + i, column * width + j) for i in range(height) for j in range(width)]


def accumulate(block: Block, ain: int, weights: Tensors, x: Array) -> Array:
    """Z(n,o,q)."""
    weight, seen = kernel(block, weights), padded(block, x)
    bias = integers(weights[f"{block.name}.bias"]) if block.bias else zeros(block.outputs)
    found = zeros(len(x), block.outputs, *block.positions)
    for n, o, row, column in np.ndindex(found.shape):
        rows, columns = field(block, row, column)
        found[n, o, row, column] = 2**ain * bias[o] + (weight[o] * seen[n, :, rows, columns]).sum()
    return found


def activate(block: Block, z: Array) -> Array:
    """The next block's X, from z."""
    found = zeros(len(z), *block.result)
    for n, o, row, column in np.ndindex(found.shape):
        values = [z[n, o, i, j] for i, j in cells(block, row, column)]
        if block.pool == "max":
            y = max(values)
            found[n, o, row, column] = max(0, y) if block.relu else y
        else:
            found[n, o, row, column] = sum(max(0, y) if block.relu else y for y in values)
    return found


def forward(spec: Spec, weights: Tensors, samples: Any) -> Trace:
    """The network on a batch of bytes (B, channels, rows, columns)."""
    x = integers(samples) - 128
    inputs, outputs = [], []
    for i, block in enumerate(spec.blocks):
        x = x.reshape(len(x), *block.inputs)
        z = rnd(accumulate(block, spec.input_exponent(i), weights, x), spec.forward_shift(i))
        inputs.append(x)
        outputs.append(z)
        x = activate(block, z)
    return Trace(inputs, outputs, x.reshape(len(x), spec.classes))


# Section 3.


def tables(a: int) -> tuple[list[int], list[int]]:
    """TH and TL, by the exponential series in fractions between two bounds."""
    g = (a + 4) // 2
    high = [rounded_exp(Fraction(i * 2**g, 2**a)) for i in range(2**g)]
    low = [rounded_exp(Fraction(i, 2**a)) for i in range(2**g)]
    return high, low


def rounded_exp(x: Fraction) -> int:
    """⌊2^18 · exp(−x) + ½⌋ for 0 ≤ x ≤ 16: exp(x) lies between the sum of 100 terms and that plus twice the next."""
    scale = 2**200
    total, term = Fraction(0), Fraction(1)
    for k in range(1, 101):
        total += term
        term = Fraction(math.floor(term * x / k * scale), scale)
    slack = 2 * term + Fraction(1, 2**150)  # 100 truncations below 2^-200, each grown by less than exp(16)
    least, most = (math.floor(2**18 / (total + sign * slack) + Fraction(1, 2)) for sign in (1, -1))
    if least != most:
        raise ArithmeticError(f"exp(-{x}) is too close to a half")
    return least


def exponentials(spec: Spec, z: Array) -> tuple[list[int], list[int], int]:
    """d, E and S of one sample."""
    g = (spec.blocks[-1].activation.exponent + 4) // 2
    d = [max(z) - value for value in z]
    e = []
    for value in d:
        hi, lo = divmod(min(value, 2 ** (2 * g) - 1), 2**g)
        e.append(rnd(spec.loss.high[hi] * spec.loss.low[lo], 20))
    return d, e, sum(e)


def loss(spec: Spec, logits: Array, labels: Any) -> Array:
    """dz (B, C) from the logits (B, C) and the labels (B,)."""
    a, f = spec.blocks[-1].activation.exponent, spec.blocks[-1].error.exponent
    found = zeros(*logits.shape)
    for n, label in enumerate(labels):
        _, e, s = exponentials(spec, logits[n]) if spec.loss.kind == "cross_entropy" else ([], [], 0)
        for o in range(spec.classes):
            hit = int(o == label)
            if spec.loss.kind == "cross_entropy":
                found[n, o] = (e[o] * 2**f + s // 2) // s - 2**f * hit
            else:
                found[n, o] = 2 ** (f - a) * (logits[n, o] - 2**a * hit)
    return found


# Section 4.


def activate_backward(block: Block, z: Array, dy: Array) -> Array:
    """dz of all positions of a block from its windows' dy."""
    found = zeros(*z.shape)
    for n, o, row, column in np.ndindex(dy.shape):
        window = cells(block, row, column)
        if block.pool == "max":
            window = [max(window, key=lambda cell: z[n, o, cell[0], cell[1]])]  # the first of equals
        for i, j in window:
            if not block.relu or z[n, o, i, j] > 0:
                found[n, o, i, j] = dy[n, o, row, column]
    return found


def backward_errors(spec: Spec, weights: Tensors, trace: Trace, dz: Array) -> list[tuple[Array, Array]]:
    """(dy, dz) of each block; the last's dy is the loss's dz."""
    dy = dz.reshape(trace.outputs[-1].shape)
    found = [(dy, dy)]
    for i in range(len(spec.blocks) - 1, 0, -1):
        block, below = spec.blocks[i], spec.blocks[i - 1]
        error, weight = found[0][1], kernel(block, weights)
        d = padded(block, zeros(*trace.inputs[i].shape))
        for n, o, row, column in np.ndindex(error.shape):
            rows, columns = field(block, row, column)
            d[n, :, rows, columns] += error[n, o, row, column] * weight[o]
        (top, left), (_, height, width) = block.padding, block.inputs
        dy = rnd(d[:, :, top : top + height, left : left + width], spec.error_shift(i))
        dy = dy.reshape(len(dy), *below.result)
        found.insert(0, (dy, activate_backward(below, trace.outputs[i - 1], dy)))
    return found


def backward(spec: Spec, weights: Tensors, trace: Trace, dz: Array) -> Tensors:
    """G of every parameter."""
    found: Tensors = {}
    for block, x, (_, error) in zip(spec.blocks, trace.inputs, backward_errors(spec, weights, trace, dz), strict=True):
        weight, bias, seen = zeros(*kernel(block, weights).shape), zeros(block.outputs), padded(block, x)
        for n, o, row, column in np.ndindex(error.shape):
            rows, columns = field(block, row, column)
            weight[o] += error[n, o, row, column] * seen[n, :, rows, columns]
            bias[o] += error[n, o, row, column]
        found[f"{block.name}.weight"] = weight.reshape(block.weight_shape)
        if block.bias:
            found[f"{block.name}.bias"] = bias
    return found


# Section 5.


def update(spec: Spec, weights: Tensors, velocities: Tensors, gradients: Tensors, step: int) -> tuple[Tensors, Tensors]:
    """W' and V' of every parameter; without momentum there are no velocities."""
    new_weights, new_velocities = {}, {}
    m, j = spec.rate.multiplier(step), spec.momentum
    for parameter in spec.parameters():
        name, s = parameter.name, parameter.shift
        w, g = integers(weights[name]), integers(gradients[name])
        if j is None:
            new_weights[name] = w - rnd(m * g, s)
            continue
        if parameter.velocity is None:
            raise ValueError(f"{name} has no velocity's format")
        u = parameter.velocity.shift
        v = integers(velocities[name])
        v = ((2**j - 1) * 2**u * v + 2**j * g + 2 ** (j + u - 1)) // 2 ** (j + u)
        new_velocities[name] = v
        new_weights[name] = w - rnd(m * v, s - u)
    return new_weights, new_velocities


# Section 6.


def order(seed: bytes, size: int, start: int, count: int) -> list[int]:
    """The samples at positions start … start + count − 1, one pass after the other."""

    def coprime(number: int) -> int:
        stream = Stream("exact.order", seed, number, 0)
        while True:
            x = stream.below(size)
            if math.gcd(x, size) == 1:
                return x

    a, g = coprime(0), coprime(1)
    b, c = (Stream("exact.order", seed, number, 0).below(size) for number in (2, 3))
    found, passed = [], 0
    for k in range(start, start + count):
        while passed < k // size:
            a, b, passed = g * a % size, (g * b + c) % size, passed + 1
        found.append((a * (k % size) + b) % size)
    return found


# Section 7.


def initial(spec: Spec, seed: bytes) -> Tensors:
    """The weights before the first step."""
    found: Tensors = {}
    for k, parameter in enumerate(spec.parameters()):
        found[parameter.name] = zeros(*parameter.shape)
        if parameter.name.endswith(".weight"):
            stream = Stream("exact.weight", seed, k, 0)
            for index in np.ndindex(parameter.shape):
                found[parameter.name][index] = stream.below(2 * parameter.initial + 1) - parameter.initial
    return found


def still(spec: Spec) -> Tensors:
    """The velocities before the first step."""
    return {} if spec.momentum is None else {p.name: zeros(*p.shape) for p in spec.parameters()}


# Section 8.


def inside(values: Array, form: Format | Velocity, layer: str, tensor: str, step: int) -> None:
    """Refuse values out of range."""
    for value in values.flat:
        if not -(2 ** (form.bits - 1)) <= value < 2 ** (form.bits - 1):
            raise RangeError("a value is out of range", layer=layer, tensor=tensor, step=step, value=value)


def step(
    spec: Spec, weights: Tensors, velocities: Tensors, samples: Any, labels: Any, t: int, *, check: bool = True
) -> tuple[Tensors, Tensors, Fraction]:
    """W', V' and the reported loss of step t; ``check`` looks at all ranges, in the order of the computation."""
    trace = forward(spec, weights, samples)
    dz = loss(spec, trace.logits, labels)
    errors = backward_errors(spec, weights, trace, dz)
    gradients = backward(spec, weights, trace, dz)
    new_weights, new_velocities = update(spec, weights, velocities, gradients, t)
    if check:
        for block, z in zip(spec.blocks, trace.outputs, strict=True):
            inside(z, block.activation, block.name, "activation", t)
        for block, (dy, _) in reversed(list(zip(spec.blocks, errors, strict=True))):
            inside(dy, block.error, block.name, "error", t)
        for parameter in spec.parameters():
            layer, kind = parameter.name.rsplit(".", 1)
            if parameter.velocity is not None:
                tensor = "velocity" if kind == "weight" else "bias velocity"
                inside(new_velocities[parameter.name], parameter.velocity, layer, tensor, t)
            inside(new_weights[parameter.name], parameter.format, layer, kind, t)
    return new_weights, new_velocities, reported_loss(spec, trace.logits, labels)


# Section 11.


def logarithm(s: int) -> int:
    """LN(S)."""
    k = s.bit_length() - 1
    x = s * 2**30 // 2**k
    log2 = (k - 16) * 2**24
    for i in range(23, -1, -1):
        x = x * x // 2**30
        if x >= 2**31:
            log2 += 2**i
            x //= 2
    return (log2 * 11629080 + 2**23) // 2**24


def reported_loss(spec: Spec, logits: Array, labels: Any) -> Fraction:
    """The loss, exactly; the number reported is the binary64 nearest to it."""
    a = spec.blocks[-1].activation.exponent
    total = 0
    for n, label in enumerate(labels):
        if spec.loss.kind == "cross_entropy":
            d, _, s = exponentials(spec, logits[n])
            total += d[int(label)] * 2 ** (24 - a) + logarithm(s)
        else:
            total += sum((z - 2**a * int(o == label)) ** 2 for o, z in enumerate(logits[n]))
    scale = 2**24 if spec.loss.kind == "cross_entropy" else 2 * 4**a
    return Fraction(total, spec.batch_size * scale)
