//! Slow, obvious twins: evaluation by the definition, codes by Horner's rule, decoding by Lagrange's formula.

use trainproof_field::{Extension, Field, Goldilocks, naive};

use crate::Block;
use crate::multilinear::variables;

/// The multilinear extension of a block of a row-major matrix of 2^`height` rows at a point: for each cell that is not
/// padding, its value times Π (x if the bit of its index is set, else 1 − x).
///
/// # Panics
/// If the block, the matrix and the point do not fit each other.
#[must_use]
pub fn evaluate(values: &[Goldilocks], height: usize, block: &Block, point: &[Extension]) -> Extension {
    let width = values.len() >> height;
    let bits = block.variables();
    let mut sum = Extension::ZERO;
    for index in 0..1_usize << bits {
        let mut rest = index;
        let is_cell = block.shape.iter().rev().all(|&size| {
            let along = rest & ((1 << variables(size)) - 1);
            rest >>= variables(size);
            along < size
        });
        if is_cell {
            let cell = block.start + index;
            let value = values[(cell & ((1 << height) - 1)) * width + (cell >> height)];
            let factor = |(i, &x): (usize, &Extension)| {
                if index >> (bits - 1 - i) & 1 == 1 {
                    x
                } else {
                    Extension::ONE - x
                }
            };
            sum += point.iter().enumerate().map(factor).product::<Extension>().scale(value);
        }
    }
    sum
}

/// The code of a column: the polynomial whose coefficients the column is, at the powers of a root of unity of order
/// 2^`log_blowup` times its length, in bit-reversed order.
///
/// # Panics
/// If the column's length is no power of two, or too large for the field.
#[must_use]
pub fn encode(column: &[Goldilocks], log_blowup: usize) -> Vec<Goldilocks> {
    let log = column.len().trailing_zeros() as usize + log_blowup;
    let root = Goldilocks::root_of_unity(log).expect("the field has such a root");
    naive::transform(column, 1, log, root, Goldilocks::ONE)
}

/// The column whose code agrees with these values at these numbers of its places, by interpolation: as many as the column is
/// long.
///
/// # Panics
/// If two places are equal, or the code is too long for the field.
#[must_use]
pub fn interpolate(places: &[(usize, Goldilocks)], log_blowup: usize) -> Vec<Goldilocks> {
    let log = places.len().trailing_zeros() as usize + log_blowup;
    let root = Goldilocks::root_of_unity(log).expect("the field has such a root");
    let point = |place: usize| root.pow(naive::reverse_bits(place, log) as u64);
    let mut column = vec![Goldilocks::ZERO; places.len()];
    for &(place, value) in places {
        // value · Π (X − x_j)/(x_i − x_j)
        let (mut product, mut below) = (vec![Goldilocks::ONE], Goldilocks::ONE);
        for &(other, _) in places.iter().filter(|&&(other, _)| other != place) {
            let x = point(other);
            below *= point(place) - x;
            product.insert(0, Goldilocks::ZERO);
            for i in 1..product.len() {
                let coefficient = product[i];
                product[i - 1] -= x * coefficient;
            }
        }
        let factor = value * below.inverse().expect("places differ");
        for (to, coefficient) in column.iter_mut().zip(product) {
            *to += coefficient * factor;
        }
    }
    column
}
