//! What can be wrong with openings, trees and the parameters of transcripts.

use thiserror::Error;
use trainproof_field::FieldError;

/// An opening that a tree refuses, or a use that none of its functions has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoseidonError {
    /// Elements or a matrix that the field refuses.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Only complete binary trees have caps here.
    #[error("a tree needs a power of two of leaves, at most 2^32, got {leaves}")]
    Leaves {
        /// Leaves that were given.
        leaves: usize,
    },
    /// A height that no tree has.
    #[error("a tree of height {height} is higher than {max}")]
    Height {
        /// The height that was given.
        height: usize,
        /// The greatest height.
        max: usize,
    },
    /// Leaves without columns would hide nothing and bind nothing.
    #[error("the leaves of a tree need at least one column")]
    NoColumns,
    /// Every leaf must have one salt.
    #[error("{got} salts for {expected} leaves")]
    SaltCount {
        /// Leaves of the tree.
        expected: usize,
        /// Salts that were given.
        got: usize,
    },
    /// There is no such leaf.
    #[error("leaf {index} of a tree of {leaves}")]
    LeafIndex {
        /// The index that was given.
        index: usize,
        /// How many leaves the tree has.
        leaves: usize,
    },
    /// A leaf of another width is another leaf.
    #[error("the opened row has {got} elements, the tree has {expected} columns")]
    RowLength {
        /// Columns of the tree.
        expected: usize,
        /// Elements that were given.
        got: usize,
    },
    /// A salt where the tree has none, or none where it has.
    #[error("the opened leaf must {} a salt", if *expected { "have" } else { "not have" })]
    SaltPresence {
        /// Whether leaves of the tree have a salt.
        expected: bool,
    },
    /// A path of another length would let a node stand for a leaf.
    #[error("the path has {got} nodes, the tree needs {expected}")]
    PathLength {
        /// Nodes between leaf and cap.
        expected: usize,
        /// Nodes that were given.
        got: usize,
    },
    /// A cap of another size belongs to another tree.
    #[error("the cap has {got} nodes, the tree needs {expected}")]
    CapLength {
        /// Nodes of the cap.
        expected: usize,
        /// Nodes that were given.
        got: usize,
    },
    /// The path ends elsewhere than in the cap.
    #[error("the path of leaf {index} does not lead to the cap")]
    CapMismatch {
        /// The leaf that was opened.
        index: usize,
    },
    /// The lowest bits of an element are close to uniform only if they are few.
    #[error("a challenge of {bits} bits: at most {max} are uniform")]
    ChallengeBits {
        /// Bits that were asked for.
        bits: usize,
        /// The greatest number of bits.
        max: usize,
    },
    /// Work of no bits binds no nonce.
    #[error("grinding of {bits} bits: expected 1 to {max}")]
    GrindingBits {
        /// Bits that were asked for.
        bits: usize,
        /// The greatest number of bits.
        max: usize,
    },
    /// The work that a challenge asks for was not done.
    #[error("the nonce {nonce} does not do the work of {bits} bits")]
    Grinding {
        /// The nonce that was given.
        nonce: u64,
        /// Bits that must be zero.
        bits: usize,
    },
}
