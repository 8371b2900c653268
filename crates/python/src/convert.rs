//! From Python's arguments to Rust's, and from Rust's errors to Python's.

use std::fmt::Display;

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trainproof_hash::{DIGEST_BYTES, Digest, HashError, SECRET_BYTES};
use trainproof_seed::{SEED_BYTES, SeedError};

/// A `ValueError` with the error's own words.
pub(crate) fn value_error(error: impl Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

pub(crate) fn digest(bytes: &[u8]) -> PyResult<Digest> {
    bytes.try_into().map_err(|_| {
        value_error(HashError::DigestLength {
            expected: DIGEST_BYTES,
            got: bytes.len(),
        })
    })
}

pub(crate) fn secret(bytes: &[u8]) -> PyResult<[u8; SECRET_BYTES]> {
    bytes.try_into().map_err(|_| {
        value_error(HashError::SecretLength {
            expected: SECRET_BYTES,
            got: bytes.len(),
        })
    })
}

pub(crate) fn seed(bytes: &[u8]) -> PyResult<[u8; SEED_BYTES]> {
    bytes.try_into().map_err(|_| {
        value_error(SeedError::SeedLength {
            expected: SEED_BYTES,
            got: bytes.len(),
        })
    })
}

pub(crate) fn slice<'a>(array: &'a PyReadonlyArray1<'_, u8>) -> PyResult<&'a [u8]> {
    array.as_slice().map_err(|_| value_error("the array is not contiguous"))
}

/// The rows of a table, one after the other.
pub(crate) fn rows<'a>(array: &'a PyReadonlyArray2<'_, u8>) -> PyResult<&'a [u8]> {
    match array.as_slice() {
        // Column-major tables have a slice too, but not this one.
        Ok(slice) if array.is_c_contiguous() => Ok(slice),
        _ => Err(value_error("the array is not row-major contiguous")),
    }
}

/// Bytes, or a one-dimensional array of them.
#[derive(FromPyObject)]
pub(crate) enum Chunk<'py> {
    Bytes(Bound<'py, PyBytes>),
    Array(PyReadonlyArray1<'py, u8>),
}

impl Chunk<'_> {
    pub(crate) fn slice(&self) -> PyResult<&[u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.as_bytes()),
            Self::Array(array) => slice(array),
        }
    }
}
