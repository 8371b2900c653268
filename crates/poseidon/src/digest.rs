//! Four elements that stand for any number of them.

use trainproof_field::{FieldError, Goldilocks};

/// The result of a hash: four elements, 256 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Digest(pub [Goldilocks; Digest::ELEMENTS]);

impl Digest {
    /// Elements of a digest.
    pub const ELEMENTS: usize = 4;
    /// Bytes of an encoded digest.
    pub const BYTES: usize = Self::ELEMENTS * Goldilocks::BYTES;

    /// The encodings of its elements, one after the other.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (bytes, x) in bytes.chunks_exact_mut(Goldilocks::BYTES).zip(self.0) {
            bytes.copy_from_slice(&x.to_bytes());
        }
        bytes
    }

    /// The digest that these bytes encode.
    ///
    /// # Errors
    /// [`FieldError::NonCanonical`]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, FieldError> {
        let mut elements = [Goldilocks::default(); Self::ELEMENTS];
        for (x, &bytes) in elements.iter_mut().zip(bytes.as_chunks().0) {
            *x = Goldilocks::from_bytes(bytes)?;
        }
        Ok(Self(elements))
    }
}
