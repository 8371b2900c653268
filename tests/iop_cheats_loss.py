"""Cheats against the loss and the update; see iop_cheats."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from exact_specs import linear
from iop_cheating import Cells, Cheat, at_class, cells, cheat, first, net, no_limbs, plain, plus, roomy, to, values
from iop_nets import Case
from trainproof.exact.spec import Format
from trainproof.reference import exact
from trainproof.reference.iop.direct import failing
from trainproof.reference.iop.field import inverse
from trainproof.reference.iop.tensors import Tensors
from trainproof.reference.iop.witness import Columns

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
    return room_for_one(plain(rate=1, table_bits=10), "0.weight0@1")


@cheat("bias remainder")
def another_bias() -> Cheat:
    return room_for_one(plain(), "0.bias@1")


def room_for_one(given: Case, column: str) -> Cheat:
    """A cell that may move by one and stay in its range."""
    high = given.statement.spec.blocks[0].weight.high
    columns = given.witness()
    at = first(c for c in cells(columns, column) if columns[column][c] < high)
    return given, {column: {at: plus(1)}}


MOMENTUM: dict[str, Any] = {"momentum": 2, "m": 1 << 8, "rate": 12, "table_bits": 10}


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


@cheat("weight")
def fractions_of_a_weight_that_add_up_to_one() -> Cheat:
    """No gradient at all; each step's rounding lets the weight rise by less than a half."""
    given = net(linear(2, bias=False), images=np.full((8, 1, 2, 2), 128), samples=8, steps=4, rate=1)
    s = given.statement.geometry[0].parts[0].shift
    part = ((1 << (s - 1)) - 1) * inverse(1 << s)
    at = (0, 0, 0, 0)
    before = int(given.witness()["0.weight0@0"][at])
    changes: Cells = {f"0.weight0@{t}": {at: plus(part)} for t in (1, 2, 3)}
    return roomy(given), {**changes, "0.weight0@4": {at: to(before + 1)}}
