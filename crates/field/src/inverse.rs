//! Many inverses for the price of one and three products each.

use rayon::prelude::*;

use crate::{Field, FieldError};

/// Elements that share one inversion, and the work of one thread.
const BLOCK: usize = 1 << 10;

/// Replaces every element by its inverse, on the current rayon pool when there are more than 1024.
///
/// # Errors
/// [`FieldError::ZeroInverse`] names the first zero; the elements are then as they were.
pub fn batch_inverse<F: Field>(elements: &mut [F]) -> Result<(), FieldError> {
    if let Some(index) = elements.iter().position(|&x| x == F::ZERO) {
        return Err(FieldError::ZeroInverse { index });
    }
    if elements.len() > BLOCK {
        elements.par_chunks_mut(BLOCK).for_each(invert);
    } else {
        invert(elements);
    }
    Ok(())
}

/// Montgomery's trick on elements that are not zero: with the inverse of x_0⋯x_i, the product before x_i gives 1/x_i and
/// x_i gives the inverse of x_0⋯x_{i−1}.
fn invert<F: Field>(elements: &mut [F]) {
    let mut product = F::ONE;
    let mut before = Vec::with_capacity(elements.len());
    for &x in elements.iter() {
        before.push(product);
        product *= x;
    }
    let mut inverse = product
        .inverse()
        .expect("a product of elements that are not zero is not zero");
    for (x, &before) in elements.iter_mut().zip(&before).rev() {
        let next = inverse * *x;
        *x = inverse * before;
        inverse = next;
    }
}
