//! Claims: every one is consumed by a later step or opened by the commitment (section 5.4).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::LedgerError;

/// A polynomial has a value at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<E> {
    /// The point.
    pub point: Vec<E>,
    /// The value.
    pub value: E,
}

/// The claims that are open. Virtual polynomials (`V`) have one claim each, which a step must take; committed columns (`C`)
/// have claims at several points, which the commitment must open.
#[derive(Clone, Debug)]
pub struct Ledger<V, C, E> {
    owed: BTreeMap<V, Claim<E>>,
    columns: BTreeSet<C>,
    /// The claims on columns as they came.
    opened: Vec<(C, Claim<E>)>,
    /// Their numbers, by column.
    by_column: BTreeMap<C, Vec<usize>>,
}

impl<V: Clone + Debug + Ord, C: Clone + Debug + Ord, E: Clone + PartialEq> Ledger<V, C, E> {
    /// An empty ledger over the columns that are committed.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = C>) -> Self {
        Self {
            owed: BTreeMap::new(),
            columns: columns.into_iter().collect(),
            opened: Vec::new(),
            by_column: BTreeMap::new(),
        }
    }

    /// Adds a claim on a virtual polynomial.
    ///
    /// # Errors
    /// [`LedgerError::Twice`]
    pub fn owe(&mut self, polynomial: V, claim: Claim<E>) -> Result<(), LedgerError> {
        if self.owed.contains_key(&polynomial) {
            let claim = format!("{polynomial:?}");
            return Err(LedgerError::Twice { claim });
        }
        self.owed.insert(polynomial, claim);
        Ok(())
    }

    /// Whether there is a claim on a virtual polynomial.
    #[must_use]
    pub fn owes(&self, polynomial: &V) -> bool {
        self.owed.contains_key(polynomial)
    }

    /// Consumes the claim on a virtual polynomial.
    ///
    /// # Errors
    /// [`LedgerError::Missing`]
    pub fn take(&mut self, polynomial: &V) -> Result<Claim<E>, LedgerError> {
        self.owed.remove(polynomial).ok_or_else(|| LedgerError::Missing {
            claim: format!("{polynomial:?}"),
        })
    }

    /// Adds a claim on a column.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Twice`]
    pub fn open(&mut self, column: C, claim: Claim<E>) -> Result<(), LedgerError> {
        if !self.columns.contains(&column) {
            let column = format!("{column:?}");
            return Err(LedgerError::Unknown { column });
        }
        if self.opened(&column, &claim.point).is_some() {
            let claim = format!("{column:?} at this point");
            return Err(LedgerError::Twice { claim });
        }
        self.by_column
            .entry(column.clone())
            .or_default()
            .push(self.opened.len());
        self.opened.push((column, claim));
        Ok(())
    }

    /// The value that a column is claimed to have at a point, if it has been: it is sent once.
    #[must_use]
    pub fn opened(&self, column: &C, point: &[E]) -> Option<&E> {
        let numbers = self.by_column.get(column)?;
        let mut claims = numbers.iter().map(|&number| &self.opened[number].1);
        claims.find(|claim| claim.point == point).map(|claim| &claim.value)
    }

    /// Ends the protocol: nothing may be owed and every column must have been opened. What remains, in the order in which it
    /// came, is for the commitment to open.
    ///
    /// # Errors
    /// [`LedgerError::Left`], [`LedgerError::Unopened`]
    pub fn finish(self) -> Result<Vec<(C, Claim<E>)>, LedgerError> {
        if !self.owed.is_empty() {
            let claims = self.owed.keys().map(|key| format!("{key:?}")).collect();
            return Err(LedgerError::Left { claims });
        }
        let unopened = self
            .columns
            .iter()
            .filter(|column| !self.by_column.contains_key(column));
        let columns: Vec<_> = unopened.map(|column| format!("{column:?}")).collect();
        if !columns.is_empty() {
            return Err(LedgerError::Unopened { columns });
        }
        Ok(self.opened)
    }
}
