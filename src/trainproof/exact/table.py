"""A specification as text for people: what is trained, in which formats, and how far its sums are from the limit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

from trainproof.exact import bounds
from trainproof.exact.bounds import EXACT, PROVABLE, Bound
from trainproof.exact.spec import Block, Format, Spec, Velocity

_NAME: Final = 20  # characters of a layer's name
_PIECES: Final = 6  # pieces of a rate that are written out
_GAP: Final = "  "


def table(spec: Spec) -> str:
    """Return ``spec`` as lines of plain text, at most 120 columns for a usual network; the last line ends the text.

    Raises FormatError if ``spec`` is none that can be trained exactly.
    """
    bounds.check(spec)
    parts = [
        [f"Exact training, version {spec.version}", f"digest {spec.digest()}"],
        _head(spec),
        ["Network", *_network(spec)],
        [
            "Formats, bits @ exponent: integers of so many bits, in units of 2^-exponent; shifts: bits rounded off",
            *_formats(spec),
        ],
        [
            "Bounds: bits of the largest sum of absolute values, and the bits left to 2^53; "
            "of a proof's equations, left to 2^62",
            *_bounds(spec),
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(spec: Spec) -> list[str]:
    size = len(spec.loss.high)
    if spec.loss.kind == "cross_entropy":
        loss = f"cross-entropy of {spec.classes} classes, two tables of {size} entries"
    else:
        loss = f"mean-squared error of {spec.classes} classes"
    momentum = "none"
    if spec.momentum is not None:
        momentum = f"1 − 2^-{spec.momentum} = {1 - 2.0**-spec.momentum:g}"
    pieces = [
        f"{m}·2^-{spec.rate.exponent} = {m / 2**spec.rate.exponent:.4g}" + (f" from step {first:,}" if first else "")
        for first, m in spec.rate.pieces[:_PIECES]
    ]
    if len(spec.rate.pieces) > _PIECES:
        pieces.append(f"and {len(spec.rate.pieces) - _PIECES} more pieces")
    tensors = spec.parameters()
    rows = [
        ("input", f"bytes {_times(spec.input.shape)}, less 128, exponent {spec.input.exponent}"),
        ("loss", loss),
        ("batch", f"{spec.batch_size:,} samples"),
        ("rate", pieces[0]),
        *(("", piece) for piece in pieces[1:]),
        ("momentum", momentum),
        ("parameters", f"{sum(prod(p.shape) for p in tensors):,} in {len(tensors)} tensors"),
    ]
    return [f"{name:<12}{value}" for name, value in rows]


def _network(spec: Spec) -> list[str]:
    rows = [["layer", "kind", "input", "output", "activation", "weights", "biases", "start"]]
    for block in spec.blocks:
        kind: str = block.kind
        if block.kind == "conv":
            kind += f" {_times(block.kernel)}"
            kind += f", stride {_short(block.stride)}" if block.stride != (1, 1) else ""
            kind += f", padding {_short(block.padding)}" if block.padding != (0, 0) else ""
        after = ["ReLU"] if block.relu else []
        if block.pool != "none":
            after.append(f"{block.pool} {_times(block.window)}")
        rows.append(
            [
                _layer(block),
                kind,
                _times(block.inputs) if block.kind == "conv" else str(block.inputs[0]),
                _times(block.result) if block.kind == "conv" else str(block.outputs),
                ", ".join(after) or "–",
                f"{prod(block.weight_shape):,}",
                f"{block.outputs:,}" if block.bias else "–",
                f"±{block.initial:,}",
            ]
        )
    return _grid(rows, left=5)


def _formats(spec: Spec) -> list[str]:
    moving = spec.momentum is not None
    head = ["layer", "activation", "weight", "error"]
    head += ["weight vel.", "bias vel."] if moving else []
    rows = [[*head, "shifts: z", "dy", "weight", "bias"]]
    for index, block in enumerate(spec.blocks):
        velocities = (block.weight_velocity, block.bias_velocity) if moving else ()
        rows.append(
            [
                _layer(block),
                *(_format(form) for form in (block.activation, block.weight, block.error)),
                *map(_velocity, velocities),
                str(spec.forward_shift(index)),
                str(spec.error_shift(index)) if index else "–",
                str(spec.weight_shift(index)),
                str(spec.bias_shift(index)) if block.bias else "–",
            ]
        )
    lines = _grid(rows, left=1)
    if moving:
        lines.append("vel.: bits of a velocity, and the bits u of the gradient below its unit")
    return lines


_COLUMNS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Z", ("Z",)),
    ("window", ("sum of a window",)),
    ("G weight", ("G_weight",)),
    ("update", ("m·G_weight", "velocity V_weight", "m·V_weight")),
    ("G bias", ("G_bias",)),
    ("update", ("m·G_bias", "velocity V_bias", "m·V_bias")),
    ("D", ("D",)),
    ("loss", ("softmax E·2^f + S/2", "dz of the loss")),
)


def _bounds(spec: Spec) -> list[str]:
    found = bounds.bounds(spec)
    columns = [
        (title, names) for title, names in _COLUMNS if any(b.accumulator in names and b.limit == EXACT for b in found)
    ]
    rows = [["layer", *(title for title, _ in columns), "proof"]]
    for block in spec.blocks:
        own = [b for b in found if b.layer == block.name]
        cells = [_worst([b for b in own if b.accumulator in names]) for _, names in columns]
        rows.append([_layer(block), *cells, _worst([b for b in own if b.limit == PROVABLE])])
    tightest = min((b for b in found if b.limit == EXACT), key=lambda b: b.margin)
    where = f"{_cut(tightest.layer)}, {tightest.accumulator}"
    bits = "bit" if tightest.margin == 1 else "bits"
    return [*_grid(rows, left=1), f"tightest: {where}, {tightest.margin} {bits} below 2^53"]


def _worst(found: Sequence[Bound]) -> str:
    if not found:
        return "–"
    bound = min(found, key=lambda b: b.margin)
    return f"{bound.value.bit_length()} ({bound.margin})"


# --- cells


def _format(form: Format) -> str:
    return f"{form.bits} @ {form.exponent}"


def _velocity(velocity: Velocity | None) -> str:
    return "–" if velocity is None else f"{velocity.bits}, u {velocity.shift}"


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _short(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else _times(pair)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _layer(block: Block) -> str:
    return _cut(block.name)


def _grid(rows: list[list[str]], left: int) -> list[str]:
    """Return ``rows`` in columns, the first ``left`` of them flush left, the others right; a line under the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        _GAP.join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]
