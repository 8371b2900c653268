//! The prover's tables in the sumcheck over columns, then rows: row-major, absent columns zero (section 7.3).

use std::ops::Range;

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks};

use crate::multilinear::{between, eq_table, variables};
use crate::{Block, Claim, Matrix};

/// Rows that one thread works on in a row.
const BLOCK: usize = 1 << 6;
/// Claims whose weights are held at once before they are put into rows.
const GROUP: usize = 1 << 4;

/// Cells of a table: of the base field until the first challenge.
trait Cell: Field {
    /// The product with a weight.
    fn weighted(self, weight: Extension) -> Extension;
    /// (1 − x)·self + x·other.
    fn between(self, other: Self, x: Extension) -> Extension;
}

impl Cell for Goldilocks {
    #[inline]
    fn weighted(self, weight: Extension) -> Extension {
        weight.scale(self)
    }

    #[inline]
    fn between(self, other: Self, x: Extension) -> Extension {
        Extension::from(self) + x.scale(other - self)
    }
}

impl Cell for Extension {
    #[inline]
    fn weighted(self, weight: Extension) -> Extension {
        weight * self
    }

    #[inline]
    fn between(self, other: Self, x: Extension) -> Extension {
        between(self, other, x)
    }
}

enum Values<'a> {
    /// As committed.
    Base(&'a [Goldilocks]),
    /// After a challenge.
    Folded(Vec<Extension>),
}

/// A matrix and the weights of its cells in the claim.
pub(crate) struct Table<'a> {
    width: usize,
    values: Values<'a>,
    weights: Vec<Extension>,
    /// Variables of rows that the matrix does not have and that have got a challenge: Π (1 − x).
    scale: Extension,
}

impl<'a> Table<'a> {
    /// The table of a matrix, with the weights of all claims on it: each claim with its block and factor.
    pub(crate) fn new(matrix: &Matrix, values: &'a [Goldilocks], claims: &[(&Block, &Claim, Extension)]) -> Self {
        let Matrix { height, width, .. } = *matrix;
        let mut weights = vec![Extension::ZERO; values.len()];
        for claims in claims.chunks(GROUP) {
            let blocks = claims
                .par_iter()
                .map(|(block, claim, factor)| (block.start, dense(block, claim, *factor)));
            let blocks: Vec<_> = blocks.collect();
            // Rows after rows: a column's cells lie far from each other.
            let chunks = weights.par_chunks_mut(width * BLOCK).enumerate();
            chunks.for_each(|(number, weights)| {
                let first = number * BLOCK;
                let rows = first..first + weights.len() / width;
                for (start, cells) in &blocks {
                    add_block(weights, width, height, &rows, *start, cells);
                }
            });
        }
        Self {
            width,
            values: Values::Base(values),
            weights,
            scale: Extension::ONE,
        }
    }

    /// This table's part of the round polynomial at 0 and 2, while `left` variables of columns are to come, this included.
    pub(crate) fn column_round(&self, left: usize) -> [Extension; 2] {
        let half = 1 << (left - 1);
        match &self.values {
            Values::Base(values) => column_sums(values, &self.weights, self.width, half),
            Values::Folded(values) => column_sums(values, &self.weights, self.width, half),
        }
    }

    /// The first of `left` variables of columns takes the value `x`.
    pub(crate) fn fold_column(&mut self, left: usize, x: Extension) {
        let half = 1 << (left - 1);
        self.values = Values::Folded(match &self.values {
            Values::Base(values) => folded_columns(values, self.width, half, x),
            Values::Folded(values) => folded_columns(values, self.width, half, x),
        });
        self.weights = folded_columns(&self.weights, self.width, half, x);
        self.width = self.width.min(half);
    }

    /// The matrix with all columns folded: one element a row. No column is left.
    pub(crate) fn folded(&mut self) -> Vec<Extension> {
        if let Values::Base(values) = self.values {
            self.values = Values::Folded(values.iter().map(|&x| x.into()).collect());
        }
        self.values().to_vec()
    }

    /// This table's part of the round polynomial at 0 and 2 of the next variable of rows.
    pub(crate) fn row_round(&self) -> [Extension; 2] {
        let values = self.values();
        if let [value] = *values {
            // The matrix, padded with zeros: at 0 what it is, at 2 its negative.
            let all = self.scale * value * self.weights[0];
            return [all, -all];
        }
        let middle = values.len() / 2;
        let (v0, v1) = values.split_at(middle);
        let (w0, w1) = self.weights.split_at(middle);
        let pairs = v0.par_iter().zip(v1).zip(w0.par_iter().zip(w1));
        let sums = pairs.with_min_len(BLOCK).map(|((&v0, &v1), (&w0, &w1))| {
            let mut sums = [Extension::ZERO; 2];
            add(&mut sums, (v0, v1), (w0, w1));
            sums
        });
        sums.reduce(Default::default, |x, y| [x[0] + y[0], x[1] + y[1]])
    }

