//! The loops of a prover, on any instruction set.

use std::ops::Range;

use trainproof_field::{Extension, Field, Goldilocks, Kernel, MAX_LANES, Simd};

use crate::lanes::{Pair, add, load, mul_add, splat, store, sub};

/// The polynomials in the first variable of a round, over some of the others.
pub(crate) struct Round<'a> {
    /// Tables of the base field.
    pub(crate) base: Vec<&'a [Goldilocks]>,
    /// Tables of the extension.
    pub(crate) extension: Vec<&'a [Extension]>,
    /// The terms.
    pub(crate) products: Vec<Product>,
    /// A weight for each pair of entries.
    pub(crate) weights: Option<&'a [Extension]>,
    /// The largest number of factors.
    pub(crate) degree: usize,
    /// Leave out the value at 1.
    pub(crate) known: bool,
}

/// A term by the places of its tables within those of their fields.
pub(crate) struct Product {
    pub(crate) coefficient: Extension,
    pub(crate) base: Vec<usize>,
    pub(crate) extension: Vec<usize>,
}

/// The sums over some pairs of entries, at 0, 1, …, the largest number of factors. Their number is a multiple of the lanes.
pub(crate) struct Sums<'a> {
    pub(crate) round: &'a Round<'a>,
    pub(crate) pairs: Range<usize>,
}

impl Round<'_> {
    /// Pairs of entries of each table.
    pub(crate) fn half(&self) -> usize {
        let base = self.base.first().map(|table| table.len());
        base.or(self.extension.first().map(|table| table.len())).unwrap_or(0) / 2
    }
}

/// The product of a term's factors.
#[inline(always)]
fn product<S: Simd>(
    simd: S,
    seven: S::Vector,
    product: &Product,
    base: &[[S::Vector; 2]],
    extension: &[[Pair<S>; 2]],
) -> Pair<S> {
    let zero = simd.splat(Goldilocks::ZERO);
    let mut low = None;
    for &i in &product.base {
        low = Some(match low {
            Some(low) => simd.mul(low, base[i][0]),
            None => base[i][0],
        });
    }
    let mut high: Option<Pair<S>> = None;
    for &i in &product.extension {
        high = Some(match high {
            Some(high) => mul_add(simd, seven, high, extension[i][0], [zero; 2]),
            None => extension[i][0],
        });
    }
    match (low, high) {
        (Some(low), Some(high)) => [simd.mul(high[0], low), simd.mul(high[1], low)],
        (Some(low), None) => [low, zero],
        (None, Some(high)) => high,
        (None, None) => [simd.splat(Goldilocks::ONE), zero],
    }
}

impl Kernel for Sums<'_> {
    type Output = Vec<Extension>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Extension> {
        let Self { round, pairs } = self;
        let half = round.half();
        let (zero, seven) = (simd.splat(Goldilocks::ZERO), simd.splat(Extension::NON_RESIDUE));
        // Each with its value at the current place, and the step to the next.
        let mut base = vec![[zero; 2]; round.base.len()];
        let mut extension = vec![[[zero; 2]; 2]; round.extension.len()];
        let terms = round.products.len();
        // With weights the terms are added up within; else coefficients wait until the end.
        let columns = if round.weights.is_some() { 1 } else { terms };
        let mut sums = vec![[zero; 2]; (round.degree + 1) * columns];
        for x in pairs.step_by(S::LANES) {
            for (state, table) in base.iter_mut().zip(&round.base) {
                let low = simd.load(&table[x..x + S::LANES]);
                let high = simd.load(&table[half + x..half + x + S::LANES]);
                *state = [low, simd.sub(high, low)];
            }
            for (state, table) in extension.iter_mut().zip(&round.extension) {
                let low = load(simd, &table[x..x + S::LANES]);
                let high = load(simd, &table[half + x..half + x + S::LANES]);
                *state = [low, sub(simd, high, low)];
            }
            for place in 0..=round.degree {
                if place > 0 {
                    for state in &mut base {
                        state[0] = simd.add(state[0], state[1]);
                    }
                    for state in &mut extension {
                        state[0] = add(simd, state[0], state[1]);
                    }
                }
                if place == 1 && round.known {
                    continue;
                }
                if let Some(weights) = round.weights {
                    let mut total = [zero; 2];
                    for term in &round.products {
                        let value = product(simd, seven, term, &base, &extension);
                        total = if term.coefficient == Extension::ONE {
                            add(simd, total, value)
                        } else {
                            mul_add(simd, seven, splat(simd, term.coefficient), value, total)
                        };
                    }
                    let weight = load(simd, &weights[x..x + S::LANES]);
                    sums[place] = mul_add(simd, seven, weight, total, sums[place]);
                } else {
                    for (sum, term) in sums[place * columns..].iter_mut().zip(&round.products) {
                        *sum = add(simd, *sum, product(simd, seven, term, &base, &extension));
                    }
                }
            }
        }
        let mut values = vec![Extension::ZERO; round.degree + 1];
        for (place, value) in values.iter_mut().enumerate() {
            for column in 0..columns {
                let mut lanes = [Extension::ZERO; MAX_LANES];
                store(simd, sums[place * columns + column], &mut lanes);
                let mut sum = Extension::ZERO;
                for &lane in &lanes[..S::LANES] {
                    sum += lane;
                }
                if round.weights.is_none() {
                    sum *= round.products[column].coefficient;
                }
                *value += sum;
            }
        }
        values
    }
}

/// `to` = low + r·(high − low), for base tables.
pub(crate) struct FoldBase<'a> {
    pub(crate) low: &'a [Goldilocks],
    pub(crate) high: &'a [Goldilocks],
    pub(crate) r: Extension,
    pub(crate) to: &'a mut [Extension],
}

impl Kernel for FoldBase<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (r, zero) = (splat(simd, self.r), simd.splat(Goldilocks::ZERO));
        for x in (0..self.to.len()).step_by(S::LANES) {
            let low = simd.load(&self.low[x..x + S::LANES]);
            let high = simd.load(&self.high[x..x + S::LANES]);
            let step = simd.sub(high, low);
            let value = [simd.mul_add(step, r[0], low), simd.mul_add(step, r[1], zero)];
            store(simd, value, &mut self.to[x..x + S::LANES]);
        }
    }
}

/// `low` += r·(high − low).
pub(crate) struct Fold<'a> {
    pub(crate) low: &'a mut [Extension],
    pub(crate) high: &'a [Extension],
    pub(crate) r: Extension,
}

impl Kernel for Fold<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (r, seven) = (splat(simd, self.r), simd.splat(Extension::NON_RESIDUE));
        for x in (0..self.low.len()).step_by(S::LANES) {
            let low = load(simd, &self.low[x..x + S::LANES]);
            let high = load(simd, &self.high[x..x + S::LANES]);
            let value = mul_add(simd, seven, r, sub(simd, high, low), low);
            store(simd, value, &mut self.low[x..x + S::LANES]);
        }
    }
}
