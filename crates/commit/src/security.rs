//! What the chance of a false opening is made of (section 7.6).

use trainproof_field::Goldilocks;

use crate::Key;

/// A chance that a false claim becomes one that the verifier accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The step that it belongs to.
    pub name: String,
    /// How `error` follows from the key.
    pub formula: &'static str,
    /// The logarithm to base 2 of the chance of one try.
    pub error: f64,
    /// The bits of work that every try costs.
    pub grinding: usize,
}

impl Term {
    /// Minus the logarithm to base 2 of the chance for work of one permutation.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.grinding as f64 - self.error
    }
}

/// All terms of a key, in the order of the steps. Terms of chance zero are left out.
#[must_use]
pub fn security(key: &Key) -> Vec<Term> {
    let parameters = key.parameters();
    // Of |K| = p².
    let field = 2.0 * (Goldilocks::ORDER as f64).log2();
    let length = |height: usize| ((height + parameters.log_blowup) as f64).exp2();
    let term = |name: String, formula, chances: f64, grinding| Term {
        name,
        formula,
        error: chances.log2() - field,
        grinding,
    };
    let grinding = parameters.challenge_grinding;
    let codes: f64 = key.matrices().iter().map(|matrix| length(matrix.height)).sum();
    let mut terms = vec![
        term("claims".into(), "l/|K|", key.claims() as f64, 0),
        term(
            "columns".into(),
            "κ·(2 + Σ n_j)/|K|",
            key.columns() as f64 * (2.0 + codes),
            grinding,
        ),
        term("rows".into(), "2·r/|K|", 2.0 * key.rows() as f64, 0),
    ];
    for height in key.entries() {
        let entering = key.entering(height).len() as f64;
        let chances = entering * (1.0 + length(height));
        terms.push(term(
            format!("matrices of height {height}"),
            "t_h·(1 + n_h)/|K|",
            chances,
            grinding,
        ));
    }
    for (number, stop) in key.stops().into_iter().enumerate() {
        let name = format!("folding from {} to {}", stop.height, stop.next);
        let chances = stop.bits() as f64 * (1.0 + length(stop.next));
        let grinding = if number == 0 { grinding } else { 0 };
        terms.push(term(name, "v·(1 + n_h')/|K|", chances, grinding));
    }
    let agreement = f64::midpoint(1.0, (-(parameters.log_blowup as f64)).exp2());
    terms.push(Term {
        name: "queries".into(),
        formula: "((1 + ρ)/2)^Q",
        error: parameters.queries as f64 * agreement.log2(),
        grinding: parameters.query_grinding,
    });
    terms.retain(|term| term.error > f64::NEG_INFINITY);
    terms
}

/// The bits of all terms together: minus the logarithm of the sum of their chances for work of one permutation.
#[must_use]
pub fn total_bits(terms: &[Term]) -> f64 {
    -terms.iter().map(|term| (-term.bits()).exp2()).sum::<f64>().log2()
}
