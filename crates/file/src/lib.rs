//! Files that are there whole or not at all, written with little work for the processor.
#![forbid(unsafe_code)]

mod temporary;
mod write;

use std::fs::File;
use std::io;
use std::path::Path;

use temporary::Temporary;

/// Writes `slices` one after the other to `path` and returns the number of bytes.
///
/// The bytes go to a temporary file in the same folder, which is flushed and renamed; then the folder is flushed. When
/// anything fails, the temporary file is removed and an older file at `path` stays as it was. Only when flushing the
/// folder fails is the new file already there.
///
/// # Errors
/// The system's.
pub fn write_whole(path: &Path, slices: &[&[u8]], threads: usize) -> io::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Opened first, so that after the rename only the flush itself can fail.
    let folder_handle = File::open(folder)?;
    let mut temporary = Temporary::create(folder, path)?;
    write::write(&mut temporary, slices, threads)?;
    temporary.file.sync_all()?;
    temporary.rename_to(path)?;
    folder_handle.sync_all()?;
    Ok(slices.iter().map(|slice| slice.len() as u64).sum())
}
