"""Streams, orders and fills: the extension equals its twin, bit for bit."""

import math
import statistics
import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainproof import _core
from trainproof.reference import fill, order
from trainproof.reference.stream import Stream

SEEDS = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 300)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SEED = bytes(range(32))
PARALLEL = 100_003


def bits(values) -> bytes:
    return np.asarray(values, dtype=np.float64).tobytes()


def float32_bits(values) -> bytes:
    return np.array([fill.to_float32(v) for v in values], dtype=np.float32).tobytes()


@given(st.text(), SEEDS, U64, U64, COUNTS)
def test_words_equal_reference(label, seed, a, b, count):
    stream = Stream(label, seed, a, b)
    words = _core.stream_words(label, seed, a, b, count)
    assert words.dtype == np.uint64
    assert words.tolist() == [stream.word() for _ in range(count)]


def test_many_words_equal_reference():
    stream = Stream("x", SEED, 1, 2)
    assert _core.stream_words("x", SEED, 1, 2, PARALLEL).tolist() == [stream.word() for _ in range(PARALLEL)]


# Just above 2^63 almost every second word is rejected.
@given(SEEDS, st.integers(1, 2**64 - 1) | st.integers(2**63, 2**63 + 9) | st.sampled_from([1, 2**32, 2**64 - 1]))
def test_below_equals_reference(seed, n):
    stream = Stream("x", seed, 0, 0)
    assert _core.stream_below("x", seed, 0, 0, n, 50).tolist() == [stream.below(n) for _ in range(50)]


def test_rejects_numbers_below_zero():
    with pytest.raises(ValueError, match="no number is below 0"):
        _core.stream_below("x", SEED, 0, 0, 0, 1)
    with pytest.raises(ValueError, match="no number is below 0"):
        Stream("x", SEED, 0, 0).below(0)


@given(SEEDS, U64, st.integers(0, 300))
def test_order_equals_reference(seed, epoch, n):
    fast = _core.permutation(seed, epoch, n)
    assert fast.dtype == np.int64
    assert fast.tolist() == order.permutation(seed, epoch, n)
    assert sorted(fast.tolist()) == list(range(n))


@given(SEEDS, U64, COUNTS, FINITE, FINITE)
def test_uniform_equals_reference(seed, counter, count, lo, hi):
    lo, hi = min(lo, hi), max(lo, hi)
    assume(math.isfinite(hi - lo))
    expected = fill.uniform(seed, counter, count, lo, hi)
    assert _core.fill_uniform(seed, counter, count, lo, hi).tobytes() == bits(expected)
    assert _core.fill_uniform(seed, counter, count, lo, hi, "float32").tobytes() == float32_bits(expected)


@given(SEEDS, U64, COUNTS, FINITE, st.floats(0, allow_infinity=False))
def test_normal_equals_reference(seed, counter, count, mean, std):
    expected = fill.normal(seed, counter, count, mean, std)
    assert _core.fill_normal(seed, counter, count, mean, std).tobytes() == bits(expected)
    assert _core.fill_normal(seed, counter, count, mean, std, "float32").tobytes() == float32_bits(expected)


@given(SEEDS, U64, COUNTS, I64, I64)
def test_integers_equal_reference(seed, counter, count, lo, hi):
    lo, hi = min(lo, hi), max(lo, hi)
    assume(lo < hi)
    expected = fill.integers(seed, counter, count, lo, hi)
    fast = _core.fill_integers(seed, counter, count, lo, hi)
    assert fast.dtype == np.int64
    assert fast.tolist() == expected
    assert _core.fill_integers(seed, counter, count, lo, hi, "float64").tolist() == [float(x) for x in expected]
    narrow = np.array(expected, dtype=np.int64).astype(np.float32)
    assert _core.fill_integers(seed, counter, count, lo, hi, "float32").tobytes() == narrow.tobytes()


@given(SEEDS, U64, COUNTS, st.floats(0, 1))
def test_bernoulli_equals_reference(seed, counter, count, p):
    expected = fill.bernoulli(seed, counter, count, p)
    assert _core.fill_bernoulli(seed, counter, count, p).tolist() == expected
    for dtype in ("float64", "float32"):
        fast = _core.fill_bernoulli(seed, counter, count, p, dtype)
        assert fast.dtype == dtype
        assert fast.tolist() == expected


