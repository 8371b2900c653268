"""Witnesses that a cheating prover could try, each rejected by one family of constraints alone.

A cheat changes several cells at once, so that what is linear still holds; cells that follow are computed honestly. The
key is the family that must reject it: without that family in prover and verifier the cheat is accepted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from exact_specs import conv, linear, make
from iop_nets import Case, case
from trainproof.exact.spec import Format
from trainproof.reference import exact
from trainproof.reference.iop.direct import failing
from trainproof.reference.iop.field import HALF, P, inverse
from trainproof.reference.iop.identities import Lookup, families, limb_columns
from trainproof.reference.iop.layout import Order
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import Columns, cell_values

Cells = dict[str, dict[tuple[int, ...], Callable[[int], int]]]
Cheat = tuple[Case, Cells]
FORM = {name: Format(exponent=6, bits=18) for name in ("activation", "weight", "error")}
TABLE_BITS = 10
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


# Softmax.


def flat() -> Case:
    """All logits are equal: each is a maximum."""
    given = plain()
    return given._replace(weights={name: w * 0 for name, w in given.weights.items()})


def spread(low: int = 3) -> tuple[Case, Columns, tuple[int, int], int]:
    """A sample and a class whose logit is at least ``low`` below the maximum, but not beyond the cap."""
    given = plain()
    columns = given.witness()
    cap = 4 ** ((given.statement.spec.blocks[-1].activation.exponent + 4) // 2) - 1
    n, o = first(((t, b), o) for t, b, o, _, _ in cells(columns, "dM") if low <= columns["dM"][t, b, o, 0, 0] < cap)
    return given, columns, n, o


def at_class(n: tuple[int, int], o: int) -> tuple[int, ...]:
    return (*n, o, 0, 0)


@cheat("maximum bit")
def a_tie_of_logits_counted_twice_and_uncounted() -> Cheat:
    return flat(), {"hM": {at_class((0, 0), 0): to(2), at_class((0, 0), 1): to(-1)}}


@cheat("logit distance")
def the_later_of_equal_logits() -> Cheat:
    return flat(), {"hM": {at_class((0, 0), 0): to(0), at_class((0, 0), 1): to(1)}}


@cheat("one maximum")
def a_maximum_that_no_logit_has() -> Cheat:
    given = roomy(plain())
    return given, {"M": {(0, 0): plus(1)}, "hM": {at_class((0, 0), o): to(0) for o in range(3)}}


@cheat("maximum selected")
def a_maximum_above_all_logits() -> Cheat:
    return roomy(plain()), {"M": {(0, 0): plus(1)}}


@cheat("maximum")
def a_fraction_of_the_maximum() -> Cheat:
    given = plain()
    columns = given.witness()
    s = given.statement.geometry[0].shift
    room = values(given, columns, "logit remainder")
    n = first(n for n in cells(columns, "M") if min(room[n].flat) >= 1)
    whole = {at_class(n, o): to(int(columns["dM"][at_class(n, o)])) for o in range(3)}
    chosen = {at_class(n, o): to(int(columns["hM"][at_class(n, o)])) for o in range(3)}
    return given, {"M": {n: plus(inverse(1 << s))}, "dM": whole, "hM": chosen}


@cheat("logit remainder")
def a_smaller_logit() -> Cheat:
    given, _, n, o = spread()
    return given, {"dM": {at_class(n, o): plus(1)}}


@cheat("below cap")
def a_smaller_distance_looked_up() -> Cheat:
    given, columns, n, o = spread()
    at = at_class(n, o)
    g = (given.statement.spec.blocks[-1].activation.exponent + 4) // 2
    hi, lo = divmod(int(columns["dM"][at]) - 1, 1 << g)
    return given, {"hi": {at: to(hi)}, "lo": {at: to(lo)}}


@cheat("at cap")
def capped_at_another_distance() -> Cheat:
    given, _, n, o = spread(4)
    at = at_class(n, o)
    return given, {"cp": {at: to(1)}, "hi": {at: to(0)}, "lo": {at: to(3)}}


@cheat("cap distance")
def capped_below_the_cap() -> Cheat:
    given, _, n, o = spread()
    return given, {"cp": {at_class(n, o): to(1)}}


@cheat("cap bit")
def a_flag_of_minus_three_at_the_cap() -> Cheat:
    form = Format(exponent=2, bits=18)
    given = net(linear(2, activation=form), images=np.full((4, 1, 2, 2), 128))
    weights = {name: w * 0 for name, w in given.weights.items()}
    weights["0.bias"] = exact.integers([63 << 4, 0])  # logits have exponent 2, biases 6: 63 apart
    given = net(linear(2, activation=form), images=given.images, weights=weights)
    return given, {"cp": {at_class((0, 0), 1): to(-3)}}


@cheat("high exponential")
def another_entry_of_the_high_table() -> Cheat:
    return plain(), {"th": {at_class((0, 0), 0): plus(-1)}}


@cheat("low exponential")
def another_entry_of_the_low_table() -> Cheat:
    return plain(), {"tl": {at_class((0, 0), 0): plus(-1)}}


@cheat("exponential remainder, limb")
def another_exponential() -> Cheat:
    given, _, n, o = spread()
    return given, {"e": {at_class(n, o): plus(1)}}


@cheat("exponential")
def fractions_of_two_exponentials_that_cancel() -> Cheat:
    """S stays; p moves where the remainder lets it."""
    given = plain()
    columns = given.witness()
    f = given.statement.spec.blocks[-1].error.exponent
    q = 20 - f
    tensors = Tensors(given.statement, columns)
    product = tensors.columns["th"] * tensors.columns["tl"] + (1 << 19) - (columns["e"] << 20)
    for (n, a), b in itertools.product([((t, s), o) for t, s in np.ndindex(1, 2) for o in range(3)], range(3)):
        c = min(int(product[at_class(n, a)]), (1 << 20) - 1 - int(product[at_class(n, b)])) >> q << q
        if a != b and c > 0:
            d = c * inverse(1 << 20)
            changes: Cells = {"e": {at_class(n, a): plus(d), at_class(n, b): plus(-d)}}
            for limb in no_limbs(given, "exponential", at_class(n, a)):
                changes[limb] = {at_class(n, o): to(0) for o in (a, b)}
            found = Case.witness(given, changes)
            if failing(given.statement, found, found) == ["exponential"]:
                return given, changes
    raise AssertionError("no room in the remainders")


@cheat("parity bit")
def a_parity_of_three() -> Cheat:
    return plain(), {"parity": {(0, 0): plus(2)}}


@cheat("probability")
def fractions_of_probabilities_that_cancel_in_the_batch() -> Cheat:
    given = plain(images=np.full((4, 1, 2, 2), 77))
    columns = given.witness()
    room, s = values(given, columns, "probability remainder"), int(columns["e"][0, 0].sum())
    o = first(o for o in range(3) if room[at_class((0, 0), o)] >= 1 and room[at_class((0, 1), o)] + 1 < s)
    d = inverse(s)
    return given, {"p": {at_class((0, 0), o): plus(d), at_class((0, 1), o): plus(-d)}}


@cheat("probability remainder")
def a_larger_probability() -> Cheat:
    given = plain()
    columns = given.witness()
    room, s = values(given.changed(table_bits=20), columns, "probability complement"), columns["e"].sum(axis=2)
    n, o = first(((t, b), o) for t, b, o in np.ndindex(1, 2, 3) if room[t, b, o, 0, 0] + s[t, b, 0, 0] < 1 << 18)
    at = at_class(n, o)
    return roomy(given), {"p": {at: plus(1)}, **no_limbs(given, "probability remainder", at)}


@cheat("probability complement")
def a_smaller_probability() -> Cheat:
    given = plain()
    columns = given.witness()
    room, s = values(given.changed(table_bits=20), columns, "probability remainder"), columns["e"].sum(axis=2)
    n, o = first(
        ((t, b), o)
        for t, b, o in np.ndindex(1, 2, 3)
        if columns["p"][t, b, o, 0, 0] and room[t, b, o, 0, 0] + s[t, b, 0, 0] < 1 << 18
    )
    at = at_class(n, o)
    return roomy(given), {"p": {at: plus(-1)}, **no_limbs(given, "probability complement", at)}


# Mean-squared error.


@cheat("logit remainder")
def another_logit() -> Cheat:
    return plain(loss="mean_squared_error"), {"z": {at_class((0, 0), 0): plus(1)}}


@cheat("logit")
def a_fraction_of_a_logit() -> Cheat:
    given = plain(loss="mean_squared_error", m=1 << 8, rate=10)
    columns = given.witness()
    room = values(given, columns, "logit remainder")
    at = first(c for c in cells(columns, "z") if room[c] >= 1)
    return given, {"z": {at: plus(inverse(1 << 8))}}


# Update.


def with_fraction(kind: str, column: str, shift: int, **fields: Any) -> Cheat:
    """A fraction that the remainder absorbs, in a net where some remainder has room for it."""
    where = "0.bias" if kind.startswith("bias") else "0.weight0"
    sign = -1 if kind.endswith("velocity") else 1
    for seed in range(20):
        given = plain(seed=seed, **fields)
        columns = given.witness()
        room = values(given.changed(table_bits=20), columns, f"{kind} remainder", where)
        for at in cells(columns, column):
            if 0 <= room[(0, *at)] + sign < 1 << shift:
                return given, {column: {at: plus(inverse(1 << shift))}}
    raise AssertionError("no remainder has room")


@cheat("weight")
def a_fraction_of_a_weight() -> Cheat:
    return with_fraction("weight", "0.weight0@1", plain().statement.geometry[0].parts[0].shift)


@cheat("bias")
def a_fraction_of_a_bias() -> Cheat:
    return with_fraction("bias", "0.bias@1", plain(rate=4).statement.geometry[0].parts[1].shift, rate=4)


@cheat("weight remainder")
def another_weight() -> Cheat:
    return room_for_one(plain(rate=1), "0.weight0@1")


@cheat("bias remainder")
def another_bias() -> Cheat:
    return room_for_one(plain(), "0.bias@1")


def room_for_one(given: Case, column: str) -> Cheat:
    """A cell that may move by one and stay in its range."""
    high = given.statement.spec.blocks[0].weight.high
    columns = given.witness()
    at = first(c for c in cells(columns, column) if columns[column][c] < high)
    return given, {column: {at: plus(1)}}


MOMENTUM: dict[str, Any] = {"momentum": 2, "m": 1 << 8, "rate": 12}


@cheat("weight velocity")
def a_fraction_of_a_velocity_and_an_even_rate() -> Cheat:
    shift = 2 + plain(**MOMENTUM).statement.geometry[0].parts[0].velocity.shift  # type: ignore[union-attr]
    return with_fraction("weight velocity", "0.weight0.velocity@1", shift, **MOMENTUM)


@cheat("bias velocity")
def a_fraction_of_a_bias_velocity_and_an_even_rate() -> Cheat:
    shift = 2 + plain(**MOMENTUM).statement.geometry[0].parts[1].velocity.shift  # type: ignore[union-attr]
    return with_fraction("bias velocity", "0.bias.velocity@1", shift, **MOMENTUM)


@cheat("weight velocity remainder")
def another_velocity() -> Cheat:
    return plain(momentum=2), {"0.weight0.velocity@1": {(0, 0, 0, 0): toward_zero}}


@cheat("bias velocity remainder")
def another_bias_velocity() -> Cheat:
    return plain(momentum=2), {"0.bias.velocity@1": {(0,): toward_zero}}


def toward_zero(x: int) -> int:
    return x - 1 if x > 0 else x + 1
