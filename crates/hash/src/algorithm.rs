//! The two hash functions of the format, as one streaming type.

use std::str::FromStr;

use sha2::Digest as _;

use crate::HashError;

/// Length of every digest.
pub const DIGEST_BYTES: usize = 32;

/// A 32-byte digest.
pub type Digest = [u8; DIGEST_BYTES];

/// Below this many bytes one core is faster than waking others.
pub const PARALLEL_BYTES: usize = 1 << 20;

/// A hash function of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// BLAKE3 with 32 bytes of output; a tree, so one input can be hashed on many cores.
    Blake3,
    /// SHA-256 (FIPS 180-4), for formats that ask for it; serial within one input.
    Sha256,
}

impl FromStr for Algorithm {
    type Err = HashError;

    fn from_str(name: &str) -> Result<Self, HashError> {
        match name {
            "blake3" => Ok(Self::Blake3),
            "sha256" => Ok(Self::Sha256),
            _ => Err(HashError::UnknownAlgorithm { name: name.to_owned() }),
        }
    }
}

impl Algorithm {
    /// Starts a digest.
    pub(crate) fn hasher(self) -> Hasher {
        match self {
            Self::Blake3 => Hasher::Blake3(Box::default()),
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }
}

/// A digest under way. The BLAKE3 state is large, hence the box.
pub(crate) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => update_blake3(hasher, bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// Feeds `u64(x)` of the format.
    pub(crate) fn update_u64(&mut self, x: u64) {
        self.update(&x.to_le_bytes());
    }

    /// Feeds `bytes(b)` of the format: length, then content.
    pub(crate) fn update_sized(&mut self, bytes: &[u8]) {
        self.update_u64(bytes.len() as u64);
        self.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Blake3(hasher) => hasher.finalize().into(),
            Self::Sha256(hasher) => hasher.finalize().into(),
        }
    }
}

/// Feeds `bytes`, on all cores of the current pool when they are at least [`PARALLEL_BYTES`].
pub fn update_blake3(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    if bytes.len() >= PARALLEL_BYTES {
        hasher.update_rayon(bytes);
    } else {
        hasher.update(bytes);
    }
}
