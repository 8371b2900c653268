//! What can be wrong with elements, matrices and the choice of an instruction set.

use thiserror::Error;

/// An encoding, a matrix or a choice that the field refuses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FieldError {
    /// Two encodings of one element would let one proof have many spellings.
    #[error("{value:#018x} is not the canonical encoding of a field element: it must be below 2^64 - 2^32 + 1")]
    NonCanonical {
        /// The word that was given.
        value: u64,
    },
    /// Bytes that end in the middle of an element.
    #[error("{got} bytes are not a whole number of elements of {element} bytes")]
    BytesLength {
        /// Bytes of one element.
        element: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// Zero has no inverse.
    #[error("element {index} is zero and has no inverse")]
    ZeroInverse {
        /// Position in the batch.
        index: usize,
    },
    /// A matrix without columns has no rows either.
    #[error("a matrix needs at least one column")]
    NoColumns,
    /// A matrix whose last row is cut.
    #[error("{elements} elements are not a whole number of rows of {width}")]
    Rows {
        /// Elements that were given.
        elements: usize,
        /// Columns of the matrix.
        width: usize,
    },
    /// Only subgroups of a power of two elements have a fast transform here.
    #[error("a transform needs a power of two of rows, got {rows}")]
    Height {
        /// Rows that were given.
        rows: usize,
    },
    /// The multiplicative group has no larger subgroup of a power of two elements.
    #[error("a transform of 2^{log} rows passes the field's two-adicity, 32")]
    TwoAdicity {
        /// Logarithm of the number of rows.
        log: usize,
    },
    /// A coset of zero is a single point.
    #[error("the shift of a coset must not be zero")]
    ZeroShift,
    /// The variable that forces an instruction set names none.
    #[error("unknown instruction set {name:?}: expected \"scalar\", \"avx2\" or \"avx512\"")]
    UnknownIsa {
        /// The name that was given.
        name: String,
    },
    /// The instruction set exists, but not on this machine.
    #[error("this machine does not have the instruction set {name:?}; it has {available}")]
    UnavailableIsa {
        /// The name that was given.
        name: &'static str,
        /// The names of those it has.
        available: String,
    },
}
