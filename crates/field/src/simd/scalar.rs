//! One lane, plain integer instructions.

use super::{Routine, Simd, sealed::Sealed};
use crate::Goldilocks;
use crate::goldilocks::{EPSILON, canonical, epsilon_if, reduce};

/// The token of plain integer instructions.
#[derive(Clone, Copy)]
pub(crate) struct Scalar(());

impl Scalar {
    pub(crate) const TOKEN: Self = Self(());
}

impl Sealed for Scalar {}

impl Simd for Scalar {
    type Vector = u64;
    const LANES: usize = 1;

    #[inline(never)]
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run(self)
    }

    #[inline(always)]
    fn splat(self, x: Goldilocks) -> u64 {
        x.value()
    }

    #[inline(always)]
    fn residues(self, from: &[u64]) -> u64 {
        from[0]
    }

    #[inline(always)]
    fn write(self, x: u64, to: &mut [u64]) {
        to[0] = canonical(x);
    }

    // A second carry needs both words near 2^64, and leaves a sum so small that no third can follow. So with borrows.
    #[inline(always)]
    fn add(self, x: u64, y: u64) -> u64 {
        let (sum, carry) = x.overflowing_add(y);
        let (sum, carry) = sum.overflowing_add(epsilon_if(carry));
        sum.wrapping_add(EPSILON * u64::from(carry))
    }

    #[inline(always)]
    fn sub(self, x: u64, y: u64) -> u64 {
        let (difference, borrow) = x.overflowing_sub(y);
        let (difference, borrow) = difference.overflowing_sub(epsilon_if(borrow));
        difference.wrapping_sub(EPSILON * u64::from(borrow))
    }

    #[inline(always)]
    fn mul_add(self, x: u64, y: u64, z: u64) -> u64 {
        // At most (2^64 − 1)² + 2^64 − 1, which is below 2^128.
        reduce(u128::from(x) * u128::from(y) + u128::from(z))
    }

    #[inline(always)]
    fn mul(self, x: u64, y: u64) -> u64 {
        reduce(u128::from(x) * u128::from(y))
    }

    #[inline(always)]
    fn square(self, x: u64) -> u64 {
        self.mul(x, x)
    }
}
