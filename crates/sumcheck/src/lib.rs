//! Multilinear polynomials, the sumcheck protocol and the ledger of claims: `docs/protocol.md`, sections 4 and 5.
//!
//! A prover holds [`Table`]s, states a [`Sum`] and speaks into a [`Writer`]. A verifier is written once, over a [`Backend`]:
//! [`Reader`] reads a proof, [`Counter`] counts what reading one would cost. [`naive`] holds the slow, obvious twin of the
//! prover.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod backend;
mod batch;
mod counter;
mod error;
mod kernel;
pub mod lanes;
mod ledger;
mod multilinear;
pub mod naive;
pub mod polynomial;
mod prover;
mod reader;
mod round;
mod sum;
mod verifier;
mod writer;
mod zero;

pub use backend::Backend;
pub use batch::{Batched, BatchedProof, prove_batch, verify_batch};
pub use counter::{Counter, Wire};
pub use error::{LedgerError, ProofError, SumError};
pub use ledger::{Claim, Ledger};
pub use multilinear::{Table, eq_table};
pub use prover::{Proven, prove};
pub use reader::Reader;
pub use sum::{Sum, Term};
pub use verifier::{MAX_DEGREE, MAX_ROUNDS, ROUND, Reduced, verify};
pub use writer::Writer;
pub use zero::{ZeroChecked, prove_zero, verify_zero};
