//! What a sumcheck is about: sums of products of multilinear polynomials over the hypercube.

use trainproof_field::Extension;

use crate::verifier::{MAX_DEGREE, MAX_ROUNDS};
use crate::{SumError, Table};

/// A coefficient times a product of tables, by their numbers; without factors, the constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The coefficient.
    pub coefficient: Extension,
    /// Numbers of tables; one that stands twice is squared.
    pub factors: Vec<usize>,
}

/// Σ_x eq(ρ, x)·Σ_terms coefficient·Π tables(x), or without the eq.
#[derive(Clone, Debug)]
pub struct Sum<'a> {
    pub(crate) variables: usize,
    pub(crate) tables: Vec<Table<'a>>,
    pub(crate) terms: Vec<Term>,
    pub(crate) weight: Option<Vec<Extension>>,
}

impl<'a> Sum<'a> {
    /// The sum of these terms over the hypercube of `variables` variables. Terms share the tables.
    ///
    /// # Errors
    /// [`SumError::Variables`], [`SumError::NoTables`], [`SumError::TableLength`], [`SumError::Factor`]
    pub fn new(variables: usize, tables: Vec<Table<'a>>, terms: Vec<Term>) -> Result<Self, SumError> {
        if variables > MAX_ROUNDS {
            let max = MAX_ROUNDS;
            return Err(SumError::Variables { variables, max });
        }
        if tables.is_empty() {
            return Err(SumError::NoTables);
        }
        let expected = 1 << variables;
        for (table, got) in tables.iter().map(Table::entries).enumerate() {
            if got != expected {
                return Err(SumError::TableLength {
                    table,
                    got,
                    variables,
                    expected,
                });
            }
        }
        for (term, Term { factors, .. }) in terms.iter().enumerate() {
            if let Some(&table) = factors.iter().find(|&&table| table >= tables.len()) {
                let tables = tables.len();
                return Err(SumError::Factor { term, table, tables });
            }
        }
        let weight = None;
        Ok(Self {
            variables,
            tables,
            terms,
            weight,
        })
    }

    /// The same with every summand weighted by eq(point, x). The eq is never a table: a round takes one product for it.
    ///
    /// # Errors
    /// [`SumError::Point`]
    pub fn weighted(mut self, point: Vec<Extension>) -> Result<Self, SumError> {
        let (expected, got) = (self.variables, point.len());
        if got != expected {
            return Err(SumError::Point { expected, got });
        }
        self.weight = Some(point);
        Ok(self)
    }

    /// The number of variables.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.variables
    }

    /// The degree in each variable: the largest number of factors, and one for a weight; at least 1.
    #[must_use]
    pub fn degree(&self) -> usize {
        (self.inner_degree() + usize::from(self.weight.is_some())).max(1)
    }

    /// The largest number of factors.
    pub(crate) fn inner_degree(&self) -> usize {
        self.terms.iter().map(|term| term.factors.len()).max().unwrap_or(0)
    }

    /// That messages of this degree hold the rounds' polynomials.
    pub(crate) fn check_degree(&self, degree: usize) -> Result<(), SumError> {
        let least = self.degree();
        if !(least..=MAX_DEGREE).contains(&degree) {
            let max = MAX_DEGREE;
            return Err(SumError::Degree { degree, least, max });
        }
        Ok(())
    }
}
