"""The identities of a hidden block leave no freedom: all values of a window, tried out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from exact_specs import conv, linear, make
from trainproof.exact.spec import Format
from trainproof.reference.iop.direct import zero_values
from trainproof.reference.iop.field import P
from trainproof.reference.iop.identities import Lookup, families, limb_columns, rows, tag
from trainproof.reference.iop.layout import Order, Statement, packing
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import cell_values

Window = tuple[int, ...]
LOCAL = ("output", "distance", "selector bit", "selected", "dead", "one selected")


def solutions(windows: list[Window], *, relu: bool, pool: str) -> dict[Window, list[tuple[int, Window]]]:
    """All (y, h) that the identities accept for each window of z, h from −1 to 2 and y from −2 to 4, d_i = y − z_i."""
    size = len(windows[0])
    tried = [(z, y, h) for z in windows for y in range(-2, 5) for h in itertools.product(range(-1, 3), repeat=size)]
    block = conv(1, (1, 1), relu=relu, pool=pool, window=(1, size))
    spec = make((1, 1, size * len(tried)), block, linear(1), batch=0)
    form = Format(exponent=6, bits=4)
    spec = replace(spec, blocks=[replace(spec.blocks[0], activation=form), spec.blocks[1]])
    statement = Statement(spec, 1, 1, 0, Order(0, 0, 0, 0, 0), 20)

    def column(values: list[int]) -> np.ndarray:
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found.reshape(1, 1, 1, 1, -1)

    columns = {"0.y" if pool == "max" else "0.y0": column([y for _, y, _ in tried])}
    for i in range(size):
        columns[f"0.d{i}"] = column([y - z[i] for z, y, _ in tried])
        columns[f"0.h{i}"] = column([h[i] for _, _, h in tried])
    tensors = Tensors(statement, columns)
    good = np.ones(len(tried), dtype=bool)
    checked = 0
    for family in families(statement):
        if family.kind in LOCAL and family.where.startswith("0"):
            checked += 1
            if isinstance(family, Lookup):
                good &= (cell_values(tensors, family) % P < 1 << int(family.table[1:])).reshape(-1).astype(bool)
            else:
                good &= (zero_values(tensors, family) % P == 0).reshape(-1).astype(bool)
    assert checked == 3 * size + 2
    found: dict[Window, list[tuple[int, Window]]] = {z: [] for z in windows}
    for (z, y, h), ok in zip(tried, good, strict=True):
        if ok:
            found[z].append((y, h))
    return found


@pytest.mark.parametrize(
    ("size", "relu", "pool"),
    [(1, True, "none"), (2, True, "max"), (2, False, "max"), (3, True, "max"), (3, False, "max")],
)
def test_a_window_has_exactly_one_output_and_selection(size: int, relu: bool, pool: str) -> None:
    values = range(-2, 4) if size < 3 else range(-1, 2)
    windows = list(itertools.product(values, repeat=size))
    for z, found in solutions(windows, relu=relu, pool=pool).items():
        top = max(z)
        live = top > 0 or not relu
        h = tuple(int(live and i == z.index(top)) for i in range(size))
        assert found == [(max(top, 0) if relu else top, h)]


def statement_of(shape: tuple[int, int, int], table_bits: int = 20) -> Statement:
    return Statement(make(shape, linear(3)), 7, 1, 0, Order(1, 0, 1, 0, 0), table_bits)


def test_packing_fills_an_element_with_at_most_seven_bytes() -> None:
    assert packing((1, 28, 28)) == (3, 7, 7)
    assert packing((3, 32, 32)) == (3, 9, 6)
    assert packing((1, 32, 32)) == (2, 8, 4)  # all eight would not fit
    assert packing((1, 1, 1)) == (0, 0, 1)
    assert packing((1, 1, 2)) == (1, 0, 2)
    for shape in itertools.product((1, 2, 3, 5), (1, 4, 7), (1, 6, 8)):
        high, low, used = packing(shape)
        assert used <= min(7, 1 << high)
        assert 1 << (high + low) >= np.prod(shape)


def test_limbs_of_a_range() -> None:
    statement = statement_of((1, 2, 2), table_bits=6)
    found = [f for f in families(statement) if f.kind.startswith("exponential remainder")]
    assert [f.table for f in found if isinstance(f, Lookup)] == ["R6", "R6", "R6", "R2"]
    assert [f.kind for f in found] == ["exponential remainder"] + ["exponential remainder, limb"] * 3
    limbs = [name for name in limb_columns(statement) if name.startswith("exponential remainder")]
    assert limbs == [f"exponential remainder.limb{i}" for i in (1, 2, 3)]
    assert not limb_columns(statement_of((1, 2, 2)))


def test_tables_and_tags_are_distinct() -> None:
    statement = statement_of((1, 2, 2))
    tables = [f"R{m}" for m in range(21)] + ["TH", "TL"]
    assert len({tag(table) for table in tables}) == len(tables)
    assert rows(statement, "R2") == ([0, 1, 2, 3], [0] * 4)
    assert rows(statement, "TH") == (list(range(32)), statement.spec.loss.high)


def test_names_of_families_are_unique() -> None:
    statement = statement_of((2, 3, 3), table_bits=4)
    names = [family.name for family in families(statement)]
    assert len(names) == len(set(names))
