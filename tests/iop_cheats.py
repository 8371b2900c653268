"""Witnesses that a cheating prover could try, each rejected by one family of constraints alone.

A cheat changes several cells at once, so that what is linear still holds; cells that follow are computed honestly.
Without the family that it names in prover and verifier it is accepted. Here those against order, selection, activation,
pooling and errors; against loss and update in iop_cheats_loss.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

import iop_cheats_loss  # noqa: F401  (registers its own)
from exact_specs import conv, linear
from iop_cheating import (
    CHEATS,
    Cells,
    Cheat,
    at_class,
    cells,
    cheat,
    first,
    net,
    plain,
    plus,
    pooled,
    roomy,
    to,
    values,
    zero_weights,
)
from iop_nets import Case
from trainproof.reference.iop.field import HALF, inverse
from trainproof.reference.iop.layout import Order
from trainproof.reference.iop.witness import Columns

__all__ = ["CHEATS"]

# The order and the selection.


@cheat("index bit")
def index_bits_that_mix_two_rows() -> Cheat:
    images = np.random.default_rng(1).integers(100, 110, (8, 1, 2, 2))
    given = plain(samples=8, images=images, labels=np.array([0] * 8), batch=0)
    row = given.statement.public_index[0] % 8
    for bits in itertools.product(range(-1, 4), repeat=3):
        if bits[0] + 2 * bits[1] + 4 * bits[2] != row or set(bits) <= {0, 1}:
            continue
        weights = [math.prod(bits[j] if i >> j & 1 else 1 - bits[j] for j in range(3)) for i in range(8)]
        pixels = sum(w * image for w, image in zip(weights, images, strict=True))
        known = (pixels == images).all(axis=(1, 2, 3)).any()
        if pixels.min() >= 0 and pixels.max() < 256 and not known:
            changes: Cells = {f"bit{j}": {(0, 0): to(bits[j])} for j in range(3)}
            changes["P"] = {(0, 0, *c): to(int(pixels[c])) for c in np.ndindex(pixels.shape)}
            return roomy(given), changes
    raise AssertionError("no mixture")


@cheat("index")
def a_row_beyond_the_dataset() -> Cheat:
    """idx + N and Q − 1: there the dataset's columns are 0."""
    given = roomy(plain(samples=5, order=Order(2, 3, 1, 0, 1)))
    assert given.statement.public_index[0] == 5
    changes: Cells = {f"bit{j}": {(0, 0): to(5 >> j & 1)} for j in range(3)}
    changes["P"] = {(0, 0, *c): to(0) for c in np.ndindex(1, 2, 2)}
    changes["hl"] = {at_class((0, 0), o): to(int(o == 0)) for o in range(3)}
    return given, changes


@cheat("quotient")
def another_sample_of_the_dataset() -> Cheat:
    given = plain(samples=5)
    row = given.statement.public_index[0] % 5
    return given, {f"bit{j}": {(0, 0): to((row + 1) % 5 >> j & 1)} for j in range(3)}


@cheat("order")
def another_quotient() -> Cheat:
    return plain(), {"Q": {(0, 0): plus(1)}}


@cheat("byte")
def a_carry_between_packed_pixels() -> Cheat:
    return roomy(plain()), {"P": {(0, 0, 0, 0, 0): plus(256), (0, 0, 0, 0, 1): plus(-1)}}


@cheat("selection of pixels")
def another_pixel() -> Cheat:
    return plain(), {"P": {(0, 0, 0, 0, 0): lambda x: x ^ 1}}


def label_of(given: Case, n: int = 0) -> int:
    return int(given.labels[given.statement.public_index[n] % given.statement.samples])


@cheat("selection of labels")
def another_label() -> Cheat:
    given = plain()
    wrong = (label_of(given) + 1) % 3
    return given, {"hl": {(0, 0, o, 0, 0): to(int(o == wrong)) for o in range(3)}}


@cheat("label bit")
def a_label_between_two_others() -> Cheat:
    # Half a label makes half a gradient: an even m absorbs it.
    given = plain(labels=np.array([1] * 4), m=2)
    return given, {"hl": {(0, 0, o, 0, 0): to([HALF, 0, HALF][o]) for o in range(3)}}


@cheat("one label")
def no_label() -> Cheat:
    given = plain(labels=np.array([0] * 4))
    return given, {"hl": {(0, 0, 0, 0, 0): to(0)}}


# Activation and pooling. Kernels of 1 × 1 on one shade give ties.


def one_shade(**fields: Any) -> Case:
    images = np.full((4, 1, 4, 4), 200)
    given = pooled(images=images, **fields)
    return pooled(images=images, weights={name: abs(w) for name, w in given.weights.items()}, **fields)


def live(given: Case, columns: Columns) -> tuple[int, ...]:
    """A window with y > 0."""
    return first(c for c in cells(columns, "0.y") if columns["0.y"][c] > 0)


@cheat("selector bit")
def a_tie_selected_twice_and_unselected() -> Cheat:
    given = one_shade()
    at = live(given, given.witness())
    return given, {"0.h0": {at: to(2)}, "0.h1": {at: to(-1)}}


@cheat("distance")
def the_later_of_a_tie() -> Cheat:
    given = one_shade()
    at = live(given, given.witness())
    return given, {"0.h0": {at: to(0)}, "0.h1": {at: to(1)}}


@cheat("dead", "distance")
def both_of_a_tie() -> Cheat:
    given = one_shade()
    at = live(given, given.witness())
    return given, {"0.h0": {at: to(1)}, "0.h1": {at: to(1)}}


