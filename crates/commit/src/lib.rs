//! Commitments to matrices of multilinear polynomials, and one opening of many claims on many of them:
//! `docs/protocol.md`, section 7.
//!
//! A [`Key`] is what a verifier knows beforehand: parameters, shapes, and what is claimed. [`commit`] encodes and hashes a
//! matrix, [`open`] proves claims on several, [`verify()`] checks the proof over any [`Backend`]; [`Native`] computes.
//! [`security`] lists what a cheat's chance is made of. [`naive`] holds slow, obvious twins.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod backend;
mod committed;
mod count;
mod error;
mod key;
mod multilinear;
pub mod naive;
mod native;
mod open;
mod parameters;
mod proof;
mod security;
mod sumcheck;
mod tags;
mod verify;

#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use committed::{Committed, commit};
pub use count::{Cost, cost};
pub use error::{CommitError, Step};
pub use key::{Block, Key, MAX_HEIGHT, Matrix};
pub use native::Native;
pub use open::open;
pub use parameters::Parameters;
pub use proof::{Claim, Leaf, Proof, Query};
pub use security::{Term, security, total_bits};
pub use verify::verify;
