"""Order, initial weights and tables of exact training: what docs/exact.md sections 3, 6 and 7 say of them."""

import math
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainproof.errors import DatasetError, UsageError
from trainproof.exact.initial import initial
from trainproof.exact.order import AffineOrder
from trainproof.exact.spec import Block, Format, Input, Loss, Rate, Spec
from trainproof.exact.tables import tables
from trainproof.reference import exact as reference
from trainproof.reference.stream import Stream

SEED = bytes(range(32))
SIZES = [1, 2, 3, 97, 64, 60, 210, 1000]
seeds = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("size", SIZES)
def test_each_pass_is_a_permutation(size):
    order = AffineOrder(SEED, size)
    for i in range(4):
        assert sorted(order.indices(i * size, size)) == list(range(size))


@pytest.mark.parametrize("size", SIZES)
def test_a_pass_is_the_one_before_under_the_map(size):
    g, c = coprime(1, size), Stream("exact.order", SEED, 3, 0).below(size)
    order = AffineOrder(SEED, size)
    for i in range(4):
        before = order.indices(i * size, size)
        assert order.indices((i + 1) * size, size) == [(g * x + c) % size for x in before]


def test_of_one_sample_all_numbers_are_zero():
    order = AffineOrder(SEED, 1)
    assert [(order.a(i), order.b(i)) for i in (0, 1, 10**9)] == [(0, 0)] * 3
    assert order.indices(5, 3) == [0, 0, 0]


@pytest.mark.parametrize("size", [2, 97, 64])
def test_a_batch_crosses_the_ends_of_passes(size):
    order = AffineOrder(SEED, size)
    whole = order.indices(0, 4 * size)
    for start in (0, 1, size - 1, size, size + 1):
        assert order.indices(start, 2 * size + 1) == whole[start : start + 2 * size + 1]
    assert order.indices(size, 0) == []


@settings(max_examples=40)
@given(seed=seeds, size=st.integers(1, 300), start=st.integers(0, 2000), count=st.integers(0, 300))
def test_order_equals_the_twin(seed, size, start, count):
    assert AffineOrder(seed, size).indices(start, count) == reference.order(seed, size, start, count)


@settings(max_examples=40)
@given(seed=seeds, size=st.integers(2**31, 2**32 - 1) | st.integers(1, 1000), i=st.integers(0, 40))
def test_random_access_to_passes_equals_walking(seed, size, i):
    walked, jumped = AffineOrder(seed, size), AffineOrder(seed, size)
    g, c = walked._g, walked._c
    a, b = walked.a(0), walked.b(0)
    for _ in range(i):
        a, b = g * a % size, (g * b + c) % size
    assert (jumped.a(i), jumped.b(i)) == (a, b)
    assert math.gcd(a, size) == 1


def test_a_position_far_away_is_reached_at_once():
    size = 2**32 - 5  # a prime: g^(size − 1) = 1
    order = AffineOrder(SEED, size)
    assert order.a(size - 1) == order.a(0)
    assert order.indices(10**30, 2) == [
        (order.a(10**30 // size) * (k % size) + order.b(10**30 // size)) % size for k in (10**30, 10**30 + 1)
    ]


def test_orders_differ_by_seed_and_pass():
    order = AffineOrder(SEED, 1000)
    assert order.indices(0, 1000) != order.indices(1000, 1000)
    assert order.indices(0, 1000) != AffineOrder(bytes(32), 1000).indices(0, 1000)


@pytest.mark.parametrize("size", [0, -1, 2**32])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(DatasetError, match="number of samples"):
        AffineOrder(SEED, size)


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="32 bytes"):
        AffineOrder(b"short", 5)
    for call in (lambda o: o.indices(-1, 2), lambda o: o.indices(0, -1), lambda o: o.a(-1)):
        with pytest.raises(UsageError):
            call(AffineOrder(SEED, 5))


def test_initial_weights_equal_the_twin():
    spec = small_spec()
    expected, actual = reference.initial(spec, SEED), initial(spec, SEED)
    assert list(actual) == list(expected) == ["0.weight", "3.weight", "3.bias"]
    for parameter in spec.parameters():
        assert actual[parameter.name].dtype == np.int64
        assert actual[parameter.name].shape == parameter.shape
        assert actual[parameter.name].tolist() == expected[parameter.name].tolist()
    assert not actual["3.bias"].any()


def test_initial_weights_fill_their_range_and_nothing_else():
    weights = initial(small_spec(), SEED)
    assert set(weights["0.weight"].flat) == {-2, -1, 0, 1, 2}
    assert np.abs(weights["3.weight"]).max() <= 1000
    assert len(set(weights["3.weight"].flat)) > 60


def test_initial_weights_of_zero_range_are_zero():
    assert not initial(small_spec(rho=0), SEED)["0.weight"].any()


def test_initial_weights_need_a_seed():
    with pytest.raises(UsageError, match="32 bytes"):
        initial(small_spec(), b"")


@pytest.mark.parametrize("a", [2, 4, 6, 8, 10])
def test_tables_equal_the_twin(a):
    assert tables(a) == reference.tables(a)


@pytest.mark.slow
@pytest.mark.parametrize("a", [12, 14, 16])
def test_large_tables_equal_the_twin(a):
    assert tables(a) == reference.tables(a)


def test_tables_begin_at_one_and_fall():
    for a in range(2, 17, 2):
        for table in tables(a):
            assert len(table) == 1 << (a + 4) // 2
            assert table[0] == 1 << 18
            assert table == sorted(table, reverse=True)


def test_no_entry_is_near_a_half():
    with localcontext(Context(prec=80)):
        for a in range(2, 17, 2):
            size = 1 << (a + 4) // 2
            for x in [i * size for i in range(1, size)] + list(range(1, size)):
                exact = (Decimal(-x) / (1 << a)).exp() * (1 << 18)
                assert abs(exact % 1 - Decimal("0.5")) > Decimal("1e-5")


@pytest.mark.parametrize("a", [0, 3, 18, -2])
def test_other_exponents_have_no_table(a):
    with pytest.raises(UsageError, match="table"):
        tables(a)


def test_tables_do_not_depend_on_the_callers_decimals():
    with localcontext(Context(prec=3, rounding="ROUND_UP")):
        changed = tables(4)
    assert changed == tables(4)


def coprime(number: int, size: int) -> int:
    stream = Stream("exact.order", SEED, number, 0)
    while True:
        x = stream.below(size)
        if math.gcd(x, size) == 1:
            return x


def small_spec(rho: int = 2) -> Spec:
    form = Format(exponent=4, bits=18)
    common = {
        "relu": False,
        "pool": "none",
        "window": (1, 1),
        "padding": (0, 0),
        "stride": (1, 1),
        "activation": form,
        "weight": form,
        "error": form,
        "weight_velocity": None,
        "bias_velocity": None,
    }
    return Spec(
        version=1,
        input=Input(shape=(2, 3, 3), exponent=0),
        blocks=[
            Block(name="0", kind="conv", inputs=(2, 3, 3), outputs=4, kernel=(2, 2), bias=False, initial=rho, **common),
            Block(
                name="3", kind="linear", inputs=(16, 1, 1), outputs=5, kernel=(1, 1), bias=True, initial=1000, **common
            ),
        ],
        loss=Loss(kind="mean_squared_error", high=[], low=[]),
        batch=0,
        rate=Rate(exponent=4, pieces=[(0, 1)]),
        momentum=None,
    )
