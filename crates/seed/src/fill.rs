//! Fills: arrays of random numbers (section 7). Fill number `counter` of a seed is one stream.

use crate::SeedError;
use std::num::NonZeroU64;

use crate::normal::inverse_normal;
use crate::stream::{SEED_BYTES, Stream, zeros};

const TWO_TO_MINUS_52: f64 = 1.0 / 4_503_599_627_370_496.0;
const TWO_TO_MINUS_53: f64 = 1.0 / 9_007_199_254_740_992.0;

/// Which fill: the seed, how many fills came before it, and how many elements it has.
#[derive(Clone, Copy, Debug)]
pub struct FillSource<'a> {
    /// The seed.
    pub seed: &'a [u8; SEED_BYTES],
    /// How many fills came before.
    pub counter: u64,
    /// Number of elements.
    pub count: u64,
}

impl FillSource<'_> {
    fn stream(&self) -> Stream {
        Stream::new("fill", self.seed, self.counter, 0)
    }
}

/// A number that a fill can consist of. Conversions round to nearest, ties to even.
pub trait Element: Copy + Default + Send {
    /// From a double.
    fn from_f64(x: f64) -> Self;
    /// From an integer.
    fn from_i64(x: i64) -> Self;
}

impl Element for f64 {
    fn from_f64(x: f64) -> Self {
        x
    }
    fn from_i64(x: i64) -> Self {
        x as Self
    }
}

impl Element for f32 {
    fn from_f64(x: f64) -> Self {
        x as Self
    }
    fn from_i64(x: i64) -> Self {
        x as Self
    }
}

impl Element for i64 {
    fn from_f64(x: f64) -> Self {
        x as Self
    }
    fn from_i64(x: i64) -> Self {
        x
    }
}

/// Uniform in [lo, hi); rounding may reach `hi`.
///
/// # Errors
/// [`SeedError::Interval`], [`SeedError::Allocation`]
pub fn uniform<T: Element>(source: FillSource<'_>, lo: f64, hi: f64) -> Result<Vec<T>, SeedError> {
    let width = hi - lo;
    // Written so that NaN fails.
    if !(width >= 0.0 && width.is_finite()) {
        return Err(SeedError::Interval { lo, hi });
    }
    source
        .stream()
        .map_words(source.count, |x| T::from_f64(lo + unit(x) * width))
}

/// Normal. The argument of the inverse is the middle of one of 2^52 cells, so that it is exact, never 0 or 1, and
/// symmetric about ½.
///
/// # Errors
/// [`SeedError::Normal`], [`SeedError::Allocation`]
pub fn normal<T: Element>(source: FillSource<'_>, mean: f64, std: f64) -> Result<Vec<T>, SeedError> {
    if !(mean.is_finite() && std >= 0.0 && std.is_finite()) {
        return Err(SeedError::Normal { mean, std });
    }
    source.stream().map_words(source.count, |x| {
        let u = ((x >> 12) as f64 + 0.5) * TWO_TO_MINUS_52;
        T::from_f64(mean + std * inverse_normal(u))
    })
}

/// Integers in [lo, hi). Words can be rejected, so this one is serial.
///
/// # Errors
/// [`SeedError::EmptyRange`], [`SeedError::Allocation`]
pub fn integers<T: Element>(source: FillSource<'_>, lo: i64, hi: i64) -> Result<Vec<T>, SeedError> {
    let width = NonZeroU64::new(hi.wrapping_sub(lo).cast_unsigned())
        .filter(|_| lo < hi)
        .ok_or(SeedError::EmptyRange { lo, hi })?;
    let mut stream = source.stream();
    let mut values: Vec<T> = zeros(source.count)?;
    for value in &mut values {
        *value = T::from_i64(lo.wrapping_add_unsigned(stream.below(width)));
    }
    Ok(values)
}

/// One with probability `p`, else zero.
///
/// # Errors
/// [`SeedError::Probability`], [`SeedError::Allocation`]
pub fn bernoulli<T: Element>(source: FillSource<'_>, p: f64) -> Result<Vec<T>, SeedError> {
    if !(0.0..=1.0).contains(&p) {
        return Err(SeedError::Probability { p });
    }
    source
        .stream()
        .map_words(source.count, |x| T::from_i64(i64::from(unit(x) < p)))
}

/// One of 2^53 equally spaced numbers in [0, 1).
fn unit(x: u64) -> f64 {
    (x >> 11) as f64 * TWO_TO_MINUS_53
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: FillSource<'_> = FillSource {
        seed: &[9; 32],
        counter: 3,
        count: 100_000,
    };

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let (mean, variance) = moments(&normal(SOURCE, 2.0, 3.0).unwrap());
        assert!(
            (mean - 2.0).abs() < 0.05 && (variance - 9.0).abs() < 0.2,
            "{mean} {variance}"
        );
        let (mean, variance) = moments(&uniform(SOURCE, -1.0, 1.0).unwrap());
        assert!(
            mean.abs() < 0.01 && (variance - 1.0 / 3.0).abs() < 0.01,
            "{mean} {variance}"
        );
        let (mean, _) = moments(&bernoulli(SOURCE, 0.25).unwrap());
        assert!((mean - 0.25).abs() < 0.01, "{mean}");
        let (mean, _) = moments(&integers(SOURCE, -3, 4).unwrap());
        assert!(mean.abs() < 0.05, "{mean}");
    }

    #[test]
    fn narrow_elements_are_rounded_wide_ones() {
        let wide: Vec<f64> = normal(SOURCE, 0.0, 1.0).unwrap();
        let narrow: Vec<f32> = normal(SOURCE, 0.0, 1.0).unwrap();
        assert!(wide.iter().zip(&narrow).all(|(&wide, &narrow)| wide as f32 == narrow));
    }

    #[test]
    fn integers_cover_the_widest_range() {
        let values: Vec<i64> = integers(SOURCE, i64::MIN, i64::MAX).unwrap();
        assert!(values.iter().any(|&x| x < i64::MIN / 2) && values.iter().any(|&x| x > i64::MAX / 2));
    }

    #[test]
    fn certain_events() {
        assert!(bernoulli::<i64>(SOURCE, 0.0).unwrap().iter().all(|&x| x == 0));
        assert!(bernoulli::<i64>(SOURCE, 1.0).unwrap().iter().all(|&x| x == 1));
    }

    #[test]
    fn rejects_bounds_out_of_order_or_not_finite() {
        for (lo, hi) in [(1.0, 0.0), (f64::NAN, 0.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)] {
            assert!(
                matches!(uniform::<f64>(SOURCE, lo, hi), Err(SeedError::Interval { .. })),
                "{lo} {hi}"
            );
        }
    }

    #[test]
    fn rejects_bad_deviations() {
        for (mean, std) in [(0.0, -1.0), (0.0, f64::NAN), (f64::INFINITY, 1.0)] {
            assert!(
                matches!(normal::<f64>(SOURCE, mean, std), Err(SeedError::Normal { .. })),
                "{mean} {std}"
            );
        }
    }

    #[test]
    fn rejects_bad_probabilities() {
        for p in [-0.1, 1.1, f64::NAN] {
            assert!(
                matches!(bernoulli::<f64>(SOURCE, p), Err(SeedError::Probability { .. })),
                "{p}"
            );
        }
    }

    #[test]
    fn rejects_empty_ranges() {
        assert_eq!(
            integers::<i64>(SOURCE, 2, 2),
            Err(SeedError::EmptyRange { lo: 2, hi: 2 })
        );
    }
}
