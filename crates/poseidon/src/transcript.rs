//! Challenges from everything said before them (section 2.3).

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa, Kernel, Simd};

use crate::packed::States;
use crate::{Digest, PoseidonError, RATE, Tag, WIDTH, permute};

/// The greatest number of bits of one challenge: with 32, no value is likelier than another by more than 2^−32 of itself.
pub const MAX_CHALLENGE_BITS: usize = 32;

/// Nonces that one thread tries in a row.
const BLOCK: u64 = 1 << 10;
/// Blocks that are searched before the next are looked at.
const WINDOW: u64 = 1 << 6;

/// A sponge that absorbs messages and gives challenges. The statement is its first message: no challenge comes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    state: [Goldilocks; WIDTH],
    /// Elements of a block that is not full.
    pending: [Goldilocks; RATE],
    /// Their number, below eight.
    held: usize,
    /// Elements of the state that have been given as challenges since the last permutation.
    given: usize,
}

impl Transcript {
    /// Starts a protocol with its statement.
    #[must_use]
    pub fn new(protocol: Tag, statement: &[Goldilocks]) -> Self {
        let mut state = [Goldilocks::ZERO; WIDTH];
        state[RATE] = protocol.element();
        // No digest starts with this: there the third element of the capacity is zero.
        state[RATE + 2] = Goldilocks::ONE;
        let mut transcript = Self {
            state,
            pending: [Goldilocks::ZERO; RATE],
            held: 0,
            given: RATE,
        };
        transcript.absorb(Tag::STATEMENT, statement);
        transcript
    }

    /// Absorbs a message: its tag, its length, its elements.
    pub fn absorb(&mut self, tag: Tag, message: &[Goldilocks]) {
        self.head(tag, message.len());
        for &x in message {
            self.push(x);
        }
    }

    /// Absorbs elements of the extension as their coefficients.
    pub fn absorb_extensions(&mut self, tag: Tag, message: &[Extension]) {
        self.head(tag, Extension::DEGREE * message.len());
        for x in message {
            for coefficient in x.coefficients() {
                self.push(coefficient);
            }
        }
    }

    /// Absorbs digests, such as a cap, as their elements.
    pub fn absorb_digests(&mut self, tag: Tag, message: &[Digest]) {
        self.head(tag, Digest::ELEMENTS * message.len());
        for digest in message {
            for x in digest.0 {
                self.push(x);
            }
        }
    }

