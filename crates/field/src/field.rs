//! What the base field and its extension have in common.

use std::fmt::Debug;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::Goldilocks;

/// A field that contains [`Goldilocks`].
pub trait Field:
    Copy
    + Debug
    + Default
    + Eq
    + Send
    + Sync
    + 'static
    + From<Goldilocks>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + Product
{
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;

    /// The product with itself.
    #[must_use]
    fn square(self) -> Self {
        self * self
    }

    /// The inverse; `None` for zero.
    #[must_use]
    fn inverse(self) -> Option<Self>;

    /// The power with this exponent; `x^0` is one, also for zero.
    #[must_use]
    fn pow(self, mut exponent: u64) -> Self {
        let (mut power, mut square) = (Self::ONE, self);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power *= square;
            }
            square = square.square();
            exponent >>= 1;
        }
        power
    }
}

/// The operators that follow from others, by value and in place.
macro_rules! derived_operators {
    ($field:ty) => {
        impl std::ops::AddAssign for $field {
            #[inline]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl std::ops::SubAssign for $field {
            #[inline]
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl std::ops::MulAssign for $field {
            #[inline]
            fn mul_assign(&mut self, other: Self) {
                *self = *self * other;
            }
        }

        impl std::iter::Sum for $field {
            fn sum<I: Iterator<Item = Self>>(elements: I) -> Self {
                elements.fold(Self::ZERO, |sum, x| sum + x)
            }
        }

        impl std::iter::Product for $field {
            fn product<I: Iterator<Item = Self>>(elements: I) -> Self {
                elements.fold(Self::ONE, |product, x| product * x)
            }
        }
    };
}

pub(crate) use derived_operators;
