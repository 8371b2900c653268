//! Number-theoretic transforms of the columns of a row-major matrix (section 1.3).
//!
//! Evaluations lie in bit-reversed order: row i belongs to the point `shift · ω^rev(i)`. So the forward transform needs no
//! permutation, and a coset of a subgroup is a block of consecutive rows.

mod butterfly;
mod twiddles;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::{Field, FieldError, Goldilocks, Isa};
use butterfly::{Direction, ScaleRows, Scaling};
use twiddles::Twiddles;

/// Matrices with fewer elements than this are transformed by one thread.
pub const PARALLEL_ELEMENTS: usize = 1 << 14;

/// Replaces coefficients (row i: those of X^i) by evaluations on the subgroup of as many elements as rows.
///
/// # Errors
/// [`FieldError::NoColumns`], [`FieldError::Rows`], [`FieldError::Height`], [`FieldError::TwoAdicity`]
pub fn forward(isa: Isa, matrix: &mut [Goldilocks], width: usize) -> Result<(), FieldError> {
    let log = log_rows(matrix.len(), width)?;
    let twiddles = Twiddles::new(Goldilocks::root_of_unity(log)?, log);
    butterfly::transform(isa.at_most(width), Direction::Forward, matrix, width, &twiddles);
    Ok(())
}

/// Replaces evaluations on the subgroup of as many elements as rows by coefficients. The inverse of [`forward`].
///
/// # Errors
/// [`FieldError::NoColumns`], [`FieldError::Rows`], [`FieldError::Height`], [`FieldError::TwoAdicity`]
pub fn inverse(isa: Isa, matrix: &mut [Goldilocks], width: usize) -> Result<(), FieldError> {
    let log = log_rows(matrix.len(), width)?;
    let root = Goldilocks::root_of_unity(log)?.pow((1 << log) - 1);
    let isa = isa.at_most(width);
    butterfly::transform(isa, Direction::Inverse, matrix, width, &Twiddles::new(root, log));
    // 1/2^log: 2 has order 192, as 2^96 is −1.
    let factor = Goldilocks::from(2).pow(192 - log as u64);
    let scaling = Scaling {
        first: factor,
        ratio: Goldilocks::ONE,
    };
    in_blocks(matrix, width, |_, block| isa.run(ScaleRows { block, width, scaling }));
    Ok(())
}

/// Evaluates coefficients on the coset `shift · H`, |H| = 2^`log_blowup` times the rows. A Reed–Solomon code by column, of
/// rate 2^−`log_blowup`.
///
/// # Errors
/// [`FieldError::NoColumns`], [`FieldError::Rows`], [`FieldError::Height`], [`FieldError::TwoAdicity`],
/// [`FieldError::ZeroShift`]
pub fn extend(
    isa: Isa,
    coefficients: &[Goldilocks],
    width: usize,
    log_blowup: usize,
    shift: Goldilocks,
) -> Result<Vec<Goldilocks>, FieldError> {
    let log = log_rows(coefficients.len(), width)?;
    let long_root = Goldilocks::root_of_unity(log.saturating_add(log_blowup))?;
    if shift == Goldilocks::ZERO {
        return Err(FieldError::ZeroShift);
    }
    let twiddles = Twiddles::new(Goldilocks::root_of_unity(log)?, log);
    let isa = isa.at_most(width);
    // Block b of the result is the coset of the short subgroup at shift · ω^rev(b).
    let mut matrix = vec![Goldilocks::ZERO; coefficients.len() << log_blowup];
    for (index, coset) in matrix.chunks_exact_mut(coefficients.len()).enumerate() {
        let ratio = shift * long_root.pow(reverse_bits(index, log_blowup) as u64);
        coset.copy_from_slice(coefficients);
        in_blocks(coset, width, |row, block| {
            let first = ratio.pow(row as u64);
            let scaling = Scaling { first, ratio };
            isa.run(ScaleRows { block, width, scaling });
        });
        butterfly::transform(isa, Direction::Forward, coset, width, &twiddles);
    }
    Ok(matrix)
}

/// Extends evaluations on the subgroup of as many elements as rows, in bit-reversed order, to the coset of [`extend`].
///
/// # Errors
/// Those of [`extend`].
pub fn low_degree_extension(
    isa: Isa,
    evaluations: &[Goldilocks],
    width: usize,
    log_blowup: usize,
    shift: Goldilocks,
) -> Result<Vec<Goldilocks>, FieldError> {
    let mut coefficients = evaluations.to_vec();
    inverse(isa, &mut coefficients, width)?;
    extend(isa, &coefficients, width, log_blowup, shift)
}

/// Exchanges natural and bit-reversed order of the rows.
///
/// # Errors
/// [`FieldError::NoColumns`], [`FieldError::Rows`], [`FieldError::Height`]
pub fn reverse_rows<T: Copy>(matrix: &mut [T], width: usize) -> Result<(), FieldError> {
    let log = log_rows(matrix.len(), width)?;
    for row in 0..1 << log {
        let other = reverse_bits(row, log);
        if row < other {
            let (upper, lower) = matrix.split_at_mut(other * width);
            upper[row * width..(row + 1) * width].swap_with_slice(&mut lower[..width]);
        }
    }
    Ok(())
}

/// The integer whose `bits` binary digits are those of `x`, reversed.
#[must_use]
pub const fn reverse_bits(x: usize, bits: usize) -> usize {
    // A shift by all 64 bits would overflow.
    if bits == 0 {
        0
    } else {
        x.reverse_bits() >> (usize::BITS as usize - bits)
    }
}

fn log_rows(elements: usize, width: usize) -> Result<usize, FieldError> {
    if width == 0 {
        return Err(FieldError::NoColumns);
    }
    if !elements.is_multiple_of(width) {
        return Err(FieldError::Rows { elements, width });
    }
    let rows = elements / width;
    if !rows.is_power_of_two() {
        return Err(FieldError::Height { rows });
    }
    Ok(rows.trailing_zeros() as usize)
}

/// Hands out blocks of whole rows with the number of their first, on the current rayon pool when there is work for it.
fn in_blocks(matrix: &mut [Goldilocks], width: usize, work: impl Fn(usize, &mut [Goldilocks]) + Sync) {
    if matrix.len() < PARALLEL_ELEMENTS {
        work(0, matrix);
        return;
    }
    let rows = (PARALLEL_ELEMENTS / width).max(1);
    matrix
        .par_chunks_mut(rows * width)
        .enumerate()
        .for_each(|(index, block)| work(index * rows, block));
}
