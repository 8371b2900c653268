//! What a verifier refuses, and what provers and ledgers cannot be used for.

use thiserror::Error;
use trainproof_field::FieldError;

/// A proof that a verifier refuses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// Bytes that are no encodings of elements.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A message that the statement asks for is not there.
    #[error("the proof ends early: message {tag:?} has {expected} elements, {left} are left")]
    Ends {
        /// The message's tag.
        tag: String,
        /// Elements of the message.
        expected: usize,
        /// Elements that have not been read.
        left: usize,
    },
    /// Elements that no message of the statement holds.
    #[error("the proof goes on after its end, by {left} elements")]
    Trailing {
        /// Elements that have not been read.
        left: usize,
    },
    /// Two values that the protocol asks to be equal are not, or one that must not be zero is.
    #[error("the check \"{check}\" fails")]
    Check {
        /// The check's name.
        check: &'static str,
    },
    /// The statement, not the proof, asks for a sumcheck that there is not.
    #[error("a sumcheck of {rounds} rounds and degree {degree}: at most {max_rounds} rounds, degree 1 to {max_degree}")]
    Shape {
        /// Rounds asked for.
        rounds: usize,
        /// Degree asked for.
        degree: usize,
        /// The greatest number of rounds.
        max_rounds: usize,
        /// The greatest degree.
        max_degree: usize,
    },
    /// The statement, not the proof, uses two lists that do not fit each other.
    #[error("{what}: expected {expected}, got {got}")]
    Length {
        /// What is counted.
        what: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
}

/// A sum that cannot be proven as it is stated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SumError {
    /// Every table has one entry for each point of the hypercube.
    #[error("table {table} has {got} entries, {variables} variables need {expected}")]
    TableLength {
        /// Number of the table.
        table: usize,
        /// Entries that were given.
        got: usize,
        /// Variables of the sum.
        variables: usize,
        /// Two to the variables.
        expected: usize,
    },
    /// A sum of constants needs no proof.
    #[error("a sum needs at least one table")]
    NoTables,
    /// A factor that is no table of the sum.
    #[error("term {term} uses table {table}, the sum has {tables}")]
    Factor {
        /// Number of the term.
        term: usize,
        /// The table that it names.
        table: usize,
        /// Tables of the sum.
        tables: usize,
    },
    /// More variables than a sumcheck may have.
    #[error("a sum over {variables} variables: at most {max}")]
    Variables {
        /// Variables that were asked for.
        variables: usize,
        /// The greatest number.
        max: usize,
    },
    /// A weight with a point of another dimension.
    #[error("the weight's point has {got} coordinates, the sum has {expected} variables")]
    Point {
        /// Variables of the sum.
        expected: usize,
        /// Coordinates that were given.
        got: usize,
    },
    /// A degree below that of the terms would cut the rounds' polynomials.
    #[error("degree {degree} was announced for a sum of degree {least}; at least that, at least 1 and at most {max}")]
    Degree {
        /// The degree that was announced.
        degree: usize,
        /// The degree of the terms.
        least: usize,
        /// The greatest degree.
        max: usize,
    },
}

/// A claim that nobody makes, makes twice, or leaves open.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LedgerError {
    /// A second claim on the same polynomial, or on the same column at the same point.
    #[error("there is a claim on {claim} already")]
    Twice {
        /// What both claims are about.
        claim: String,
    },
    /// A claim that was to be consumed and is not there.
    #[error("there is no claim on {claim}")]
    Missing {
        /// What the claim would be about.
        claim: String,
    },
    /// Claims that no step has consumed.
    #[error("claims left over: {}", claims.join(", "))]
    Left {
        /// What they are about.
        claims: Vec<String>,
    },
    /// Columns that no claim has reached: nothing would bind them.
    #[error("never opened: {}", columns.join(", "))]
    Unopened {
        /// The columns.
        columns: Vec<String>,
    },
    /// A claim on a column that nobody has committed to.
    #[error("no such column: {column}")]
    Unknown {
        /// The column.
        column: String,
    },
}
