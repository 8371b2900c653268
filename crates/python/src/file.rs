//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::convert::Chunk;

/// Bytes that one thread writes at a time.
const SEGMENT_BYTES: usize = 4 << 20;

/// Slices that one system call takes: the limit of Linux.
const SLICES: usize = 1024;

/// Write `chunks` one after the other to `path`, whole or not at all.
///
/// The bytes go to a temporary file in the same folder, which is flushed to disk and renamed to `path`; then the folder is
/// flushed too. When anything fails the temporary file is removed and an older file at `path` stays as it was.
///
/// Args:
///     path: where to.
///     chunks: bytes, or contiguous uint8 arrays of shape (bytes,); not copied.
///     threads: how many threads write at once; more than 1 helps only from some ten megabytes.
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
    py.detach(|| write_whole(&path, &slices, threads))
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

fn write_whole(path: &Path, slices: &[&[u8]], threads: usize) -> io::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Opened first, so that nothing is left to fail between the rename and its flush but the flush itself.
    let folder_handle = File::open(folder)?;
    let mut temporary = Temporary::create(folder, path)?;
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    if threads > 1 && total >= 2 * SEGMENT_BYTES {
        write_parallel(&temporary.file, slices, threads)?;
    } else {
        write_serial(&mut temporary.file, slices)?;
    }
    temporary.file.sync_all()?;
    temporary.rename_to(path)?;
    folder_handle.sync_all()?;
    Ok(total as u64)
}

/// A file that is removed unless it was renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(folder: &Path, target: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}.{number}.tmp", process::id()));
            let path = folder.join(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path,
                        renamed: false,
                    });
                }
                // Left by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename_to(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The write has failed already; that error is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// As few system calls as there can be, without gathering bytes.
fn write_serial(file: &mut File, slices: &[&[u8]]) -> io::Result<()> {
    let mut pending: Vec<IoSlice<'_>> = slices
        .iter()
        .filter(|slice| !slice.is_empty())
        .map(|slice| IoSlice::new(slice))
        .collect();
    let mut pending = pending.as_mut_slice();
    while !pending.is_empty() {
        match file.write_vectored(&pending[..pending.len().min(SLICES)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut pending, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_parallel(file: &File, slices: &[&[u8]], threads: usize) -> io::Result<()> {
    let mut segments = Vec::new();
    let mut offset = 0;
    for slice in slices {
        for segment in slice.chunks(SEGMENT_BYTES) {
            segments.push((offset, segment));
            offset += segment.len() as u64;
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((offset, segment)) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = file.write_all_at(segment, *offset) {
                // Nothing is left to do for the others.
                next.store(segments.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(segments.len()))
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let own = work();
        helpers.into_iter().fold(own, |result, helper| match helper.join() {
            Ok(other) => result.and(other),
            Err(_) => result.and(Err(io::Error::other("a writing thread panicked"))),
        })
    })
}
