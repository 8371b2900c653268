//! Leaves and trees of datasets (docs/hashing.md, section 4).

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trainproof_hash::{Field, split_digests};

use crate::convert::{digest, rows, secret, value_error};
use crate::pool;

/// Salt of sample `index`: 32 bytes derived from a 32-byte secret.
///
/// Raises:
///     ValueError: the secret is not 32 bytes.
#[pyfunction]
#[pyo3(name = "salt")]
pub(crate) fn salt<'py>(py: Python<'py>, secret: &[u8], index: u64) -> PyResult<Bound<'py, PyBytes>> {
    let secret = self::secret(secret)?;
    Ok(PyBytes::new(py, &py.detach(|| trainproof_hash::salt(&secret, index))))
}

/// Leaf of sample `index`, whose value encoding is `payload`: 32 bytes.
///
/// Raises:
///     ValueError: the secret is not 32 bytes.
#[pyfunction]
pub(crate) fn leaf<'py>(py: Python<'py>, secret: &[u8], index: u64, payload: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let secret = self::secret(secret)?;
    let leaf = py.detach(|| pool::run(payload.len(), || trainproof_hash::leaf(&secret, index, payload)));
    Ok(PyBytes::new(py, &leaf))
}

/// Leaves of consecutive samples that are rows of tables.
///
/// Args:
///     secret: 32 bytes.
///     first: index of the first sample.
///     prefix: what every payload starts with.
///     fields: (prefix, rows) each; rows is a row-major uint8 array of shape (samples, width). A sample's payload is the
///         common prefix, then each field's prefix and the sample's row.
///
/// Returns:
///     32 bytes a sample, concatenated.
///
/// Raises:
///     ValueError: no fields, fields of different length, an array that is not row-major, a secret that is not 32 bytes,
///         or an index beyond 64 bits.
#[pyfunction]
pub(crate) fn leaves_rows<'py>(
    py: Python<'py>,
    secret: &[u8],
    first: u64,
    prefix: &[u8],
    fields: Vec<(Bound<'py, PyBytes>, PyReadonlyArray2<'py, u8>)>,
) -> PyResult<Bound<'py, PyBytes>> {
    let secret = self::secret(secret)?;
    let fields = fields
        .iter()
        .map(|(prefix, table)| {
            Ok(Field {
                prefix: prefix.as_bytes(),
                rows: table.shape()[0],
                data: rows(table)?,
            })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let total = fields.iter().map(|field| field.data.len()).sum();
    let leaves = py
        .detach(|| pool::run(total, || trainproof_hash::leaves_rows(&secret, first, prefix, &fields)))
        .map_err(value_error)?;
    Ok(PyBytes::new(py, leaves.as_flattened()))
}

/// Root of the tree over `leaves`, 32 bytes each and concatenated.
///
/// Raises:
///     ValueError: no leaf, or not a whole number of them.
#[pyfunction]
pub(crate) fn merkle_root<'py>(py: Python<'py>, leaves: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let digests = split_digests(leaves).map_err(value_error)?;
    let root = py
        .detach(|| pool::run(leaves.len(), || trainproof_hash::root(digests)))
        .map_err(value_error)?;
    Ok(PyBytes::new(py, &root))
}

/// Siblings on the way from leaf `index` to the top, 32 bytes each and concatenated.
///
/// Raises:
///     ValueError: no leaf, not a whole number of them, or none of this index.
#[pyfunction]
pub(crate) fn merkle_path<'py>(py: Python<'py>, leaves: &[u8], index: u64) -> PyResult<Bound<'py, PyBytes>> {
    let digests = split_digests(leaves).map_err(value_error)?;
    let path = py
        .detach(|| pool::run(leaves.len(), || trainproof_hash::path(digests, index)))
        .map_err(value_error)?;
    Ok(PyBytes::new(py, path.as_flattened()))
}

/// Whether `leaf` is leaf `index` of the tree of `count` leaves with this root. Bytes of any wrong length, an index of no
/// leaf and a path of another length than the tree has are False, never an error.
#[pyfunction]
pub(crate) fn merkle_verify(py: Python<'_>, root: &[u8], count: u64, index: u64, leaf: &[u8], path: &[u8]) -> bool {
    let (Ok(root), Ok(leaf), Ok(path)) = (digest(root), digest(leaf), split_digests(path)) else {
        return false;
    };
    py.detach(|| trainproof_hash::verify(&root, count, index, &leaf, path))
}
