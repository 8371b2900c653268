//! Files that are there whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::convert::Chunk;

/// Write `chunks` one after the other to `path`, whole or not at all.
///
/// The bytes go to a temporary file in the same folder, which is flushed to disk and renamed to `path`; then the folder is
/// flushed too. When anything fails the temporary file is removed and an older file at `path` stays as it was. Large files
/// do not pass through the page cache; a large file whose bytes are one page-aligned array is written without a copy.
///
/// Args:
///     path: where to.
///     chunks: bytes, or contiguous uint8 arrays of shape (bytes,).
///     threads: how many threads write a large file at once.
///
/// Returns:
///     the number of bytes written.
///
/// Raises:
///     OSError: with the system's errno, such as ENOSPC.
///     ValueError: an array is not contiguous.
#[pyfunction]
#[pyo3(signature = (path, chunks, threads=1))]
pub(crate) fn write_file(py: Python<'_>, path: PathBuf, chunks: Vec<Chunk<'_>>, threads: usize) -> PyResult<u64> {
    let slices = chunks.iter().map(Chunk::slice).collect::<PyResult<Vec<_>>>()?;
    py.detach(|| trainproof_file::write_whole(&path, &slices, threads))
        .map_err(|error| os_error(&error, &path))
}

/// `OSError(errno, message, path)`, from which Python makes the right subclass.
fn os_error(error: &io::Error, path: &Path) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((errno, text, path.as_os_str().to_owned()))
        }
        None => PyOSError::new_err(error.to_string()),
    }
}
