//! The prime field of p = 2^64 − 2^32 + 1 elements (section 1.1).

use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

use crate::field::derived_operators;
use crate::{Field, FieldError};

/// 2^64 − p: what a carry out of 64 bits is worth.
pub(crate) const EPSILON: u64 = 0xffff_ffff;

/// An element of the field of p = 2^64 − 2^32 + 1 elements, always held as the integer below p.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Goldilocks(u64);

impl Goldilocks {
    /// The number of elements, p.
    pub const ORDER: u64 = 0xffff_ffff_0000_0001;
    /// Bytes of an encoded element.
    pub const BYTES: usize = 8;
    /// 2^32 is the largest power of two that divides p − 1.
    pub const TWO_ADICITY: usize = 32;
    /// A generator of the multiplicative group; the shift of cosets.
    pub const GENERATOR: Self = Self(14_293_326_489_335_486_720);
    /// A root of unity of order 2^32: `GENERATOR^((p − 1) / 2^32)`.
    const ROOT: Self = Self(7_277_203_076_849_721_926);

    /// The element that this word, which must be below p, encodes.
    ///
    /// # Errors
    /// [`FieldError::NonCanonical`]
    #[inline]
    pub const fn from_canonical(value: u64) -> Result<Self, FieldError> {
        if value < Self::ORDER {
            Ok(Self(value))
        } else {
            Err(FieldError::NonCanonical { value })
        }
    }

    /// The element congruent to any word. For integers that are no encodings, such as constants and hashes.
    #[inline]
    #[must_use]
    pub const fn from_residue(value: u64) -> Self {
        Self(canonical(value))
    }

    /// The element congruent to a signed integer: −1 becomes p − 1.
    #[inline]
    #[must_use]
    pub const fn from_i64(value: i64) -> Self {
        // At most 2^63, which is below p.
        let size = value.unsigned_abs();
        Self(if value < 0 { Self::ORDER - size } else { size })
    }

    /// The integer below p.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Eight bytes, little endian.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    /// The element that these eight bytes encode.
    ///
    /// # Errors
    /// [`FieldError::NonCanonical`]
    #[inline]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, FieldError> {
        Self::from_canonical(u64::from_le_bytes(bytes))
    }

    /// The elements that a concatenation of encodings holds.
    ///
    /// # Errors
    /// [`FieldError::BytesLength`], [`FieldError::NonCanonical`]
    pub fn parse(bytes: &[u8]) -> Result<Vec<Self>, FieldError> {
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(FieldError::BytesLength {
                element: Self::BYTES,
                got: bytes.len(),
            });
        }
        words.iter().map(|&word| Self::from_bytes(word)).collect()
    }

    /// A primitive root of unity of order 2^`log`, the square of the one of order 2^(`log` + 1).
    ///
    /// # Errors
    /// [`FieldError::TwoAdicity`] when `log` is above 32.
    pub fn root_of_unity(log: usize) -> Result<Self, FieldError> {
        if log > Self::TWO_ADICITY {
            return Err(FieldError::TwoAdicity { log });
        }
        Ok((log..Self::TWO_ADICITY).fold(Self::ROOT, |root, _| root.square()))
    }
}

/// The elements as words. All of them are below p.
pub(crate) fn words(elements: &[Goldilocks]) -> &[u64] {
    #[allow(unsafe_code)]
    // SAFETY: `Goldilocks` is a transparent `u64`.
    unsafe {
        std::slice::from_raw_parts(elements.as_ptr().cast(), elements.len())
    }
}

/// Room for elements as words; the caller writes words below p only.
pub(crate) fn words_mut(elements: &mut [Goldilocks]) -> &mut [u64] {
    #[allow(unsafe_code)]
    // SAFETY: `Goldilocks` is a transparent `u64`. That a word is below p is an invariant of arithmetic, not of memory.
    unsafe {
        std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), elements.len())
    }
}

/// The word below p that is congruent to `x`.
#[inline(always)]
pub(crate) const fn canonical(x: u64) -> u64 {
    if x < Goldilocks::ORDER {
        x
    } else {
        x - Goldilocks::ORDER
    }
}

/// ε or zero, without a branch: half of all sums carry, and no predictor knows which.
#[inline(always)]
pub(crate) fn epsilon_if(carry: bool) -> u64 {
    std::hint::select_unpredictable(carry, EPSILON, 0)
}

/// A word congruent to `x`: 2^64 is 2^32 − 1, and 2^96 is −1.
#[inline(always)]
pub(crate) fn reduce(x: u128) -> u64 {
    let (low, high) = (x as u64, (x >> 64) as u64);
    let (top, middle) = (high >> 32, high & EPSILON);
    // After a borrow the difference is at least 2^64 − 2^32 + 1, so that ε can be taken off.
    let (difference, borrow) = low.overflowing_sub(top);
    let difference = difference.wrapping_sub(EPSILON * u64::from(borrow));
    // The product is at most 2^64 − 2^33 + 1: after a carry the sum is below it, so that ε can be added.
    let (sum, carry) = difference.overflowing_add(middle * EPSILON);
    sum.wrapping_add(epsilon_if(carry))
}

impl From<u32> for Goldilocks {
    #[inline]
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<bool> for Goldilocks {
    #[inline]
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Goldilocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Goldilocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// x − y modulo p, below p; x is below p, y at most p.
#[inline(always)]
fn difference(x: u64, y: u64) -> u64 {
    let (difference, borrow) = x.overflowing_sub(y);
    difference.wrapping_sub(epsilon_if(borrow))
}

/// x + y modulo p, below p, as both are.
#[inline(always)]
fn sum(x: u64, y: u64) -> u64 {
    difference(x, Goldilocks::ORDER - y)
}

impl Add for Goldilocks {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(sum(self.0, other.0))
    }
}

impl Sub for Goldilocks {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(difference(self.0, other.0))
    }
}

impl Neg for Goldilocks {
    type Output = Self;

    #[inline]
    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl Mul for Goldilocks {
    type Output = Self;

    #[inline]
    fn mul(self, other: Self) -> Self {
        Self(canonical(reduce(u128::from(self.0) * u128::from(other.0))))
    }
}

derived_operators!(Goldilocks);

impl Field for Goldilocks {
    const ZERO: Self = Self(0);
    const ONE: Self = Self(1);

    /// By Fermat's little theorem.
    fn inverse(self) -> Option<Self> {
        (self != Self::ZERO).then(|| self.pow(Self::ORDER - 2))
    }
}
