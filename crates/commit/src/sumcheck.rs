//! The prover's tables in the sumcheck over columns, then rows: row-major, absent columns zero (section 7.3).

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks};

use crate::multilinear::{between, eq_table, variables};
use crate::{Block, Claim, Matrix};

/// Rows that one thread works on in a row.
const BLOCK: usize = 1 << 8;

/// A matrix and the weights of its cells in the claim.
pub(crate) struct Table {
    width: usize,
    values: Vec<Extension>,
    weights: Vec<Extension>,
    /// Variables of rows that the matrix does not have and that have got a challenge: Π (1 − x).
    scale: Extension,
}

impl Table {
    pub(crate) fn new(matrix: &Matrix, values: &[Goldilocks]) -> Self {
        Self {
            width: matrix.width,
            values: values.par_iter().map(|&x| x.into()).collect(),
            weights: vec![Extension::ZERO; values.len()],
            scale: Extension::ONE,
        }
    }

    /// Adds `factor` times the weights of a claim.
    pub(crate) fn add(&mut self, height: usize, block: &Block, claim: &Claim, factor: Extension) {
        let mut point = claim.point.as_slice();
        let mut cells = vec![(block.start, factor)];
        // Cell by cell, axis by axis: places are numbered within the padded block.
        let mut bits = block.variables();
        for &size in &block.shape {
            let coordinates;
            (coordinates, point) = point.split_at(variables(size));
            bits -= variables(size);
            let table = eq_table(coordinates);
            let along = |&(cell, weight): &(usize, Extension)| {
                let table = &table[..size];
                let axis = table.iter().enumerate();
                axis.map(move |(index, &eq)| (cell + (index << bits), weight * eq))
            };
            cells = cells.iter().flat_map(along).collect();
        }
        for (cell, weight) in cells {
            let (column, row) = (cell >> height, cell & ((1 << height) - 1));
            self.weights[row * self.width + column] += weight;
        }
    }

    /// This table's part of the round polynomial at 0 and 2, while `left` variables of columns are to come, this included.
    pub(crate) fn column_round(&self, left: usize) -> [Extension; 2] {
        let half = 1 << (left - 1);
        let rows = self.values.par_chunks(self.width * BLOCK);
        let rows = rows.zip(self.weights.par_chunks(self.width * BLOCK));
        let sums = rows.map(|(values, weights)| {
            let mut sums = [Extension::ZERO; 2];
            for (values, weights) in values.chunks_exact(self.width).zip(weights.chunks_exact(self.width)) {
                for column in 0..half.min(self.width) {
                    let at = |row: &[Extension]| {
                        let high = row.get(column + half).copied().unwrap_or_default();
                        (row[column], high)
                    };
                    add(&mut sums, at(values), at(weights));
                }
            }
            sums
        });
        sums.reduce(Default::default, |x, y| [x[0] + y[0], x[1] + y[1]])
    }

    /// The first of `left` variables of columns takes the value `x`.
    pub(crate) fn fold_column(&mut self, left: usize, x: Extension) {
        let (half, width) = (1 << (left - 1), self.width);
        let next = half.min(width);
        let fold = |table: &[Extension]| -> Vec<Extension> {
            let mut folded = vec![Extension::ZERO; table.len() / width * next];
            let rows = folded.par_chunks_mut(next * BLOCK).zip(table.par_chunks(width * BLOCK));
            rows.for_each(|(to, from)| {
                for (to, from) in to.chunks_exact_mut(next).zip(from.chunks_exact(width)) {
                    for (column, to) in to.iter_mut().enumerate() {
                        let high = from.get(column + half).copied().unwrap_or_default();
                        *to = between(from[column], high, x);
                    }
                }
            });
            folded
        };
        self.values = fold(&self.values);
        self.weights = fold(&self.weights);
        self.width = next;
    }

    /// This table's part of the round polynomial at 0 and 2 of the next variable of rows.
    pub(crate) fn row_round(&self) -> [Extension; 2] {
        if let [value] = self.values[..] {
            // The matrix, padded with zeros: at 0 what it is, at 2 its negative.
            let all = self.scale * value * self.weights[0];
            return [all, -all];
        }
        let middle = self.values.len() / 2;
        let (v0, v1) = self.values.split_at(middle);
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
        if self.values.len() == 1 {
            self.scale *= Extension::ONE - x;
            return;
        }
        for table in [&mut self.values, &mut self.weights] {
            let (low, high) = table.split_at(table.len() / 2);
            *table = low
                .par_iter()
                .zip(high)
                .map(|(&low, &high)| between(low, high, x))
                .collect();
        }
    }

    /// The matrix with all columns folded: one element a row. After all rounds, its value at the point.
    pub(crate) fn values(&self) -> &[Extension] {
        &self.values
    }
}

/// Adds the product of two lines, each given at 0 and 1, at 0 and 2.
fn add(sums: &mut [Extension; 2], (v0, v1): (Extension, Extension), (w0, w1): (Extension, Extension)) {
    sums[0] += v0 * w0;
    sums[1] += (v1 + v1 - v0) * (w1 + w1 - w0);
}
