//! The verifier's backend that computes.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::{Digest, Opening, PoseidonError, SALT, Shape, Tag, Transcript};

use crate::{Backend, CommitError, Step};

/// Computes at once, on a transcript that has absorbed the statement and whatever points of claims follow from.
#[derive(Debug)]
pub struct Native<'a> {
    transcript: &'a mut Transcript,
}

impl<'a> Native<'a> {
    /// Continues a transcript.
    pub const fn new(transcript: &'a mut Transcript) -> Self {
        Self { transcript }
    }
}

impl Backend for Native<'_> {
    type Base = Goldilocks;
    type Ext = Extension;
    type Digest = Digest;
    type Bit = bool;

    fn base(&mut self, value: Goldilocks) -> Goldilocks {
        value
    }

    fn ext(&mut self, value: Extension) -> Extension {
        value
    }

    fn coefficients(&mut self, x: &Extension) -> [Goldilocks; 2] {
        (*x).coefficients()
    }

    fn base_mul(&mut self, x: &Goldilocks, y: &Goldilocks) -> Goldilocks {
        *x * *y
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

    fn scale(&mut self, x: &Extension, y: &Goldilocks) -> Extension {
        x.scale(*y)
    }

    fn select_base(&mut self, bit: &bool, one: &Goldilocks, zero: &Goldilocks) -> Goldilocks {
        if *bit { *one } else { *zero }
    }

    fn select(&mut self, bit: &bool, one: &Extension, zero: &Extension) -> Extension {
        if *bit { *one } else { *zero }
    }

    fn equal(&mut self, step: Step, x: &Extension, y: &Extension) -> Result<(), CommitError> {
        if x == y {
            Ok(())
        } else {
            Err(CommitError::Unequal(step))
        }
    }

    fn absorb(&mut self, tag: Tag, message: &[Goldilocks]) {
        self.transcript.absorb(tag, message);
    }

    fn absorb_extensions(&mut self, tag: Tag, message: &[Extension]) {
        self.transcript.absorb_extensions(tag, message);
    }

    fn absorb_digests(&mut self, tag: Tag, message: &[Digest]) {
        self.transcript.absorb_digests(tag, message);
    }

    fn challenge(&mut self) -> Extension {
        self.transcript.challenge_extension()
    }

    fn challenge_bits(&mut self, bits: usize) -> Result<Vec<bool>, CommitError> {
        let index = self.transcript.challenge_bits(bits)?;
        Ok((0..bits).map(|bit| index >> bit & 1 == 1).collect())
    }

    fn check_grinding(&mut self, bits: usize, nonce: &Goldilocks) -> Result<(), CommitError> {
        Ok(self.transcript.check_grinding(bits, *nonce)?)
    }

    fn check_leaf(
        &mut self,
        tree: &Shape,
        cap: &[Digest],
        index: &[bool],
        row: &[Goldilocks],
        salt: Option<&[Goldilocks]>,
        path: &[Digest],
    ) -> Result<(), CommitError> {
        let salt = match salt {
            Some(salt) => Some(salt.try_into().map_err(|_| PoseidonError::RowLength {
                expected: SALT,
                got: salt.len(),
            })?),
            None => None,
        };
        let index = index.iter().rev().fold(0, |index, &bit| index << 1 | usize::from(bit));
        let (row, path) = (row.to_vec(), path.to_vec());
        Ok(tree.verify(cap, index, &Opening { row, salt, path })?)
    }
}
