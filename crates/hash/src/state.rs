//! The root of a state's tensors (section 2).

use crate::HashError;
use crate::algorithm::{Algorithm, Digest};

const STATE_DOMAIN: &[u8] = b"trainproof.state.v1\0";

/// Root of named digests. The order in which they are given does not matter; names sort by their UTF-8 bytes.
///
/// # Errors
/// [`HashError::DuplicateName`]
pub fn state_root(entries: &[(&str, Digest)], algorithm: Algorithm) -> Result<Digest, HashError> {
    let mut sorted: Vec<_> = entries.iter().collect();
    // `str` orders by bytes.
    sorted.sort_unstable_by_key(|(name, _)| *name);
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(HashError::DuplicateName {
            name: pair[0].0.to_owned(),
        });
    }
    let mut hasher = algorithm.hasher();
    hasher.update(STATE_DOMAIN);
    hasher.update_u64(sorted.len() as u64);
    for (name, digest) in sorted {
        hasher.update_sized(name.as_bytes());
        hasher.update(digest);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_entries_does_not_matter() {
        let (a, b) = (("a", [1; 32]), ("b", [2; 32]));
        assert_eq!(
            state_root(&[a, b], Algorithm::Blake3),
            state_root(&[b, a], Algorithm::Blake3)
        );
    }

    #[test]
    fn rejects_two_entries_of_one_name() {
        let twice = [("a", [1; 32]), ("b", [3; 32]), ("a", [2; 32])];
        assert_eq!(
            state_root(&twice, Algorithm::Sha256),
            Err(HashError::DuplicateName { name: "a".to_owned() })
        );
    }

    #[test]
    fn an_empty_state_has_a_root() {
        assert!(state_root(&[], Algorithm::Blake3).is_ok());
    }
}