    /// The next variable of rows takes the value `x`.
    pub(crate) fn fold_row(&mut self, x: Extension) {
        let values = self.values();
        if values.len() == 1 {
            self.scale *= Extension::ONE - x;
            return;
        }
        let fold = |table: &[Extension]| -> Vec<Extension> {
            let (low, high) = table.split_at(table.len() / 2);
            let pairs = low.par_iter().zip(high).with_min_len(BLOCK);
            pairs.map(|(&low, &high)| between(low, high, x)).collect()
        };
        let (values, weights) = (fold(values), fold(&self.weights));
        (self.values, self.weights) = (Values::Folded(values), weights);
    }

    /// After all rounds, the weight of the value in the claim.
    pub(crate) fn weight(&self) -> Extension {
        self.scale * self.weights[0]
    }

    /// What is left of the folded matrix; after all rounds, its value at the point.
    pub(crate) fn values(&self) -> &[Extension] {
        match &self.values {
            Values::Base(_) => &[],
            Values::Folded(values) => values,
        }
    }
}

/// `factor` times the weights of a claim, for all cells of the padded block; zero in the padding.
fn dense(block: &Block, claim: &Claim, factor: Extension) -> Vec<Extension> {
    let mut point = claim.point.as_slice();
    let mut cells = vec![factor];
    for &size in &block.shape {
        let coordinates;
        (coordinates, point) = point.split_at(variables(size));
        let mut table = eq_table(coordinates);
        table[size..].fill(Extension::ZERO);
        cells = cells
            .iter()
            .flat_map(|&cell| table.iter().map(move |&eq| cell * eq))
            .collect();
    }
    cells
}

/// Adds the weights of a block, which begins at cell `start` of the matrix, to some rows.
fn add_block(
    weights: &mut [Extension],
    width: usize,
    height: usize,
    rows: &Range<usize>,
    start: usize,
    cells: &[Extension],
) {
    let first_column = start >> height;
    let columns = cells.len().div_ceil(1 << height);
    for column in first_column..width.min(first_column + columns) {
        // The block's cells in this column.
        let top = (column << height).max(start);
        let bottom = ((column + 1) << height).min(start + cells.len());
        let from = top.max((column << height) + rows.start);
        let to = bottom.min((column << height) + rows.end);
        for cell in from..to {
            let row = cell - (column << height) - rows.start;
            weights[row * width + column] += cells[cell - start];
        }
    }
}

fn column_sums<T: Cell>(values: &[T], weights: &[Extension], width: usize, half: usize) -> [Extension; 2] {
    let blocks = values.par_chunks(width * BLOCK).zip(weights.par_chunks(width * BLOCK));
    let sums = blocks.map(|(values, weights)| {
        let mut sums = [Extension::ZERO; 2];
        for (values, weights) in values.chunks_exact(width).zip(weights.chunks_exact(width)) {
            let (v0, v1) = values.split_at(half.min(width));
            let (w0, w1) = weights.split_at(half.min(width));
            let pairs = v0.iter().zip(v1).zip(w0.iter().zip(w1));
            for ((&v0, &v1), (&w0, &w1)) in pairs {
                add(&mut sums, (v0, v1), (w0, w1));
            }
            // Columns without another: at 2 both are the negative of what they are.
            for (&v, &w) in v0[v1.len()..].iter().zip(&w0[w1.len()..]) {
                let product = v.weighted(w);
                sums = [sums[0] + product, sums[1] + product];
            }
        }
        sums
    });
    sums.reduce(Default::default, |x, y| [x[0] + y[0], x[1] + y[1]])
}

fn folded_columns<T: Cell>(table: &[T], width: usize, half: usize, x: Extension) -> Vec<Extension> {
    let next = width.min(half);
    let mut folded = vec![Extension::ZERO; table.len() / width * next];
    let blocks = folded.par_chunks_mut(next * BLOCK).zip(table.par_chunks(width * BLOCK));
    blocks.for_each(|(to, from)| {
        for (to, from) in to.chunks_exact_mut(next).zip(from.chunks_exact(width)) {
            let (low, high) = from.split_at(next);
            let (pairs, single) = to.split_at_mut(high.len());
            for ((to, &low), &high) in pairs.iter_mut().zip(low).zip(high) {
                *to = low.between(high, x);
            }
            for (to, &low) in single.iter_mut().zip(&low[high.len()..]) {
                *to = low.between(T::ZERO, x);
            }
        }
    });
    folded
}

/// Adds the product of two lines, each given at 0 and 1, at 0 and 2.
fn add<T: Cell>(sums: &mut [Extension; 2], (v0, v1): (T, T), (w0, w1): (Extension, Extension)) {
    sums[0] += v0.weighted(w0);
    sums[1] += (v1 + v1 - v0).weighted(w1 + w1 - w0);
}
