//! The backend that counts.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::Tag;

use crate::{Backend, ProofError};

/// What a verifier does for a statement, whatever the proof: no proof is needed to count it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Sums and differences.
    pub additions: usize,
    /// Products of two elements.
    pub products: usize,
    /// Products with constants.
    pub scalings: usize,
    /// Messages, each with its tag and its number of elements.
    pub messages: Vec<(Tag, usize)>,
    /// Challenges, each after that many messages.
    pub challenges: Vec<usize>,
    /// Checks, in order.
    pub checks: Vec<&'static str>,
}

impl Counter {
    /// Bytes of a proof.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|(_, count)| count * Extension::BYTES).sum()
    }
}

impl Backend for Counter {
    type Element = ();

    fn constant(&mut self, _: Extension) {}

    fn add(&mut self, (): &(), (): &()) {
        self.additions += 1;
    }

    fn sub(&mut self, (): &(), (): &()) {
        self.additions += 1;
    }

    fn mul(&mut self, (): &(), (): &()) {
        self.products += 1;
    }

    fn scale(&mut self, (): &(), _: Goldilocks) {
        self.scalings += 1;
    }

    fn receive(&mut self, tag: Tag, count: usize) -> Result<Vec<()>, ProofError> {
        self.messages.push((tag, count));
        Ok(vec![(); count])
    }

    fn challenge(&mut self) {
        self.challenges.push(self.messages.len());
    }

    fn require_equal(&mut self, (): &(), (): &(), check: &'static str) -> Result<(), ProofError> {
        self.checks.push(check);
        Ok(())
    }

    fn require_nonzero(&mut self, (): &(), check: &'static str) -> Result<(), ProofError> {
        self.checks.push(check);
        Ok(())
    }
}
