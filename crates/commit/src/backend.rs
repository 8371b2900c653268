//! What the verifier needs of the place where it runs.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::{Shape, Tag};

use crate::{CommitError, Step};

/// Arithmetic, hashing and comparisons, on values that the verifier does not look at: it does the same for every proof of a
/// key, and branches on none.
pub trait Backend {
    /// An element of the base field.
    type Base: Clone;
    /// An element of the extension.
    type Ext: Clone;
    /// A digest.
    type Digest: Clone;
    /// A bit of an index.
    type Bit: Clone;

    /// A constant.
    fn base(&mut self, value: Goldilocks) -> Self::Base;
    /// A constant.
    fn ext(&mut self, value: Extension) -> Self::Ext;
    /// The coefficients of an element.
    fn coefficients(&mut self, x: &Self::Ext) -> [Self::Base; 2];
    /// x · y.
    fn base_mul(&mut self, x: &Self::Base, y: &Self::Base) -> Self::Base;
    /// x + y.
    fn add(&mut self, x: &Self::Ext, y: &Self::Ext) -> Self::Ext;
    /// x − y.
    fn sub(&mut self, x: &Self::Ext, y: &Self::Ext) -> Self::Ext;
    /// x · y.
    fn mul(&mut self, x: &Self::Ext, y: &Self::Ext) -> Self::Ext;
    /// x · y.
    fn scale(&mut self, x: &Self::Ext, y: &Self::Base) -> Self::Ext;
    /// `one` if the bit is set, else `zero`.
    fn select_base(&mut self, bit: &Self::Bit, one: &Self::Base, zero: &Self::Base) -> Self::Base;
    /// `one` if the bit is set, else `zero`.
    fn select(&mut self, bit: &Self::Bit, one: &Self::Ext, zero: &Self::Ext) -> Self::Ext;
    /// Refuses x other than y.
    ///
    /// # Errors
    /// [`CommitError::Unequal`]
    fn equal(&mut self, step: Step, x: &Self::Ext, y: &Self::Ext) -> Result<(), CommitError>;

    /// Absorbs a message.
    fn absorb(&mut self, tag: Tag, message: &[Self::Base]);
    /// Absorbs a message.
    fn absorb_extensions(&mut self, tag: Tag, message: &[Self::Ext]);
    /// Absorbs a message.
    fn absorb_digests(&mut self, tag: Tag, message: &[Self::Digest]);
    /// The next challenge.
    fn challenge(&mut self) -> Self::Ext;
    /// The lowest bits of the next challenge, the lowest first.
    ///
    /// # Errors
    /// [`CommitError::Poseidon`] for more than 32.
    fn challenge_bits(&mut self, bits: usize) -> Result<Vec<Self::Bit>, CommitError>;
    /// Refuses a nonce that does not do the work.
    ///
    /// # Errors
    /// [`CommitError::Poseidon`]
    fn check_grinding(&mut self, bits: usize, nonce: &Self::Base) -> Result<(), CommitError>;
    /// Refuses a row, with its salt, that is not the leaf of this index (lowest bit first) under the cap.
    ///
    /// # Errors
    /// [`CommitError::Poseidon`]
    fn check_leaf(
        &mut self,
        tree: &Shape,
        cap: &[Self::Digest],
        index: &[Self::Bit],
        row: &[Self::Base],
        salt: Option<&[Self::Base]>,
        path: &[Self::Digest],
    ) -> Result<(), CommitError>;
}
