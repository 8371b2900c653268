//! The backend that counts.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::Tag;

use crate::{Backend, ProofError};

/// An element that nobody has computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A constant.
    Constant(Extension),
    /// The result of an operation, an element of a message or a challenge, by its number.
    Computed(usize),
}

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
    /// Wires so far.
    wires: usize,
}

impl Counter {
    /// Bytes of a proof.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|(_, count)| count * Extension::BYTES).sum()
    }

    fn wire(&mut self) -> Wire {
        self.wires += 1;
        Wire::Computed(self.wires)
    }
}

impl Backend for Counter {
    type Element = Wire;

    fn constant(&mut self, value: Extension) -> Wire {
        Wire::Constant(value)
    }

    fn add(&mut self, _: &Wire, _: &Wire) -> Wire {
        self.additions += 1;
        self.wire()
    }

    fn sub(&mut self, _: &Wire, _: &Wire) -> Wire {
        self.additions += 1;
        self.wire()
    }

    fn mul(&mut self, _: &Wire, _: &Wire) -> Wire {
        self.products += 1;
        self.wire()
    }

    fn scale(&mut self, _: &Wire, _: Goldilocks) -> Wire {
        self.scalings += 1;
        self.wire()
    }

    fn receive(&mut self, tag: Tag, count: usize) -> Result<Vec<Wire>, ProofError> {
        self.messages.push((tag, count));
        Ok((0..count).map(|_| self.wire()).collect())
    }

    fn challenge(&mut self) -> Wire {
        self.challenges.push(self.messages.len());
        self.wire()
    }

    fn require_equal(&mut self, _: &Wire, _: &Wire, check: &'static str) -> Result<(), ProofError> {
        self.checks.push(check);
        Ok(())
    }

    fn require_nonzero(&mut self, _: &Wire, check: &'static str) -> Result<(), ProofError> {
        self.checks.push(check);
        Ok(())
    }
}
