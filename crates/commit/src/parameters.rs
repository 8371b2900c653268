//! What a verifier fixes before it sees anything of a proof.

use trainproof_poseidon::transcript::MAX_CHALLENGE_BITS;

use crate::CommitError;

/// The cost and the soundness of openings. They come from the verifier's key; a proof holds none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Codes have rate 2^−`log_blowup`.
    pub log_blowup: usize,
    /// Places at which words are compared.
    pub queries: usize,
    /// Variables folded between two words, where as many are left before a matrix enters.
    pub fold_bits: usize,
    /// Bits of work before the queries.
    pub query_grinding: usize,
    /// Bits of work before challenges that combine long words.
    pub challenge_grinding: usize,
}

impl Parameters {
    /// Those of section 7.1: 126 queries at rate 1/4, arity 8, work of 20 and 8 bits.
    pub const STANDARD: Self = Self {
        log_blowup: 2,
        queries: 126,
        fold_bits: 3,
        query_grinding: 20,
        challenge_grinding: 8,
    };

    /// Refuses numbers for which nothing is proven or with which nothing can be drawn.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        let limits = [
            ("log_blowup", self.log_blowup, 1, 8),
            ("queries", self.queries, 1, 1 << 10),
            ("fold_bits", self.fold_bits, 1, 5),
            ("query_grinding", self.query_grinding, 1, MAX_CHALLENGE_BITS),
            ("challenge_grinding", self.challenge_grinding, 1, MAX_CHALLENGE_BITS),
        ];
        for (name, value, min, max) in limits {
            if !(min..=max).contains(&value) {
                return Err(CommitError::Parameter { name, value, min, max });
            }
        }
        Ok(())
    }
}
