//! What can be wrong with a request for randomness.

use thiserror::Error;

/// A stream was asked for something it cannot give.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SeedError {
    /// A seed of another length would be read differently by every implementation.
    #[error("the seed must have {expected} bytes, got {got}")]
    SeedLength {
        /// The length of a seed.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// No natural number is below 0.
    #[error("no number is below 0")]
    Below0,
    /// No integer lies in an empty range.
    #[error("no integer lies in [{lo}, {hi})")]
    EmptyRange {
        /// Lowest integer.
        lo: i64,
        /// First integer that is too high.
        hi: i64,
    },
    /// A uniform distribution needs finite bounds in order, at a finite distance.
    #[error("no uniform distribution from {lo} to {hi}")]
    Interval {
        /// Lower bound.
        lo: f64,
        /// Upper bound.
        hi: f64,
    },
    /// A normal distribution needs a finite mean and a finite deviation that is not negative.
    #[error("no normal distribution of mean {mean} and deviation {std}")]
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// A probability lies in [0, 1].
    #[error("{p} is no probability")]
    Probability {
        /// What was given.
        p: f64,
    },
    /// The result does not fit in memory.
    #[error("no memory for {count} elements")]
    Allocation {
        /// Elements that were asked for.
        count: u64,
    },
}
