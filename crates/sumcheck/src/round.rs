//! One round of a prover: the polynomial in the first variable, the others summed over.

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks};

use crate::multilinear::{drop_first, eq_table};
use crate::polynomial::small;
use crate::{Sum, Table, Term};

/// Pairs of entries that one thread takes at a time.
const BLOCK: usize = 1 << 11;

/// A sum with some of its variables bound.
pub(crate) struct Running<'a> {
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
    pub(crate) fn new(sum: Sum<'a>) -> Self {
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
        let round = Round::new(self, known.is_some());
        let half = round.half();
        let mut values = if half <= BLOCK {
            round.block(0..half)
        } else {
            let blocks = (0..half.div_ceil(BLOCK)).into_par_iter();
            blocks
                .map(|block| round.block(block * BLOCK..half.min((block + 1) * BLOCK)))
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
            table.fold(r);
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
struct Round<'a> {
    base: Vec<&'a [Goldilocks]>,
    extension: Vec<&'a [Extension]>,
    products: Vec<Product>,
    weights: Option<&'a [Extension]>,
    degree: usize,
    /// Leave out the value at 1.
    known: bool,
}

/// A term by the places of its tables within those of their fields.
struct Product {
    coefficient: Extension,
    base: Vec<usize>,
    extension: Vec<usize>,
}

impl<'a> Round<'a> {
    fn new(running: &'a Running, known: bool) -> Self {
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
        Self {
            base,
            extension,
            products: products.collect(),
            weights: running.weight.as_ref().map(|weight| &*weight.others),
            degree: running.inner_degree,
            known,
        }
    }

    /// The sums over some pairs of entries, at 0, 1, …, the largest number of factors.
    fn block(&self, pairs: std::ops::Range<usize>) -> Vec<Extension> {
        let half = self.half();
        let zero = Goldilocks::ZERO;
        let (mut base, mut base_steps) = (vec![zero; self.base.len()], vec![zero; self.base.len()]);
        let zero = Extension::ZERO;
        let (mut other, mut other_steps) = (vec![zero; self.extension.len()], vec![zero; self.extension.len()]);
        let mut sums = vec![zero; (self.degree + 1) * self.products.len()];
        let mut values = vec![zero; self.degree + 1];
        for x in pairs {
            for ((value, step), table) in base.iter_mut().zip(&mut base_steps).zip(&self.base) {
                (*value, *step) = (table[x], table[half + x] - table[x]);
            }
            for ((value, step), table) in other.iter_mut().zip(&mut other_steps).zip(&self.extension) {
                (*value, *step) = (table[x], table[half + x] - table[x]);
            }
            for place in 0..=self.degree {
                if place > 0 {
                    base.iter_mut()
                        .zip(&base_steps)
                        .for_each(|(value, &step)| *value += step);
                    other
                        .iter_mut()
                        .zip(&other_steps)
                        .for_each(|(value, &step)| *value += step);
                }
                if place == 1 && self.known {
                    continue;
                }
                if let Some(weights) = self.weights {
                    let terms = self.products.iter().map(|product| product.term(&base, &other));
                    values[place] += weights[x] * terms.sum::<Extension>();
                } else {
                    // Coefficients wait until the end.
                    let sums = &mut sums[place * self.products.len()..];
                    for (sum, product) in sums.iter_mut().zip(&self.products) {
                        *sum += product.value(&base, &other).unwrap_or(Extension::ONE);
                    }
                }
            }
        }
        if self.weights.is_none() && !self.products.is_empty() {
            for (value, sums) in values.iter_mut().zip(sums.chunks(self.products.len())) {
                let terms = self.products.iter().zip(sums);
                *value = terms.map(|(product, &sum)| product.coefficient * sum).sum();
            }
        }
        values
    }

    /// Pairs of entries of each table.
    fn half(&self) -> usize {
        let base = self.base.first().map(|table| table.len());
        base.or(self.extension.first().map(|table| table.len())).unwrap_or(0) / 2
    }
}

impl Product {
    /// The product of the factors' values; `None` if there are no factors.
    #[inline]
    fn value(&self, base: &[Goldilocks], extension: &[Extension]) -> Option<Extension> {
        let low = self.base.iter().map(|&i| base[i]).reduce(|x, y| x * y);
        let high = self.extension.iter().map(|&i| extension[i]).reduce(|x, y| x * y);
        match (low, high) {
            (Some(low), Some(high)) => Some(high.scale(low)),
            (Some(low), None) => Some(low.into()),
            (None, high) => high,
        }
    }

    /// The same times the coefficient.
    #[inline]
    fn term(&self, base: &[Goldilocks], extension: &[Extension]) -> Extension {
        match self.value(base, extension) {
            Some(value) if self.coefficient == Extension::ONE => value,
            Some(value) => value * self.coefficient,
            None => self.coefficient,
        }
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
