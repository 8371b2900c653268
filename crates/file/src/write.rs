//! Two ways to write: small files as few system calls, large ones past the page cache.
//!
//! A page of the cache costs the processor more than the hash of its content, and on a virtual machine many times more
//! when it is touched for the first time. Nobody reads a record while its training runs, so large files go to the disk
//! directly: from where they lie if that is one aligned slice, else through a small aligned buffer that stays in the
//! processor's cache.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::temporary::Temporary;

/// From here on a file is large.
const DIRECT_BYTES: u64 = 1 << 20;

/// What one system call writes of a large file. A buffer of a huge page is cheapest: below that a write costs the processor
/// four times as much.
const SEGMENT_BYTES: usize = 2 << 20;

/// The same when nothing is copied first, where fewer calls are always cheaper.
const IN_PLACE_BYTES: usize = 16 << 20;

/// Address, length and offset of a direct write are multiples of this on every file system.
const ALIGNMENT: usize = 4096;

/// Slices that one system call takes: the limit of Linux.
const SLICES: usize = 1024;

pub(crate) fn write(temporary: &mut Temporary, slices: &[&[u8]], threads: usize) -> io::Result<()> {
    let source = Source::new(slices);
    if source.total >= DIRECT_BYTES
        && let Some(direct) = temporary.open_direct()
    {
        match write_direct(&direct, &temporary.file, &source, threads) {
            // The file system has direct writes but of a coarser alignment, or only pretends to have them.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => temporary.file.set_len(0)?,
            result => return result,
        }
    }
    write_vectored(&mut temporary.file, slices)
}

/// As few system calls as there can be, without gathering bytes.
fn write_vectored(file: &mut File, slices: &[&[u8]]) -> io::Result<()> {
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

/// Writes all whole blocks by `direct` and the rest by `cached`, two handles of one file.
fn write_direct(direct: &File, cached: &File, source: &Source<'_>, threads: usize) -> io::Result<()> {
    let whole = source.total - source.total % ALIGNMENT as u64;
    let in_place = source.in_place();
    let (segment, memory_bytes) = match in_place {
        Some(_) => (IN_PLACE_BYTES, 0),
        None => (SEGMENT_BYTES, SEGMENT_BYTES + ALIGNMENT),
    };
    let next = AtomicU64::new(0);
    let work = || -> io::Result<()> {
        let mut memory = vec![0; memory_bytes];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(memory.len());
        let buffer = &mut memory[start..];
        loop {
            let offset = next.fetch_add(segment as u64, Ordering::Relaxed);
            if offset >= whole {
                return Ok(());
            }
            let length = (whole - offset).min(segment as u64) as usize;
            let bytes = match in_place {
                Some(slice) => &slice[offset as usize..][..length],
                None => {
                    source.copy_to(offset, &mut buffer[..length]);
                    &buffer[..length]
                }
            };
            if let Err(error) = direct.write_all_at(bytes, offset) {
                // Nothing is left to do for the others.
                next.store(whole, Ordering::Relaxed);
                return Err(error);
            }
        }
    };
    let threads = (threads as u64).min(whole.div_ceil(segment as u64));
    thread::scope(|scope| {
        // Without helpers this thread writes everything.
        let helpers: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        helpers.into_iter().fold(work(), |result, helper| {
            result.and(
                helper
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a writing thread panicked"))),
            )
        })
    })?;
    let mut rest = vec![0; (source.total - whole) as usize];
    source.copy_to(whole, &mut rest);
    cached.write_all_at(&rest, whole)
}

/// Slices, addressed as if they were one.
struct Source<'a> {
    slices: &'a [&'a [u8]],
    /// Where each slice starts.
    starts: Vec<u64>,
    total: u64,
}

