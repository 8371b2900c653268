//! The lookup argument: `docs/protocol.md`, section 6.
//!
//! A [`Layout`] says what is looked up where; a [`Witness`] holds the values. [`prove`] and [`verify`] leave claims on the
//! looked-up polynomials and on the multiplicities. [`naive`] holds the slow, obvious twin of the prover.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod argument;
mod error;
mod kernel;
mod layout;
pub mod naive;
mod tree;
mod witness;

pub use argument::{LEAF, LeafClaim, VALUE, prove, verify};
pub use error::{LayoutError, LookupError};
pub use layout::{Content, Layout, Lookup, MAX_VARIABLES, Slot, Table};
pub use tree::{HALVES, Leaf, ROOT, prove_tree, verify_tree};
pub use witness::{Challenges, Entries, Leaves, Witness, multiplicities};
