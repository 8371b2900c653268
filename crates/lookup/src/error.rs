//! What layouts and witnesses are refused.

use thiserror::Error;
use trainproof_sumcheck::SumError;

/// Lookups and tables that no argument can be made of.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// An argument about nothing.
    #[error("a layout needs at least one table")]
    Empty,
    /// Tags tell tables apart; in increasing order they are different, and the layout has one spelling.
    #[error("table {table} has tag {tag}, which is not above the one before")]
    Tags {
        /// Number of the table.
        table: usize,
        /// Its tag.
        tag: u32,
    },
    /// A second column must have an entry for each row.
    #[error("the second column of table {table} has {got} entries, {expected} rows need one each")]
    Rows {
        /// Number of the table.
        table: usize,
        /// Rows of the table.
        expected: usize,
        /// Entries that were given.
        got: usize,
    },
    /// A lookup in a table that there is not.
    #[error("lookup {lookup} names table {table}, the layout has {tables}")]
    NoTable {
        /// Number of the lookup.
        lookup: usize,
        /// The table that it names.
        table: usize,
        /// Tables of the layout.
        tables: usize,
    },
    /// A shape without cells.
    #[error("lookup {lookup} has an axis of no cells")]
    NoCells {
        /// Number of the lookup.
        lookup: usize,
    },
    /// More leaves than the soundness of the argument and a memory hold.
    #[error("lookups and tables need a tree of more than 2^{max} leaves")]
    Leaves {
        /// Logarithm of the greatest number.
        max: usize,
    },
}

/// A witness that does not fit its layout.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LookupError {
    /// Lists of another number of entries.
    #[error("{what}: expected {expected}, got {got}")]
    Length {
        /// What is counted.
        what: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A second entry where the table has one column, or none where it has two.
    #[error("lookup {lookup} must {} second entries", if *expected { "have" } else { "not have" })]
    Pair {
        /// Number of the lookup.
        lookup: usize,
        /// Whether its table has a second column.
        expected: bool,
    },
    /// A value that cannot be proven.
    #[error("lookup {lookup}: the entry of cell {cell} is not in the table of tag {tag}")]
    NotInTable {
        /// Number of the lookup.
        lookup: usize,
        /// Index of the cell, padding counted.
        cell: usize,
        /// The table's tag.
        tag: u32,
    },
    /// A sum that the sumcheck refuses.
    #[error(transparent)]
    Sum(#[from] SumError),
}
