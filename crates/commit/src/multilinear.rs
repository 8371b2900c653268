//! Multilinear extensions. The first coordinate of a point belongs to the highest bit of an index.

use trainproof_field::{Extension, Field, Goldilocks};

/// eq(point, x) for all indices x.
pub(crate) fn eq_table(point: &[Extension]) -> Vec<Extension> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Extension::ONE);
    // The last coordinate, which splits neighbours, comes last: entry x becomes entries 2x and 2x + 1.
    for &coordinate in point {
        table = table
            .iter()
            .flat_map(|&x| {
                let one = x * coordinate;
                [x - one, one]
            })
            .collect();
    }
    table
}

/// (1 − x)·a + x·b.
pub(crate) fn between(a: Extension, b: Extension, x: Extension) -> Extension {
    a + x * (b - a)
}

/// The polynomial of degree 2 with these values at 0 and 2, whose values at 0 and 1 have the sum `claim`, at x.
pub(crate) fn quadratic([at_zero, at_two]: [Extension; 2], claim: Extension, x: Extension) -> Extension {
    let half = Goldilocks::from_residue(Goldilocks::ORDER.div_ceil(2));
    let step = claim - at_zero - at_zero;
    let bend = (at_two - at_zero - step - step).scale(half);
    at_zero + x * (step + (x - Extension::ONE) * bend)
}

/// The number of variables that index `size` cells, at least one.
pub(crate) const fn variables(size: usize) -> usize {
    size.next_power_of_two().trailing_zeros() as usize
}
