//! Slow, obvious twins of the fast paths: long division for products, Euclid for inverses, Horner for transforms.

use crate::{Extension, Field, Goldilocks};

const P: u128 = Goldilocks::ORDER as u128;

fn element(x: u128) -> Goldilocks {
    Goldilocks::from_residue((x % P) as u64)
}

/// x + y, any words.
#[must_use]
pub fn add(x: u64, y: u64) -> Goldilocks {
    element(u128::from(x) + u128::from(y))
}

/// x − y, any words.
#[must_use]
pub fn sub(x: u64, y: u64) -> Goldilocks {
    element(u128::from(x) + P - u128::from(y) % P)
}

/// x · y, any words.
#[must_use]
pub fn mul(x: u64, y: u64) -> Goldilocks {
    element(u128::from(x) * u128::from(y))
}

/// The inverse by the extended Euclidean algorithm; `None` for zero.
#[must_use]
pub fn inverse(x: Goldilocks) -> Option<Goldilocks> {
    // Invariant: each remainder is its coefficient times x modulo p. Coefficients stay below p in size.
    let (mut old, mut new) = ((P as i128, 0), (i128::from(x.value()), 1));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    (old.0 == 1).then(|| element(old.1.rem_euclid(P as i128) as u128))
}

/// The product in the extension, by the four products of coefficients.
#[must_use]
pub fn extension_mul(x: Extension, y: Extension) -> Extension {
    let ([x0, x1], [y0, y1]) = (x.coefficients(), y.coefficients());
    let product = |a: Goldilocks, b: Goldilocks| mul(a.value(), b.value());
    let sum = |a: Goldilocks, b: Goldilocks| add(a.value(), b.value());
    let seven = Goldilocks::from(7);
    Extension::new(
        sum(product(x0, y0), product(seven, product(x1, y1))),
        sum(product(x0, y1), product(x1, y0)),
    )
}

/// The integer whose `bits` binary digits are those of `x`, reversed.
#[must_use]
pub fn reverse_bits(x: usize, bits: usize) -> usize {
    (0..bits).fold(0, |reversed, bit| reversed << 1 | x >> bit & 1)
}

/// Evaluates each column of a row-major matrix, read as coefficients, at `shift · root^rev(i)` in row i of the result, which
/// has 2^`log` rows; `root` has order 2^`log`.
#[must_use]
pub fn transform(
    coefficients: &[Goldilocks],
    width: usize,
    log: usize,
    root: Goldilocks,
    shift: Goldilocks,
) -> Vec<Goldilocks> {
    let evaluate = |column: usize, point: Goldilocks| {
        let rows = coefficients.chunks_exact(width).rev();
        rows.fold(Goldilocks::ZERO, |value, row| value * point + row[column])
    };
    (0..1 << log)
        .flat_map(|row| {
            let point = shift * root.pow(reverse_bits(row, log) as u64);
            (0..width).map(move |column| evaluate(column, point))
        })
        .collect()
}
