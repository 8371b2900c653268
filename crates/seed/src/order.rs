//! The order in which an epoch visits its samples (section 6).

use std::num::NonZeroU64;

use crate::SeedError;
use crate::stream::{SEED_BYTES, Stream, zeros};

/// A permutation of `0..n` by Fisher and Yates.
///
/// # Errors
/// [`SeedError::Allocation`]
pub fn permutation(seed: &[u8; SEED_BYTES], epoch: u64, n: u64) -> Result<Vec<i64>, SeedError> {
    let mut order: Vec<i64> = zeros(n)?;
    for (value, slot) in order.iter_mut().enumerate() {
        *slot = value as i64;
    }
    let mut stream = Stream::new("order", seed, epoch, 0);
    for last in (1..order.len()).rev() {
        let other = stream.below(NonZeroU64::MIN.saturating_add(last as u64)) as usize;
        order.swap(last, other);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_occurs_once() {
        for n in [0, 1, 2, 3, 1000] {
            let mut order = permutation(&[1; 32], 0, n).unwrap();
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..n as i64));
        }
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(permutation(&[1; 32], 0, 100), permutation(&[1; 32], 1, 100));
    }

    #[test]
    fn rejects_more_than_memory_holds() {
        assert_eq!(
            permutation(&[1; 32], 0, u64::MAX),
            Err(SeedError::Allocation { count: u64::MAX })
        );
    }
}
