//! Public polynomials and interpolation, as verifiers compute them on any backend (section 4).

use trainproof_field::{Extension, Field, Goldilocks};

use crate::{Backend, ProofError};

/// eq(x, y) = Π (1 − x_i − y_i + 2·x_i·y_i).
///
/// # Errors
/// [`ProofError::Length`] for points of different dimensions.
pub fn eq<B: Backend>(backend: &mut B, x: &[B::Element], y: &[B::Element]) -> Result<B::Element, ProofError> {
    if x.len() != y.len() {
        return Err(ProofError::Length {
            what: "coordinates of a point",
            expected: x.len(),
            got: y.len(),
        });
    }
    let mut found = backend.one();
    for (x, y) in x.iter().zip(y) {
        // 1 − x − y + 2xy is 1 − x + (2x − 1)·y.
        let rest = complement(backend, x);
        let slope = backend.sub(x, &rest);
        let product = backend.mul(&slope, y);
        let factor = backend.add(&rest, &product);
        found = backend.mul(&found, &factor);
    }
    Ok(found)
}

/// eq of a point and the point of an index, of which only as many bits count as the point has coordinates.
pub fn eq_index<B: Backend>(backend: &mut B, point: &[B::Element], index: usize) -> B::Element {
    let mut found = backend.one();
    for (i, x) in point.iter().rev().enumerate() {
        let factor = if index >> i & 1 == 1 {
            x.clone()
        } else {
            complement(backend, x)
        };
        found = backend.mul(&found, &factor);
    }
    found
}

/// The extension of the index itself.
pub fn number<B: Backend>(backend: &mut B, point: &[B::Element]) -> B::Element {
    let mut found = backend.zero();
    for x in point {
        let double = backend.add(&found, &found);
        found = backend.add(&double, x);
    }
    found
}

/// The extension of a list; what lies beyond its end is 0, as far as the point's coordinates reach.
///
/// # Errors
/// [`ProofError::Length`] for a list that is longer than the hypercube.
pub fn listed<B: Backend>(
    backend: &mut B,
    values: &[Goldilocks],
    point: &[B::Element],
) -> Result<B::Element, ProofError> {
    let size = 1usize.checked_shl(point.len() as u32).unwrap_or(0);
    if values.len() > size {
        return Err(ProofError::Length {
            what: "values of a list",
            expected: size,
            got: values.len(),
        });
    }
    let Some((last, rest)) = point.split_last() else {
        let value = values.first().copied().unwrap_or_default();
        return Ok(backend.constant(value.into()));
    };
    // The last variable first, as there the entries are constants.
    let mut table = Vec::with_capacity(size / 2);
    for pair in values.chunks(2) {
        let (low, high) = (pair[0], pair.get(1).copied().unwrap_or_default());
        let product = backend.scale(last, high - low);
        let low = backend.constant(low.into());
        table.push(backend.add(&product, &low));
    }
    for x in rest.iter().rev() {
        let zero = backend.zero();
        let mut next = Vec::with_capacity(table.len().div_ceil(2));
        for pair in table.chunks(2) {
            next.push(line(backend, &pair[0], pair.get(1).unwrap_or(&zero), x));
        }
        table = next;
    }
    let zero = backend.zero();
    Ok(table.into_iter().next().unwrap_or(zero))
}

/// The extension of 1 on the indices below `size` and 0 from there on; 1 if all are below.
pub fn below<B: Backend>(backend: &mut B, size: usize, point: &[B::Element]) -> B::Element {
    let mut equal = backend.one();
    if 1usize.checked_shl(point.len() as u32).is_none_or(|all| size >= all) {
        return equal;
    }
    let mut found = backend.zero();
    for (i, x) in point.iter().enumerate() {
        let rest = complement(backend, x);
        if size >> (point.len() - 1 - i) & 1 == 1 {
            let smaller = backend.mul(&equal, &rest);
            found = backend.add(&found, &smaller);
            equal = backend.mul(&equal, x);
        } else {
            equal = backend.mul(&equal, &rest);
        }
    }
    found
}

/// The extension of 1 on the cells of a shape and 0 on its padding; the first axis has the first coordinates.
///
/// # Errors
/// [`ProofError::Length`] unless the point has as many coordinates as the padded shape.
pub fn mask<B: Backend>(backend: &mut B, shape: &[usize], point: &[B::Element]) -> Result<B::Element, ProofError> {
    let expected = variables(shape);
    if point.len() != expected {
        return Err(ProofError::Length {
            what: "coordinates of a point in a shape",
            expected,
            got: point.len(),
        });
    }
    let mut found = backend.one();
    let mut rest = point;
    for &size in shape {
        let (axis, others) = rest.split_at(bits(size));
        rest = others;
        if !size.is_power_of_two() {
            let factor = below(backend, size, axis);
            found = backend.mul(&found, &factor);
        }
    }
    Ok(found)
}

/// Variables of an axis.
#[must_use]
pub fn bits(size: usize) -> usize {
    size.saturating_sub(1).checked_ilog2().map_or(0, |log| log as usize + 1)
}

/// Variables of a shape.
#[must_use]
pub fn variables(shape: &[usize]) -> usize {
    shape.iter().map(|&size| bits(size)).sum()
}

/// low + (high − low)·x.
pub fn line<B: Backend>(backend: &mut B, low: &B::Element, high: &B::Element, x: &B::Element) -> B::Element {
    let slope = backend.sub(high, low);
    let product = backend.mul(&slope, x);
    backend.add(low, &product)
}

/// The polynomial of degree below `values.len()` through (0, values\[0\]), (1, values\[1\]), … at r.
pub fn interpolate<B: Backend>(backend: &mut B, values: &[B::Element], r: &B::Element) -> B::Element {
    // Σ_i values_i · Π_{j<i} (r − j) · Π_{j>i} (r − j) / (i! · (−1)^(d−i) · (d − i)!), d the degree.
    let mut below = vec![backend.one()];
    let mut differences = Vec::with_capacity(values.len());
    for i in 0..values.len() {
        let place = backend.constant(small(i).into());
        differences.push(backend.sub(r, &place));
        let product = backend.mul(&below[i], &differences[i]);
        below.push(product);
    }
    let (mut above, mut found) = (backend.one(), backend.zero());
    for (i, value) in values.iter().enumerate().rev() {
        let basis = backend.mul(&below[i], &above);
        let basis = backend.scale(&basis, share(i, values.len() - 1));
        let term = backend.mul(&basis, value);
        found = backend.add(&found, &term);
        above = backend.mul(&above, &differences[i]);
    }
    found
}

/// Π_{j≠i} 1/(i − j), j from 0 to `degree`.
pub(crate) fn share(i: usize, degree: usize) -> Goldilocks {
    let product: Goldilocks = (0..=degree).filter(|&j| j != i).map(|j| small(i) - small(j)).product();
    product.inverse().expect("small integers that differ, differ modulo p")
}

/// An integer below p.
pub(crate) fn small(x: usize) -> Goldilocks {
    Goldilocks::from_residue(x as u64)
}

/// 1 − x.
fn complement<B: Backend>(backend: &mut B, x: &B::Element) -> B::Element {
    let one = backend.constant(Extension::ONE);
    backend.sub(&one, x)
}
