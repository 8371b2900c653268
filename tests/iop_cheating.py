"""How cheats against the step proof are made: tiny nets, changes of cells, and the register of cheats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from exact_specs import conv, linear, make
from iop_nets import Case, case
from trainproof.exact.spec import Format
from trainproof.reference.iop.field import P
from trainproof.reference.iop.identities import Lookup, families, limb_columns
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import Columns, cell_values

Cells = dict[str, dict[tuple[int, ...], Callable[[int], int]]]
Cheat = tuple[Case, Cells]
FORM = {name: Format(exponent=6, bits=18) for name in ("activation", "weight", "error")}
TABLE_BITS = 8
CHEATS: dict[str, tuple[list[str], Callable[[], Cheat]]] = {}
"""Name of the cheat: the families that reject it (mostly one), and how it is made."""


def cheat(*families: str) -> Callable[[Callable[[], Cheat]], Callable[[], Cheat]]:
    """Register a cheat; its name is that of its function."""

    def register(make_it: Callable[[], Cheat]) -> Callable[[], Cheat]:
        CHEATS[make_it.__name__] = (sorted(families), make_it)
        return make_it

    return register


def to(value: int) -> Callable[[int], int]:
    return lambda _: value


def plus(delta: int) -> Callable[[int], int]:
    return lambda value: value + delta


def net(*blocks: dict[str, Any], shape: tuple[int, int, int] = (1, 2, 2), m: int = 1, **fields: Any) -> Case:
    """A tiny net; what is not said is one step of two samples."""
    spec = {"loss": fields.pop("loss", "cross_entropy"), "batch": fields.pop("batch", 1), "rate": fields.pop("rate", 2)}
    spec["momentum"] = fields.pop("momentum", None)
    blocks = tuple({**FORM, "initial": 25, **block} for block in blocks)
    given = {"steps": 1, "samples": 4, "table_bits": TABLE_BITS, **fields}
    return case(make(shape, *blocks, pieces=[(0, m)], **spec), **given)


def pooled(**fields: Any) -> Case:
    block = {"relu": True, "pool": "max", "window": (2, 2), **fields.pop("block", {})}
    return net(conv(2, (1, 1), **block), linear(3), shape=(1, 4, 4), **fields)


def plain(**fields: Any) -> Case:
    """One linear block: inputs to logits."""
    return net(linear(3), **fields)


def roomy(given: Case) -> Case:
    """With ranges twice as large: the cheat is not to be found by leaving one."""
    blocks = []
    for block in given.statement.spec.blocks:
        forms = {name: getattr(block, name) for name in ("activation", "weight", "error")}
        wider = {name: replace(form, bits=form.bits + 1) for name, form in forms.items()}
        blocks.append(replace(block, **wider))
    return given.changed(spec=replace(given.statement.spec, blocks=blocks))


def no_limbs(given: Case, family: str, at: tuple[int, ...]) -> Cells:
    """Upper limbs of 0: then what is out of range is so in the lowest one."""
    return {name: {at: to(0)} for name in limb_columns(given.statement) if name.startswith(f"{family}.limb")}


def values(given: Case, columns: Columns, kind: str, where: str = "") -> Any:
    """What a lookup looks up at each of its cells, modulo p."""
    (family,) = [f for f in families(given.statement) if f.name == f"{kind} {where}".rstrip() and isinstance(f, Lookup)]
    return cell_values(Tensors(given.statement, columns), family) % P


def cells(columns: Columns, name: str) -> list[tuple[int, ...]]:
    return list(np.ndindex(columns[name].shape))


def zero_weights(given: Case, name: str) -> Case:
    weights = dict(given.weights)
    weights[name] = weights[name] * 0
    return given._replace(weights=weights)


def first(options: Any) -> Any:
    """The first of a search, which must find something."""
    for option in options:
        return option
    raise AssertionError("the search found nothing")


def at_class(n: tuple[int, int], o: int) -> tuple[int, ...]:
    return (*n, o, 0, 0)
