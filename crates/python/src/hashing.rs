//! Digests of tensors, states and values (docs/hashing.md, sections 1 to 3).

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trainproof_hash::{Algorithm, TensorRef};

use crate::convert::{digest, slice, value_error};
use crate::pool;

/// Sum of (a - b)^2 over two tensors, in binary64 and one fixed order of additions.
///
/// Args:
///     dtype: "float32", "float64", "float16" or "bfloat16".
///     a, b: uint8 arrays of shape (bytes,), contiguous, equally long.
///
/// Raises:
///     ValueError: another dtype, or lengths that do not fit.
#[pyfunction]
pub(crate) fn squared_distance<'py>(
    py: Python<'py>,
    dtype: &str,
    a: PyReadonlyArray1<'py, u8>,
    b: PyReadonlyArray1<'py, u8>,
) -> PyResult<f64> {
    let (a, b) = (slice(&a)?, slice(&b)?);
    py.detach(|| pool::run(a.len(), || trainproof_hash::squared_distance(dtype, a, b)))
        .map_err(value_error)
}

/// Digest of one tensor (section 1).
///
/// Args:
///     dtype: torch's name without "torch.", such as "float32".
///     shape: dimensions, empty for a scalar.
///     data: uint8 array of shape (bytes,), contiguous: the row-major little-endian elements.
///     algorithm: "blake3" or "sha256".
///
/// Returns:
///     32 bytes.
///
/// Raises:
///     ValueError: unknown dtype or algorithm, or data of another length than dtype and shape need.
#[pyfunction]
#[pyo3(signature = (dtype, shape, data, algorithm="blake3"))]
pub(crate) fn tensor_digest<'py>(
    py: Python<'py>,
    dtype: &str,
    shape: Vec<u64>,
    data: PyReadonlyArray1<'py, u8>,
    algorithm: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let algorithm: Algorithm = algorithm.parse().map_err(value_error)?;
    let tensor = TensorRef {
        dtype,
        shape: &shape,
        data: slice(&data)?,
    };
    let digest = py.detach(|| pool::run(tensor.data.len(), || trainproof_hash::tensor_digest(&tensor, algorithm)));
    Ok(PyBytes::new(py, &digest.map_err(value_error)?))
}

/// Digests of many tensors, parallel across them and inside the large ones.
///
/// Args:
///     tensors: (dtype, shape, data) each, as for `tensor_digest`.
///     algorithm: "blake3" or "sha256".
///
/// Returns:
///     32 bytes each, in the same order.
///
/// Raises:
///     ValueError: as `tensor_digest`.
#[pyfunction]
#[pyo3(signature = (tensors, algorithm="blake3"))]
pub(crate) fn tensor_digests<'py>(
    py: Python<'py>,
    tensors: Vec<(String, Vec<u64>, PyReadonlyArray1<'py, u8>)>,
    algorithm: &str,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let algorithm: Algorithm = algorithm.parse().map_err(value_error)?;
    let tensors = tensors
        .iter()
        .map(|(dtype, shape, data)| {
            Ok(TensorRef {
                dtype,
                shape,
                data: slice(data)?,
            })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let total = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let digests = py
        .detach(|| pool::run(total, || trainproof_hash::tensor_digests(&tensors, algorithm)))
        .map_err(value_error)?;
    Ok(digests.iter().map(|digest| PyBytes::new(py, digest)).collect())
}

/// dtype, shape, data, target.
type Copied<'py> = (String, Vec<u64>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<u8>>);

/// Copies many tensors and returns their digests, parallel across them.
///
/// Args:
///     tensors: (dtype, shape, data, target) each; target is a writable uint8 array of the shape of data.
///     algorithm: "blake3" or "sha256".
///
/// Returns:
///     32 bytes each, in the same order.
///
/// Raises:
///     ValueError: as `tensor_digest`, or a target of another length, or one that is given twice.
#[pyfunction]
#[pyo3(signature = (tensors, algorithm="blake3"))]
pub(crate) fn copy_digests<'py>(
    py: Python<'py>,
    tensors: Vec<Copied<'py>>,
    algorithm: &str,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let algorithm: Algorithm = algorithm.parse().map_err(value_error)?;
    let mut borrowed = tensors
        .iter()
        .map(|(_, _, data, target)| {
            let data = data.try_readonly().map_err(value_error)?;
            let target = target.try_readwrite().map_err(value_error)?;
            Ok((data, target))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let pairs = tensors
        .iter()
        .zip(&mut borrowed)
        .map(|((dtype, shape, _, _), (data, target))| {
            let data = slice(data)?;
            let target = target
                .as_slice_mut()
                .map_err(|_| value_error("the target is not contiguous"))?;
            Ok((TensorRef { dtype, shape, data }, target))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let total = pairs.iter().map(|(tensor, _)| tensor.data.len()).sum();
    let digests = py
        .detach(|| pool::run(total, || trainproof_hash::copy_digests(pairs, algorithm)))
        .map_err(value_error)?;
    Ok(digests.iter().map(|digest| PyBytes::new(py, digest)).collect())
}

/// Root of a state (section 2).
///
/// Args:
///     entries: (name, 32-byte digest) each, in any order.
///     algorithm: "blake3" or "sha256".
///
/// Returns:
///     32 bytes.
///
/// Raises:
///     ValueError: a name occurs twice, a digest is not 32 bytes, or the algorithm is unknown.
#[pyfunction]
#[pyo3(signature = (entries, algorithm="blake3"))]
pub(crate) fn state_root<'py>(
    py: Python<'py>,
    entries: Vec<(String, Bound<'py, PyBytes>)>,
    algorithm: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let algorithm: Algorithm = algorithm.parse().map_err(value_error)?;
    let entries = entries
        .iter()
        .map(|(name, bytes)| Ok((name.as_str(), digest(bytes.as_bytes())?)))
        .collect::<PyResult<Vec<_>>>()?;
    let root = py
        .detach(|| trainproof_hash::state_root(&entries, algorithm))
        .map_err(value_error)?;
    Ok(PyBytes::new(py, &root))
}

/// A BLAKE3 digest under way, for value digests (section 3).
///
/// Args:
///     prefix: what the digest starts with, such as VALUE_DOMAIN.
#[pyclass(module = "trainproof._core")]
pub(crate) struct Hasher {
    inner: blake3::Hasher,
}

#[pymethods]
impl Hasher {
    #[new]
    fn new(prefix: &[u8]) -> Self {
        let mut inner = blake3::Hasher::new();
        inner.update(prefix);
        Self { inner }
    }

    /// Feed bytes.
    fn update(&mut self, py: Python<'_>, data: &[u8]) {
        self.feed(py, data);
    }

    /// Feed a contiguous uint8 array of shape (bytes,), without a copy; on all cores from 1 MiB.
    ///
    /// Raises:
    ///     ValueError: the array is not contiguous.
    fn update_array(&mut self, py: Python<'_>, data: PyReadonlyArray1<'_, u8>) -> PyResult<()> {
        self.feed(py, slice(&data)?);
        Ok(())
    }

    /// The 32-byte digest of what was fed so far. Feeding may go on.
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.finalize().as_bytes())
    }
}

impl Hasher {
    fn feed(&mut self, py: Python<'_>, data: &[u8]) {
        // Giving up the lock costs more than hashing a few kilobytes.
        if data.len() < 4096 {
            self.inner.update(data);
        } else {
            let inner = &mut self.inner;
            py.detach(|| pool::run(data.len(), || trainproof_hash::update_blake3(inner, data)));
        }
    }
}
