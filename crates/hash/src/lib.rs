//! Canonical hashes of tensors, states and datasets: `docs/hashing.md`, sections 1 to 4.
//!
//! Everything here is a pure function of its arguments. Work of at least [`PARALLEL_BYTES`] runs on the current rayon
//! pool; smaller work never touches a pool, so that callers may decide where pools live (they do not survive `fork`).
#![deny(unsafe_code)]

mod algorithm;
mod copy;
mod dataset;
mod distance;
mod dtype;
mod error;
mod merkle;
mod state;
mod tensor;
mod value;

pub use algorithm::{Algorithm, DIGEST_BYTES, Digest, PARALLEL_BYTES, update_blake3};
pub use dataset::{Field, SECRET_BYTES, leaf, leaves_rows, salt};
pub use distance::squared_distance;
pub use dtype::item_size;
pub use error::HashError;
pub use merkle::{path, path_length, root, split_digests, verify};
pub use state::state_root;
pub use tensor::{TensorRef, copy_digests, tensor_digest, tensor_digests};
pub use value::VALUE_DOMAIN;
