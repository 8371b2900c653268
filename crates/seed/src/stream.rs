//! The integer stream (section 5).

use std::num::NonZeroU64;

use rayon::prelude::*;

use crate::SeedError;

const STREAM_DOMAIN: &[u8] = b"trainproof.stream.v1\0";

/// Length of a seed.
pub const SEED_BYTES: usize = 32;

/// Below this many words one core is faster than waking others. Also the words that one task takes at a time.
pub const PARALLEL_WORDS: usize = 1 << 15;

/// Words read from the hash at a time.
const BUFFER_WORDS: usize = 128;
const BUFFER_BYTES: usize = 8 * BUFFER_WORDS;

/// 64-bit words drawn from a label, a seed and two counters.
#[derive(Clone, Debug)]
pub struct Stream {
    reader: blake3::OutputReader,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl Stream {
    /// The stream of these four, at its first word.
    #[must_use]
    pub fn new(label: &str, seed: &[u8; SEED_BYTES], a: u64, b: u64) -> Self {
        let reader = blake3::Hasher::new()
            .update(STREAM_DOMAIN)
            .update(&(label.len() as u64).to_le_bytes())
            .update(label.as_bytes())
            .update(seed)
            .update(&a.to_le_bytes())
            .update(&b.to_le_bytes())
            .finalize_xof();
        Self {
            reader,
            buffer: [0; BUFFER_BYTES],
            used: BUFFER_BYTES,
        }
    }

    /// The same stream at word `index`, counted from its first.
    #[must_use]
    pub fn at(&self, index: u64) -> Self {
        let mut stream = self.clone();
        stream.reader.set_position(8 * index);
        stream.used = BUFFER_BYTES;
        stream
    }

    /// The next word.
    pub fn word(&mut self) -> u64 {
        if self.used == BUFFER_BYTES {
            self.reader.fill(&mut self.buffer);
            self.used = 0;
        }
        let (words, _) = self.buffer.as_chunks();
        let word = u64::from_le_bytes(words[self.used / 8]);
        self.used += 8;
        word
    }

    /// A uniform integer below `n`.
    pub fn below(&mut self, n: NonZeroU64) -> u64 {
        let n = n.get();
        loop {
            let x = self.word();
            // Reject x ≥ 2^64 − (2^64 mod n). The remainder is below n, so only the last n words can be rejected, and
            // only for those is it computed.
            if x <= u64::MAX - n || x <= u64::MAX - n.wrapping_neg() % n {
                return x % n;
            }
        }
    }

    /// `count` uniform integers below `n`.
    ///
    /// # Errors
    /// [`SeedError::Below0`], [`SeedError::Allocation`]
    pub fn below_many(&mut self, n: u64, count: u64) -> Result<Vec<u64>, SeedError> {
        let n = NonZeroU64::new(n).ok_or(SeedError::Below0)?;
        let mut values = zeros(count)?;
        values.fill_with(|| self.below(n));
        Ok(values)
    }

    /// `count` values, the i-th made from word i of this stream counted from its first; parallel when they are many.
    ///
    /// # Errors
    /// [`SeedError::Allocation`]
    pub fn map_words<T: Copy + Default + Send>(
        &self,
        count: u64,
        make: impl Fn(u64) -> T + Sync,
    ) -> Result<Vec<T>, SeedError> {
        let mut values = zeros(count)?;
        let fill = |(task, chunk): (usize, &mut [T])| {
            let mut stream = self.at((task * PARALLEL_WORDS) as u64);
            for value in chunk {
                *value = make(stream.word());
            }
        };
        if values.len() <= PARALLEL_WORDS {
            fill((0, &mut values));
        } else {
            values.par_chunks_mut(PARALLEL_WORDS).enumerate().for_each(fill);
        }
        Ok(values)
    }
}

/// A vector of zeros, or an error where `vec![]` would abort.
pub(crate) fn zeros<T: Copy + Default>(count: u64) -> Result<Vec<T>, SeedError> {
    let mut values = Vec::new();
    let length = usize::try_from(count).map_err(|_| SeedError::Allocation { count })?;
    values
        .try_reserve_exact(length)
        .map_err(|_| SeedError::Allocation { count })?;
    values.resize(length, T::default());
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn label_seed_and_counters_all_matter() {
        let first = |label, seed, a, b| Stream::new(label, &[seed; 32], a, b).word();
        let words = [
            first("x", 0, 0, 0),
            first("y", 0, 0, 0),
            first("x", 1, 0, 0),
            first("x", 0, 1, 0),
            first("x", 0, 0, 1),
        ];
        for (i, word) in words.iter().enumerate() {
            assert!(!words[..i].contains(word));
        }
    }

    #[test]
    fn rejects_too_many_words() {
        let stream = Stream::new("x", &[0; 32], 0, 0);
        assert_eq!(
            stream.map_words(u64::MAX, |x| x),
            Err(SeedError::Allocation { count: u64::MAX })
        );
    }

    proptest! {
        #[test]
        fn seeking_equals_reading(skip in 0_usize..1000) {
            let stream = Stream::new("test", &[3; 32], 1, 2);
            let mut read = stream.clone();
            for _ in 0..skip {
                read.word();
            }
            let mut sought = stream.at(skip as u64);
            for _ in 0..200 {
                prop_assert_eq!(read.word(), sought.word());
            }
        }

        #[test]
        fn below_follows_its_definition(n: NonZeroU64) {
            let stream = Stream::new("test", &[4; 32], 0, 0);
            let (mut fast, mut words) = (stream.clone(), stream);
            let limit = (1_u128 << 64) - (1_u128 << 64) % u128::from(n.get());
            for _ in 0..20 {
                let x = loop {
                    let x = words.word();
                    if u128::from(x) < limit {
                        break x;
                    }
                };
                prop_assert_eq!(fast.below(n), x % n);
            }
        }
    }

    #[test]
    fn parallel_and_serial_words_agree() {
        let stream = Stream::new("test", &[5; 32], 0, 0);
        let many = stream.map_words(3 * PARALLEL_WORDS as u64 + 7, |x| x).unwrap();
        let mut serial = stream;
        assert!(many.iter().all(|&word| word == serial.word()));
    }
}
