//! What a verifier is written over.

use std::fmt::Debug;

use trainproof_field::{Extension, Field, Goldilocks};
use trainproof_poseidon::Tag;

use crate::ProofError;

/// Elements of the extension that a verifier computes with, the messages that it reads and the challenges that it draws.
///
/// A verifier cannot look at an element: it calls the same operations in the same order for every proof of a statement. So
/// an element can be a number as well as a wire of a circuit.
pub trait Backend {
    /// An element. Two are equal here if they are the same wire, or the same number.
    type Element: Clone + Debug + PartialEq;

    /// An element that the statement fixes.
    fn constant(&mut self, value: Extension) -> Self::Element;

    /// x + y.
    fn add(&mut self, x: &Self::Element, y: &Self::Element) -> Self::Element;

    /// x − y.
    fn sub(&mut self, x: &Self::Element, y: &Self::Element) -> Self::Element;

    /// x · y.
    fn mul(&mut self, x: &Self::Element, y: &Self::Element) -> Self::Element;

    /// x · factor, which the statement fixes.
    fn scale(&mut self, x: &Self::Element, factor: Goldilocks) -> Self::Element;

    /// The next message: `count` elements, absorbed under their tag.
    ///
    /// # Errors
    /// [`ProofError::Ends`]
    fn receive(&mut self, tag: Tag, count: usize) -> Result<Vec<Self::Element>, ProofError>;

    /// The next challenge.
    #[must_use = "a challenge that is not used binds nothing"]
    fn challenge(&mut self) -> Self::Element;

    /// Several challenges.
    #[must_use = "a challenge that is not used binds nothing"]
    fn challenges(&mut self, count: usize) -> Vec<Self::Element> {
        (0..count).map(|_| self.challenge()).collect()
    }

    /// Demands x = y.
    ///
    /// # Errors
    /// [`ProofError::Check`]
    fn require_equal(&mut self, x: &Self::Element, y: &Self::Element, check: &'static str) -> Result<(), ProofError>;

    /// Demands x ≠ 0.
    ///
    /// # Errors
    /// [`ProofError::Check`]
    fn require_nonzero(&mut self, x: &Self::Element, check: &'static str) -> Result<(), ProofError>;

    /// 0.
    fn zero(&mut self) -> Self::Element {
        self.constant(Extension::ZERO)
    }

    /// 1.
    fn one(&mut self) -> Self::Element {
        self.constant(Extension::ONE)
    }
}
