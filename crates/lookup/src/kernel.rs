//! The loops of the tree's prover, on any instruction set.

use trainproof_field::{Extension, Field, Goldilocks, Kernel, Simd};
use trainproof_sumcheck::lanes::{Pair, load, mul_add, splat, store};

/// Numerators of one side.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    Base(&'a [Goldilocks]),
    Extension(&'a [Extension]),
}

impl<'a> Side<'a> {
    /// A part of them.
    pub(crate) fn part(self, start: usize, end: usize) -> Side<'a> {
        match self {
            Self::Base(values) => Self::Base(&values[start..end]),
            Self::Extension(values) => Self::Extension(&values[start..end]),
        }
    }
}

/// Number·factor + z.
#[inline(always)]
fn times<S: Simd>(simd: S, seven: S::Vector, side: Side<'_>, x: usize, factor: Pair<S>, z: Pair<S>) -> Pair<S> {
    match side {
        Side::Base(values) => {
            let value = simd.load(&values[x..x + S::LANES]);
            [
                simd.mul_add(value, factor[0], z[0]),
                simd.mul_add(value, factor[1], z[1]),
            ]
        }
        Side::Extension(values) => mul_add(simd, seven, load(simd, &values[x..x + S::LANES]), factor, z),
    }
}

/// `numerators` = n_0·d_1 + n_1·d_0, `denominators` = d_0·d_1.
pub(crate) struct Add<'a> {
    pub(crate) sides: [Side<'a>; 2],
    pub(crate) below: [&'a [Extension]; 2],
    pub(crate) numerators: &'a mut [Extension],
    pub(crate) denominators: &'a mut [Extension],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (zero, seven) = (simd.splat(Goldilocks::ZERO), simd.splat(Extension::NON_RESIDUE));
        for x in (0..self.numerators.len()).step_by(S::LANES) {
            let d0 = load(simd, &self.below[0][x..x + S::LANES]);
            let d1 = load(simd, &self.below[1][x..x + S::LANES]);
            let left = times(simd, seven, self.sides[0], x, d1, [zero; 2]);
            let sum = times(simd, seven, self.sides[1], x, d0, left);
            store(simd, sum, &mut self.numerators[x..x + S::LANES]);
            let product = mul_add(simd, seven, d0, d1, [zero; 2]);
            store(simd, product, &mut self.denominators[x..x + S::LANES]);
        }
    }
}

/// `to` = n + λ·d.
pub(crate) struct Mix<'a> {
    pub(crate) side: Side<'a>,
    pub(crate) denominators: &'a [Extension],
    pub(crate) lambda: Extension,
    pub(crate) to: &'a mut [Extension],
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (zero, seven) = (simd.splat(Goldilocks::ZERO), simd.splat(Extension::NON_RESIDUE));
        let (one, lambda) = (splat(simd, Extension::ONE), splat(simd, self.lambda));
        for x in (0..self.to.len()).step_by(S::LANES) {
            let d = load(simd, &self.denominators[x..x + S::LANES]);
            let weighted = mul_add(simd, seven, lambda, d, [zero; 2]);
            let value = times(simd, seven, self.side, x, one, weighted);
            store(simd, value, &mut self.to[x..x + S::LANES]);
        }
    }
}
