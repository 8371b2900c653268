//! What can be wrong with keys, matrices and openings.

use std::fmt;

use thiserror::Error;
use trainproof_field::FieldError;
use trainproof_poseidon::PoseidonError;

/// A check of the verifier, by what it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The sumcheck's last claim against the values of the matrices at its point.
    Values,
    /// The two ends of a folded variable against the value between them.
    Fold {
        /// The variable, counted from 0.
        variable: usize,
    },
    /// A word against the one before it, folded, and the matrices that enter.
    Word {
        /// The number of the query.
        query: usize,
        /// The word's number of variables; 0 is the constant at the end.
        height: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values => write!(formatter, "the values of the matrices do not meet the sumcheck"),
            Self::Fold { variable } => write!(formatter, "the ends of variable {variable} do not meet the claim"),
            Self::Word { query, height } => {
                write!(
                    formatter,
                    "query {query}: the word of {height} variables is not the one before it, folded"
                )
            }
        }
    }
}

/// A key, a matrix or an opening that is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// Elements or matrices that the field refuses.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Trees and transcripts that do not fit, work that was not done.
    #[error(transparent)]
    Poseidon(#[from] PoseidonError),
    /// A parameter for which nothing is proven.
    #[error("{name} = {value}: expected {min} to {max}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least value.
        min: usize,
        /// The greatest value.
        max: usize,
    },
    /// A size that no key has: nothing is computed or allocated for it.
    #[error("{name} {index} is {value}: expected {min} to {max}")]
    Size {
        /// What has the size.
        name: &'static str,
        /// Its number.
        index: usize,
        /// The size.
        value: usize,
        /// The least size.
        min: usize,
        /// The greatest size.
        max: usize,
    },
    /// A block that does not begin at a multiple of its padded size.
    #[error("block {index} begins at {start}, which is no multiple of its padded size 2^{variables}")]
    Alignment {
        /// The block's number.
        index: usize,
        /// Where it begins.
        start: usize,
        /// Its number of variables.
        variables: usize,
    },
    /// A block that ends beyond its matrix.
    #[error("block {index} needs cell {cell} of a matrix of {cells}")]
    Cells {
        /// The block's number.
        index: usize,
        /// Its last cell.
        cell: usize,
        /// The cells of the matrix.
        cells: usize,
    },
    /// Lists that the key fixes the length of. Checked before anything is used.
    #[error("{got} {name}, the key has {expected}")]
    Count {
        /// What the list holds.
        name: &'static str,
        /// What the key says.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// A matrix other than the key says.
    #[error("matrix {index} has another shape than the key says")]
    MatrixShape {
        /// The matrix's number.
        index: usize,
    },
    /// A comparison of the verifier failed.
    #[error("{0}")]
    Unequal(Step),
}