@cheat("dead", "output", "selector bit")
def halves_of_a_tie() -> Cheat:
    given = one_shade()
    at = live(given, given.witness())
    return given, {"0.h0": {at: to(HALF)}, "0.h1": {at: to(0)}}


@cheat("distance")
def the_second_largest_as_the_maximum() -> Cheat:
    given = pooled(block={"relu": False})
    columns = given.witness()
    for at in cells(columns, "0.y"):
        z = [columns["0.y"][at] - columns[f"0.d{i}"][at] for i in range(4)]
        second = sorted(z)[-2]
        if second < max(z):
            where = z.index(second)
            changes: Cells = {"0.y": {at: to(second)}}
            changes |= {f"0.h{i}": {at: to(int(i == where))} for i in range(4)}
            return given, changes
    raise AssertionError("all windows are ties")


@cheat("selected")
def another_than_the_maximum_selected() -> Cheat:
    given = pooled()
    columns = given.witness()
    for at in cells(columns, "0.y"):
        d = [columns[f"0.d{i}"][at] for i in range(4)]
        if columns["0.y"][at] > 0 and d[0] > 0 and min(d[1:]) == 0:
            return given, {f"0.h{i}": {at: to(int(i == 0))} for i in range(4)}
    raise AssertionError("the first is always the maximum")


@cheat("dead")
def an_output_of_a_dead_window() -> Cheat:
    given = pooled()
    columns = given.witness()
    at = first(c for c in cells(columns, "0.y") if not any(columns[f"0.h{i}"][c] for i in range(4)))
    return given, {"0.y": {at: to(1)}, **{f"0.h{i}": {at: to(0)} for i in range(4)}}


@cheat("output")
def a_window_at_zero_selected() -> Cheat:
    given = pooled(images=np.full((4, 1, 4, 4), 128))
    weights = dict(given.weights)
    weights["0.bias"] = weights["0.bias"] * 0
    given = given._replace(weights=weights)
    return given, {"0.h0": {(0, 0, 0, 0, 0): to(1)}}


@cheat("one selected")
def a_window_that_passes_no_error() -> Cheat:
    given = pooled(block={"relu": False})
    at = (0, 0, 0, 0, 0)
    return given, {f"0.h{i}": {at: to(0)} for i in range(4)}


@cheat("forward remainder")
def a_smaller_input_of_the_maximum() -> Cheat:
    given = pooled()
    columns = given.witness()
    at = first(c for c in cells(columns, "0.y") if columns["0.d0"][c] > 0 and columns["0.d0"][c] < 5)
    return given, {"0.d0": {at: plus(1)}}


@cheat("output")
def a_fraction_of_an_output() -> Cheat:
    """The next weights are 0 and m a multiple of 2^s: nothing else sees it."""
    s = 8
    given = zero_weights(net(conv(1, (1, 1), relu=False), linear(2), m=1 << s, rate=12), "1.weight")
    columns = given.witness()
    room = values(given, columns, "forward remainder", "0.0")
    at = first(c for c in cells(columns, "0.y0") if room[c] >= 1)
    return given, {"0.y0": {at: plus(inverse(1 << s))}}


@cheat("error")
def a_fraction_of_an_error() -> Cheat:
    given = net(conv(1, (1, 1), relu=False), linear(2), m=1 << 6, rate=10)
    columns = given.witness()
    room = values(given, columns, "error remainder", "0")
    at = first(c for c in cells(columns, "0.dy") if room[c] >= 1)
    return given, {"0.dy": {at: plus(inverse(1 << 6))}}


@cheat("error remainder")
def another_error() -> Cheat:
    given = pooled()
    return given, {"0.dy": {(0, 0, 0, 0, 0): plus(1)}}


# Without pooling each cell has its own selector.


def relu() -> Case:
    return net(conv(2, (1, 1), relu=True), linear(3), shape=(1, 2, 3))


@cheat("selector bit")
def a_cell_at_zero_selected_minus_three_times() -> Cheat:
    given = net(conv(2, (1, 1), relu=True, bias=False), linear(3), images=np.full((4, 1, 2, 2), 128))
    return roomy(given), {"0.h0": {(0, 0, 0, 0, 0): to(-3)}}


@cheat("distance")
def a_live_cell_cut_off() -> Cheat:
    given = relu()
    columns = given.witness()
    at = first(c for c in cells(columns, "0.y0") if columns["0.y0"][c] > 0)
    return given, {"0.y0": {at: to(0)}, "0.h0": {at: to(0)}}


@cheat("selected")
def an_output_above_its_input() -> Cheat:
    given = roomy(relu())
    columns = given.witness()
    at = first(c for c in cells(columns, "0.y0") if columns["0.y0"][c] > 0)
    return given, {"0.y0": {at: plus(1)}, "0.h0": {at: to(1)}}


@cheat("forward remainder")
def another_cell_of_an_average() -> Cheat:
    given = roomy(net(conv(1, (1, 1), relu=False, pool="avg", window=(2, 2)), linear(2), shape=(1, 4, 4)))
    return given, {"0.y2": {(0, 0, 0, 0, 0): plus(1)}}


@cheat("output")
def a_fraction_of_one_cell_of_an_average() -> Cheat:
    s = 8
    block = conv(1, (1, 1), relu=False, pool="avg", window=(2, 2))
    given = zero_weights(net(block, linear(2), shape=(1, 4, 4), m=1 << s, rate=12), "1.weight")
    columns = given.witness()
    room = values(given, columns, "forward remainder", "0.3")
    at = first(c for c in cells(columns, "0.y3") if room[c] >= 1)
    return given, {"0.y3": {at: plus(inverse(1 << s))}}