def test_many_elements_equal_reference():
    assert _core.fill_normal(SEED, 0, PARALLEL, 0.0, 1.0).tobytes() == bits(fill.normal(SEED, 0, PARALLEL, 0.0, 1.0))
    assert _core.fill_uniform(SEED, 0, PARALLEL, 0.0, 1.0).tobytes() == bits(fill.uniform(SEED, 0, PARALLEL, 0.0, 1.0))
    assert _core.fill_bernoulli(SEED, 0, PARALLEL, 0.3).tolist() == fill.bernoulli(SEED, 0, PARALLEL, 0.3)


def ulps(a: float, b: float) -> int:
    """How many doubles lie between two of the same sign."""
    x, y = (struct.unpack("<q", struct.pack("<d", v))[0] for v in (a, b))
    return abs(x - y)


@given(st.floats(0, exclude_min=True, allow_infinity=False))
def test_logarithm_is_within_one_ulp_of_the_platform(x):
    assert ulps(fill.ln(x), math.log(x)) <= 1 or fill.ln(x) == math.log(x)


@pytest.mark.parametrize(
    "x", [5e-324, 2.0**-1074 * 3, 2.0**-1022, 2.0**-53, 0.5, math.sqrt(0.5), 1 - 2.0**-53, 1 + 2.0**-52]
)
def test_logarithm_at_the_edges(x):
    assert ulps(fill.ln(x), math.log(x)) <= 1


@given(st.integers(0, 2**52 - 1))
def test_quantiles_are_those_of_the_standard_library(k):
    # statistics.NormalDist has the same algorithm with the platform's logarithm.
    p = (k + 0.5) * 2.0**-52
    assert fill.inverse_normal(p) == pytest.approx(statistics.NormalDist().inv_cdf(p), rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("k", [0, 1, 2**51 - 1, 2**51, 2**52 - 1])
def test_quantiles_of_every_cell_are_finite_and_symmetric(k):
    p = (k + 0.5) * 2.0**-52
    assert math.isfinite(fill.inverse_normal(p))
    assert fill.inverse_normal(p) == -fill.inverse_normal(1 - p)


REJECTED = [
    (lambda: _core.stream_words("x", b"short", 0, 0, 1), "the seed must have 32 bytes, got 5"),
    (lambda: _core.permutation(bytes(33), 0, 1), "the seed must have 32 bytes, got 33"),
    (lambda: _core.permutation(SEED, 0, 2**62), "no memory for 4611686018427387904 elements"),
    (lambda: _core.stream_words("x", SEED, 0, 0, 2**64 - 1), "no memory for 18446744073709551615 elements"),
    (lambda: _core.fill_uniform(SEED, 0, 1, 1.0, 0.0), "no uniform distribution from 1 to 0"),
    (lambda: _core.fill_uniform(SEED, 0, 1, math.nan, 0.0), "no uniform distribution from NaN to 0"),
    (lambda: _core.fill_uniform(SEED, 0, 1, -1.7e308, 1.7e308), "no uniform distribution"),
    (lambda: _core.fill_normal(SEED, 0, 1, 0.0, -1.0), "no normal distribution of mean 0 and deviation -1"),
    (lambda: _core.fill_normal(SEED, 0, 1, math.inf, 1.0), "no normal distribution of mean inf"),
    (lambda: _core.fill_integers(SEED, 0, 1, 3, 3), r"no integer lies in \[3, 3\)"),
    (lambda: _core.fill_bernoulli(SEED, 0, 1, 1.5), "1.5 is no probability"),
    (lambda: _core.fill_bernoulli(SEED, 0, 1, math.nan), "NaN is no probability"),
    (lambda: _core.fill_uniform(SEED, 0, 1, 0.0, 1.0, "int64"), 'no dtype "int64"'),
    (lambda: _core.fill_bernoulli(SEED, 0, 1, 0.5, "bool"), 'no dtype "bool"'),
]


@pytest.mark.parametrize(("call", "message"), REJECTED)
def test_rejects_what_has_no_result(call, message):
    with pytest.raises(ValueError, match=message):
        call()
