//! One round of a prover: the polynomial in the first variable, the others summed over.

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa};

use crate::kernel::{Product, Round, Sums};
use crate::lanes::fitting;
use crate::multilinear::{drop_first, eq_table};
use crate::polynomial::small;
use crate::{Sum, Table, Term};

/// Pairs of entries that one thread takes at a time.
const BLOCK: usize = 1 << 11;

/// A sum with some of its variables bound.
pub(crate) struct Running<'a> {
    isa: Isa,
    tables: Vec<Table<'a>>,
    terms: Vec<Term>,
    inner_degree: usize,
    weight: Option<Weight>,
    /// The sum over what is left, once known.
    total: Option<Extension>,
}

/// eq(ρ, x) in parts: of what is bound, of the first free coordinate, and of the others.
struct Weight {
    bound: Extension,
    free: std::vec::IntoIter<Extension>,
    first: Extension,
    others: Vec<Extension>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(isa: Isa, sum: Sum<'a>) -> Self {
        let inner_degree = sum.inner_degree();
        let weight = sum.weight.map(|point| {
            let others = eq_table(point.get(1..).unwrap_or_default());
            let mut free = point.into_iter();
            let first = free.next().unwrap_or_default();
            Weight {
                bound: Extension::ONE,
                free,
                first,
                others,
            }
        });
        Self {
            isa,
            tables: sum.tables,
            terms: sum.terms,
            inner_degree,
            weight,
            total: None,
        }
    }

    /// The round's polynomial at 0, 1, …, `degree`, which is at least the sum's.
    pub(crate) fn round(&self, degree: usize) -> Vec<Extension> {
        let known = self.total.filter(|_| self.weight.is_none() && self.inner_degree > 0);
        let round = sorted(self, known.is_some());
        let half = round.half();
        let isa = fitting(self.isa, half);
        let sums = |pairs| isa.run(Sums { round: &round, pairs });
        let mut values = if half <= BLOCK {
            sums(0..half)
        } else {
            let blocks = (0..half.div_ceil(BLOCK)).into_par_iter();
            blocks
                .map(|block| sums(block * BLOCK..half.min((block + 1) * BLOCK)))
                .reduce_with(|mut x, y| {
                    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
                    x
                })
                .expect("there is a block")
        };
        if let Some(total) = known {
            values[1] = total - values[0];
        }
        extrapolate(&mut values, degree);
        if let Some(weight) = &self.weight {
            // eq(first, X) is 1 − first at 0 and first at 1.
            let mut factor = weight.bound * (Extension::ONE - weight.first);
            let step = weight.bound * (weight.first + weight.first - Extension::ONE);
            for value in &mut values {
                *value *= factor;
                factor += step;
            }
        }
        values
    }

    /// Puts the first variable to r, where the round's polynomial is `total`.
    pub(crate) fn fold(&mut self, r: Extension, total: Extension) {
        for table in &mut self.tables {
            table.fold(self.isa, r);
        }
        if let Some(weight) = &mut self.weight {
            let rest = Extension::ONE - weight.first;
            weight.bound *= rest + (weight.first - rest) * r;
            if let Some(next) = weight.free.next() {
                weight.first = next;
                drop_first(&mut weight.others);
            }
        }
        self.total = Some(total);
    }

    /// The summand when no variable is left.
    pub(crate) fn constant(&self) -> Extension {
        let values = self.values();
        let product = |term: &Term| -> Extension { term.factors.iter().map(|&factor| values[factor]).product() };
        let terms: Extension = self.terms.iter().map(|term| term.coefficient * product(term)).sum();
        terms * self.weight.as_ref().map_or(Extension::ONE, |weight| weight.bound)
    }

    /// The values of the tables when no variable is left.
    pub(crate) fn values(&self) -> Vec<Extension> {
        let value = |table: &Table| table.entry(0).expect("a table has an entry");
        self.tables.iter().map(value).collect()
    }
}

/// The tables of a round, sorted by their fields.
fn sorted<'a>(running: &'a Running<'_>, known: bool) -> Round<'a> {
    let (mut base, mut extension) = (Vec::new(), Vec::new());
    let mut places = Vec::with_capacity(running.tables.len());
    for table in &running.tables {
        match table {
            Table::Base(values) => {
                places.push((true, base.len()));
                base.push(&**values);
            }
            Table::Extension(values) => {
                places.push((false, extension.len()));
                extension.push(&**values);
            }
        }
    }
    let of = |factors: &[usize], wanted: bool| {
        let places = factors.iter().map(|&factor| places[factor]);
        places.filter(|(is, _)| *is == wanted).map(|(_, place)| place).collect()
    };
    let products = running.terms.iter().map(|term| Product {
        coefficient: term.coefficient,
        base: of(&term.factors, true),
        extension: of(&term.factors, false),
    });
    Round {
        base,
        extension,
        products: products.collect(),
        weights: running.weight.as_ref().map(|weight| &*weight.others),
        degree: running.inner_degree,
        known,
    }
}

/// Goes on with the values of a polynomial at 0, 1, …, which has a degree below their number, up to `degree`.
fn extrapolate(values: &mut Vec<Extension>, degree: usize) {
    // The differences of order n vanish: Σ_i (−1)^i·binomial(n, i)·values_{k−i} = 0.
    let count = values.len();
    let mut binomials = vec![Goldilocks::ONE];
    for i in 0..count {
        let next = binomials[i] * small(count - i) * small(i + 1).inverse().expect("a small integer is not 0");
        binomials.push(-next);
    }
    while values.len() <= degree {
        let last = values.iter().rev().zip(&binomials[1..]);
        let next: Extension = last.map(|(value, &binomial)| value.scale(binomial)).sum();
        values.push(-next);
    }
}
