//! Identities that hold at every point of the hypercube (section 5.2).

use trainproof_field::{Extension, Isa};

use crate::polynomial::eq;
use crate::prover::{Proven, prove};
use crate::verifier::verify;
use crate::{Backend, ProofError, Sum, SumError, Table, Term, Writer};

/// Shows that several families of terms vanish on the whole hypercube. `degree` is 1 + the largest number of factors.
///
/// # Errors
/// Those of [`Sum::new`] and [`prove`].
pub fn prove_zero(
    isa: Isa,
    variables: usize,
    tables: Vec<Table<'_>>,
    families: &[Vec<Term>],
    degree: usize,
    writer: &mut Writer<'_>,
) -> Result<Proven, SumError> {
    let sum = Sum::new(variables, tables, families.concat())?;
    let mut sum = sum.weighted(vec![Extension::default(); variables])?;
    sum.check_degree(degree)?;
    sum.weight = Some(writer.challenges(variables));
    let weights = writer.challenges(families.len());
    let sizes = families.iter().zip(weights);
    let factors = sizes.flat_map(|(family, weight)| family.iter().map(move |_| weight));
    for (term, factor) in sum.terms.iter_mut().zip(factors) {
        term.coefficient *= factor;
    }
    prove(isa, sum, degree, writer)
}

/// A zero check whose families wait for their values.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "without `finish` nothing is checked"]
pub struct ZeroChecked<E> {
    /// Where the families' values are needed.
    pub point: Vec<E>,
    rho: Vec<E>,
    weights: Vec<E>,
    value: E,
}

/// Reads the rounds of a zero check.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_zero<B: Backend>(
    backend: &mut B,
    variables: usize,
    families: usize,
    degree: usize,
) -> Result<ZeroChecked<B::Element>, ProofError> {
    // 1. A point, and a factor for each family.
    let rho = backend.challenges(variables);
    let weights = backend.challenges(families);
    // 2. The weighted sum is 0.
    let claim = backend.zero();
    let reduced = verify(backend, variables, degree, &claim)?;
    Ok(ZeroChecked {
        point: reduced.point,
        rho,
        weights,
        value: reduced.value,
    })
}

impl<E: Clone> ZeroChecked<E> {
    /// Compares with the families' values at the point.
    ///
    /// # Errors
    /// [`ProofError::Check`]; [`ProofError::Length`] for another number of families.
    pub fn finish<B: Backend<Element = E>>(&self, backend: &mut B, families: &[E]) -> Result<(), ProofError> {
        if families.len() != self.weights.len() {
            return Err(ProofError::Length {
                what: "families of a zero check",
                expected: self.weights.len(),
                got: families.len(),
            });
        }
        // 3. eq(ρ, point)·Σ factor·family is the sumcheck's value.
        let mut total = backend.zero();
        for (weight, family) in self.weights.iter().zip(families) {
            let product = backend.mul(weight, family);
            total = backend.add(&total, &product);
        }
        let selected = eq(backend, &self.rho, &self.point)?;
        let value = backend.mul(&selected, &total);
        backend.require_equal(&value, &self.value, "zero check")
    }
}
