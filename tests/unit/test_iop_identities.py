"""The identities of activation, pooling and softmax leave no freedom: all small values, tried out."""

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


def softmax(samples: list[dict[str, list[int]]], classes: int, kinds: set[str]) -> list[bool]:
    """Which samples satisfy all identities of these kinds; a sample has a number for each class in each column."""
    batch = (len(samples) - 1).bit_length()
    samples = samples + samples[:1] * ((1 << batch) - len(samples))
    form = {"activation": Format(2, 8), "error": Format(4, 18)}
    spec = make((1, 1, 1), linear(classes, **form), batch=batch)
    statement = Statement(spec, 1, 1, 0, Order(0, 0, 0, 0, 0), 20)
    columns = {}
    for name in samples[0]:
        found = np.empty((1, len(samples), len(samples[0][name])), dtype=object)
        found[:] = [[sample[name] for sample in samples]]
        columns[name] = found[:, :, 0] if name in ("M", "parity") else found.reshape(*found.shape, 1, 1)
    tensors, good, seen = Tensors(statement, columns), np.ones((1, len(samples)), dtype=bool), set()
    for family in families(statement):
        if family.kind not in kinds:
            continue
        seen.add(family.kind)
        if isinstance(family, Lookup):
            values = cell_values(tensors, family) % P
            held = values < len(rows(statement, family.table)[0])
        else:
            held = zero_values(tensors, family) % P == 0
        good &= held.reshape(1, len(samples), -1).astype(bool).all(axis=2)
    assert seen == kinds
    return list(good[0])


def test_a_distance_has_exactly_one_capped_value_and_flag() -> None:
    """a = 2: tables of eight entries, the cap at 63."""
    tried = [(d, c, cp) for d in range(70) for c in range(64) for cp in range(-1, 3)]
    samples = [{"dM": [d], "hi": [c >> 3], "lo": [c & 7], "cp": [cp]} for d, c, cp in tried]
    held = softmax(
        samples, 1, {"below cap", "at cap", "cap bit", "cap distance", "high exponential", "low exponential"}
    )
    found = [x for x, ok in zip(tried, held, strict=False) if ok]
    assert found == [(d, min(d, 63), int(d > 63)) for d in range(70)]


def test_logits_have_exactly_one_maximum() -> None:
    tried = [
        (z, m, h)
        for z in itertools.product(range(-1, 2), repeat=3)
        for m in range(-2, 4)
        for h in itertools.product(range(-1, 3), repeat=3)
    ]
    samples = [{"M": [m], "dM": [m - x for x in z], "hM": list(h)} for z, m, h in tried]
    held = softmax(samples, 3, {"maximum", "logit distance", "maximum bit", "one maximum", "maximum selected"})
    found = [x for x, ok in zip(tried, held, strict=False) if ok]
    assert found == [
        (z, max(z), tuple(int(o == z.index(max(z))) for o in range(3)))
        for z in itertools.product(range(-1, 2), repeat=3)
    ]


def test_exponentials_have_exactly_one_parity_and_probability_each() -> None:
    tried = [
        (e, p, parity)
        for e in ((65536, 1), (65536, 65536), (65536, 0), (65536, 43690), (4096, 65536), (65536, 32767))
        for p in itertools.product(range(-2, 20), repeat=2)
        for parity in range(-1, 3)
    ]
    samples = [{"e": list(e), "p": list(p), "parity": [parity]} for e, p, parity in tried]
    kinds = {"parity bit", "probability", "probability remainder", "probability complement"}
    found = [x for x, ok in zip(tried, softmax(samples, 2, kinds), strict=False) if ok]
    expected = []
    for e in dict.fromkeys(e for e, _, _ in tried):
        total = sum(e)
        expected.append((e, tuple((x * 16 + total // 2) // total for x in e), total % 2))
    assert found == expected


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
