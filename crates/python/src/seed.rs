//! Streams, orders and fills (docs/hashing.md, sections 5 to 7).

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyAny;
use trainproof_hash::PARALLEL_BYTES;
use trainproof_seed::{Element, FillSource, PARALLEL_WORDS, SeedError, Stream};

use crate::convert::{self, value_error};
use crate::pool;

/// The first `count` words of a stream.
///
/// Args:
///     label: what the stream is for.
///     seed: 32 bytes.
///     a, b: counters.
///     count: number of words.
///
/// Returns:
///     uint64 array of shape (count,).
///
/// Raises:
///     ValueError: the seed is not 32 bytes, or there is no memory for the result.
#[pyfunction]
pub(crate) fn stream_words<'py>(
    py: Python<'py>,
    label: &str,
    seed: &[u8],
    a: u64,
    b: u64,
    count: u64,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let seed = convert::seed(seed)?;
    array(py, count, || Stream::new(label, &seed, a, b).map_words(count, |x| x))
}

/// `count` uniform integers below `n`, drawn from the start of a stream.
///
/// Args:
///     label: what the stream is for.
///     seed: 32 bytes.
///     a, b: counters.
///     n: at least 1.
///     count: number of integers.
///
/// Returns:
///     uint64 array of shape (count,).
///
/// Raises:
///     ValueError: n is 0, the seed is not 32 bytes, or there is no memory for the result.
#[pyfunction]
pub(crate) fn stream_below<'py>(
    py: Python<'py>,
    label: &str,
    seed: &[u8],
    a: u64,
    b: u64,
    n: u64,
    count: u64,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let seed = convert::seed(seed)?;
    array(py, 0, || Stream::new(label, &seed, a, b).below_many(n, count))
}

/// The order of epoch `epoch`: a permutation of 0..n (section 6).
///
/// Returns:
///     int64 array of shape (n,).
///
/// Raises:
///     ValueError: the seed is not 32 bytes, or there is no memory for the result.
#[pyfunction]
pub(crate) fn permutation<'py>(
    py: Python<'py>,
    seed: &[u8],
    epoch: u64,
    n: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let seed = convert::seed(seed)?;
    array(py, 0, || trainproof_seed::permutation(&seed, epoch, n))
}

/// Fill number `counter`: uniform in [lo, hi).
///
/// Args:
///     seed: 32 bytes.
///     counter: how many fills came before.
///     count: number of elements.
///     lo, hi: bounds; rounding may reach `hi`.
///     dtype: "float64" or "float32", which is the former rounded to nearest even.
///
/// Returns:
///     array of shape (count,) and this dtype.
///
/// Raises:
///     ValueError: the bounds are not finite or not in order, the dtype is another, the seed is not 32 bytes, or there is
///         no memory for the result.
#[pyfunction]
#[pyo3(signature = (seed, counter, count, lo, hi, dtype="float64"))]
pub(crate) fn fill_uniform<'py>(
    py: Python<'py>,
    seed: &[u8],
    counter: u64,
    count: u64,
    lo: f64,
    hi: f64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let seed = convert::seed(seed)?;
    let source = FillSource {
        seed: &seed,
        counter,
        count,
    };
    match dtype {
        "float64" => filled::<f64>(py, count, || trainproof_seed::uniform(source, lo, hi)),
        "float32" => filled::<f32>(py, count, || trainproof_seed::uniform(source, lo, hi)),
        _ => Err(unknown_dtype(dtype)),
    }
}

/// Fill number `counter`: normal of this mean and standard deviation.
///
/// Args, returns and raises as `fill_uniform`; `mean` is finite, `std` finite and not negative.
#[pyfunction]
#[pyo3(signature = (seed, counter, count, mean, std, dtype="float64"))]
pub(crate) fn fill_normal<'py>(
    py: Python<'py>,
    seed: &[u8],
    counter: u64,
    count: u64,
    mean: f64,
    std: f64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let seed = convert::seed(seed)?;
    let source = FillSource {
        seed: &seed,
        counter,
        count,
    };
    match dtype {
        "float64" => filled::<f64>(py, count, || trainproof_seed::normal(source, mean, std)),
        "float32" => filled::<f32>(py, count, || trainproof_seed::normal(source, mean, std)),
        _ => Err(unknown_dtype(dtype)),
    }
}

/// Fill number `counter`: integers in [lo, hi).
///
/// Args, returns and raises as `fill_uniform`; the dtype is "int64", "float64" or "float32".
#[pyfunction]
#[pyo3(signature = (seed, counter, count, lo, hi, dtype="int64"))]
pub(crate) fn fill_integers<'py>(
    py: Python<'py>,
    seed: &[u8],
    counter: u64,
    count: u64,
    lo: i64,
    hi: i64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let seed = convert::seed(seed)?;
    let source = FillSource {
        seed: &seed,
        counter,
        count,
    };
    match dtype {
        "int64" => filled::<i64>(py, 0, || trainproof_seed::integers(source, lo, hi)),
        "float64" => filled::<f64>(py, 0, || trainproof_seed::integers(source, lo, hi)),
        "float32" => filled::<f32>(py, 0, || trainproof_seed::integers(source, lo, hi)),
        _ => Err(unknown_dtype(dtype)),
    }
}

/// Fill number `counter`: 1 with probability `p`, else 0.
///
/// Args, returns and raises as `fill_uniform`; the dtype is "int64", "float64" or "float32".
#[pyfunction]
#[pyo3(signature = (seed, counter, count, p, dtype="int64"))]
pub(crate) fn fill_bernoulli<'py>(
    py: Python<'py>,
    seed: &[u8],
    counter: u64,
    count: u64,
    p: f64,
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let seed = convert::seed(seed)?;
    let source = FillSource {
        seed: &seed,
        counter,
        count,
    };
    match dtype {
        "int64" => filled::<i64>(py, count, || trainproof_seed::bernoulli(source, p)),
        "float64" => filled::<f64>(py, count, || trainproof_seed::bernoulli(source, p)),
        "float32" => filled::<f32>(py, count, || trainproof_seed::bernoulli(source, p)),
        _ => Err(unknown_dtype(dtype)),
    }
}

fn unknown_dtype(dtype: &str) -> PyErr {
    value_error(format_args!("this fill has no dtype {dtype:?}"))
}

fn filled<'py, T: Element + numpy::Element>(
    py: Python<'py>,
    words: u64,
    make: impl FnOnce() -> Result<Vec<T>, SeedError> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    array(py, words, make).map(Bound::into_any)
}

/// Makes an array without the lock, on the pool if it takes more than [`PARALLEL_WORDS`] `words`.
fn array<'py, T: numpy::Element>(
    py: Python<'py>,
    words: u64,
    make: impl FnOnce() -> Result<Vec<T>, SeedError> + Send,
) -> PyResult<Bound<'py, PyArray1<T>>> {
    let bytes = if words > PARALLEL_WORDS as u64 {
        PARALLEL_BYTES
    } else {
        0
    };
    let values = py.detach(|| pool::run(bytes, make)).map_err(value_error)?;
    Ok(values.into_pyarray(py))
}
