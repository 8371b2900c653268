//! What can be wrong with the arguments of a hash.

use thiserror::Error;

/// A hash was asked of something that has none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HashError {
    /// Only the two algorithms of the format exist.
    #[error("unknown hash algorithm {name:?}: expected \"blake3\" or \"sha256\"")]
    UnknownAlgorithm {
        /// The name that was given.
        name: String,
    },
    /// A header with an unknown dtype could not be checked against its data.
    #[error("unknown dtype {name:?}: expected torch's name without \"torch.\"")]
    UnknownDtype {
        /// The name that was given.
        name: String,
    },
    /// The product of the dimensions does not fit in 64 bits.
    #[error("a tensor of {dims} dimensions has more bytes than 64 bits can count")]
    TooLarge {
        /// How many dimensions the shape has.
        dims: usize,
    },
    /// Two tensors of different length would otherwise share header and prefix.
    #[error("tensor data has {got} bytes, dtype and shape need {expected}")]
    DataLength {
        /// Bytes that dtype and shape need.
        expected: u64,
        /// Bytes that were given.
        got: u64,
    },
    /// Something that must be one digest is not.
    #[error("a digest has {expected} bytes, got {got}")]
    DigestLength {
        /// The length of a digest.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// A state with two tensors of one name has no well-defined content.
    #[error("the name {name:?} occurs more than once")]
    DuplicateName {
        /// The name that occurs twice.
        name: String,
    },
    /// A key of another length would be hashed differently by every implementation.
    #[error("the secret must have {expected} bytes, got {got}")]
    SecretLength {
        /// The length of a secret.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// An empty tree has no root.
    #[error("a tree needs at least one leaf")]
    EmptyTree,
    /// The concatenation of leaves is cut in the middle of one.
    #[error("{got} bytes are not a whole number of leaves of {leaf} bytes")]
    LeavesLength {
        /// The length of a leaf.
        leaf: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// There is no such leaf.
    #[error("leaf {index} of a tree of {leaves}")]
    LeafIndex {
        /// The index that was given.
        index: u64,
        /// How many leaves the tree has.
        leaves: u64,
    },
    /// Rows without a field have no number.
    #[error("at least one field is needed")]
    NoFields,
    /// Every field must have one row a sample.
    #[error("field {field} has {got} rows, field 0 has {expected}")]
    RowCount {
        /// Position of the field.
        field: usize,
        /// Rows of the first field.
        expected: usize,
        /// Rows of this field.
        got: usize,
    },
    /// The last row's index does not fit in 64 bits.
    #[error("{rows} rows from index {first} pass the last 64-bit index")]
    IndexOverflow {
        /// Index of the first row.
        first: u64,
        /// Number of rows.
        rows: usize,
    },
}
