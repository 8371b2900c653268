//! A copy past the cache: it reads the source into the cache and leaves the target out of it.
#![allow(unsafe_code)]

/// Copies `from` to `to`, which is as long. What is written next to the source would else push it out of the cache, and
/// be read from memory only to be overwritten.
#[cfg(target_arch = "x86_64")]
pub(crate) fn past_cache(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    assert_eq!(from.len(), to.len());
    // SAFETY: all bit patterns are valid in both types.
    let (head, middle, tail) = unsafe { to.align_to_mut::<__m128i>() };
    let (first, rest) = from.split_at(head.len());
    let (blocks, last) = rest.split_at(size_of_val(middle));
    head.copy_from_slice(first);
    tail.copy_from_slice(last);
    for (target, block) in middle.iter_mut().zip(blocks.chunks_exact(size_of::<__m128i>())) {
        // SAFETY: every x86-64 has SSE2; the block is as long as the target, which is aligned.
        unsafe { _mm_stream_si128(target, _mm_loadu_si128(block.as_ptr().cast())) };
    }
    // SAFETY: as above. Other threads see the copy only after this.
    unsafe { _mm_sfence() };
}

/// Copies `from` to `to`, which is as long.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn past_cache(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_any_length_at_any_alignment() {
        let data: Vec<u8> = (0..200).collect();
        for offset in 0..17 {
            for length in [0, 1, 15, 16, 17, 64, 100] {
                let mut target = [255; 200];
                past_cache(&data[3..3 + length], &mut target[offset..offset + length]);
                assert_eq!(target[offset..offset + length], data[3..3 + length]);
                assert!(target[..offset].iter().all(|&byte| byte == 255));
                assert!(target[offset + length..].iter().all(|&byte| byte == 255));
            }
        }
    }
}