    /// Absorbs bytes: their number, then four a time as little-endian integers, the last filled up with zeros.
    pub fn absorb_bytes(&mut self, tag: Tag, message: &[u8]) {
        let (words, rest) = message.as_chunks();
        self.head(tag, 1 + message.len().div_ceil(4));
        self.push(Goldilocks::from_residue(message.len() as u64));
        for &word in words {
            self.push(u32::from_le_bytes(word).into());
        }
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.push(u32::from_le_bytes(word).into());
        }
    }

    /// The next challenge.
    #[must_use = "a challenge that is not used binds nothing"]
    pub fn challenge(&mut self) -> Goldilocks {
        self.flush();
        if self.given == RATE {
            self.permute();
        }
        let challenge = self.state[self.given];
        self.given += 1;
        challenge
    }

    /// The next challenge from the extension: two of the base field, c0 first.
    #[must_use = "a challenge that is not used binds nothing"]
    pub fn challenge_extension(&mut self) -> Extension {
        let c0 = self.challenge();
        Extension::new(c0, self.challenge())
    }

    /// The lowest bits of the next challenge, as an integer.
    ///
    /// # Errors
    /// [`PoseidonError::ChallengeBits`] for more than 32.
    pub fn challenge_bits(&mut self, bits: usize) -> Result<usize, PoseidonError> {
        if bits > MAX_CHALLENGE_BITS {
            let max = MAX_CHALLENGE_BITS;
            return Err(PoseidonError::ChallengeBits { bits, max });
        }
        Ok((self.challenge().value() & ((1 << bits) - 1)) as usize)
    }

    /// Finds the least nonce that does the work of `bits` bits, and absorbs it. About 2^`bits` permutations, on the current
    /// rayon pool.
    ///
    /// # Errors
    /// [`PoseidonError::GrindingBits`]
    pub fn grind(&mut self, isa: Isa, bits: usize) -> Result<Goldilocks, PoseidonError> {
        check_grinding_bits(bits)?;
        self.flush();
        let state = &self.state;
        // Windows one after the other, so that all threads work near the least nonce.
        let nonce = (0..Goldilocks::ORDER / (WINDOW * BLOCK))
            .find_map(|window| {
                (window * WINDOW..(window + 1) * WINDOW)
                    .into_par_iter()
                    .find_map_first(|block| {
                        let first = block * BLOCK;
                        isa.run(Search { state, bits, first })
                    })
            })
            .expect("one of 2^64 nonces does the work of at most 2^32");
        self.check_grinding(bits, nonce)?;
        Ok(nonce)
    }

    /// Checks that a nonce does the work of `bits` bits, and absorbs it.
    ///
    /// # Errors
    /// [`PoseidonError::GrindingBits`], [`PoseidonError::Grinding`]
    pub fn check_grinding(&mut self, bits: usize, nonce: Goldilocks) -> Result<(), PoseidonError> {
        check_grinding_bits(bits)?;
        self.flush();
        self.absorb(Tag::GRIND, &[Goldilocks::from_residue(bits as u64), nonce]);
        if self.challenge_bits(bits)? != 0 {
            let nonce = nonce.value();
            return Err(PoseidonError::Grinding { nonce, bits });
        }
        Ok(())
    }

    fn head(&mut self, tag: Tag, length: usize) {
        self.push(tag.element());
        self.push(Goldilocks::from_residue(length as u64));
    }

    fn push(&mut self, x: Goldilocks) {
        self.pending[self.held] = x;
        self.held += 1;
        if self.held == RATE {
            self.flush();
        }
    }

    /// Fills the block up with zeros, which are no tags, and absorbs it, if it holds anything.
    fn flush(&mut self) {
        if self.held > 0 {
            self.pending[self.held..].fill(Goldilocks::ZERO);
            self.state[..RATE].copy_from_slice(&self.pending);
            self.held = 0;
            self.permute();
        }
    }

    fn permute(&mut self) {
        permute(&mut self.state);
        self.given = 0;
    }
}

fn check_grinding_bits(bits: usize) -> Result<(), PoseidonError> {
    if (1..=MAX_CHALLENGE_BITS).contains(&bits) {
        Ok(())
    } else {
        let max = MAX_CHALLENGE_BITS;
        Err(PoseidonError::GrindingBits { bits, max })
    }
}

/// The least nonce of a block that does the work: one permutation for each, several at once.
struct Search<'a> {
    state: &'a [Goldilocks; WIDTH],
    bits: usize,
    first: u64,
}

impl Kernel for Search<'_> {
    type Output = Option<Goldilocks>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut start = *self.state;
        start[..RATE].fill(Goldilocks::ZERO);
        start[..3].copy_from_slice(&[
            Tag::GRIND.element(),
            Goldilocks::from_residue(2),
            Goldilocks::from_residue(self.bits as u64),
        ]);
        let count = States::<S>::COUNT;
        for base in (self.first..self.first + BLOCK).step_by(count) {
            let mut states = States::new(simd, &start);
            states.set(3, count, |index| Goldilocks::from_residue(base + index as u64));
            states.permute();
            let done = |x: &Goldilocks| x.value() & ((1 << self.bits) - 1) == 0;
            if let Some(index) = states.get(0)[..count].iter().position(done) {
                return Some(Goldilocks::from_residue(base + index as u64));
            }
        }
        None
    }
}
