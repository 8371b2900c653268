"""Tiny nets with a chunk of steps to prove: formats fitted so tightly that every range is reached."""

from __future__ import annotations

import dataclasses
import random
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from exact_specs import conv, linear, make
from trainproof.exact.spec import Format, Spec, Velocity
from trainproof.reference import exact
from trainproof.reference.iop.fractions import multiplicities
from trainproof.reference.iop.layout import Order, Statement
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import Changes, Columns, Witness, dataset

TABLE_BITS = 6  # limbs everywhere: they stand for what tables of 2^20 rows leave


class Case(NamedTuple):
    """A statement, the state before its first step, and the dataset."""

    statement: Statement
    weights: exact.Tensors
    velocities: exact.Tensors
    images: Any
    labels: Any

    def witness(self, changes: Changes | None = None) -> Columns:
        """The columns with some cells changed, and multiplicities counted honestly from them; with the dataset's."""
        columns = Witness(self.statement, *self[1:], changes=changes).columns
        return (
            columns
            | dataset(self.statement, self.images, self.labels)
            | multiplicities(Tensors(self.statement, columns))
        )

    def changed(self, **fields: Any) -> Case:
        """With other fields of the statement."""
        return self._replace(statement=dataclasses.replace(self.statement, **fields))


def case(
    spec: Spec,
    *,
    seed: int = 0,
    samples: int = 7,
    steps: int = 2,
    order: Order | None = None,
    images: Any = None,
    labels: Any = None,
    weights: exact.Tensors | None = None,
    table_bits: int = TABLE_BITS,
) -> Case:
    """A case of a specification whose bits are then fitted to the values that occur."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (samples, *spec.input.shape)) if images is None else images
    labels = rng.integers(0, spec.classes, samples) if labels is None else labels
    order = order or Order.start(bytes([seed % 256] * 32), samples)
    if weights is None:
        weights = {p.name: exact.integers(rng.integers(-p.initial, p.initial + 1, p.shape)) for p in spec.parameters()}
    statement = Statement(wide(spec), samples, steps, 3, order, table_bits)
    statement = Statement(fitted(statement, weights, images, labels), samples, steps, 3, order, table_bits)
    return Case(statement, weights, exact.still(spec), images, labels)


def wide(spec: Spec) -> Spec:
    form = dict.fromkeys(("activation", "weight", "error"), 40)
    blocks = [
        replace(b, **{name: replace(getattr(b, name), bits=bits) for name, bits in form.items()}) for b in spec.blocks
    ]
    return replace(spec, blocks=blocks)


def fitted(statement: Statement, weights: exact.Tensors, images: Any, labels: Any) -> Spec:
    """The least bits that hold all values of the chunk; they change no value."""
    spec = statement.spec
    sizes: dict[tuple[int, str], int] = {}

    def note(index: int, what: str, values: Any) -> None:
        for x in np.asarray(values, dtype=object).flat:
            need = max(2, max(int(x), -int(x) - 1).bit_length() + 1)
            sizes[index, what] = max(sizes.get((index, what), 2), need)

    velocities = exact.still(spec)
    for t in range(statement.steps):
        places = statement.places[t * spec.batch_size : (t + 1) * spec.batch_size]
        rows = [(place.a * place.j + place.b) % statement.samples for place in places]
        trace = exact.forward(spec, weights, images[rows])
        dz = exact.loss(spec, trace.logits, labels[rows])
        gradients = exact.backward(spec, weights, trace, dz)
        for index, (dy, _) in enumerate(exact.backward_errors(spec, weights, trace, dz)):
            note(index, "activation", trace.outputs[index])
            note(index, "error", dy)
        states = [weights]
        weights, velocities = exact.update(spec, weights, velocities, gradients, statement.first + t)
        for state in (*states, weights):
            for index, block in enumerate(spec.blocks):
                for kind in ("weight", "bias"):
                    if f"{block.name}.{kind}" in state:
                        note(index, "weight", state[f"{block.name}.{kind}"])
                    if f"{block.name}.{kind}" in velocities:
                        note(index, f"{kind}_velocity", velocities[f"{block.name}.{kind}"])
    blocks = []
    for index, block in enumerate(spec.blocks):
        fields: dict[str, Any] = {
            name: replace(getattr(block, name), bits=sizes[index, name]) for name in ("activation", "weight", "error")
        }
        for name in ("weight_velocity", "bias_velocity"):
            if getattr(block, name) is not None:
                fields[name] = replace(getattr(block, name), bits=sizes.get((index, name), 2))
        blocks.append(replace(block, initial=min(block.initial, fields["weight"].high), **fields))
    return replace(spec, blocks=blocks)


def random_case(seed: int) -> Case:
    """A net of one to three blocks; every feature of a specification occurs among a few dozen seeds."""
    rng = random.Random(seed)
    shape = (rng.choice([1, 1, 2, 3]), rng.randint(1, 5), rng.randint(2, 5))
    momentum = rng.choice([None, None, 1, 3])
    blocks, size = [], shape[1:]
    loss = rng.choice(["cross_entropy", "cross_entropy", "mean_squared_error"])
    count = rng.choice([0, 1, 1, 2])
    for _ in range(count):
        if blocks and rng.random() < 0.3:
            blocks.append(linear(rng.randint(2, 5), relu=rng.random() < 0.7))
            break
        kernel = tuple(rng.randint(1, min(3, n)) for n in size)
        padding = tuple(rng.randint(0, k - 1) if k > 1 else 0 for k in kernel)
        stride = (rng.choice([1, 1, 2]), rng.choice([1, 1, 2]))
        rows = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride, strict=True)]
        pool = rng.choice(["none", "max", "avg"])
        window = (1, 1)
        if pool != "none":
            choices = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a <= rows[0] and b <= rows[1] and a * b > 1]
            if pool == "avg":
                choices = [w for w in choices if w[0] * w[1] in (2, 4)]
            window = rng.choice(choices) if choices else (1, 1)
            pool = pool if choices else "none"
        outputs = rng.choice([1, 2, 3])
        fields: dict[str, Any] = {"padding": padding, "stride": stride, "pool": pool, "window": window}
        blocks.append(conv(outputs, kernel, relu=rng.random() < 0.7, **fields))
        size = (rows[0] // window[0], rows[1] // window[1])
    classes = rng.choice([2, 3, 4, 5, 1])
    whole = not (blocks and blocks[-1]["kind"] == "linear") and rng.random() < 0.3
    blocks.append(conv(classes, size) if whole else linear(classes))
    a, f = rng.choice([2, 4, 4, 6]), rng.choice([6, 8])
    for block in blocks:
        block |= {
            "bias": rng.random() < 0.7,
            "activation": Format(exponent=rng.randint(4, 7), bits=18),
            "weight": Format(exponent=rng.randint(4, 6), bits=18),
            "error": Format(exponent=rng.randint(4, 7), bits=18),
            "initial": rng.choice([15, 30]),
        }
        if momentum is not None:
            u = rng.choice([0, 1, 2])
            block |= {"weight_velocity": Velocity(bits=20, shift=u), "bias_velocity": Velocity(bits=20, shift=u)}
            if not block["bias"]:
                block["bias_velocity"] = None
    blocks[-1] |= {"activation": Format(exponent=a, bits=18), "error": Format(exponent=f, bits=18)}
    steps, batch = rng.choice([1, 2, 2, 4]), rng.choice([0, 1, 1, 2])
    pieces = [(0, rng.choice([1, 3])), (4, rng.choice([2, 5]))]
    spec = make(shape, *blocks, loss=loss, batch=batch, momentum=momentum, pieces=pieces, rate=rng.choice([3, 5]))
    samples = (steps << batch) + rng.choice([0, 1, 2, 3, 5])
    units = [x for x in range(samples) if gcd(x, samples) == 1]
    b, c, j = (rng.randrange(samples) for _ in range(3))
    order = Order(rng.choice(units), b, rng.choice(units), c, j)
    return case(spec, seed=seed, samples=samples, steps=steps, order=order)


COVERING = [1, 50, 48, 39, 53, 3, 10, 16]
"""Seeds of small random cases that have every one of ``FEATURES`` together."""

FEATURES = {
    *("cross_entropy", "mean_squared_error", "momentum", "no momentum", "k=1", "k=2", "k=4", "no bias"),
    *("none", "none relu", "max", "max relu", "avg", "avg relu", "conv after conv", "stride", "padding", "flatten"),
    *("hidden linear", "conv of the whole image", "padded channels", "padded classes", "padded sizes"),
    *("N no power of two", "a pass ends within"),
}


def features(given: Case) -> set[str]:
    """What a case has of ``FEATURES``."""
    statement, blocks = given.statement, given.statement.spec.blocks
    momentum = "momentum" if statement.spec.momentum is not None else "no momentum"
    found = {statement.spec.loss.kind, f"k={statement.steps}", momentum}
    for i, block in enumerate(blocks):
        last, below = i + 1 == len(blocks), blocks[i - 1] if i else None
        conv_ = block.kind == "conv"
        has = {
            f"{block.pool}{' relu' if block.relu else ''}": not last,
            "conv after conv": conv_ and i > 0,
            "stride": conv_ and max(block.stride) > 1,
            "padding": conv_ and max(block.padding) > 0,
            "no bias": not block.bias,
            "flatten": not conv_ and below is not None and below.windows != (1, 1),
            "hidden linear": not conv_ and not last,
            "conv of the whole image": conv_ and last,
            "padded classes" if last else "padded channels": block.outputs & (block.outputs - 1) != 0,
            "padded sizes": conv_ and any(n & (n - 1) for n in block.inputs[1:]),
        }
        found |= {name for name, there in has.items() if there}
    places = [place.j for place in statement.places[:-1]]
    found |= {"N no power of two"} if statement.samples & (statement.samples - 1) else set()
    return found | ({"a pass ends within"} if sorted(places) != places else set())
