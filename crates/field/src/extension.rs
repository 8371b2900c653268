//! The quadratic extension, elements c0 + c1·X with X² = 7 (section 1.2).

use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

use crate::field::derived_operators;
use crate::{Field, FieldError, Goldilocks};

/// An element c0 + c1·X of the field of p² elements, X² = 7.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Extension([Goldilocks; 2]);

impl Extension {
    /// Elements of the base field in one of this.
    pub const DEGREE: usize = 2;
    /// Bytes of an encoded element.
    pub const BYTES: usize = 16;
    /// X², which is no square in the base field.
    pub const NON_RESIDUE: Goldilocks = Goldilocks::from_residue(7);

    /// The element c0 + c1·X.
    #[inline]
    #[must_use]
    pub const fn new(c0: Goldilocks, c1: Goldilocks) -> Self {
        Self([c0, c1])
    }

    /// The coefficients, that of 1 first.
    #[inline]
    #[must_use]
    pub const fn coefficients(self) -> [Goldilocks; 2] {
        self.0
    }

    /// The image c0 − c1·X under the automorphism x ↦ x^p.
    #[inline]
    #[must_use]
    pub fn conjugate(self) -> Self {
        Self([self.0[0], -self.0[1]])
    }

    /// The product with its conjugate, an element of the base field.
    #[inline]
    #[must_use]
    pub fn norm(self) -> Goldilocks {
        let [a0, a1] = self.0;
        a0.square() - Self::NON_RESIDUE * a1.square()
    }

    /// The product with an element of the base field.
    #[inline]
    #[must_use]
    pub fn scale(self, factor: Goldilocks) -> Self {
        Self(self.0.map(|c| c * factor))
    }

    /// Both coefficients, c0 first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..Goldilocks::BYTES].copy_from_slice(&self.0[0].to_bytes());
        bytes[Goldilocks::BYTES..].copy_from_slice(&self.0[1].to_bytes());
        bytes
    }

    /// The element that these sixteen bytes encode.
    ///
    /// # Errors
    /// [`FieldError::NonCanonical`]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, FieldError> {
        let (words, _) = bytes.as_chunks();
        Ok(Self([
            Goldilocks::from_bytes(words[0])?,
            Goldilocks::from_bytes(words[1])?,
        ]))
    }

    /// The elements that a concatenation of encodings holds.
    ///
    /// # Errors
    /// [`FieldError::BytesLength`], [`FieldError::NonCanonical`]
    pub fn parse(bytes: &[u8]) -> Result<Vec<Self>, FieldError> {
        let (elements, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(FieldError::BytesLength {
                element: Self::BYTES,
                got: bytes.len(),
            });
        }
        elements.iter().map(|&element| Self::from_bytes(element)).collect()
    }
}

impl From<Goldilocks> for Extension {
    #[inline]
    fn from(value: Goldilocks) -> Self {
        Self([value, Goldilocks::ZERO])
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} + {}·X", self.0[0], self.0[1])
    }
}

impl Add for Extension {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self([self.0[0] + other.0[0], self.0[1] + other.0[1]])
    }
}

impl Sub for Extension {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self([self.0[0] - other.0[0], self.0[1] - other.0[1]])
    }
}

impl Neg for Extension {
    type Output = Self;

    #[inline]
    fn neg(self) -> Self {
        Self(self.0.map(Goldilocks::neg))
    }
}

impl Mul for Extension {
    type Output = Self;

    // Three products (Karatsuba).
    #[inline]
    fn mul(self, other: Self) -> Self {
        let ([a0, a1], [b0, b1]) = (self.0, other.0);
        let (low, high) = (a0 * b0, a1 * b1);
        let middle = (a0 + a1) * (b0 + b1) - low - high;
        Self([low + Self::NON_RESIDUE * high, middle])
    }
}

derived_operators!(Extension);

impl Field for Extension {
    const ZERO: Self = Self([Goldilocks::ZERO; 2]);
    const ONE: Self = Self([Goldilocks::ONE, Goldilocks::ZERO]);

    #[inline]
    fn square(self) -> Self {
        let [a0, a1] = self.0;
        let middle = a0 * a1;
        Self([a0.square() + Self::NON_RESIDUE * a1.square(), middle + middle])
    }

    /// The conjugate over the norm, which is zero for zero only.
    fn inverse(self) -> Option<Self> {
        Some(self.conjugate().scale(self.norm().inverse()?))
    }
}
