//! Salts of leaves, from a secret (section 3.3).

use trainproof_field::Goldilocks;

const DOMAIN: &[u8] = b"trainproof.zk-salt.v1\0";

/// Elements of a salt.
pub const SALT: usize = 4;
/// Bytes of the secret that salts derive from.
pub const SECRET_BYTES: usize = 32;

/// What hides a leaf whose row could be guessed: four elements that only the prover knows.
pub type Salt = [Goldilocks; SALT];

/// The salt of leaf `leaf` of the tree with number `tree`. A secret must serve for one tree of each number only: two leaves
/// with one salt would show whether they are equal.
#[must_use]
pub fn salt(secret: &[u8; SECRET_BYTES], tree: u64, leaf: u64) -> Salt {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher
        .update(DOMAIN)
        .update(&tree.to_le_bytes())
        .update(&leaf.to_le_bytes());
    let mut stream = hasher.finalize_xof();
    draw(|| {
        let mut word = [0; 8];
        stream.fill(&mut word);
        u64::from_le_bytes(word)
    })
}

/// The first words that encode elements. One in 2^32 does not; its residue would not be uniform.
fn draw(mut word: impl FnMut() -> u64) -> Salt {
    std::array::from_fn(|_| {
        loop {
            if let Ok(x) = Goldilocks::from_canonical(word()) {
                return x;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_encodings_are_skipped() {
        let last = Goldilocks::ORDER - 1;
        let mut words = [last + 1, 7, u64::MAX, last + 2, 0, last, last + 1, 9].into_iter();
        assert_eq!(draw(|| words.next().unwrap()).map(Goldilocks::value), [7, 0, last, 9]);
    }
}
