"""Small specifications of exact training, made by hand: tests of the engine do not lean on the compiler."""

from __future__ import annotations

from typing import Any

from trainproof.exact.spec import Block, Format, Input, Loss, Rate, Spec, Velocity
from trainproof.exact.tables import tables

ACTIVATION, WEIGHT, ERROR = Format(exponent=6, bits=18), Format(exponent=8, bits=18), Format(exponent=10, bits=18)


def conv(outputs: int, kernel: tuple[int, int] = (3, 3), **fields: Any) -> dict[str, Any]:
    return {"kind": "conv", "outputs": outputs, "kernel": kernel, **fields}


def linear(outputs: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "linear", "outputs": outputs, "kernel": (1, 1), **fields}


def make(
    shape: tuple[int, int, int],
    *blocks: dict[str, Any],
    loss: str = "cross_entropy",
    batch: int = 2,
    rate: int = 4,
    pieces: list[tuple[int, int]] | None = None,
    momentum: int | None = None,
) -> Spec:
    """Return a specification of ``blocks``; what a block does not say is: bias, no pooling, ReLU but in the last."""
    found: list[Block] = []
    inputs = shape
    for index, given in enumerate(blocks):
        if given["kind"] == "linear":
            inputs = (inputs[0] * inputs[1] * inputs[2], 1, 1)
        fields: dict[str, Any] = {
            "stride": (1, 1),
            "padding": (0, 0),
            "bias": True,
            "relu": index < len(blocks) - 1,
            "pool": "none",
            "window": (1, 1),
            "activation": ACTIVATION,
            "weight": WEIGHT,
            "error": ERROR,
            "initial": 60,
            "weight_velocity": None if momentum is None else Velocity(bits=26, shift=4),
            "bias_velocity": None if momentum is None else Velocity(bits=26, shift=1),
        }
        found.append(Block(name=str(index), inputs=inputs, **{**fields, **given}))
        inputs = found[-1].result
    high, low = tables(found[-1].activation.exponent) if loss == "cross_entropy" else ([], [])
    return Spec(
        version=1,
        input=Input(shape=shape, exponent=8),
        blocks=found,
        loss=Loss(kind=loss, high=high, low=low),  # type: ignore[arg-type]
        batch=batch,
        rate=Rate(exponent=rate, pieces=pieces or [(0, 1)]),
        momentum=momentum,
    )