impl<'a> Source<'a> {
    fn new(slices: &'a [&'a [u8]]) -> Self {
        let mut total = 0;
        let mut starts = Vec::with_capacity(slices.len());
        for slice in slices {
            starts.push(total);
            total += slice.len() as u64;
        }
        Self { slices, starts, total }
    }

    /// All bytes, if they are one slice that a direct write can take from where it lies.
    fn in_place(&self) -> Option<&'a [u8]> {
        let mut slices = self.slices.iter().filter(|slice| !slice.is_empty());
        match (slices.next(), slices.next()) {
            (Some(slice), None) if slice.as_ptr().addr().is_multiple_of(ALIGNMENT) => Some(slice),
            _ => None,
        }
    }

    /// Copies the bytes from `offset` on; there are at least as many as `target` takes.
    fn copy_to(&self, offset: u64, mut target: &mut [u8]) {
        // The last slice that starts at or before the offset.
        let first = self.starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let mut skip = (offset - self.starts.get(first).copied().unwrap_or(0)) as usize;
        for slice in &self.slices[first..] {
            let bytes = &slice[skip.min(slice.len())..];
            let length = bytes.len().min(target.len());
            let (head, tail) = target.split_at_mut(length);
            head.copy_from_slice(&bytes[..length]);
            if tail.is_empty() {
                return;
            }
            target = tail;
            skip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs, process};

    use super::*;
    use crate::write_whole;

    fn check(name: &str, slices: &[&[u8]], threads: usize) {
        let folder = env::temp_dir().join(format!("trainproof-{name}-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        fs::write(&path, "older").unwrap();
        let written = write_whole(&path, slices, threads).unwrap();
        let read = fs::read(&path).unwrap();
        let names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(written, read.len() as u64);
        assert!(read == slices.concat());
        assert_eq!(names, ["file"]);
    }

    #[test]
    fn small_files() {
        check("empty", &[], 1);
        check("blank", &[b"", b""], 1);
        check("small", &[b"a", b"", b"bc"], 8);
    }

    #[test]
    fn more_slices_than_a_system_call_takes() {
        check("slices", &vec![b"xyz".as_slice(); 3 * SLICES + 1], 1);
    }

    #[test]
    fn large_files_of_any_length_and_cut() {
        let bytes: Vec<u8> = (0..DIRECT_BYTES as usize + 3 * SEGMENT_BYTES / 2)
            .map(|i| (i * 31 % 257) as u8)
            .collect();
        for (i, rest) in [0, 1, ALIGNMENT - 1, SEGMENT_BYTES].into_iter().enumerate() {
            let (head, tail) = bytes[..bytes.len() - rest].split_at(ALIGNMENT + 1);
            for threads in [0, 1, 3] {
                check(&format!("large-{i}-{threads}"), &[b"", head, b"", tail, b""], threads);
            }
        }
    }

    /// Memory that begins at a page's first byte, or so many bytes after it.
    fn paged(length: usize, shift: usize) -> (Vec<u8>, usize) {
        let mut memory = vec![0; length + shift + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT) + shift;
        for (i, byte) in memory[start..start + length].iter_mut().enumerate() {
            *byte = (i * 31 % 257) as u8;
        }
        (memory, start)
    }

    #[test]
    fn every_way_writes_the_same_bytes() {
        let folder = env::temp_dir().join(format!("trainproof-ways-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        for length in [0, 1, 4095, 4096, 4097, 3 * 4096 + 5, 2 * IN_PLACE_BYTES + 4097] {
            for shift in [0, 8] {
                let (memory, start) = paged(length, shift);
                let bytes = &memory[start..start + length];
                let slices = [&bytes[..0], bytes];
                let source = Source::new(&slices);
                assert_eq!(source.in_place().is_some(), shift == 0 && length > 0);
                let mut temporary = Temporary::create(&folder, Path::new("file")).unwrap();
                let mut found = Vec::new();
                write_vectored(&mut temporary.file, &slices).unwrap();
                found.push(fs::read(temporary.path()).unwrap());
                for threads in [1, 3] {
                    temporary.file.set_len(0).unwrap();
                    // Without direct writes the same code must do, by the ordinary handle.
                    let direct = temporary.open_direct();
                    let direct = direct.as_ref().unwrap_or(&temporary.file);
                    write_direct(direct, &temporary.file, &source, threads).unwrap();
                    found.push(fs::read(temporary.path()).unwrap());
                }
                assert!(found.iter().all(|file| file == bytes), "{length} {shift}");
            }
        }
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn one_aligned_slice_is_written_whole() {
        let (memory, start) = paged(DIRECT_BYTES as usize + 5, 0);
        check("aligned", &[&memory[start..start + DIRECT_BYTES as usize + 5]], 1);
    }
}
