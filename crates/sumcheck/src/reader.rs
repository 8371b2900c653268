//! The backend that reads a proof.

use trainproof_field::{Extension, Field, Goldilocks};
use trainproof_poseidon::{Tag, Transcript};

use crate::{Backend, ProofError};

/// A verifier's numbers: elements of a proof, and the transcript that they go into.
#[derive(Debug)]
pub struct Reader<'a> {
    transcript: &'a mut Transcript,
    left: std::vec::IntoIter<Extension>,
}

impl<'a> Reader<'a> {
    /// Reads a proof, all elements of which must be encoded canonically, with the transcript of what was said before it.
    ///
    /// # Errors
    /// [`ProofError::Field`]
    pub fn new(transcript: &'a mut Transcript, proof: &[u8]) -> Result<Self, ProofError> {
        let left = Extension::parse(proof)?.into_iter();
        Ok(Self { transcript, left })
    }

    /// Ends the proof.
    ///
    /// # Errors
    /// [`ProofError::Trailing`]
    pub fn finish(self) -> Result<(), ProofError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(ProofError::Trailing { left }),
        }
    }
}

impl Backend for Reader<'_> {
    type Element = Extension;

    fn constant(&mut self, value: Extension) -> Extension {
        value
    }

    fn add(&mut self, x: &Extension, y: &Extension) -> Extension {
        *x + *y
    }

    fn sub(&mut self, x: &Extension, y: &Extension) -> Extension {
        *x - *y
    }

    fn mul(&mut self, x: &Extension, y: &Extension) -> Extension {
        *x * *y
    }

    fn scale(&mut self, x: &Extension, factor: Goldilocks) -> Extension {
        x.scale(factor)
    }

    fn receive(&mut self, tag: Tag, count: usize) -> Result<Vec<Extension>, ProofError> {
        let left = self.left.len();
        if left < count {
            let tag = name(tag);
            let expected = count;
            return Err(ProofError::Ends { tag, expected, left });
        }
        let message: Vec<_> = self.left.by_ref().take(count).collect();
        self.transcript.absorb_extensions(tag, &message);
        Ok(message)
    }

    fn challenge(&mut self) -> Extension {
        self.transcript.challenge_extension()
    }

    fn require_equal(&mut self, x: &Extension, y: &Extension, check: &'static str) -> Result<(), ProofError> {
        if x == y {
            Ok(())
        } else {
            Err(ProofError::Check { check })
        }
    }

    fn require_nonzero(&mut self, x: &Extension, check: &'static str) -> Result<(), ProofError> {
        if *x == Extension::ZERO {
            Err(ProofError::Check { check })
        } else {
            Ok(())
        }
    }
}

/// The characters of a tag.
fn name(tag: Tag) -> String {
    let bytes = tag.element().value().to_le_bytes();
    bytes.iter().filter(|&&x| x != 0).map(|&x| char::from(x)).collect()
}
