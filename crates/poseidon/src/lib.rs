//! Poseidon2 of width 12 over Goldilocks, and what is built of it: `docs/protocol.md`, sections 2 and 3.
//!
//! A verifier needs [`permute`], [`hash`], [`Transcript`] and [`Shape`], which use plain instructions. A prover hashes in
//! bulk with [`permute_all`] and [`Tree`], on the instruction set of an [`Isa`](trainproof_field::Isa) and the current rayon
//! pool. [`naive`] holds the slow, obvious twin of the permutation.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod constants;
mod digest;
mod error;
mod merkle;
pub mod naive;
mod packed;
mod permutation;
mod salt;
mod sponge;
mod tag;
pub mod transcript;

pub use digest::Digest;
pub use error::PoseidonError;
pub use merkle::{CAP_HEIGHT, MAX_HEIGHT, Opening, Shape, Tree, verify_path};
pub use permutation::{CAPACITY, RATE, WIDTH, permute, permute_all};
pub use salt::{SALT, SECRET_BYTES, Salt, salt};
pub use sponge::{hash, node};
pub use tag::Tag;
pub use transcript::Transcript;
